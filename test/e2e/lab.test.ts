/**
 * `abs lab` as its user meets it: the story passes, the lab stays up between commands, and nothing
 * is left behind, however it ends. Drives dist/abs.
 */
import { afterAll, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { type CommandResult, runCommand, startBackground, waitFor } from "../../src/lab/command.ts";
import { CHECKS } from "../../src/lab/story.ts";
import { namespacesOf } from "../../src/lab/topology.ts";
import { ABS, stopwatch } from "./harness.ts";

const MINUTE_MS = 60_000;
/** Until a lab is up, on a machine that has much else to do; 15 s on one that has not. */
const UP_MS = 2 * MINUTE_MS;
const NAME = "test-e2e";
const DIRECTORY = `/run/abs-${NAME}`;
const LOG = `/tmp/abs-${NAME}.log`;
const done = stopwatch("e2e lab");

afterAll(async () => {
  await lab("down");
  await runCommand(["rm", "-f", LOG]);
  done();
}, MINUTE_MS);

async function lab(command: string, ...more: readonly string[]) {
  return await runCommand([...ABS, "lab", command, "--name", NAME, ...more], {
    timeoutMs: 5 * MINUTE_MS,
  });
}

/** Typed on a machine of the lab. */
async function typed(machine: string, ...words: string[]) {
  return await lab("exec", machine, "--", "abs", ...words);
}

const FOLDER = "/var/lib/abs/agent";
const MASTER_FOLDER = "/var/lib/abs/manager/ledgers/default";

async function ledgerStatus(name: string): Promise<unknown> {
  const folder = name === "manager" ? MASTER_FOLDER : FOLDER;
  const asked = await typed(name, "ledger", "status", "--dir", folder, "--output", "json");
  return JSON.parse(asked.stdout);
}

/** Command lines of what has folders of the lab mounted, or names them: agents, guards, servers. */
function processesLeft(): string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((pid) => fileOf(pid, "mountinfo").includes(`/abs-${NAME}/`) || isNamed(pid))
    .map((pid) => fileOf(pid, "cmdline").replaceAll("\0", " "));
}

function isNamed(pid: string): boolean {
  return fileOf(pid, "cmdline").includes(`${DIRECTORY}/`);
}

function fileOf(pid: string, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, "utf8");
  } catch {
    return ""; // It has ended meanwhile.
  }
}

/** What `abs lab run --output json` printed; where the lab did not come up, why. */
function storyOf({ stdout, stderr }: CommandResult) {
  if (stdout === "") throw new Error(`no story: ${stderr.slice(-2_000)}`);
  return JSON.parse(stdout);
}

async function expectNothingLeft(): Promise<void> {
  expect(namespacesOf(`abs-${NAME}-`)).toEqual([]);
  expect(existsSync(DIRECTORY)).toBe(false);
  expect(processesLeft()).toEqual([]);
  const mounts = await Bun.file("/proc/self/mountinfo").text();
  expect(mounts.includes(DIRECTORY)).toBe(false);
}

test(
  "the whole story passes within 240 s and leaves nothing behind",
  async () => {
    const started = performance.now();
    const result = await lab("run", "--output", "json");
    const seconds = (performance.now() - started) / 1_000;
    expect(result.timedOut).toBe(false);
    const story = storyOf(result);
    const failed = story.checks.filter((check: { passed: boolean }) => !check.passed);
    expect(failed).toEqual([]);
    expect(story.passed).toBe(CHECKS.length);
    expect(CHECKS.length).toBeGreaterThanOrEqual(37);
    expect(story.failed).toBe(0);
    expect(result.code).toBe(0);
    console.log(`  abs lab run: ${story.passed} checks in ${seconds.toFixed(1)} s`);
    expect(seconds).toBeLessThan(240);
    await expectNothingLeft();
  },
  6 * MINUTE_MS,
);

