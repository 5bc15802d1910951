/** `abs policy explain` as a process, on a file of its own. */
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
  const command = [process.execPath, MAIN, "policy", "explain", "--config", file, ...words];
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
  expect([answer.exitCode, answer.text]).toEqual([1, ""]);
  expect(answer.words).toContain(why);
});
