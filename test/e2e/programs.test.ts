/**
 * Programs that nobody here wrote, through two agents in full mode over carrier `ip`: issue "Tests
 * beside the unit tests". One site for all of them, in each way (enrolled-site.ts); each server is
 * started by its own test.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createHash, randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { lastWords } from "../../src/lab/command.ts";
import { isPeerChannel, PROTOCOL } from "../../src/lab/frames.ts";
import {
  startIperf3,
  startMariadb,
  startNginx,
  startPostgres,
  startRedis,
  startSshd,
} from "../../src/lab/programs.ts";
import type { Site } from "../../src/lab/site.ts";
import { openSiteBy, WAYS } from "./enrolled-site.ts";
import { BARE, CLIENT, openAgent, PORTS, SERVER, stopwatch, tenantOf } from "./harness.ts";

const MINUTE_MS = 60_000;
const FILE_BYTES = 100 << 20;
const done = stopwatch("e2e programs");
let site: Site;

afterAll(done);

/** Runs a client program and expects it to succeed; returns what it printed. */
async function client(command: readonly string[], timeoutMs = 15_000): Promise<string> {
  const result = await site.run("client", command, { timeoutMs });
  if (result.code !== 0) throw new Error(`${result.command}: ${lastWords(result)}`);
  return result.stdout.trim();
}

function digestOf(file: string): string {
  return createHash("sha256").update(readFileSync(file)).digest("hex");
}

