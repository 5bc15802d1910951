/**
 * Quarantine at a real switch: ovs-vswitchd with three VMs, and the built manager beside it, which
 * speaks OpenFlow with it over TCP. Drops are measured from the manager's event on, since how long
 * the command takes to start is not the switch's.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import {
  type Background,
  mustRun,
  runCommand,
  startBackground,
  waitFor,
} from "../../src/lab/command.ts";
import { OvsBed, type Vm } from "../switch/ovs-bed.ts";
import { ABS } from "./harness.ts";

/** Somebody else's: forwarding as usual, and a rule with our priority. */
const OTHERS = ["cookie=0x77,priority=65500,udp,tp_dst=9999,actions=drop"];
const DROPPED_MS_MAX = 1000;
const MINUTE_MS = 60_000;
let bed: OvsBed;
let a: Vm;
let b: Vm;
let c: Vm;
let manager: Background;
let starts = 0;
let before: string[];

beforeAll(async () => {
  bed = await OvsBed.open(3);
  [a, b, c] = bed.vms as [Vm, Vm, Vm];
  await bed.vsctl("set-controller", "br0", "ptcp:6653:127.0.0.1");
  for (const rule of OTHERS) await bed.ofctl("add-flow", rule);
  before = await bed.rules();
  await startManager();
  await ask("switch", "add", "br0", "--at", "tcp:127.0.0.1:6653");
  await untilSwitch("as-wanted");
}, MINUTE_MS);

afterAll(async () => {
  await manager?.stop();
  await bed?.close();
});

async function startManager(): Promise<void> {
  const serve = ["manager", "serve", "--dir", join(bed.dir, "manager"), "--api", "off"];
  const argv = [...ABS, ...serve, "--address", "127.0.0.1:7022"];
  const logFile = join(bed.dir, `manager-${++starts}.log`);
  manager = startBackground(["ip", "netns", "exec", bed.namespace, ...argv], { logFile });
  const isUp = () => manager.output().includes("manager-started") || undefined;
  await waitFor("the manager", isUp, MINUTE_MS);
}

async function ask(...words: string[]): Promise<unknown> {
  const argv = [...ABS, "manager", ...words, "--dir", join(bed.dir, "manager")];
  const inside = ["ip", "netns", "exec", bed.namespace, ...argv, "--output", "json"];
  return JSON.parse((await mustRun(inside)).stdout) as unknown;
}

type SwitchRow = { readonly state: string; readonly rules: number };
async function untilSwitch(state: string): Promise<void> {
  const isSo = async () => {
    const [row] = (await ask("switch", "list")) as SwitchRow[];
    return row?.state === state ? true : undefined;
  };
  await waitFor(`the switch to be ${state}`, isSo, MINUTE_MS);
}

/** When answers came, in seconds since 1970; a hundred questions a second. */
class Pings {
  readonly #ping: Background;

  constructor(from: Vm, to: Vm) {
    const words = ["ping", "-n", "-D", "-i", "0.01", to.address];
    const logFile = join(bed.dir, `ping-${++starts}.log`);
    const unbuffered = ["stdbuf", "-oL", ...words];
    this.#ping = startBackground(["ip", "netns", "exec", from.name, ...unbuffered], { logFile });
  }

  get times(): number[] {
    const found = this.#ping.output().matchAll(/^\[([\d.]+)\] \d+ bytes from/gm);
    return [...found].map((match) => Number(match[1]) * 1000);
  }

  async untilAfter(ms: number): Promise<number> {
    const after = () => this.times.find((time) => time > ms);
    return await waitFor("an answer", after, 20_000);
  }

  async stop(): Promise<void> {
    await this.#ping.stop("SIGINT");
  }
}

function identity(vm: Vm): string[] {
  return ["--address", vm.address, "--mac", vm.mac, "--port", `br0:${vm.port}`];
}

async function quarantine(vm: Vm, ...more: string[]): Promise<string> {
  const one = (await ask("quarantine", "add", ...identity(vm), ...more)) as { number: number };
  return String(one.number);
}

function events(name: string): Record<string, unknown>[] {
  const lines = manager
    .output()
    .split("\n")
    .filter((line) => line.startsWith("{"));
  const all = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  return all.filter(({ event }) => event === name);
}

async function reach(): Promise<boolean[]> {
  return Promise.all([bed.pings(a, b), bed.pings(b, a), bed.pings(b, c), bed.pings(c, b)]);
}

test("before: all VMs reach each other", async () => {
  expect(await reach()).toEqual([true, true, true, true]);
});

