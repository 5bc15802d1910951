/** Templates of policies, what they make of a policy, and what differs between its versions. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { askManager } from "../../src/manager/command-client.ts";
import { parsePolicy } from "../../src/policy/schema.ts";
import { ManagerSite } from "./manager-site.ts";

const POLICY = `# Ours.
version: 1
rules:
  # Pings are good.
  - { id: ping-in, direction: in, from: { group: front }, app: ping, action: allow }
`;
const DATABASE = ["policy", "use", "service", "--as", "db", "--set", "app=postgres"];
const SETTINGS = [
  "--set",
  "clients=front,back",
  "--set",
  "servers=data",
  "--set",
  "port=5432,6000-6010",
];
let site: ManagerSite;

beforeAll(async () => {
  site = await ManagerSite.open();
  await site.addTenant("t1");
  await site.invite("a", "--group", "front", "--group", "back", "--tag", "ping");
  const token = await site.invite("b", "--group", "data", "--tag", "postgres");
  await site.enrol(token, site.freshDir());
});

afterAll(() => site.close());

async function ask(words: readonly string[], input = "") {
  const text = input === "" ? undefined : new Uint8Array(Buffer.from(input));
  return await askManager({ dir: site.dir }, words, text);
}

/** Said of tenant t1; what it complains of is thrown. */
async function of(words: readonly string[], input = ""): Promise<string> {
  const { code, output, complaint } = await ask([...words, "--tenant", "t1"], input);
  if (code !== 0) throw new Error(complaint);
  return output;
}

test("a template's rules come into the policy, and the rest stays as it was written", async () => {
  await of(["policy", "apply"], POLICY);
  const shown = await of([...DATABASE, ...SETTINGS, "--dry-run"]);
  expect(shown).toContain("+  - id: db.in\n");
  expect(shown).not.toContain("-  - ");
  expect(await of(["policy", "show"])).toBe(POLICY);
  await of([...DATABASE, ...SETTINGS]);
  const text = await of(["policy", "show"]);
  expect(text.startsWith(POLICY.trimEnd())).toBe(true);
  const { rules } = parsePolicy(text, "policy");
  expect(rules.map(({ id }) => id)).toEqual(["ping-in", "db.out", "db.in"]);
  expect(rules[2]).toMatchObject({ app: "postgres", direction: "in" });
  expect(text).toContain("- 5432\n");
  expect(text).toContain("- 6000-6010\n");
});

test("used again it takes the place of its rules, and unused it leaves none", async () => {
  await of([...DATABASE, "--set", "clients=back", "--set", "servers=data", "--set", "port=5432"]);
  const { rules } = parsePolicy(await of(["policy", "show"]), "policy");
  expect(rules.map(({ id }) => id)).toEqual(["ping-in", "db.out", "db.in"]);
  expect(await of(["policy", "diff"])).toContain("-        - front\n");
  await of(["policy", "unuse", "db"]);
  expect(await of(["policy", "show"])).toBe(POLICY);
  expect(await of(["policy", "diff", "--from", "2", "--to", "5"])).toBe("no difference\n");
  await expect(of(["policy", "unuse", "db"])).rejects.toThrow("TEMPLATE_UNUSED");
});

test("a policy without rules gets them in lines of their own", async () => {
  await of(["policy", "apply"], "version: 1\nrules: []\n");
  await of(["policy", "use", "dns", "--set", "servers=10.0.0.53/32"]);
  expect(await of(["policy", "show"])).toContain("rules:\n  - id: dns.out\n    direction: out\n");
});

const OWN = `description: ours
parameters: { who: { description: a group } }
rules:
  - { id: in, direction: in, from: { group: $who }, app: ping, action: allow }
`;

