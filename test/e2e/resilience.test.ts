/**
 * What must not end a connection: silence, a stopped agent, a killed agent, wrong clocks. issue
 * "Tests beside the unit tests"; design/wire.md "HANDSHAKE" and "Lifetimes". Clocks are set by the
 * agent's hidden option --wall-clock-offset, since a namespace has no wall clock of its own.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createHash, randomBytes } from "node:crypto";
import { readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { type Background, startBackground, waitFor } from "../../src/lab/command.ts";
import { startIperf3, startNginx, startRedis } from "../../src/lab/programs.ts";
import type { Site } from "../../src/lab/site.ts";
import { openSiteBy, WAYS } from "./enrolled-site.ts";
import { BARE, CLIENT, openAgent, PORTS, SERVER, stopwatch, tenantOf } from "./harness.ts";

const MINUTE_MS = 60_000;
const IDLE_SECONDS = 3;
const FILE_BYTES = 60 << 20;
/** Slow enough to be running while agents die: 60 MB take about 7 s. */
const RATE = "8M";
const GO_ON_MS = 2_000;
/** An enrolled agent that starts anew looks through its chain and its folder first. */
const START_MS = { provisioned: GO_ON_MS, enrolled: 10_000 };
const done = stopwatch("e2e resilience");
let site: Site;
/** Of the web server. */
let files: string;

afterAll(done);

const REDIS = ["redis-cli", "-h", SERVER.ipv4];

async function ping(timeoutMs = 5_000): Promise<boolean> {
  const result = await site.run("client", [...REDIS, "PING"], { timeoutMs });
  return result.stdout.trim() === "PONG";
}

/** Milliseconds until a new flow gets an answer; each try is a flow of its own. */
async function untilNewFlow(): Promise<number> {
  const started = performance.now();
  await waitFor("a new flow", async () => ((await ping(150)) ? true : undefined), 20_000, 1);
  return performance.now() - started;
}

interface Transfer {
  readonly process: Background;
  readonly file: string;
  readonly digest: string;
}

/** A download that runs for some seconds. */
async function startTransfer(): Promise<Transfer> {
  const bytes = randomBytes(FILE_BYTES);
  writeFileSync(`${files}/files/file`, bytes, { mode: 0o644 });
  const digest = createHash("sha256").update(bytes).digest("hex");
  const file = `${site.options.directory}/download`;
  rmSync(file, { force: true });
  const url = `http://${SERVER.ipv4}:${PORTS.http}/file`;
  const curl = ["curl", "-sS", "--no-buffer", "--limit-rate", RATE, "-o", file, url];
  const logFile = `${site.options.directory}/curl.log`;
  const process = startBackground(site.inside("client", curl), { logFile });
  await waitFor("the transfer to run", () => (sizeOf(file) > 1 << 20 ? true : undefined));
  return { process, file, digest };
}

function sizeOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}

const STREAM_SECONDS = 7;

/**
 * A paced stream from server to client, and the longest time in ms that nothing of it arrived.
 * iperf3 and not the download: curl itself pauses for up to a second to keep its rate.
 */
async function startStream(): Promise<{ readonly standstillMs: Promise<number> }> {
  const iperf = ["iperf3", "-c", SERVER.ipv4, "-R", "-b", "40M", "-i", "0.1", "-J"];
  const command = [...iperf, "-t", String(STREAM_SECONDS)];
  const running = site.run("client", command, { timeoutMs: (STREAM_SECONDS + 20) * 1_000 });
  return {
    standstillMs: running.then(({ code, stdout }) =>
      code === 0 ? longestStandstillMs(JSON.parse(stdout)) : Number.POSITIVE_INFINITY,
    ),
  };
}

interface IperfReport {
  readonly intervals: readonly {
    readonly sum: { readonly bytes: number; readonly seconds: number };
  }[];
}

function longestStandstillMs(report: IperfReport): number {
  let longest = 0;
  let now = 0;
  for (const { sum } of report.intervals) {
    now = sum.bytes === 0 ? now + sum.seconds * 1_000 : 0;
    longest = Math.max(longest, now);
  }
  return longest;
}

async function expectWhole(transfer: Transfer): Promise<void> {
  expect(await transfer.process.exited).toBe(0);
  const digest = createHash("sha256").update(readFileSync(transfer.file)).digest("hex");
  expect(digest).toBe(transfer.digest);
}

