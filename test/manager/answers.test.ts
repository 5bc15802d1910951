/**
 * Every command is said at least once, and what it answers is what src/answers describes, to the
 * last field: manager-site.ts compares each answer that a test gets as JSON with its schema.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { agentRow } from "../../src/answers/agents.ts";
import type { Flow } from "../../src/answers/flows.ts";
import { type FlowRow, flowsFrame } from "../../src/channel/flow-report.ts";
import { ADMIN_COMMANDS } from "../../src/manager/admin-commands.ts";
import { kernelRandom } from "../../src/native/kernel-random.ts";
import { epochNow } from "../../src/node/ledger-runner.ts";
import { publicLineOf, SSH_SEED_BYTES, sshPublicKey } from "../../src/ssh/ssh-keys.ts";
import { checkAnswer } from "./answer-check.ts";
import { followManager } from "./followed-agent.ts";
import { ManagerSite, until } from "./manager-site.ts";

const CAPTURE = readFileSync(join(import.meta.dir, "../captures/ssh.pcap"));
const SIGNATURE = {
  ...{ sig_id: "shell", app_name: "shell", version: 1, status: "enabled", proto_type: "tcp" },
  contents: [{ offset: 0, depth: 4, expr: "SSH-" }],
};
const POLICY = `version: 1
rules:
  - { id: ssh-in, direction: in, from: { agent: web }, app: shell, action: allow }
`;
const REFUSED: FlowRow = {
  ...{ direction: "in", address: "10.77.0.11", peer: "web", app: "shell", protocol: "tcp" },
  ...{ port: 22, verdict: "refused", rule: "default-inbound", reason: "policy-denied", count: 3 },
};

let site: ManagerSite;
let dbFolder: string;

beforeAll(async () => {
  site = await ManagerSite.open();
  await site.addTenant("t1");
  await site.enrol(await site.invite("web", "--tag", "shell", "--group", "front"), site.freshDir());
  dbFolder = site.freshDir();
  await site.enrol(await site.invite("db", "--tag", "shell", "--group", "back"), dbFolder);
});

afterAll(() => site.close());

/** Said of tenant t1. @param input for its standard input */
function say<T>(line: string, input?: string | Uint8Array): Promise<T> {
  return site.say<T>([...line.split(" "), "--tenant", "t1"], input);
}

test("agents, keys, invitations, tenants", async () => {
  await site.say(["status"]);
  await site.say(["tenant", "list"]);
  await say("invite --name cache");
  await site.say(["invitation", "list"]);
  await say("invitation withdraw cache");
  await say("agents list");
  await say("agents show web");
  await say("agents set --all --mode full --trust 7");
  await say("keys rotate --all");
  await site.say(["keys", "rotate", "--host"]);
  await say("keys list");
  await site.enrol(await site.invite("old"), site.freshDir());
  const { revoked } = await say<{ revoked: string }>("agents revoke old --reason test");
  await say("agents list --revoked");
  await say(`agents show ${revoked}`);
  const first = await ManagerSite.open();
  await first.say(["invite", "--name", "web"]);
  await first.say(["tenant", "recovery", "default"]);
  await first.say(["tenant", "recovery", "default", "--forget"]);
  for (const name of first.said) site.said.add(name);
  await first.close();
});

test("administrators, accounts, tokens, the audit log", async () => {
  const key = publicLineOf(sshPublicKey(kernelRandom(SSH_SEED_BYTES)), "");
  await site.say(["admin", "add", "alice", "--ssh-key", key]);
  await site.say(["admin", "list"]);
  await site.say(["admin", "remove", "alice"]);
  await site.say(["account", "add", "bob", "--role", "viewer"], "correct horse battery\n");
  await site.say(["account", "password", "bob"], "battery horse correct\n");
  const { id } = await site.say<{ id: string }>(["account", "token", "create", "bob"]);
  await site.say(["account", "list"]);
  await site.say(["account", "token", "list", "bob"]);
  await site.say(["account", "token", "revoke", "bob", id]);
  await site.say(["account", "remove", "bob"]);
  await site.say(["audit"]);
});

