/**
 * `abs capture`: what the agents' outside ports carry, for Wireshark, and the key log only where it
 * was allowed. Real traffic under every algorithm, dissected by tshark. docs/wireshark.md.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { stateDirectory } from "../../src/lab/agents.ts";
import { type Background, runCommand, startBackground, waitFor } from "../../src/lab/command.ts";
import { startNginx, startRedis } from "../../src/lab/programs.ts";
import type { Site } from "../../src/lab/site.ts";
import { type Provisioning, type SignaturePlan, Tenant } from "../../src/lab/tenant.ts";
import { RsaKeyPair } from "../../src/session/rsa-wrap.ts";
import { dissect, type Row } from "../wireshark/tshark.ts";
import { ABS, CLIENT, openSite, PORTS, SERVER, stopwatch } from "./harness.ts";

const MINUTE_MS = 60_000;
const done = stopwatch("e2e wireshark");
let site: Site;

const CONTRACTS = [
  { algorithm: "aes-128-gcm", protection: "integrity", cipher: "aes-128-gcm" },
  { algorithm: "aes-128-gcm", protection: "confidential", cipher: "aes-128-gcm" },
  { algorithm: "aes-256-gcm", protection: "integrity", cipher: "aes-256-gcm" },
  { algorithm: "aes-256-gcm", protection: "confidential", cipher: "aes-256-gcm" },
  { algorithm: "chacha20-poly1305", protection: "integrity", cipher: "chacha20-poly1305" },
  { algorithm: "chacha20-poly1305", protection: "confidential", cipher: "chacha20-poly1305" },
  { algorithm: "rsa256", protection: "confidential", cipher: "aes-256-gcm" },
] as const;

/** An application for each contract: Redis on a port of its own. */
const APPS = CONTRACTS.map(({ algorithm, protection }, i) => ({
  name: `${algorithm}-${protection}`,
  port: PORTS.redis + i,
}));
const NAMES = [...APPS.map(({ name }) => name), "http", "ping"];
const SIGNATURES: readonly SignaturePlan[] = [
  ...APPS.map(({ name, port }) => ({
    app_name: name,
    proto_type: "tcp",
    dst_port: String(port),
    contents: [{ offset: 0, depth: 64, expr: "/^\\*[0-9]+\\x0d\\x0a\\$/" }],
  })),
  {
    app_name: "http",
    proto_type: "tcp",
    dst_port: String(PORTS.http),
    contents: [{ offset: 0, depth: 32, expr: "GET /" }],
  },
  { app_name: "ping", proto_type: "icmpv6", contents: [] },
];

// One carrier each way.
const agents = [
  { vm: CLIENT, apps: NAMES, policy: { rules: [] } },
  { vm: SERVER, apps: NAMES, policy: { rules: [] }, carrier: "udp" as const },
];
const tenant = new Tenant({
  name: "tenant-e",
  apps: NAMES,
  signatures: SIGNATURES,
  contracts: CONTRACTS.map(({ algorithm, protection }) => ({ algorithm, protection })),
  agents,
});
const rsaKeys = Buffer.from(RsaKeyPair.generate().der).toString("hex");

/** Each application has rules that ask for its contract. */
function provisioningOf(vm: string): Provisioning {
  const whole = tenant.provisioningOf(vm);
  const contracts = tenant.contracts.map(({ terms, secret }, i) => ({
    ...(whole["contracts"] as readonly Provisioning[])[i],
    secret: terms.algorithm === "rsa256" ? secret + rsaKeys : secret,
  }));
  const rules = ["in", "out"].flatMap((direction) =>
    NAMES.map((app, i) => {
      const scId = tenant.contracts[i]?.scId;
      const contract = scId === undefined ? {} : { contract: { scId } };
      return { id: `${app}-${direction}`, direction, app, action: "allow", ...contract };
    }),
  );
  return { ...whole, contracts, policy: { ...(whole["policy"] as Provisioning), rules } };
}

beforeAll(async () => {
  // The client's agent may not give keys away.
  const more = (vm: string) => (vm === SERVER.name ? ["--allow-keylog"] : []);
  site = await openSite("wireshark", [], { agents: "none", vms: [CLIENT, SERVER], more });
  for (const { name } of [CLIENT, SERVER]) site.startAgent(name, provisioningOf(name));
  await Promise.all(site.agents().map((agent) => agent.ready()));
  const host = site.host(SERVER.name);
  await Promise.all(APPS.map(({ port }) => site.keep(startRedis(host, port))));
  const nginx = await site.keep(startNginx(host, PORTS.http));
  await Bun.write(`${nginx.directory}/files/page`, "a page");
}, 2 * MINUTE_MS);
afterAll(async () => {
  await site?.close();
  done();
}, MINUTE_MS);

function fileOf(name: string): string {
  return join(site.options.directory, name);
}

function captureCommand(vm: string, ...words: string[]): string[] {
  const state = stateDirectory(`${site.options.directory}/${vm}`);
  return [...ABS, "capture", "--state", state, ...words];
}

