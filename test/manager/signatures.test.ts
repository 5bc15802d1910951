/**
 * AppDB from the administrator to the VM: signatures are added, published onto the ledger, given to
 * the VMs that host the application alone, refused where the ledger does not hold them, and taken
 * out of use. With a real node in an agent's folder.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync, statSync } from "node:fs";
import { withCommitted } from "../../src/agent/committed-signatures.ts";
import { loadProvisioning, type Provisioning } from "../../src/agent/provisioning.ts";
import type { JsonObject } from "../../src/chain/canonical-json.ts";
import type { SignatureRecord } from "../../src/chain/record-types.ts";
import { signatureAt } from "../../src/chain/signature-entry.ts";
import { agentFile, ensureKeys, loadManager } from "../../src/channel/agent-folder.ts";
import type { AgentState } from "../../src/channel/agent-state.ts";
import { committedOf, readAppDb } from "../../src/channel/appdb-file.ts";
import { takeState } from "../../src/channel/state-taking.ts";
import { fetchState } from "../../src/channel/update-client.ts";
import { askManager } from "../../src/manager/command-client.ts";
import type { LedgerProcess } from "../../src/node/ledger-process.ts";
import { codeOf, ManagerSite, until } from "./manager-site.ts";

const APP1 = {
  ...{ sig_id: "app1-user", app_name: "app1", version: 1, status: "enabled", proto_type: "tcp" },
  contents: [{ offset: 36, depth: 41, expr: "app1\\x00" }],
};
const TENANT = ["--tenant", "t1"];
let site: ManagerSite;
let node: LedgerProcess;
/** Hosts app1, and runs a node; and one that hosts nothing. */
let host: string;
let other: string;

beforeAll(async () => {
  site = await ManagerSite.open();
  await site.addTenant("t1");
  host = site.callingDir();
  await site.enrol(await site.invite("host", "--tag", "app1"), host);
  other = site.freshDir();
  await site.enrol(await site.invite("other"), other);
  node = await site.runNode(host);
});

afterAll(() => site.close());

function sig(words: readonly string[], document: unknown = "") {
  const text = typeof document === "string" ? document : JSON.stringify(document);
  const input = new Uint8Array(Buffer.from(text));
  return askManager({ dir: site.dir }, ["sig", ...words, ...TENANT], input);
}

async function done(words: readonly string[], document?: unknown): Promise<void> {
  expect((await sig(words, document)).complaint).toBe("");
}

function onLedger(id = APP1.sig_id): SignatureRecord | undefined {
  return signatureAt(node.runner.participant.chain.scd, id);
}

async function rowOf(id: string): Promise<Record<string, unknown> | undefined> {
  const rows = await site.command("sig", "list", ...TENANT);
  return (rows as unknown as Record<string, unknown>[]).find((row) => row["sig_id"] === id);
}

async function untilSealed(id: string, version: number): Promise<void> {
  while ((await rowOf(id))?.["sealed"] !== true) await Bun.sleep(5);
  await until(() => onLedger(id)?.version === version && onLedger(id)?.status === "published");
}

const fetch = (dir: string): Promise<AgentState> => fetchState(dir, loadProvisioning);
const idsOf = (state: AgentState) => state.signatures.map(({ contents }) => contents["sig_id"]);

/** What an agent that starts in this folder would use. */
function used(dir: string, inForce: readonly string[] = []): Provisioning {
  return withCommitted(loadProvisioning(agentFile(dir, "provisioning")), inForce);
}

/** In its AppDB, in the set that its provisioning file names. */
function stored(dir: string): [string, number][] {
  const { signatures } = JSON.parse(readFileSync(agentFile(dir, "provisioning"), "utf8")) as {
    signatures: { set: string }[];
  };
  const rows = readAppDb(agentFile(dir, "appDb"), signatures[0]?.set ?? "");
  return rows.map(({ id, version }) => [id, version]);
}

