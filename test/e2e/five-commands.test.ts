/**
 * README's five commands, and the sixth, typed as README shows them, on three machines that have
 * nothing of `abs` but the program: the folders are the usual ones, in file systems of each
 * machine's own.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { inject } from "../../src/lab/check.ts";
import { type Background, waitFor } from "../../src/lab/command.ts";
import { isNeighbourDiscovery, isPeerChannel, PROTOCOL } from "../../src/lab/frames.ts";
import { Machine } from "../../src/lab/machine.ts";
import type { Site } from "../../src/lab/site.ts";
import type { VmPlan } from "../../src/lab/topology.ts";
import { barePackets } from "./attack-frames.ts";
import { CLIENT, openSite, SERVER, stopwatch } from "./harness.ts";
import { MANAGER } from "./manager-bed.ts";

const README = join(import.meta.dir, "../../README.md");
const MINUTE_MS = 60_000;
// The addresses that barePackets() forges are these two's.
const WEB: VmPlan = { ...CLIENT, name: "web" };
const DB: VmPlan = { ...SERVER, name: "db" };
const done = stopwatch("e2e five commands");

type Event = Readonly<Record<string, unknown>> & { readonly event: string };

/** A command that stays at a machine's prompt. */
class Running {
  constructor(readonly shell: Background) {}

  /** JSON objects among its lines. */
  events(): Event[] {
    const lines = this.shell.output().split("\n");
    return lines.filter((line) => line.startsWith("{")).map((line) => JSON.parse(line) as Event);
  }

  async event(name: string): Promise<Event> {
    const find = () => this.events().find(({ event }) => event === name);
    return await waitFor(`${name} of ${this.shell.command}`, find, MINUTE_MS);
  }
}

const running: Running[] = [];

function start(machine: Machine, line: string, log: string): Running {
  const started = new Running(machine.start(line, log));
  running.push(started);
  return started;
}

/** The commands of README's chapter, in their order, without what is said beside them. */
function commandsOfReadme(): string[] {
  const chapters = readFileSync(README, "utf8").split("\n## ");
  const chapter = chapters.find((text) => text.startsWith("From nothing to two VMs")) ?? "";
  const fences = [...chapter.matchAll(/^```\n([\s\S]*?)^```$/gm)].map(([, text = ""]) => text);
  const lines = fences.join("").split("\n");
  return lines.map((line) => line.replace(/\s+#.*$/, "")).filter((line) => line !== "");
}

let site: Site;
let machines: Record<"manager" | "web" | "db", Machine>;
let agents: readonly Running[];

beforeAll(async () => {
  site = await openSite("five", [], { vms: [WEB, DB], machines: [MANAGER] });
  const boot = (name: string) => Machine.boot(site, name);
  const [manager, web, db] = await Promise.all([boot("manager"), boot("web"), boot("db")]);
  machines = { manager, web, db };
}, MINUTE_MS);

afterAll(async () => {
  for (const { shell } of running.reverse()) await shell.stop();
  await site?.close();
  done();
}, MINUTE_MS);

async function ping(count: number, address = DB.ipv4) {
  const words = ["ping", "-n", "-c", `${count}`, "-i", "0.2", "-W", "2", address];
  return await site.run(WEB.name, words, { timeoutMs: 20_000 });
}

test(
  "five commands, and two VMs talk under proof",
  async () => {
    const [serve = "", inviteWeb = "", inviteDb = "", runWeb = "", runDb = ""] = commandsOfReadme();
    expect([serve, inviteWeb, inviteDb].map((line) => line.split(" ")[2])).toEqual([
      ...["serve", "invite", "invite"],
    ]);
    await start(machines.manager, serve, "serve").event("manager-started");
    const tokens = [await machines.manager.type(inviteWeb), await machines.manager.type(inviteDb)];
    const [webLine = "", dbLine = ""] = [runWeb, runDb].map((line, i) => {
      expect(line).toContain("abs agent run --enroll TOKEN ");
      return line.replace("TOKEN", tokens[i] ?? "");
    });
    agents = [start(machines.web, webLine, "agent"), start(machines.db, dbLine, "agent")];
    for (const agent of agents) await agent.event("agent-ready");
    // The contracts come with the ledger's blocks.
    const answers = async () => ((await ping(1)).code === 0 ? true : undefined);
    await waitFor("the first answer", answers, MINUTE_MS);
    const tap = site.tapSwitch();
    expect((await ping(5)).stdout).toContain("5 packets transmitted, 5 received");
    expect((await ping(5, DB.ipv6)).stdout).toContain("5 packets transmitted, 5 received");
    const ours: readonly unknown[] = [WEB, DB].flatMap(({ ipv4, ipv6 }) => [ipv4, ipv6]);
    const seen = tap.frames().filter((frame) => {
      const isOurs = ours.includes(frame.source) && ours.includes(frame.destination);
      return isOurs && !isPeerChannel(frame) && !isNeighbourDiscovery(frame);
    });
    tap.close();
    expect(seen.length).toBeGreaterThan(16);
    expect([...new Set(seen.map(({ protocol }) => protocol))]).toEqual([PROTOCOL.abs]);
  },
  2 * MINUTE_MS,
);

/** What db's agent did with packets that claim to be web's and prove nothing: let in, or not. */
async function verdictsOf(sourcePort: number): Promise<boolean[]> {
  const find = () => {
    const told = (agents[1] as Running).events().filter((event) => {
      return event.event === "refused" && event["sourcePort"] === sourcePort;
    });
    return told.length > 0 ? told : undefined;
  };
  inject(site, DB.name, barePackets(WEB, sourcePort));
  const told = await waitFor("the verdicts on bare packets", find, MINUTE_MS);
  return told.map((event) => event["enforced"] === false);
}

test(
  "the sixth makes an unproven packet refused, which was let in before and only reported",
  async () => {
    expect(new Set(await verdictsOf(20_001))).toEqual(new Set([true]));
    const [, , , , , sixth = ""] = commandsOfReadme();
    expect(await machines.manager.type(sixth)).toBe("2 changed");
    const areSet = async () => {
      const text = await machines.manager.type("abs manager agents list --output json");
      const rows = JSON.parse(text) as { mode: string; stage: string; version: string }[];
      return rows.every(({ version }) => /^(\d+)\/\1$/.test(version)) ? rows : undefined;
    };
    for (const row of await waitFor("both to report it in force", areSet, MINUTE_MS, 100)) {
      expect(row).toMatchObject({ mode: "full", stage: "enforce" });
    }
    expect(new Set(await verdictsOf(20_002))).toEqual(new Set([false]));
  },
  2 * MINUTE_MS,
);

test(
  "the same command starts the agent again: the token is used up, and not needed",
  async () => {
    const [web] = agents;
    await web?.shell.stop();
    const line = commandsOfReadme()[3] ?? "";
    const again = start(machines.web, line, "agent-again");
    await again.event("agent-ready");
    await again.event("manager-connected");
    expect(again.shell.output()).toContain("is enrolled already");
  },
  2 * MINUTE_MS,
);

test(
  "the first tenant's recovery key is sealed, printed to who asks, and forgotten",
  async () => {
    const { manager } = machines;
    const key = await manager.type("abs manager tenant recovery default");
    expect(key).toMatch(/^[0-9a-f]{64}$/);
    await manager.type("abs manager tenant recovery default --forget");
    const again = manager.type("abs manager tenant recovery default");
    await expect(again).rejects.toThrow("was printed when");
  },
  MINUTE_MS,
);