const DAY_SECONDS = 86_400;
const clocks = [
  { name: "the sender's clock is set back a day", vm: "client", offset: -DAY_SECONDS },
  { name: "the receiver's clock is set back a day", vm: "server", offset: -DAY_SECONDS },
  { name: "the sender's clock is an hour ahead", vm: "client", offset: 3_600 },
  { name: "the receiver's clock is an hour ahead", vm: "server", offset: 3_600 },
];

describe.each(WAYS)("%s agents", (way) => {
  beforeAll(async () => {
    const contracts = [{ idleSeconds: IDLE_SECONDS, busySeconds: 600 }];
    const tenant = tenantOf([openAgent(CLIENT), openAgent(SERVER)], { contracts });
    site = await openSiteBy(way, "resilience", tenant);
    await site.keep(startRedis(site.host("server"), PORTS.redis));
    files = (await site.keep(startNginx(site.host("server"), PORTS.http))).directory;
    await site.keep(startIperf3(site.host("server"), PORTS.iperf));
  }, 2 * MINUTE_MS);

  afterAll(async () => {
    await site?.close();
  }, MINUTE_MS);

  test(
    "a server speaks after a silence in which its session has closed",
    async () => {
      const logFile = `${site.options.directory}/subscriber.log`;
      const subscriber = startBackground(site.inside("client", [...REDIS, "SUBSCRIBE", "news"]), {
        logFile,
      });
      await waitFor("the subscription", () =>
        subscriber.output().includes("news") ? true : undefined,
      );
      if (!BARE) {
        const closed = () =>
          site
            .agent("server")
            .events.all()
            .find((event) => event.event === "session-closed");
        await waitFor("the session to close", closed, (IDLE_SECONDS + 20) * 1_000, 100);
      }
      // Published from inside the server's own VM: the first packet after the silence is the
      // server's.
      await site.run("server", [...REDIS, "PUBLISH", "news", "after-the-silence"]);
      const heard = () => (subscriber.output().includes("after-the-silence") ? true : undefined);
      await waitFor("the message to arrive", heard, 3_000);
      await subscriber.stop("SIGKILL");
    },
    MINUTE_MS,
  );

  test.each(["client", "server"])(
    "the agent of the %s stands still for 10 s",
    async (vm) => {
      const transfer = await startTransfer();
      if (!BARE) site.agent(vm).signal("SIGSTOP");
      await Bun.sleep(10_000);
      if (!BARE) site.agent(vm).signal("SIGCONT");
      const newFlowMs = await untilNewFlow();
      console.log(`  new flow ${Math.round(newFlowMs)} ms after the agent of the ${vm} went on`);
      expect(newFlowMs).toBeLessThan(GO_ON_MS);
      await expectWhole(transfer);
    },
    MINUTE_MS,
  );

  test.each(["client", "server"])(
    "the agent of the %s is killed and started again",
    async (vm) => {
      const transfer = await startTransfer();
      const stream = await startStream();
      await Bun.sleep(1_000);
      if (!BARE) {
        await site.agent(vm).kill();
        site.agent(vm).restart();
      }
      const newFlowMs = Math.round(await untilNewFlow());
      const standstillMs = Math.round(await stream.standstillMs);
      console.log(
        `  ${vm}'s agent: new flow after ${newFlowMs} ms, stream stood ${standstillMs} ms`,
      );
      expect(newFlowMs).toBeLessThan(START_MS[way]);
      expect(standstillMs).toBeLessThan(START_MS[way]);
      await expectWhole(transfer);
    },
    MINUTE_MS,
  );

  test(
    "wrong clocks lock nobody out",
    async () => {
      expect(await ping()).toBe(true);
      if (BARE) return;
      for (const { name, vm, offset } of clocks) {
        const agent = site.agent(vm);
        await agent.stop();
        agent.restart(undefined, [`--wall-clock-offset=${offset}`]);
        await agent.ready();
        const newFlowMs = await untilNewFlow();
        console.log(`  ${name}: new flow after ${Math.round(newFlowMs)} ms`);
        expect(newFlowMs).toBeLessThan(GO_ON_MS);
        // And the other way: what the server starts by itself needs a session of its own.
        const back = ["ping", "-n", "-c", "1", "-W", "2", CLIENT.ipv4];
        expect((await site.run("server", back)).code).toBe(0);
      }
    },
    MINUTE_MS,
  );
});
