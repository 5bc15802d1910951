/**
 * A take-over that ends in any way but the clean one: kill -9 of agent and guard at every step, the
 * guard's own death, `onStop: closed`, resuming. Everything that the VM had comes back the same.
 */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readFileSync, rmSync, statSync, truncateSync } from "node:fs";
import { Bed, VM_MAC, waitFor } from "./takeover-bed.ts";

setDefaultTimeout(60_000);

let bed: Bed;
beforeEach(() => {
  bed = new Bed();
});
afterEach(async () => {
  await bed.remove();
});

const STEPS_IN = [
  "namespace-made",
  "state-saved",
  "guard-started",
  "outside-moved",
  "outside-quiet",
  "inside-made",
  "settings",
  "addresses",
  "routes",
  "neighbours",
  "taken",
] as const;
const STEPS_BACK = [
  "restoring",
  "inside-removed",
  "outside-returned",
  "offloads-restored",
  "outside-settings",
  "outside-addresses",
  "outside-routes",
  "outside-neighbours",
  "namespace-removed",
  "state-removed",
] as const;
/** Before this one the guard has nothing to guard, and nothing has been changed. */
const GUARDED_FROM = STEPS_IN.indexOf("guard-started");

describe.each(["veth", "tap"] as const)("kill -9, inside %s", (kind) => {
  test("at every step of the way in: the guard gives the interface back within 1 s", async () => {
    const before = bed.configuration("eth0");
    const features = bed.features("eth0");
    for (const step of STEPS_IN.slice(GUARDED_FROM)) {
      // As in `ip netns exec`: the mount of the private namespace ends with agent and guard.
      const agent = bed.start({ kind, killAfter: step }, true);
      await agent.process.exited;
      const milliseconds = waitFor(`${step}: the interface to be back`, () => bed.clean());
      expect(milliseconds).toBeLessThan(1_000);
      expect({ step, is: bed.configuration("eth0") }).toEqual({ step, is: before });
      expect(bed.features("eth0")).toBe(features);
    }
  });

  test("at every step of the way back: the guard finishes it", async () => {
    const before = bed.configuration("eth0");
    for (const step of STEPS_BACK) {
      const agent = bed.start({ kind, killAfter: step, stopAtOnce: "open" }, true);
      await agent.process.exited;
      waitFor(`${step}: the interface to be back`, () => bed.clean());
      waitFor(`${step}: addresses`, () => bed.configuration("eth0") === before);
    }
  });

  test("of agent and guard at every step: `restore` gives the interface back", async () => {
    const before = bed.configuration("eth0");
    const features = bed.features("eth0");
    const ways = [
      ...STEPS_IN.map((step) => ({ step, back: false })),
      ...STEPS_BACK.map((step) => ({ step, back: true })),
    ];
    for (const { step, back } of ways) {
      const stop = back ? ({ stopAtOnce: "open" } as const) : {};
      const agent = bed.start({ kind, killAfter: step, killGuardToo: true, ...stop });
      await agent.process.exited;
      await bed.restore();
      expect({ step, is: bed.configuration("eth0") }).toEqual({ step, is: before });
      expect(bed.features("eth0")).toBe(features);
      expect(bed.clean()).toBe(true);
    }
  });

  test("of agent and guard at every step: the next start resumes, and all comes back", async () => {
    const before = bed.configuration("eth0");
    const ways = [
      ...STEPS_IN.map((step) => ({ step, back: false })),
      ...STEPS_BACK.map((step) => ({ step, back: true })),
    ];
    for (const { step, back } of ways) {
      const stop = back ? ({ stopAtOnce: "open" } as const) : {};
      const killed = bed.start({ kind, killAfter: step, killGuardToo: true, ...stop });
      await killed.process.exited;
      const agent = bed.start({ kind, onStop: "closed" });
      await agent.event("ready");
      expect({ step, is: bed.configuration("abs0") }).toEqual({ step, is: before });
      expect(bed.interfaces()).toEqual(["abs0", "lo"]);
      await agent.stop("open");
      expect({ step, is: bed.configuration("eth0") }).toEqual({ step, is: before });
    }
  });
});

describe("onStop closed", () => {
  test("kill -9 leaves the VM cut off, held by the guard; the next start resumes", async () => {
    const before = bed.configuration("eth0");
    const first = bed.start({ onStop: "closed" }, true);
    await first.event("following");
    const guard = bed.guardPid();
    first.kill();
    await first.process.exited;
    Bun.sleepSync(300);
    expect(bed.interfaces()).toEqual(["abs0", "lo"]);
    expect(bed.configuration("abs0")).toBe(before);
    expect(bed.inPrivate("ip", "-o", "link")).toContain(VM_MAC);
    const second = bed.start({ onStop: "closed" }, true);
    const ready = await second.event("ready");
    expect(ready["resumed"]).toBe(true);
    expect(bed.configuration("abs0")).toBe(before);
    waitFor("the first guard to end", () => !alive(guard));
    expect(alive(bed.guardPid())).toBe(true);
    await second.stop("open");
    expect(bed.configuration("eth0")).toBe(before);
    expect(bed.clean()).toBe(true);
  });

  test("a TAP goes with its process and comes back with everything", async () => {
    const before = bed.configuration("eth0");
    const first = bed.start({ kind: "tap", onStop: "closed" }, true);
    await first.event("following");
    first.kill();
    await first.process.exited;
    waitFor("the TAP to go", () => bed.interfaces().length === 1);
    const second = bed.start({ kind: "tap", onStop: "closed" }, true);
    await second.event("ready");
    expect(bed.configuration("abs0")).toBe(before);
    await second.stop("open");
    expect(bed.configuration("eth0")).toBe(before);
  });

  test("a clean stop may choose either", async () => {
    const before = bed.configuration("eth0");
    const first = bed.start({ onStop: "open" });
    await first.event("following");
    await first.stop("closed");
    expect(bed.interfaces()).toEqual(["abs0", "lo"]);
    // Another kind of inside interface: what the VM has now moves on to it.
    const second = bed.start({ kind: "tap", name: "abs1", onStop: "closed" });
    await second.event("following");
    expect(bed.interfaces()).toEqual(["abs1", "lo"]);
    expect(bed.configuration("abs1")).toBe(before);
    await second.stop("open");
    expect(bed.configuration("eth0")).toBe(before);
    expect(bed.clean()).toBe(true);
  });

  test("`restore` gives a closed interface back, and the guard ends", async () => {
    const before = bed.configuration("eth0");
    const agent = bed.start({ onStop: "closed" });
    await agent.event("following");
    const guard = bed.guardPid();
    agent.kill();
    await agent.process.exited;
    expect((await bed.restore())["any"]).toBe(true);
    expect(bed.configuration("eth0")).toBe(before);
    waitFor("the guard to end", () => !alive(guard));
    expect((await bed.restore())["any"]).toBe(false);
  });
});

