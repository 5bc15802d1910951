/**
 * The outside interface goes down and comes up again: its socket has an error pending meanwhile,
 * which must neither end the agent nor keep its worker awake. c/dpdk_shim.c abs_wait().
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { stateDirectory } from "../../src/lab/agents.ts";
import { runCommand, waitFor } from "../../src/lab/command.ts";
import { startRedis } from "../../src/lab/programs.ts";
import type { Site } from "../../src/lab/site.ts";
import { openSiteBy, WAYS } from "./enrolled-site.ts";
import { BARE, CLIENT, openAgent, PORTS, SERVER, stopwatch, tenantOf } from "./harness.ts";

const MINUTE_MS = 60_000;
const DOWN_MS = 3_000;
/** Share of a core; a spinning worker takes all of one. */
const BUSY_MAX = 0.2;
const TICKS_PER_SECOND = 100;
const done = stopwatch("e2e link flap");
let site: Site;

afterAll(done);

/** Changes the interface where it is: with an agent, in the agent's private namespace. */
async function setLink(state: "up" | "down"): Promise<void> {
  const change = ["ip", "link", "set", "eth0", state];
  const mount = `${stateDirectory(`${site.options.directory}/client`)}/netns`;
  const command = BARE ? site.inside("client", change) : ["nsenter", `--net=${mount}`, ...change];
  const result = await runCommand(command);
  expect([result.code, result.stderr]).toEqual([0, ""]);
}

async function ping(): Promise<boolean> {
  const command = ["redis-cli", "-h", SERVER.ipv4, "PING"];
  const result = await site.run("client", command, { timeoutMs: 1_000 });
  return result.stdout.trim() === "PONG";
}

/** Seconds of processor time of the client's agent so far. */
function cpuSeconds(): number {
  if (BARE) return 0;
  const text = readFileSync(`/proc/${site.agent("client").pid}/stat`, "utf8");
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

describe.each(WAYS)("%s agents", (way) => {
  beforeAll(async () => {
    site = await openSiteBy(way, "flap", tenantOf([openAgent(CLIENT), openAgent(SERVER)]));
    await site.keep(startRedis(site.host("server"), PORTS.redis));
  }, 2 * MINUTE_MS);

  afterAll(async () => {
    await site?.close();
  }, MINUTE_MS);

  test(
    "traffic goes on after the link was down, and an agent without link sleeps",
    async () => {
      expect(await ping()).toBe(true);
      for (let flap = 0; flap < 2; flap++) {
        await setLink("down");
        const before = cpuSeconds();
        await Bun.sleep(DOWN_MS);
        expect((cpuSeconds() - before) / (DOWN_MS / 1_000)).toBeLessThan(BUSY_MAX);
        expect(await ping()).toBe(false);
        await setLink("up");
        await waitFor("redis to answer", async () => ((await ping()) ? true : undefined), 20_000);
      }
    },
    MINUTE_MS,
  );
});