test(
  "up, up again, status, exec, down, down again",
  async () => {
    expect((await lab("up")).code).toBe(0);
    const again = await lab("up");
    expect(again.code).toBe(0);
    expect(again.stdout + again.stderr).toContain("up already");
    const status = JSON.parse((await lab("status", "--output", "json")).stdout);
    expect(status.vms.map((vm: { name: string }) => vm.name)).toEqual([
      "web",
      "db",
      "rogue",
      "cache",
      "other",
    ]);
    expect(status.vms.every((vm: { running: boolean }) => vm.running)).toBe(true);
    const redis = ["redis-cli", "--no-auth-warning", "--user", "app1", "--pass", "correct-horse"];
    const ping = await lab("exec", "web", "--", ...redis, "-h", "10.77.0.12", "PING");
    expect(ping.stdout.trim()).toBe("PONG");
    expect(status.services.map((service: { vm: string }) => service.vm).sort()).toEqual([
      "cache",
      "db",
      "db",
      "manager",
    ]);
    expect(status.services.every((one: { running: boolean }) => one.running)).toBe(true);
    for (const vm of ["web", "db", "rogue", "cache", "manager"]) {
      expect(await ledgerStatus(vm)).toMatchObject({ committee: 4, quorum: 3, reachable: 4 });
    }
    const agents = await typed("manager", "manager", "agents", "list", "--output", "json");
    expect(JSON.parse(agents.stdout)).toHaveLength(5);
    expect((await lab("exec", "manager", "--", "true")).code).toBe(0);
    expect((await lab("exec", "web", "--", "sh", "-c", "exit 7")).code).toBe(7);
    expect((await lab("exec", "nobody", "--", "id")).code).not.toBe(0);
    expect((await lab("run")).code).not.toBe(0); // does not touch a lab that is in use
    expect((await lab("down")).code).toBe(0);
    await expectNothingLeft();
    expect((await lab("down")).code).toBe(0);
    expect((await lab("status")).code).not.toBe(0);
  },
  5 * MINUTE_MS,
);

test(
  "what is proposed to too few is taken, and why no block comes is said",
  async () => {
    expect((await lab("up")).code).toBe(0);
    const { vms } = JSON.parse((await lab("status", "--output", "json")).stdout);
    for (const vm of vms as { name: string; agentPid: number }[]) {
      if (["rogue", "cache"].includes(vm.name)) process.kill(vm.agentPid, "SIGKILL");
    }
    const isTold = async () =>
      ((await ledgerStatus("manager")) as { reachable: number }).reachable === 2 || undefined;
    await waitFor("the silence of two", isTold, MINUTE_MS);
    writeFileSync(
      `${DIRECTORY}/manager/lib/proposal.json`,
      JSON.stringify({ contracts: [], records: [] }),
    );
    const folder = ["--dir", MASTER_FOLDER];
    const file = "/var/lib/proposal.json";
    const proposed = await typed("manager", "ledger", "propose", file, ...folder);
    const why = "3 of 4 validators must agree, and the master hears 2";
    expect(proposed.stdout).toBe(`proposed; ${why}\n`);
    const create = ["contract", "create", "--wait", "1", ...folder];
    const refused = await typed("manager", "ledger", ...create);
    expect([refused.code, refused.stderr.replace(/\s+/g, " ").includes(why)]).toEqual([1, true]);
    expect((await lab("down")).code).toBe(0);
    await expectNothingLeft();
  },
  3 * MINUTE_MS,
);

const signals = [
  { signal: "SIGINT", code: 130, moment: "the story runs" },
  { signal: "SIGTERM", code: 143, moment: "the VMs are being made" },
  { signal: "SIGHUP", code: 129, moment: "the story runs" },
] as const;
test.each([...signals])(
  "$signal while $moment: nothing stays",
  async ({ signal, code, moment }) => {
    const command = [...ABS, "lab", "run", "--name", NAME];
    const running = startBackground(command, { logFile: LOG });
    const isThere = () =>
      moment === "the story runs"
        ? existsSync(`${DIRECTORY}/lab.json`)
        : namespacesOf(`abs-${NAME}-`).length > 0;
    await waitFor(moment, () => isThere() || undefined, UP_MS);
    expect(await running.stop(signal, 20_000)).toBe(code);
    await expectNothingLeft();
  },
  3 * MINUTE_MS,
);

test(
  "after SIGKILL `down` removes everything, and so does the next `up`",
  async () => {
    for (const next of ["down", "up"]) {
      const running = startBackground([...ABS, "lab", "run", "--name", NAME], { logFile: LOG });
      await waitFor("the story", () => existsSync(`${DIRECTORY}/lab.json`) || undefined, UP_MS);
      await running.stop("SIGKILL");
      expect((await lab(next)).code).toBe(0);
      if (next === "up") expect((await lab("down")).code).toBe(0);
      await expectNothingLeft();
    }
  },
  8 * MINUTE_MS,
);

test(
  "what is missing is said: privileges, a lab, a check",
  async () => {
    const user = ["setpriv", "--reuid=65534", "--clear-groups"];
    const refused = await runCommand([...user, ...ABS, "lab", "run", "--name", NAME]);
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toContain("only root may");
    const unknown = await lab("run", "--only", "nonsense");
    expect(unknown.stderr).toContain("There is no check nonsense");
    const name = await runCommand([...ABS, "lab", "up", "--name", "../x"]);
    expect(name.stderr).toContain("cannot be a lab's name");
  },
  MINUTE_MS,
);