describe("the guard", () => {
  test("is replaced when it dies, and the new one does its work", async () => {
    const before = bed.configuration("eth0");
    const agent = bed.start({}, true);
    await agent.event("following");
    const first = bed.guardPid();
    process.kill(first, "SIGKILL");
    waitFor("another guard", () => bed.guardPid() !== first);
    agent.kill();
    waitFor("the interface to be back", () => bed.clean());
    expect(bed.configuration("eth0")).toBe(before);
  });

  test("is not ended by signals meant for the agent, and is small", async () => {
    const agent = bed.start({}, true);
    await agent.event("following");
    const guard = bed.guardPid();
    for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.kill(guard, signal);
    Bun.sleepSync(50);
    expect(alive(guard)).toBe(true);
    const memory = readFileSync(`/proc/${guard}/smaps_rollup`, "utf8");
    const privateKib = [...memory.matchAll(/^Private_\w+:\s+(\d+) kB/gm)];
    const total = privateKib.reduce((sum, match) => sum + Number(match[1]), 0);
    // The program's own pages are shared with the agent; this is what the guard costs on top.
    expect(total).toBeLessThan(16_384);
  });

  test("gives the interface back when the state directory is removed under it", async () => {
    const before = bed.configuration("eth0");
    const agent = bed.start({ onStop: "closed" }, true);
    await agent.event("following");
    agent.kill();
    await agent.process.exited;
    rmSync(bed.stateDir, { recursive: true });
    waitFor("the interface to be back", () => bed.interfaces().includes("eth0"));
    waitFor("its addresses to be back", () => bed.configuration("eth0") === before);
  });

  test.each(["open", "closed"] as const)("outlives a damaged state file, %s", async (onStop) => {
    const before = bed.configuration("eth0");
    const agent = bed.start({ onStop }, true);
    await agent.event("following");
    const path = `${bed.stateDir}/takeover.json`;
    truncateSync(path, 100);
    agent.kill();
    await agent.process.exited;
    waitFor("the file to be put aside", () => existsSync(`${path}.damaged`));
    if (onStop === "closed") {
      waitFor("the file to be whole again", () => statSync(path).size > 100);
      expect(bed.interfaces()).not.toContain("eth0");
      expect((await bed.restore())["any"]).toBe(true);
    }
    waitFor("the interface to be back", () => bed.interfaces().includes("eth0"));
    waitFor("its addresses to be back", () => bed.configuration("eth0") === before);
  });
});

function alive(pid: number): boolean {
  return (
    existsSync(`/proc/${pid}/stat`) &&
    !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"))
  );
}

describe("the next start", () => {
  test("started for another outside interface, the first one is given back", async () => {
    const before = bed.configuration("eth0");
    bed.batch(`
      link add eth1 type veth peer name eth1far
      link set eth1far up
      link set eth1 up
    `);
    const first = bed.start({ killAfter: "taken", killGuardToo: true, onStop: "closed" });
    await first.process.exited;
    const second = bed.start({ outside: "eth1" });
    await second.event("following");
    expect(bed.interfaces()).toEqual(["abs0", "eth0", "eth1far", "lo"]);
    await second.stop("open");
    bed.batch("link del eth1");
    expect(bed.configuration("eth0")).toBe(before);
  });

  test("killed again while resuming, it resumes once more", async () => {
    const before = bed.configuration("eth0");
    for (const kind of ["veth", "tap"] as const) {
      for (const killAfter of ["state-saved", "outside-quiet", "inside-made", "addresses"]) {
        const stopped = bed.start({ kind, onStop: "closed", killAfter: "taken" }, true);
        await stopped.process.exited;
        const killed = bed.start({ kind, onStop: "closed", killAfter }, true);
        await Promise.race([killed.process.exited, killed.event("following")]);
        killed.kill();
        await killed.process.exited;
        const agent = bed.start({ kind, onStop: "closed" }, true);
        await agent.event("following");
        expect({ killAfter, is: bed.configuration("abs0") }).toEqual({ killAfter, is: before });
        await agent.stop("open");
        expect({ killAfter, is: bed.configuration("eth0") }).toEqual({ killAfter, is: before });
      }
    }
  });
});