test(
  "in quarantine it is dropped within a second, the others are not; released, it flows",
  async () => {
    const pings = new Pings(a, b);
    const others = new Pings(b, c);
    const start = await pings.untilAfter(0);
    const askedMs = Date.now();
    const number = await quarantine(a, "--reason", "port scan", "--for", "10m");
    await Bun.sleep(DROPPED_MS_MAX);
    const beganMs = Date.parse(String(events("quarantine-began")[0]?.["time"]));
    const lastMs = pings.times.at(-1) ?? start;
    const droppedMs = lastMs - beganMs;
    expect(droppedMs).toBeLessThan(DROPPED_MS_MAX);
    await others.untilAfter(askedMs + DROPPED_MS_MAX);
    expect(await reach()).toEqual([false, false, true, true]);
    expect(await ask("quarantine", "list")).toMatchObject([
      { host: a.address, macs: [a.mac], ports: ["br0:1"], reason: "port scan", by: "local" },
    ]);
    expect((await ask("switch", "list")) as SwitchRow[]).toMatchObject([{ rules: 4 }]);
    const releasedMs = Date.now();
    await ask("quarantine", "release", number, "--reason", "cleaned");
    const flowsMs = (await pings.untilAfter(releasedMs)) - releasedMs;
    await pings.stop();
    await others.stop();
    const [fromEvent, fromCommand] = [droppedMs, lastMs - askedMs].map(Math.round);
    console.log(
      `the last packet: ${fromEvent} ms after the event, ${fromCommand} after the command`,
    );
    console.log(`released: the first one ${Math.round(flowsMs)} ms after the command`);
    expect(await reach()).toEqual([true, true, true, true]);
    expect(await bed.rules()).toEqual(before);
  },
  MINUTE_MS,
);

test("whoever did it is in the audit log, and what was done is told", async () => {
  const audit = (await ask("audit")) as { command: string; outcome: string }[];
  const commands = audit.filter(({ command }) => command.startsWith("quarantine"));
  expect(commands.map(({ outcome }) => outcome)).toEqual(["done", "done"]);
  expect(events("quarantine-began")).toMatchObject([{ host: a.address, reason: "port scan" }]);
  expect(events("quarantine-over")[0]?.["reason"]).toBe("released by local: cleaned");
});

test(
  "its time over, it flows again by itself",
  async () => {
    const startMs = Date.now();
    await quarantine(a, "--for", "3s");
    expect(await bed.pings(a, b)).toBe(false);
    const flows = async () => (await bed.pings(a, b)) || undefined;
    await waitFor("traffic after the time-out", flows, 20_000);
    expect(Date.now() - startMs).toBeGreaterThan(2000);
    const isListed = async () => ((await ask("quarantine", "list")) as unknown[]).length === 0;
    await waitFor("the end in the list", async () => (await isListed()) || undefined, 20_000);
    expect(events("quarantine-over").at(-1)?.["reason"]).toBe("time-out");
    expect(await bed.rules()).toEqual(before);
  },
  MINUTE_MS,
);

test(
  "the switch restarts with no rules: it gets ours again",
  async () => {
    const number = await quarantine(a);
    await bed.stop();
    await untilSwitch("not-connected");
    await bed.start();
    await bed.untilUp();
    for (const rule of OTHERS) await bed.ofctl("add-flow", rule);
    await untilSwitch("as-wanted");
    expect(await reach()).toEqual([false, false, true, true]);
    await ask("quarantine", "release", number);
    expect(await bed.rules()).toEqual(before);
    expect(events("switch-lost")).toHaveLength(1);
  },
  MINUTE_MS,
);

test(
  "the manager is killed: the rule stays; back again, it mends what was changed meanwhile",
  async () => {
    const number = await quarantine(a);
    const ours = (await bed.rules()).find((rule) => rule.includes(`dl_src=${a.mac}`)) ?? "";
    await manager.stop("SIGKILL");
    expect(await bed.pings(a, b)).toBe(false);
    await bed.ofctl("del-flows", `dl_src=${a.mac}`);
    const cookie = /cookie=(0x[0-9a-f]+)/.exec(ours)?.[1] ?? "";
    await bed.ofctl("add-flow", `cookie=${cookie},priority=9,in_port=2,actions=drop`);
    await startManager();
    await untilSwitch("as-wanted");
    const rules = await bed.rules();
    // The time that is left is shorter now.
    const timeless = (rule: string) => rule.replace(/hard_timeout=\d+/, "");
    expect(rules.map(timeless)).toContain(timeless(ours));
    expect(rules).toHaveLength(before.length + 4);
    expect(await reach()).toEqual([false, false, true, true]);
    await ask("quarantine", "release", number);
    expect(await bed.rules()).toEqual(before);
  },
  MINUTE_MS,
);

test(
  "the manager is gone for good: the switch ends the rule by its own clock",
  async () => {
    await quarantine(a, "--for", "4s");
    await manager.stop("SIGKILL");
    expect(await bed.pings(a, b)).toBe(false);
    const flows = async () => (await bed.pings(a, b)) || undefined;
    await waitFor("traffic after the time-out", flows, 20_000);
    expect(await bed.rules()).toEqual(before);
    await startManager();
    await untilSwitch("as-wanted");
    expect(await ask("quarantine", "list")).toEqual([]);
  },
  MINUTE_MS,
);

test(
  "a switch that is removed keeps none of our rules, and all of the others'",
  async () => {
    await quarantine(a, "--for", "ever");
    expect(await bed.pings(a, b)).toBe(false);
    expect(await ask("switch", "remove", "br0")).toEqual({ removed: "br0", cleared: true });
    expect(await bed.rules()).toEqual(before);
    const wrong = [...ABS, "manager", "quarantine", "add", "--dir", join(bed.dir, "manager")];
    const inside = ["ip", "netns", "exec", bed.namespace, ...wrong];
    const own = await runCommand([...inside, "--address", "127.0.0.1"]);
    expect([own.code, own.stderr.includes("QUARANTINE_OF_MANAGER")]).toEqual([1, true]);
  },
  MINUTE_MS,
);
