/** From AppDB to the chain and, after a restore, back: one step at a time, each that may be. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Hash } from "../../src/chain/ledger-units.ts";
import { encodeRecord } from "../../src/chain/record-schema.ts";
import type { SignatureRecord, SignatureStatus } from "../../src/chain/record-types.ts";
import { ScdTree, scdEntry, signatureEntryId } from "../../src/chain/scd-tree.ts";
import { followSignatures, signatureStepOf } from "../../src/manager/signature-update.ts";
import { ManagerSite } from "./manager-site.ts";

const COMMITMENT = "ab".repeat(32) as Hash;
const own = (status: SignatureStatus, version = 2) => ({
  ...{ sigId: "app1", version, status, commitment: COMMITMENT },
});

type Known = { readonly status: SignatureStatus; readonly version?: number } | undefined;

/** A chain that holds app1 so; decommissioned: used up. */
function chain(known: Known): { readonly scd: ScdTree } {
  if (known === undefined) return { scd: ScdTree.EMPTY };
  const id = signatureEntryId("app1");
  const { status, version = 2 } = known;
  const words = { kind: "SIGNATURE" as const, signatureId: "app1", seq: 4 };
  const record: SignatureRecord = { ...words, version, status, commitment: COMMITMENT };
  const scd = ScdTree.EMPTY.with([{ id, entry: scdEntry(id, encodeRecord(record)) }]);
  return { scd: status === "decommissioned" ? scd.with([{ id, entry: undefined }]) : scd };
}

const steps: readonly (readonly [SignatureStatus, Known, string | undefined])[] = [
  ["published", undefined, "1 published 2"],
  ["published", { status: "published" }, undefined],
  ["published", { status: "published", version: 1 }, "5 published 2"],
  ["published", { status: "disabled" }, "5 published 2"],
  ["published", { status: "published", version: 3 }, undefined],
  ["published", { status: "decommissioned" }, undefined],
  ["disabled", undefined, undefined],
  ["disabled", { status: "published" }, "5 disabled 2"],
  ["disabled", { status: "published", version: 1 }, "5 disabled 1"],
  ["disabled", { status: "disabled" }, undefined],
  ["decommissioned", { status: "disabled" }, "5 decommissioned 2"],
  ["decommissioned", { status: "decommissioned" }, undefined],
];
test.each(steps)("%s, where the chain has %j: %s", (status, known, expected) => {
  const step = signatureStepOf(own(status), chain(known)) as SignatureRecord | undefined;
  expect(step && `${step.seq} ${step.status} ${step.version}`).toBe(expected as string);
});

let site: ManagerSite;
const ADD = ["sig", "add", "--publish", "--tenant", "t1"];

beforeAll(async () => {
  site = await ManagerSite.open();
  await site.addTenant("t1");
});
afterAll(() => site.close());

const followed: readonly (readonly [string, Known, SignatureStatus])[] = [
  ["as it was", { status: "published" }, "published"],
  ["not there yet", undefined, "published"],
  ["disabled since", { status: "disabled" }, "disabled"],
  ["a newer version", { status: "published", version: 3 }, "disabled"],
  ["decommissioned since", { status: "decommissioned" }, "decommissioned"],
];
test.each(followed)("a restored AppDB follows the chain: %s", async (name, known, status) => {
  const signature = { sig_id: "app1", app_name: "app1", version: 2, status: "enabled" };
  const document = { ...signature, proto_type: "tcp", contents: [{ expr: name }] };
  await site.send(ADD, JSON.stringify(document));
  const { state } = site.manager ?? {};
  if (state === undefined) throw new Error("no manager");
  // What was said in this process is the administrator's word, and newer than any backup.
  expect(followSignatures(state, "t1", chain(known))).toEqual([]);
  await site.manager?.stop();
  await site.start();
  const { state: restored } = site.manager ?? { state };
  const before = restored.tenants.need("t1").version;
  const events = followSignatures(restored, "t1", chain(known));
  expect(restored.appDb.published("t1").map((one) => one.status)).toEqual([status]);
  const isSame = status === "published";
  expect(events).toEqual(isSame ? [] : [{ event: `signature-${status}`, signature: "app1" }]);
  expect(restored.tenants.need("t1").version).toBe(before + (isSame ? 0 : 1));
  // For the next row.
  restored.manager.database.run("DELETE FROM published_signature");
  restored.manager.database.run("DELETE FROM signature");
});