test("one's own is kept, listed, shown, used, replaced and removed", async () => {
  expect((await ask(["policy", "template", "put", "ours"], OWN)).code).toBe(0);
  const { output } = await ask(["policy", "template", "list", "--output", "json"]);
  const rows = JSON.parse(output) as { template: string; by: string }[];
  expect(rows.map(({ template }) => template)).toEqual(["dns", "ours", "scrape", "service", "ssh"]);
  expect(rows.find(({ template }) => template === "ours")?.by).toBe("local");
  expect((await ask(["policy", "template", "show", "ours"])).output).toBe(OWN);
  await of(["policy", "use", "ours", "--set", "who=front"]);
  const other = OWN.replace("id: in", "id: other");
  expect((await ask(["policy", "template", "put", "ours"], other)).code).toBe(0);
  await of(["policy", "use", "ours", "--set", "who=front"]);
  expect(await of(["policy", "show"])).toContain("id: ours.other");
  expect((await ask(["policy", "template", "remove", "ours"])).code).toBe(0);
  expect((await ask(["policy", "template", "show", "ours"])).complaint).toContain(
    "TEMPLATE_ABSENT",
  );
});

const wrongTexts: readonly (readonly [string, string])[] = [
  ["an unknown key", `${OWN}more: 1\n`],
  ["no rules", "description: x\nrules: []\n"],
  ["a rule without id", OWN.replace("id: in, ", "")],
  ["an unknown parameter", OWN.replace("$who", "$other")],
  ["an idle parameter", OWN.replace("$who", "front")],
  ["a parameter's name", OWN.replaceAll("who", "Who")],
  ["a kind", OWN.replace("description: a group", "description: a group, kind: word")],
  ["aliases without end", `description: x\na: &a [*a]\nrules: [{ id: in, to: *a }]\n`],
];

test.each(wrongTexts)("refused as a template: %s", async (_, text) => {
  const said = await ask(["policy", "template", "put", "wrong"], text);
  expect([said.code, said.output]).toEqual([1, ""]);
  expect(said.complaint).toContain("TEMPLATE_INVALID");
  expect(said.complaint).toMatch(/input:\d+:\d+/);
});

const wrongUses: readonly (readonly [string, readonly string[], string])[] = [
  ["nothing of what it needs", [], "TEMPLATE_VALUES"],
  ["an unknown parameter", [...SETTINGS, "--set", "app=ping", "--set", "x=1"], "TEMPLATE_VALUES"],
  ["two values where one stands", [...SETTINGS, "--set", "app=ping,pong"], "POLICY_INVALID"],
  ["an empty value", [...SETTINGS, "--set", "app="], "TEMPLATE_VALUES"],
  ["no setting", ["--set", "app"], "COMMAND_USAGE"],
  ["YAML in a value", [...SETTINGS, "--set", "app=ping }\n- {}"], "POLICY_INVALID"],
  [
    "a group that nobody is in",
    ["--set", "app=ping", ...SETTINGS.slice(0, 2), "--set", "servers=no", "--set", "port=1"],
    "POLICY_INVALID",
  ],
  ["a name with a point", [...SETTINGS, "--set", "app=ping", "--as", "a.b"], "COMMAND_USAGE"],
];

test.each(wrongUses)("refused as a use: %s", async (_, words, code) => {
  const before = await of(["policy", "show"]);
  await expect(of(["policy", "use", "service", ...words])).rejects.toThrow(code);
  expect(await of(["policy", "show"])).toBe(before);
});

test("what comes with abs is nobody's to change", async () => {
  for (const words of [
    ["put", "dns"],
    ["remove", "dns"],
  ]) {
    const said = await ask(["policy", "template", ...words], words[0] === "put" ? OWN : "");
    expect(said.complaint).toContain("TEMPLATE_BUILT_IN");
  }
});

test("where too much differs, that is said", async () => {
  const many = (word: string) =>
    Array.from({ length: 5000 }, (_, i) => `# ${word} ${i}\n`).join("");
  await of(["policy", "apply"], `${many("a")}version: 1\n`);
  expect(await of(["policy", "apply", "--dry-run"], `${many("b")}version: 1\n`)).toContain(
    "too much",
  );
});
