/** Policy and signatures of a tenant: checked for every agent, versioned, distributed. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { loadProvisioning } from "../../src/agent/provisioning.ts";
import { agentFile } from "../../src/channel/agent-folder.ts";
import { fetchState } from "../../src/channel/update-client.ts";
import { askManager } from "../../src/manager/command-client.ts";
import { ManagerSite } from "./manager-site.ts";
import { openSsh, type Site } from "./ssh-site.ts";

const POLICY = `version: 1
defaults: { stage: enforce }
rules:
  - { id: ping-in, direction: in, from: { group: front }, app: ping, action: allow }
`;
const SIGNATURES = "- { builtin: ping }\n- { builtin: ssh }\n";
let site: ManagerSite;
let agent: string;

beforeAll(async () => {
  site = await ManagerSite.open();
  await site.addTenant("t1");
  agent = site.freshDir();
  await site.enrol(await site.invite("a", "--group", "front"), agent);
  await site.enrol(await site.invite("b"), site.freshDir());
});

afterAll(() => site.close());

function apply(word: string, text: string | Uint8Array) {
  const input = typeof text === "string" ? new Uint8Array(Buffer.from(text)) : text;
  return askManager({ dir: site.dir }, [word, "apply", "--tenant", "t1"], input);
}

const refused: readonly (readonly [string, string, string | Uint8Array, string])[] = [
  ["nothing", "policy", "", "INPUT_WRONG"],
  ["no text", "policy", new Uint8Array([0xff, 0xfe]), "INPUT_WRONG"],
  ["too much", "policy", "#".repeat(1024 * 1024 + 1), "INPUT_WRONG"],
  ["no policy", "policy", "hello", "POLICY_INVALID"],
  ["an unknown key", "policy", `${POLICY}extra: 1\n`, "POLICY_INVALID"],
  ["a group without agents", "policy", POLICY.replace("front", "nobody"), "POLICY_INVALID"],
  ["an application without a tag", "policy", POLICY, "POLICY_INVALID"],
  ["no list", "sig", "builtin: ping", "SIGNATURE_INVALID"],
  ["an unknown name", "sig", "- { builtin: nothing }", "SIGNATURE_INVALID"],
  ["half a signature", "sig", "- { app_name: x }", "SIGNATURE_INVALID"],
];

test.each(refused)("refused: %s as %s", async (_, word, text, code) => {
  const said = await apply(word, text);
  expect([said.code, said.output]).toEqual([1, ""]);
  expect(said.complaint).toContain(`[${code}]`);
});

test("signatures and a policy that names their applications reach the agents", async () => {
  expect((await apply("sig", SIGNATURES)).complaint).toBe("");
  expect((await apply("policy", POLICY)).output).toBe("version 2\n");
  await fetchState(agent, loadProvisioning);
  const provisioning = loadProvisioning(agentFile(agent, "provisioning"));
  expect(provisioning.tags.map(({ name }) => name)).toEqual(["", "ping", "ssh"]);
  expect(provisioning.signatures.length).toBeGreaterThan(1);
  expect(provisioning.policy.rules.map(({ id }) => id)).toEqual(["ping-in"]);
});

test("a policy may name who is invited, and goes on when its last agent is revoked", async () => {
  await site.invite("c", "--group", "later");
  const rule = "{ id: later-in, direction: in, from: { group: later }, app: ping, action: allow }";
  expect((await apply("policy", `${POLICY}  - ${rule}\n`)).complaint).toBe("");
  await site.enrol(await site.invite("d", "--group", "back"), site.freshDir());
  expect((await apply("policy", POLICY.replace("front", "back"))).complaint).toBe("");
  await site.command("agents", "revoke", "d");
  const state = await fetchState(agent, loadProvisioning);
  expect(state.neighbours.map(({ name }) => name)).toEqual(["b"]);
  expect(state.known.groups).toEqual(["back", "front", "later"]);
  expect((await apply("policy", POLICY)).complaint).toBe("");
});

test("versions are kept, shown, and come back as new ones", async () => {
  const second = POLICY.replace("ping-in", "other");
  const input = new Uint8Array(Buffer.from(second));
  const at = {
    ...{ dir: site.base, server: { port: site.manager?.port ?? 0 } },
    hostSeed: site.manager?.state.manager.hostSeed,
  } as unknown as Site;
  const key = join(site.dir, "admin_key");
  const words = ["127.0.0.1", "policy apply --tenant t1"];
  expect((await openSsh(at, { key }, words, input)).output).toBe("version 6\n");
  const shown = await site.command("policy", "show", "--tenant", "t1");
  expect(shown).toEqual({ tenant: "t1", version: 6, body: second });
  const back = await site.command("policy", "rollback", "--tenant", "t1", "--version", "2");
  expect(back).toMatchObject({ version: 7 });
  expect(await site.command("policy", "show", "--tenant", "t1")).toMatchObject({ body: POLICY });
  const rows = (await site.command("policy", "history", "--tenant", "t1")) as unknown as {
    version: number;
    author: string;
  }[];
  expect(rows.map(({ version }) => version)).toEqual([7, 6, 5, 4, 3, 2, 1]);
  expect(rows[0]?.author).toBe("local");
  const none = ["policy", "show", "--tenant", "t1", "--version", "9"];
  expect((await askManager({ dir: site.dir }, none)).complaint).toContain("[VERSION_ABSENT]");
});

test("a command that reads nothing is not held up by what is sent to it", async () => {
  const input = new Uint8Array(3 * 1024 * 1024);
  const said = await askManager({ dir: site.dir }, ["tenant", "list"], input);
  expect([said.code, said.output.includes("t1")]).toEqual([0, true]);
});
