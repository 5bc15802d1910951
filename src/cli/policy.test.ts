/** `abs policy explain`, `replay` and `suggest` as processes, on files of their own. */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { generateContractSecret, generateKeyPair, generateTag } from "../agent/keys.ts";

const MAIN = new URL("./main.ts", import.meta.url).pathname;
const folder = mkdtempSync(join(tmpdir(), "abs-policy-"));
const file = join(folder, "db.json");
afterAll(() => rmSync(folder, { recursive: true }));

const contract = generateContractSecret();
writeFileSync(
  file,
  JSON.stringify({
    version: 1,
    node: { id: "db", mode: "full", staticKey: generateKeyPair().secretKey, tags: [] },
    tenant: { name: "a", tag: generateTag() },
    tags: [{ name: "app1", tag: generateTag() }],
    peers: [
      {
        id: "web",
        addresses: ["10.77.0.11"],
        staticKey: generateKeyPair().publicKey,
        mode: "full",
        tags: ["app1"],
      },
    ],
    contracts: [
      {
        "sc-id": contract.scId,
        encryption_algo: "aes-128-gcm",
        hash_algo: "sha256",
        protection: "integrity",
        quickmode: false,
        active: true,
        "sc-lifetime": 4_000_000_000,
        lifetime: { keyregen: 4_000_000_000, busytime: 600, idletime: 180 },
        secrets: [{ generation: 1, secret: contract.secret }],
      },
    ],
    signatures: [],
    policy: {
      version: 1,
      defaults: { inbound: "deny", outbound: "deny", stage: "enforce" },
      rules: [
        { id: "udp-in", direction: "in", to: { protocol: "udp" }, action: "allow" },
        {
          id: "app1-in",
          direction: "in",
          from: { agent: "web" },
          app: "app1",
          to: { protocol: "tcp", port: 6379 },
          action: "allow",
        },
      ],
    },
  }),
  { mode: 0o600 },
);

function explain(...words: string[]) {
  return policy("explain", ...words);
}

function policy(subcommand: string, ...words: string[]) {
  const command = [process.execPath, MAIN, "policy", subcommand, "--config", file, ...words];
  const { stdout, stderr, exitCode } = Bun.spawnSync(command);
  return { text: stdout.toString(), words: stderr.toString(), exitCode };
}

const FLOW = ["--from", "web", "--to", "db", "--port", "6379", "--protocol", "tcp"];

test("the decision and each rule considered, as text", () => {
  const { text, exitCode } = explain(...FLOW, "--app", "app1");
  expect(exitCode).toBe(0);
  expect(text).toBe(
    "allow by app1-in (stage enforce)\n" +
      "  - udp-in   it is about other protocols\n" +
      "  ✔ app1-in  everything it asks for is met\n",
  );
});

const decisions = [
  { words: [...FLOW, "--app", "app1"], action: "allow", rule: "app1-in", rules: 2 },
  { words: FLOW, action: "allow", rule: "app1-in", rules: 2 },
  { words: [...FLOW, "--port", "22"], action: "deny", rule: "default-inbound", rules: 2 },
  { words: ["--from", "10.77.0.11", "--to", "db", "--port", "6379"], action: "allow", rules: 2 },
  { words: ["--from", "10.9.9.9", "--to", "db"], action: "deny", rule: "default-outside" },
  { words: ["--from", "db", "--to", "192.0.2.1"], action: "allow", rule: "default-non-inter-vm" },
];
test.each(decisions)("$words as JSON", ({ words, action, rule, rules }) => {
  const { text, exitCode } = explain(...words, "--output", "json");
  const found = JSON.parse(text);
  expect([exitCode, found.action]).toEqual([0, action]);
  if (rule !== undefined) expect(found.rule).toBe(rule);
  if (rules !== undefined) expect(found.considered).toHaveLength(rules);
});

const refused = [
  { words: ["--from", "web", "--to", "web"], why: "One end of the flow must be db" },
  { words: ["--from", "db", "--to", "db"], why: "One end of the flow must be db" },
  { words: ["--from", "nobody", "--to", "db"], why: "Peers of this file: web" },
  { words: [...FLOW, "--app", "redis"], why: "Applications: app1" },
  { words: [...FLOW, "--port", "65536"], why: "--port 65536 is not known" },
  { words: [...FLOW, "--protocol", "tpc"], why: "--protocol tpc is not known" },
];
test.each(refused)("$words is refused in words", ({ words, why }) => {
  const answer = explain(...words);
  expect([answer.exitCode, answer.text]).toEqual([2, ""]);
  expect(answer.words).toContain(why);
});

const flow = {
  time: "2026-01-31T12:00:00.000Z",
  event: "refused",
  reason: "policy-denied",
  direction: "in",
  source: "10.77.0.11",
  sourcePort: 40_000,
  destination: "10.77.0.12",
  destinationPort: 6380,
  protocol: "tcp",
  peer: "web",
  app: "app1",
};
const log = join(folder, "events.ndjson");
const lines = [flow, flow, { ...flow, destinationPort: 6379, event: "flow-allowed" }];
const noSignature = { ...flow, reason: "no-signature" };
writeFileSync(
  log,
  `${[...lines, noSignature].map((event) => JSON.stringify(event)).join("\n")}\nx`,
);

const SUGGESTED =
  '  - { id: "app1-in-2", direction: "in", from: { agent: "web" }, ' +
  'to: { protocol: "tcp", port: 6380 }, app: "app1", action: "allow" }';

test("suggest prints YAML, and replay says what it would change", () => {
  const suggestion = policy("suggest", log);
  expect(suggestion.exitCode).toBe(0);
  expect(suggestion.text.split("\n")).toEqual([
    "rules:",
    `${SUGGESTED} # 1 flows, decided 2 times, last 2026-01-31T12:00:00.000Z`,
    "# 1 decisions are not the policy's (no signature, no proof, …).",
    "# 1 lines are no events of an agent with these peers.",
    "",
  ]);
  const draft = join(folder, "draft.yaml");
  writeFileSync(draft, `version: 1\n${suggestion.text}`);
  const replayed = policy("replay", "--draft", draft, log);
  expect(replayed.text.split("\n").slice(0, 3)).toEqual([
    "2 flows: 2 change, 0 by another rule, 0 as before.",
    "  deny → allow  in from web tcp 6380 app1  (default-inbound → app1-in-2, decided 2 times)",
    "  allow → deny  in from web tcp 6379 app1  (app1-in → default-inbound, decided 1 times)",
  ]);
  const json = JSON.parse(policy("replay", "--draft", draft, "--output", "json", log).text);
  expect(json).toMatchObject({ flows: 2, log: { decisions: 3, others: 1, malformed: 1 } });
  expect(json.hits).toEqual({ "app1-in-2": 1, "default-inbound": 1 });
});

test("a log or a draft that cannot be read is an error with its place", () => {
  expect(policy("suggest").words).toContain("No event log is named");
  expect(policy("suggest", `${log}.none`)).toMatchObject({ exitCode: 1, text: "" });
  const draft = join(folder, "broken.yaml");
  writeFileSync(draft, "version: 1\nrules:\n  - { id: x, directon: in }\n");
  const answer = policy("replay", "--draft", draft, log);
  expect([answer.exitCode, answer.text]).toEqual([1, ""]);
  expect(answer.words).toContain("broken.yaml:3:");
});