test("contracts and the ledger", async () => {
  await say("contract list");
  const { "sc-id": id } = await say<{ "sc-id": string }>("contract issue");
  await say(`contract regenerate ${id}`);
  await say(`contract expire ${id}`);
  const now = epochNow();
  const terms = {
    ...{ "sc-id": crypto.randomUUID(), encryption_algo: "aes-128-gcm", hash_algo: "sha256" },
    ...{ quickmode: false, active: true, "sc-lifetime": now + 86_400 },
    lifetime: { keyregen: now + 3600, busytime: 600, idletime: 180 },
  };
  await say("contract add", JSON.stringify(terms));
  await say("contract list");
  const [block] = await say<{ height: number; contracts: number }[]>("ledger blocks");
  expect(block?.height).toBeGreaterThan(0);
  await say(`ledger show ${block?.height}`);
  await say("ledger prove 1 contract 0");
  await say("ledger export");
});

test("signatures", async () => {
  await say("sig add", JSON.stringify(SIGNATURE));
  await say("sig publish shell");
  await say("sig add --publish", JSON.stringify({ ...SIGNATURE, version: 2, description: "new" }));
  await say("sig list");
  await say("sig show shell");
  await say("sig diff shell --from 1 --to 2");
  await say("sig test --library", CAPTURE);
  await say("sig test", CAPTURE);
  await say("sig disable shell");
  await say("sig decommission shell");
});

test("the policy, its templates, and what agents report of flows", async () => {
  const link = followManager(dbFolder);
  await until(() => link.tell(flowsFrame([REFUSED])));
  let flows: readonly Flow[] = [];
  while (flows.length === 0) flows = await say<readonly Flow[]>("flows list");
  await link.stop();
  await say("policy explain --agent db --direction in --other web --protocol tcp --port 22");
  await say(`policy suggest --flow ${flows[0]?.id}`);
  await say("policy replay", POLICY);
  await say("policy apply --dry-run", POLICY);
  await say("policy apply", POLICY);
  await say("policy show");
  await say("policy diff");
  await say("policy rollback --version 1");
  await say("policy history");
  await site.say(["policy", "template", "list"]);
  const service = await site.say<{ body: string }>(["policy", "template", "show", "service"]);
  await site.say(["policy", "template", "put", "ours"], service.body);
  await site.say(["policy", "template", "remove", "ours"]);
  const settings = "--set app=shell --set clients=front --set servers=back --set port=22";
  await say(`policy use service --as remote ${settings}`);
  await say("policy unuse remote");
});

test("quarantine and switches", async () => {
  await site.say(["switch", "add", "s1", "--at", "ryu+http://127.0.0.1:9", "--datapath", "1"]);
  await site.say(["switch", "login", "s1", "--user", "abs"], "password of it\n");
  await site.say(["switch", "list"]);
  const begun = await say<{ number: number }>("quarantine add --agent db --for ever");
  await site.say(["quarantine", "add", "--address", "10.99.0.1", "--for", "9999999d"]);
  await site.say(["quarantine", "list"]);
  await site.say(["quarantine", "release", `${begun.number}`]);
  await site.say(["quarantine", "list", "--all"]);
  await say("quarantine set --violations 9");
  await say("quarantine terms");
  await site.say(["switch", "remove", "s1"]);
});

test("that was every command there is", () => {
  const names = ADMIN_COMMANDS.map(({ name }) => name).sort();
  expect([...site.said].sort()).toEqual(names);
});

test("an answer that lacks a field, has one more, or another type is found", () => {
  const [command] = ADMIN_COMMANDS.filter(({ name }) => name === "agents list");
  if (command === undefined) throw new Error("no such command");
  const row = {
    ...{ tenant: "t1", name: "web", mode: "full", stage: "warn", addresses: "10.0.0.1" },
    ...{ groups: "-", state: "enrolled", version: "1/1", last_seen: "-", node: "0f".repeat(16) },
  };
  checkAnswer(command, [row]);
  for (const name of Object.keys(agentRow.properties)) {
    expect(() => checkAnswer(command, [{ ...row, [name]: undefined }])).toThrow("not as it is");
    expect(() => checkAnswer(command, [{ ...row, [name]: 1 }])).toThrow(name);
  }
  expect(() => checkAnswer(command, [{ ...row, more: "" }])).toThrow("more");
});