/** Resolves when the agent has told that it captures. */
async function beginCapture(vm: string, ...words: string[]): Promise<Background> {
  const { events } = site.agent(vm);
  const before = events.all().length;
  const logFile = fileOf("capture.log");
  const capture = startBackground(captureCommand(vm, ...words), { logFile });
  const hasBegun = () => events.since(before).some(({ event }) => /-began$/.test(event));
  await waitFor("the capture to begin", () => hasBegun() || undefined, MINUTE_MS / 3);
  return capture;
}

/** One field of each packet that a display filter takes. */
async function fieldOf(file: string, field: string, filter: string): Promise<string[]> {
  const rows = await dissect(file, [field], { filter });
  return rows.map((row) => row[field] ?? "");
}

async function ask(): Promise<void> {
  const redis = ["redis-cli", "-h", SERVER.ipv4, "PING"];
  const { stdout } = await site.run(CLIENT.name, redis, { timeoutMs: 20_000 });
  expect(stdout.trim()).toBe("PONG");
}

/** A hundred packets and more under each contract; a page by HTTP, pings by IPv6. */
async function traffic(): Promise<void> {
  for (const { port } of APPS) {
    const redis = ["redis-cli", "-h", SERVER.ipv4, "-p", String(port), "-r", "50", "PING"];
    const pongs = await site.run(CLIENT.name, redis, { timeoutMs: 20_000 });
    expect(pongs.stdout.trim().split("\n")).toEqual(new Array(50).fill("PONG"));
  }
  const url = `http://${SERVER.ipv4}:${PORTS.http}/page`;
  const page = await site.run(CLIENT.name, ["curl", "-sS", url], { timeoutMs: 20_000 });
  expect(page.stdout).toBe("a page");
  const ping = ["ping", "-c", "2", "-i", "0.2", SERVER.ipv6];
  expect((await site.run(CLIENT.name, ping, { timeoutMs: 20_000 })).stdout).toContain("2 received");
}

/** Messages of RESP in `rows`, by the port of their server. */
function respByPort(rows: readonly Row[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const row of rows.filter((one) => one["_ws.col.Protocol"] === "RESP")) {
    const ports = [Number(row["tcp.srcport"]), Number(row["tcp.dstport"])];
    const app = APPS.find(({ port }) => ports.includes(port));
    counts[app?.name ?? "other"] = (counts[app?.name ?? "other"] ?? 0) + 1;
  }
  return counts;
}

const decodeAs = `tcp.port==${PORTS.redis}-${PORTS.redis + APPS.length - 1},resp`;
const FIELDS = [
  ...["abs.flag", "abs.proof.ok", "abs.decrypted", "abs.keep_alive", "abs.session.algorithm"],
  ...["abs.session.protection", "abs.session.app", "abs.session.under", "abs.bad.inner"],
  ...["abs.lane", "abs.receiver_index", "udp.dstport", "ip.dst", "_ws.col.Protocol"],
  ...["tcp.srcport", "tcp.dstport", "_ws.expert.group"],
];

