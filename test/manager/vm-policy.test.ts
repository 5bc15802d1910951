/**
 * PMdb on the VM: the manager's policy and the rules of the VM's owner in one file, the commands
 * about them as processes, and updates that leave the owner's rules as they are.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { loadProvisioning } from "../../src/agent/provisioning.ts";
import { agentFile } from "../../src/channel/agent-folder.ts";
import { readPmdb } from "../../src/channel/pmdb-file.ts";
import { fetchState } from "../../src/channel/update-client.ts";
import { ManagerSite } from "./manager-site.ts";

const MAIN = new URL("../../src/cli/main.ts", import.meta.url).pathname;
const POLICY = `version: 1
defaults: { stage: observe, nonInterVm: deny, exceptions: [arp, dhcp] }
rules:
  - id: web-in
    direction: in
    from: { agent: b }
    to: { protocol: tcp, port: 80 }
    action: allow
  - { id: b-only, direction: in, to: { agent: b }, action: allow }
`;
const MINE = `version: 1
rules:
  - { id: no-web, direction: in, from: { agent: b }, to: { protocol: tcp, port: 80 }, action: deny }
`;
let site: ManagerSite;
let dir: string;

beforeAll(async () => {
  site = await ManagerSite.open();
  await site.addTenant("t1");
  dir = site.freshDir();
  await site.enrol(await site.invite("a"), dir);
  await site.enrol(await site.invite("b"), site.freshDir());
  await site.send(["policy", "apply", "--tenant", "t1"], POLICY);
  await update();
});

afterAll(() => site.close());

const update = () => fetchState(dir, loadProvisioning);
const provisioning = () => loadProvisioning(agentFile(dir, "provisioning"));
const rules = () => provisioning().policy.rules.map(({ id }) => id);

async function policy(subcommand: string, words: readonly string[] = [], input = "") {
  const place = ["--config", agentFile(dir, "provisioning")];
  const command = [process.execPath, MAIN, "policy", subcommand, ...place, ...words];
  const child = Bun.spawn(command, { stdin: Buffer.from(input), stdout: "pipe", stderr: "pipe" });
  const [output, complaint] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  return { code: await child.exited, output, complaint };
}

/** No agent runs with this state folder. */
const idle = (): string[] => ["--state", join(site.base, "idle")];
const apply = (text: string) => policy("apply", ["-", ...idle()], text);

test("the manager's policy is in PMdb, which nobody else may read", () => {
  const { pmdb } = provisioning();
  expect(pmdb?.file).toBe(agentFile(dir, "pmdb"));
  expect(statSync(agentFile(dir, "pmdb")).mode & 0o777).toBe(0o600);
  expect(readPmdb(pmdb?.file ?? "", pmdb?.policy ?? "")).toEqual({
    body: POLICY,
    local: undefined,
  });
});

test("the owner's rules come first, and explain goes by them", async () => {
  const flow = ["--from", "b", "--to", "a", "--port", "80"];
  expect((await policy("explain", flow)).output).toStartWith("allow by web-in");
  const said = await apply(MINE);
  expect([said.code, said.complaint]).toEqual([0, ""]);
  expect(said.output).toBe("1 local rules, in force at the agent's next start.\n");
  expect(rules()).toEqual(["local-no-web", "web-in", "b-only"]);
  expect((await policy("explain", flow)).output).toStartWith(
    "deny by local-no-web (stage enforce)",
  );
});

test("a local rule that never decides is warned of, and not that it hides the manager's", async () => {
  const [rule] = MINE.split("\n").filter((line) => line.includes("id: no-web"));
  const said = await apply(`${MINE}${rule?.replace("no-web", "again")}\n`);
  expect(said.output).toMatch(/^warning: .*"local-again" never decides: "local-no-web".*\n2 local/);
  expect((await apply(MINE)).output).toStartWith("1 local rules");
});

test("show: what was written; --effective: what decides here, by whom, and what else passes", async () => {
  const written = JSON.parse((await policy("show", ["--output", "json"])).output);
  expect(written).toEqual({ manager: POLICY, local: MINE });
  const words = ["--effective", ...idle()];
  const found = JSON.parse((await policy("show", [...words, "--output", "json"])).output);
  expect(found).toMatchObject({
    ...{ node: "a", mode: "quick", stage: "observe", elsewhere: 1, enforced: null },
    exceptions: ["builtin-arp", "builtin-dhcp"],
    defaults: { inbound: "deny", nonInterVm: "deny" },
  });
  const same = { direction: "in", app: "any", other: "agent b", to: "tcp 80" };
  expect(found.rules).toEqual([
    { rule: "local-no-web", origin: "local", action: "deny", stage: "enforce", ...same },
    { rule: "web-in", origin: "manager", action: "allow", stage: "observe", ...same },
  ]);
  const { output } = await policy("show", words);
  expect(output).toContain("a, mode quick, stage observe: no agent runs.");
  expect(output).toContain("builtin-arp, builtin-dhcp");
});

test("what the manager changes leaves the owner's rules; they never reach the manager", async () => {
  await site.send(["policy", "apply", "--tenant", "t1"], POLICY.replace("web-in", "web-too"));
  const state = await update();
  expect(rules()).toEqual(["local-no-web", "web-too", "b-only"]);
  expect(JSON.stringify(state)).not.toContain("no-web");
  const database = readFileSync(join(site.dir, "manager.sqlite-wal"));
  expect([database.includes("web-too"), database.includes("no-web")]).toEqual([true, false]);
});

const refused: readonly (readonly [string, string, string])[] = [
  ["a rule that allows", MINE.replace("deny", "allow"), "Local rules only deny."],
  ["an agent that nobody knows", MINE.replace("agent: b", "agent: c"), "POLICY_INVALID"],
  ["no policy", "hello", "POLICY_INVALID"],
];
test.each(refused)("refused, and what was applied before stays: %s", async (_, text, why) => {
  const said = await apply(text);
  expect([said.code, said.output]).toEqual([1, ""]);
  expect(said.complaint).toContain(why);
  expect(rules()).toEqual(["local-no-web", "web-too", "b-only"]);
});

test("an empty list takes them away; without a PMdb there is nothing to apply to", async () => {
  expect((await apply("version: 1\nrules: []\n")).code).toBe(0);
  expect(rules()).toEqual(["web-too", "b-only"]);
  const whole = JSON.parse(readFileSync(agentFile(dir, "provisioning"), "utf8"));
  const file = join(dir, "static.json");
  const policyInPlace = { version: 1, rules: [] };
  writeFileSync(file, JSON.stringify({ ...whole, policy: policyInPlace }), { mode: 0o600 });
  const said = await policy("apply", ["-", "--config", file]);
  expect(said.complaint).toContain("[POLICY_INVALID]");
  const command = [process.execPath, MAIN, "policy", "show", "--config", file];
  expect(Bun.spawnSync(command).stderr.toString()).toContain("[PMDB_ABSENT]");
});

test("a PMdb that is lost or damaged is said, and fetched anew", async () => {
  const file = agentFile(dir, "pmdb");
  writeFileSync(file, "no database");
  expect(() => provisioning()).toThrow("this VM's PMdb");
  rmSync(file);
  await update();
  expect(rules()).toEqual(["web-too", "b-only"]);
});