describe.each(WAYS)("%s agents", (way) => {
  beforeAll(async () => {
    const tenant = tenantOf([openAgent(CLIENT), openAgent(SERVER)]);
    site = await openSiteBy(way, "programs", tenant);
  }, 2 * MINUTE_MS);

  afterAll(async () => {
    await site?.close();
  }, MINUTE_MS);

  test("Redis: a client writes and reads", async () => {
    await site.keep(startRedis(site.host("server"), PORTS.redis));
    const redis = ["redis-cli", "-h", SERVER.ipv4];
    expect(await client([...redis, "SET", "key", "value"])).toBe("OK");
    expect(await client([...redis, "GET", "key"])).toBe("value");
  });

  test(
    "PostgreSQL: psql creates, fills and reads a table",
    async () => {
      await site.keep(startPostgres(site.host("server"), PORTS.postgres));
      const sql = "create table t as select generate_series(1, 20000) n; select sum(n) from t";
      const psql = ["psql", "-h", SERVER.ipv4, "-U", "postgres", "-d", "postgres", "-qAtc", sql];
      expect(await client(psql)).toBe("200010000");
    },
    MINUTE_MS,
  );

  test(
    "MariaDB: the server greets before the client speaks",
    async () => {
      await site.keep(startMariadb(site.host("server"), PORTS.mysql));
      const mariadb = ["mariadb", "--no-defaults", "-h", SERVER.ipv4, "-u", "root", "-Ne"];
      expect(await client([...mariadb, "select 40 + 2"])).toBe("42");
    },
    MINUTE_MS,
  );

  test("OpenSSH: a command runs and 1 MB comes back", async () => {
    const service = await site.keep(startSshd(site.host("server"), PORTS.ssh));
    const options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"];
    const ssh = ["ssh", "-F", "none", "-i", `${service.directory}/client`];
    for (const option of options) ssh.push("-o", option);
    const remote = "head -c 1000000 /dev/zero | tr '\\0' x";
    const printed = await client([...ssh, `root@${SERVER.ipv4}`, remote]);
    expect(printed.length).toBe(1_000_000);
  });

  test(
    "nginx: curl downloads and uploads 100 MB unchanged, over IPv4 and IPv6",
    async () => {
      const service = await site.keep(startNginx(site.host("server"), PORTS.http));
      const files = `${service.directory}/files`;
      const bytes = randomBytes(FILE_BYTES);
      writeFileSync(`${files}/down`, bytes, { mode: 0o644 });
      const digest = createHash("sha256").update(bytes).digest("hex");
      const local = `${site.options.directory}/local`;
      const curl = ["curl", "-sS", "-g", "--fail", "--max-time", "50"];
      await client([...curl, "-o", local, `http://${SERVER.ipv4}:${PORTS.http}/down`], MINUTE_MS);
      expect(digestOf(local)).toBe(digest);
      await client([...curl, "-T", local, `http://[${SERVER.ipv6}]:${PORTS.http}/up`], MINUTE_MS);
      expect(digestOf(`${files}/up`)).toBe(digest);
    },
    2 * MINUTE_MS,
  );

  test(
    "iperf3: TCP both ways and UDP at 20 Mbit/s",
    async () => {
      await site.keep(startIperf3(site.host("server"), PORTS.iperf));
      const iperf = ["iperf3", "-c", SERVER.ipv4, "-J", "-t", "2"];
      for (const more of [[], ["-R"]]) {
        const report = JSON.parse(await client([...iperf, ...more], 20_000));
        expect(report.end.sum_received.bits_per_second).toBeGreaterThan(50e6);
      }
      const udp = JSON.parse(await client([...iperf, "-u", "-b", "20M"], 20_000));
      expect(udp.end.sum.packets).toBeGreaterThan(2_000);
      expect(udp.end.sum.lost_percent).toBeLessThan(2);
    },
    MINUTE_MS,
  );

  test(
    "ping: small, full-size and fragmented, IPv4 and IPv6",
    async () => {
      // The inside MTU is 1468 with carrier ip: 1440 + 8 + 20, and 1420 + 8 + 40.
      const sizes: readonly (readonly [string, number])[] = [
        [SERVER.ipv4, 56],
        [SERVER.ipv4, 1_440],
        [SERVER.ipv4, 4_000],
        [SERVER.ipv6, 56],
        [SERVER.ipv6, 1_420],
        [SERVER.ipv6, 4_000],
      ];
      for (const [address, size] of sizes) {
        const ping = [
          "ping",
          "-n",
          "-c",
          "5",
          "-i",
          "0.05",
          "-W",
          "2",
          "-s",
          String(size),
          address,
        ];
        expect(await client(ping)).toContain("5 packets transmitted, 5 received");
      }
    },
    MINUTE_MS,
  );

  test("ICMP errors follow the flow they quote: a closed UDP port refuses", async () => {
    const tap = site.tapVm("client");
    for (const [address, version] of [
      [SERVER.ipv4, 4],
      [SERVER.ipv6, 6],
    ] as const) {
      const script = `exec 3<>/dev/udp/${address}/7009; echo one >&3; sleep 0.4; echo two >&3`;
      const result = await site.run("client", ["bash", "-c", script]);
      expect(result.stderr).toContain("Connection refused");
      const protocol = version === 4 ? PROTOCOL.icmp : PROTOCOL.icmpv6;
      const unreachable = tap.frames().filter((frame) => {
        const [type, code] = frame.ipPayload ?? [];
        const isUnreachable = version === 4 ? type === 3 && code === 3 : type === 1 && code === 4;
        return frame.protocol === protocol && frame.direction === "received" && isUnreachable;
      });
      expect(unreachable.length).toBeGreaterThan(0);
    }
    tap.close();
  });

  // A bare wire (BARE) has no field to look for.
  if (!BARE) {
    test("no bare packet was seen, and nothing was dropped on the way", async () => {
      const tap = site.tapSwitch();
      await client(["ping", "-n", "-c", "3", "-i", "0.05", SERVER.ipv4]);
      const ours = [CLIENT.ipv4, SERVER.ipv4];
      const between = tap.frames().filter((frame) => {
        const isOurs = ours.includes(frame.source ?? "") && ours.includes(frame.destination ?? "");
        return isOurs && !isPeerChannel(frame);
      });
      tap.close();
      expect(between.length).toBeGreaterThanOrEqual(6);
      expect(between.every((frame) => frame.protocol === PROTOCOL.abs)).toBe(true);
    });
  }
});
