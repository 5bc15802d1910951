/**
 * `abs agent run` told to stop while it starts, and `abs agent restore` after a stop that keeps the
 * VM cut off: each time the VM's interface is as it was before. design/agent.md "onStop". In each
 * way (enrolled-site.ts): what enrolment left in the folder outlives every one of these ends.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, rmSync } from "node:fs";
import { eventsFile, LabAgent, stateDirectory } from "../../src/lab/agents.ts";
import { runCommand, waitFor } from "../../src/lab/command.ts";
import type { Site } from "../../src/lab/site.ts";
import { namespaceOf } from "../../src/lab/topology.ts";
import { describeTenant, enrol, WAYS, type Way } from "./enrolled-site.ts";
import { ABS, CLIENT, openAgent, openSite, SERVER, stopwatch, tenantOf } from "./harness.ts";
import { ManagerBed } from "./manager-bed.ts";

const MINUTE_MS = 60_000;
const done = stopwatch("e2e interrupted start");
const tenant = tenantOf([openAgent(CLIENT), openAgent(SERVER)]);
const DELAYS_MS = {
  provisioned: [0, 60, 100, 140, 180, 220, 260, 300, 350, 400, 500],
  enrolled: [60, 180, 300, 500],
};
let site: Site;
let before: string;

afterAll(done);

/** Nothing runs in its VMs; enrolled or not, the client's agent can be started. */
async function openStill(way: Way): Promise<Site> {
  if (way === "provisioned") return await openSite("interrupted", [tenant], { agents: "none" });
  const bed = await ManagerBed.open("interrupted", [CLIENT, SERVER]);
  try {
    await describeTenant(bed, tenant);
    for (const agent of tenant.plan.agents) await enrol(bed, agent);
    return bed.site;
  } catch (thrown) {
    await bed.close();
    throw thrown;
  }
}

/** Interfaces, addresses and routes of the VM; numbers of interfaces stay, lifetimes are none. */
async function configuration(): Promise<string> {
  const parts = [
    ["ip", "-j", "addr"],
    ["ip", "-j", "route"],
    ["ip", "-j", "-6", "route"],
  ].map(async (command) => (await site.run("client", command)).stdout);
  return (await Promise.all(parts)).join("\n");
}

function startAgent(way: Way): LabAgent {
  return LabAgent.start({
    vm: "client",
    namespace: namespaceOf(site.options.prefix, "client"),
    abs: ABS,
    directory: directory(),
    ...(way === "provisioned" ? { provisioning: tenant.provisioningOf("client") } : {}),
    onStop: "closed",
  });
}

function directory(): string {
  return `${site.options.directory}/client`;
}

function isClean(): boolean {
  const left = ["takeover.json", "netns", "guard.pid"];
  return !left.some((name) => existsSync(`${stateDirectory(directory())}/${name}`));
}

async function restore(): Promise<{ code: number; words: string }> {
  const state = stateDirectory(directory());
  const command = [...ABS, "agent", "restore", "--state", state];
  const result = await runCommand(site.inside("client", command));
  await waitFor("the interface", () => (isClean() ? true : undefined), 20_000, 10);
  return { code: result.code, words: result.stderr };
}

describe.each(WAYS)("%s agents", (way) => {
  beforeAll(async () => {
    site = await openStill(way);
    before = await waitFor("addresses to be settled", async () => {
      const text = await configuration();
      return text.includes("fe80") && !text.includes("tentative") ? text : undefined;
    });
  }, 2 * MINUTE_MS);
  beforeEach(async () => {
    await restore();
    const made = [stateDirectory(directory()), eventsFile({ directory: directory() })];
    for (const path of made) rmSync(path, { recursive: true, force: true });
  }, MINUTE_MS);
  afterAll(async () => {
    await site?.close();
  }, MINUTE_MS);

  const interruptions = DELAYS_MS[way].flatMap((delayMs) => [
    { signal: "SIGTERM" as const, exitCode: 143, delayMs },
    { signal: "SIGINT" as const, exitCode: 130, delayMs: delayMs + 20 },
  ]);
  test.each(interruptions)(
    "$signal after $delayMs ms undoes the start",
    async ({ signal, exitCode, delayMs }) => {
      const agent = startAgent(way);
      await Bun.sleep(delayMs);
      const ended = await agent.stop(signal);
      const isReady = agent.events.all().some(({ event }) => event === "agent-ready");
      if (isReady) {
        // Too late for this: a stop as `onStop` says.
        expect(ended).toBe(0);
        await restore();
      } else expect(ended).toBe(exitCode);
      expect(isClean()).toBe(true);
      expect(await configuration()).toBe(before);
    },
    MINUTE_MS,
  );

  test(
    "restore gives back what a stopped agent keeps cut off, once, and not from a running one",
    async () => {
      const agent = startAgent(way);
      await agent.ready();
      const state = stateDirectory(directory());
      const command = site.inside("client", [...ABS, "agent", "restore", "--state", state]);
      const busy = await runCommand(command);
      expect([busy.code, busy.stdout]).toEqual([1, ""]);
      expect(busy.stderr).toContain("STATE_BUSY");
      expect(await agent.stop()).toBe(0);
      expect(await configuration()).not.toBe(before);
      const first = await restore();
      expect(first.code).toBe(0);
      expect(first.words).toContain("as it was before");
      expect(await configuration()).toBe(before);
      const second = await restore();
      expect(second.code).toBe(0);
      expect(second.words).toContain("Nothing to give back");
    },
    MINUTE_MS,
  );
});