const refused: readonly (readonly [string, unknown, string])[] = [
  ["nothing", "", "INPUT_WRONG"],
  ["an unknown name", [{ builtin: "nothing" }], "SIGNATURE_INVALID"],
  ["half a signature", { app_name: "x" }, "SIGNATURE_INVALID"],
  ["an unknown field", { ...APP1, extra: 1 }, "SIGNATURE_INVALID"],
  ["one that can never match", { ...APP1, length: "1-5" }, "SIGNATURE_INVALID"],
  [
    "what Hyperscan refuses",
    { ...APP1, contents: [{ expr: "/(a{1,30000}b){1,30000}/" }] },
    "SIGNATURE_INVALID",
  ],
  ["one id twice", [APP1, { ...APP1, version: 2 }], "SIGNATURE_INVALID"],
];
test.each(refused)("not added: %s", async (_, document, code) => {
  const said = await sig(["add"], document);
  expect([said.code, said.output]).toEqual([1, ""]);
  expect(said.complaint).toContain(`[${code}]`);
  expect(await rowOf(APP1.sig_id)).toBeUndefined();
});

test("what was added is nobody's yet; a version never changes", async () => {
  await done(["add"], APP1);
  expect(await rowOf(APP1.sig_id)).toEqual({
    ...{ sig_id: APP1.sig_id, app: "app1", newest: 1, published: null },
    ...{ status: "added", sealed: false },
  });
  expect((await fetch(host)).signatures).toEqual([]);
  expect((await sig(["add"], APP1)).output).toContain("unchanged");
  const changed = await sig(["add"], { ...APP1, priority: 5 });
  expect(changed.complaint).toContain("[SIGNATURE_VERSION]");
  const shown = await site.command("sig", "show", APP1.sig_id, ...TENANT);
  expect(shown["contents"]).toEqual(APP1);
  const published = await sig(["publish", APP1.sig_id, "--version", "7"]);
  expect(published.complaint).toContain("[VERSION_ABSENT]");
  const early = await sig(["disable", APP1.sig_id]);
  expect(early.complaint).toContain("[SIGNATURE_UNPUBLISHED]");
});

test("a published one is on the ledger, and goes to the VM that hosts it alone", async () => {
  await done(["publish", APP1.sig_id]);
  await untilSealed(APP1.sig_id, 1);
  const state = await fetch(host);
  expect(idsOf(state)).toEqual([APP1.sig_id]);
  expect(onLedger()).toMatchObject({
    commitment: state.signatures.map(committedOf)[0]?.commitment,
  });
  expect((await fetch(other)).signatures).toEqual([]);
  const file = agentFile(host, "appDb");
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(stored(host)).toEqual([[APP1.sig_id, 1]]);
  expect(used(host).signatures.map(({ id }) => id)).toEqual([APP1.sig_id]);
  expect(used(host).unused).toEqual([]);
  // Neither another VM's folder nor any block has a byte of it.
  for (const name of ["appDb", "provisioning"] as const) {
    expect(readFileSync(agentFile(other, name)).includes("app1\\x00")).toBe(false);
  }
  const chain = readFileSync(`${host}/scd.sqlite-wal`);
  expect([chain.includes(APP1.sig_id), chain.includes("x00")]).toEqual([true, false]);
}, 120_000);

test("without its own replica's word a VM uses nothing", async () => {
  const { signatures } = await fetch(host);
  const { secrets } = ensureKeys(other);
  const words = { manager: loadManager(other), secrets, check: loadProvisioning };
  // As if this VM, whose node never ran, were given it.
  await takeState(other, { ...(await fetch(other)), signatures }, words);
  expect(used(other).signatures).toEqual([]);
  const [unused] = used(other).unused ?? [];
  expect(unused).toEqual({ id: APP1.sig_id, version: 1, reason: "the ledger does not hold it" });
  await fetch(other);
});

