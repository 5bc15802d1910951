/**
 * A small fleet of the built program: what it reports, what the manager wrote down of it, and that
 * nothing is left when it is interrupted. docs/fleet.md.
 */
import { Database } from "bun:sqlite";
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isRunning, waitFor } from "../../src/lab/command.ts";
import { ABS, stopwatch } from "./harness.ts";

const AGENTS = 40;
const RUN_MS = 120_000;
const base = mkdtempSync(join(tmpdir(), "abs-test-fleet-"));
const done = stopwatch("e2e fleet");

afterAll(() => {
  rmSync(base, { recursive: true });
  done();
});

type Ended = { readonly code: number; readonly output: string; readonly complaint: string };

async function endOf(child: Bun.Subprocess<"ignore", "pipe", "pipe">): Promise<Ended> {
  const [output, complaint, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { code, output, complaint };
}

function start(command: readonly string[], folder = base) {
  return Bun.spawn([...command], {
    ...{ stdin: "ignore", stdout: "pipe", stderr: "pipe" },
    env: { ...process.env, TMPDIR: folder },
  });
}

function fleet(...words: string[]): string[] {
  return [...ABS, "sim", "fleet", ...words];
}

let report: Record<string, number>;
const dir = join(base, "manager");

beforeAll(async () => {
  const size = ["--agents", `${AGENTS}`, "--tenant-agents", "20", "--tenant-members", "3"];
  const ended = await endOf(start(fleet(...size, "--dir", dir, "--output", "json")));
  expect(ended.complaint).toContain("all are connected");
  expect(ended.code).toBe(0);
  report = JSON.parse(ended.output) as Record<string, number>;
}, RUN_MS);

test("the report has every figure, and they make sense together", () => {
  expect(report).toMatchObject({ agents: AGENTS, connected: AGENTS, tenants: 2, members: 6 });
  expect(report).toMatchObject({ synced: AGENTS, in_force: AGENTS });
  for (const name of ["connect_s", "enforce_s", "storm_s", "enrolments_per_s"]) {
    expect([name, (report[name] ?? 0) > 0]).toEqual([name, true]);
  }
  const { rss_bytes: rss = 0, rss_start_bytes: before = 0, rss_peak_bytes: peak = 0 } = report;
  expect(before).toBeGreaterThan(10_000_000);
  expect(rss).toBeGreaterThan(before);
  expect(peak).toBeGreaterThanOrEqual(before);
  expect(report["settled_s"]).toBeGreaterThanOrEqual(report["connect_s"] ?? 0);
});

test("the manager wrote it all down: agents, policies, versions in force, blocks", () => {
  const database = new Database(join(dir, "manager.sqlite"), { readonly: true });
  const nodes = database
    .query(
      `SELECT node.tenant, node.name, address, enforced_version AS enforced, version
       FROM node JOIN tenant ON tenant.name = node.tenant JOIN node_address USING (node_id)
       WHERE state = 'enrolled'`,
    )
    .all() as {
    tenant: string;
    name: string;
    address: string;
    enforced: number;
    version: number;
  }[];
  expect(nodes).toHaveLength(AGENTS);
  expect(new Set(nodes.map(({ tenant, name }) => `${tenant}/${name}`)).size).toBe(AGENTS);
  expect(new Set(nodes.map(({ address }) => address)).size).toBe(AGENTS);
  expect(nodes.filter(({ enforced, version }) => enforced !== version)).toEqual([]);
  const policies = database.query(
    "SELECT tenant, max(version) AS version FROM document WHERE kind = 'policy' GROUP BY tenant",
  );
  expect(policies.all()).toEqual([
    { tenant: "t1", version: 2 },
    { tenant: "t2", version: 2 },
  ]);
  const used = database.query("SELECT count(*) AS n FROM invitation WHERE used_at IS NOT NULL");
  expect(used.get()).toEqual({ n: AGENTS });
  database.close();
  const store = new Database(join(dir, "ledgers", "t1", "scd.sqlite"), { readonly: true });
  const { height } = store.query("SELECT max(height) AS height FROM header").get() as {
    height: number;
  };
  store.close();
  expect(height).toBeGreaterThan(2);
  expect(report["blocks"]).toBeGreaterThanOrEqual(height);
});

test("a fleet that is interrupted ends its processes and removes its folders", async () => {
  const folder = mkdtempSync(join(base, "interrupted-"));
  const child = start(fleet("--agents", "30", "--tenant-agents", "10"), folder);
  const ours = (): number[] =>
    readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name))
      .map(Number)
      .filter((pid) => pid !== child.pid && environmentOf(pid).includes(`TMPDIR=${folder}\0`));
  // Wrapper, fleet, manager, two processes of agents; less the wrapper's own pid.
  const all = await waitFor("the fleet", () => (ours().length >= 4 ? ours() : undefined), 30_000);
  expect(readdirSync(folder)).toHaveLength(1);
  child.kill("SIGINT");
  const { code, output, complaint } = await endOf(child);
  expect([code, output]).toEqual([1, ""]);
  expect(complaint).toContain("interrupted");
  expect(complaint).not.toContain("    at ");
  expect(all.filter(isRunning)).toEqual([]);
  expect(readdirSync(folder)).toEqual([]);
}, 60_000);

const refused = [
  { name: "no number", words: ["--agents", "many"], says: "OPTION_INVALID" },
  { name: "nobody", words: ["--agents", "0"], says: "OPTION_INVALID" },
  { name: "more members than agents", words: ["--tenant-agents", "3"], says: "FLEET_OPTION" },
  { name: "too many tenants", words: ["--agents", "5000", "--tenant-agents", "4"], says: "1000" },
  { name: "a folder that is there", words: ["--dir", base], says: "OPTION_INVALID" },
];

test.each(refused)("refused before anything starts: $name", async ({ words, says }) => {
  const { code, complaint } = await endOf(start(fleet(...words)));
  expect([code, complaint.includes(says)]).toEqual([2, true]);
  expect(complaint).toContain("→");
});

test("too few open files: it says how many are needed, and the command", async () => {
  const limited = ["sh", "-c", 'ulimit -n 300; exec "$@"', "sh", ...fleet()];
  const { code, complaint } = await endOf(start(limited));
  expect(code).toBe(1);
  expect(complaint).toMatch(/ulimit -n \d+/);
  expect(complaint).toContain("FLEET_FILES");
});

function environmentOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/environ`, "utf8");
  } catch {
    return ""; // gone
  }
}