describe("real traffic under every contract", () => {
  let file: string;
  let keylog: string;
  let rows: readonly Row[];

  beforeAll(async () => {
    [file, keylog] = [fileOf("traffic.pcapng"), fileOf("traffic.keys")];
    const capture = await beginCapture(SERVER.name, "--write", file, "--keylog", keylog);
    await traffic();
    expect(await capture.stop("SIGINT", 20_000)).toBe(0);
    rows = await dissect(file, FIELDS, { keylog, decodeAs });
  }, 2 * MINUTE_MS);

  test("every proof holds, and nothing is malformed", () => {
    const data = rows.filter((row) => row["abs.flag"] === "5");
    expect(data.length).toBeGreaterThan(7 * 100);
    expect(data.filter((row) => row["abs.proof.ok"] !== "1")).toEqual([]);
    expect(rows.filter((row) => row["_ws.expert.group"] === "Malformed")).toEqual([]);
    expect(rows.filter((row) => row["abs.flag"] === "4").length).toBeGreaterThan(2 * NAMES.length);
    // The server's carrier is UDP, the client's is not.
    const toServer = data.filter((row) => row["ip.dst"] === SERVER.ipv4);
    expect(toServer.every((row) => row["udp.dstport"] === "6253")).toBe(true);
    const toClient = data.filter((row) => row["ip.dst"] === CLIENT.ipv4);
    expect(toClient.every((row) => row["udp.dstport"] === "")).toBe(true);
  });

  test.each(CONTRACTS)("$algorithm, $protection: over 100 packets, as agreed", (terms) => {
    const app = `${terms.algorithm}-${terms.protection}`;
    const scId = tenant.contracts[CONTRACTS.indexOf(terms)]?.scId;
    const ours = rows.filter((row) => row["abs.session.app"] === app);
    expect(ours.length).toBeGreaterThanOrEqual(100);
    for (const row of ours) {
      expect(row["abs.session.algorithm"]).toBe(terms.cipher);
      expect(row["abs.session.protection"]).toBe(terms.protection);
      expect(row["abs.session.under"]).toBe(`${scId}/1,${scId}/1`);
      const isHidden = terms.protection === "confidential" && row["abs.keep_alive"] === "";
      expect(row["abs.decrypted"]).toBe(isHidden ? "1" : "");
      expect(Number(row["abs.lane"])).toBeLessThan(16);
    }
    expect(new Set(ours.map((row) => row["abs.receiver_index"])).size).toBe(2);
    expect(respByPort(rows)[app]).toBe(100);
  });

  test("the key log is root's alone, told as events, and never an older file", async () => {
    expect(statSync(keylog).mode & 0o777).toBe(0o600);
    const lines = readFileSync(keylog, "utf8").trim().split("\n");
    expect(lines.length).toBeGreaterThanOrEqual(NAMES.length);
    expect(lines.every((line) => /^ABS_SESSION_1 .* peer=client app=\S+$/.test(line))).toBe(true);
    const told = site.agent(SERVER.name).events.all();
    const ours = told.map(({ event }) => event).filter((event) => event.startsWith("keylog-"));
    expect(ours).toEqual(["keylog-began", "keylog-over"]);
    const again = captureCommand(SERVER.name, "--write", file, "--keylog", keylog);
    const { code, stderr } = await runCommand(again, { timeoutMs: 20_000 });
    expect(code).toBe(1);
    expect(stderr).toContain("must not exist yet");
  });

  test("HTTP and ICMPv6 are dissected, too", () => {
    const count = (name: string) => rows.filter((row) => row["_ws.col.Protocol"] === name).length;
    expect(count("HTTP")).toBe(2);
    expect(count("ICMPv6")).toBeGreaterThanOrEqual(4);
  });

  test("without the key log what is confidential stays so, and no proof is judged", async () => {
    const blind = await dissect(file, FIELDS, { decodeAs });
    expect(blind.filter((row) => row["abs.proof.ok"] !== "")).toEqual([]);
    const clear = CONTRACTS.filter(({ protection }) => protection === "integrity");
    expect(respByPort(blind)).toEqual(
      Object.fromEntries(clear.map(({ algorithm }) => [`${algorithm}-integrity`, 100])),
    );
  });
});

test(
  "without --allow-keylog keys are refused, told as an event, and nothing is written",
  async () => {
    const words = ["--write", fileOf("none.pcapng"), "--keylog", fileOf("none.keys")];
    const { code, stderr } = await runCommand(captureCommand(CLIENT.name, ...words), {
      timeoutMs: 20_000,
    });
    expect(code).toBe(4);
    expect(stderr).toContain("KEYLOG_NOT_ALLOWED");
    expect(existsSync(fileOf("none.keys"))).toBe(false);
    const { events } = site.agent(CLIENT.name);
    const isTold = () => events.all().some(({ event }) => event === "keylog-refused") || undefined;
    await waitFor("the refusal to be told", isTold, MINUTE_MS / 3);
  },
  MINUTE_MS,
);

test(
  "a capture ends by its limit, has what its filter takes, and is the only one",
  async () => {
    const packets = fileOf("limited.pcapng");
    const first = await beginCapture(CLIENT.name, "--write", packets);
    const second = captureCommand(CLIENT.name, "--write", fileOf("second.pcapng"));
    const { stderr } = await runCommand(second, { timeoutMs: 20_000 });
    expect(stderr).toContain("CAPTURE_RUNNING");
    expect(await first.stop("SIGTERM", 20_000)).toBe(0);
    const filter = ["--direction", "in", "--kind", "data", "--host", SERVER.ipv4];
    const words = ["--write", packets, "--packets", "4", ...filter];
    const limited = await beginCapture(CLIENT.name, ...words);
    await ask();
    await ask();
    expect(await limited.exited).toBe(0);
    expect(await fieldOf(packets, "ip.dst", "ip")).toEqual(new Array(4).fill(CLIENT.ipv4));
    const killed = await beginCapture(CLIENT.name, "--write", packets);
    await killed.stop("SIGKILL");
    const isFree = async () => {
      const third = captureCommand(
        CLIENT.name,
        "--write",
        fileOf("third.pcapng"),
        "--seconds",
        "1",
      );
      const { code } = await runCommand(third, { timeoutMs: 20_000 });
      return code === 0 || undefined;
    };
    await waitFor("the killed capture to be noticed", isFree, MINUTE_MS / 2);
  },
  MINUTE_MS,
);

test(
  "a capture ends with its agent, says so, and leaves a whole file",
  async () => {
    const packets = fileOf("ended.pcapng");
    const capture = await beginCapture(CLIENT.name, "--write", packets, "--kind", "data");
    await ask();
    const hasSome = () => (statSync(packets).size > 1_000 ? true : undefined);
    await waitFor("packets to be written", hasSome, MINUTE_MS / 3);
    await site.agent(CLIENT.name).stop();
    expect(await capture.exited).toBe(1);
    expect(capture.output()).toContain("CAPTURE_CUT");
    expect((await fieldOf(packets, "ip.dst", "abs.flag == 5")).length).toBeGreaterThan(4);
  },
  MINUTE_MS,
);