test("the next version comes when the ledger has it, and the one before stays until then", async () => {
  const before = used(host).signatures.flatMap(({ commitment }) => commitment ?? []);
  await done(["add", "--publish"], { ...APP1, version: 2, priority: 5 });
  await untilSealed(APP1.sig_id, 2);
  // Superseded: in force it stays, and an agent that starts now still finds it in the blocks.
  expect(used(host, before).unused).toEqual([]);
  expect(used(host).unused).toEqual([]);
  expect((await fetch(host)).signatures[0]?.contents["version"]).toBe(2);
  expect(used(host).signatures[0]?.version).toBe(2);
  const old = await sig(["publish", APP1.sig_id, "--version", "1"]);
  expect(old.complaint).toContain("[SIGNATURE_VERSION]");
  const diff = await site.command("sig", "diff", APP1.sig_id, "--from", "1", ...TENANT);
  const fields = diff["fields"] as { field: string }[];
  expect(fields.map(({ field }) => field).sort()).toEqual(["priority", "version"]);
}, 120_000);

test("contents that the ledger does not hold are refused whole, within ten seconds", async () => {
  const state = await fetch(host);
  const [signature] = state.signatures;
  const forged = { ...signature?.contents, priority: 9 };
  const blinding = signature?.blinding ?? new Uint8Array(32);
  const { secrets } = ensureKeys(host);
  const words = { manager: loadManager(host), secrets, check: loadProvisioning };
  const before = readFileSync(agentFile(host, "manager"), "utf8");
  const refusalOf = (contents: JsonObject) => {
    const forgery = { ...state, version: 99, signatures: [{ contents, blinding }] };
    return codeOf(takeState(host, forgery, words));
  };
  // An older version that was replaced is refused as well: it comes from the manager no more.
  const codes = await Promise.all([refusalOf(forged), refusalOf(APP1)]);
  expect(codes).toEqual(["SIGNATURE_NOT_ON_LEDGER", "SIGNATURE_NOT_ON_LEDGER"]);
  expect(readFileSync(agentFile(host, "manager"), "utf8")).toBe(before);
  expect(stored(host)).toEqual([[APP1.sig_id, 2]]);
}, 60_000);

test("disabled, published again, decommissioned for good", async () => {
  const inForce = used(host).signatures.flatMap(({ commitment }) => commitment ?? []);
  await done(["disable", APP1.sig_id]);
  await until(() => onLedger()?.status === "disabled");
  // The ledger's word alone ends it, whatever the manager delivers.
  while (used(host, inForce).signatures.length > 0) await Bun.sleep(5);
  expect(used(host, inForce).unused?.[0]?.reason).toContain("disabled");
  expect((await fetch(host)).signatures).toEqual([]);
  await done(["publish", APP1.sig_id]);
  await untilSealed(APP1.sig_id, 2);
  expect(idsOf(await fetch(host))).toEqual([APP1.sig_id]);
  await done(["decommission", APP1.sig_id]);
  await until(() => onLedger() === undefined);
  while (used(host, inForce).signatures.length > 0) await Bun.sleep(5);
  expect(used(host, inForce).unused?.[0]?.reason).toContain("decommissioned");
  expect((await fetch(host)).signatures).toEqual([]);
  for (const words of [["publish"], ["disable"], ["decommission"]]) {
    const said = await sig([...words, APP1.sig_id]);
    expect(said.complaint).toContain("[SIGNATURE_DECOMMISSIONED]");
  }
  const added = await sig(["add"], { ...APP1, version: 3 });
  expect(added.complaint).toContain("[SIGNATURE_DECOMMISSIONED]");
}, 60_000);

test("a tie with what is published is refused, and nothing of it is published", async () => {
  await done(["add", "--publish"], [{ builtin: "ping" }, { ...APP1, sig_id: "one" }]);
  const tie = await sig(["add", "--publish"], { ...APP1, sig_id: "two", app_name: "app2" });
  expect(tie.complaint).toContain("[SIGNATURE_INVALID]");
  expect(await rowOf("two")).toBeUndefined();
  await untilSealed("one", 1);
  // Who hosts app1 has nothing of ping.
  expect(idsOf(await fetch(host))).toEqual(["one"]);
}, 120_000);
