/**
 * Commands about the application signatures of a tenant: AppDB's life cycle. docs/manager.md
 * "Signatures". They change the database; tenant-ledger.ts brings the commitments onto the chain,
 * and agents are given what is there.
 */
import { type Static, type TObject, Type } from "typebox";
import {
  signatureDifference,
  signaturePublished,
  signatureRows,
  signatureShown,
  signaturesAdded,
  signatureWithdrawn,
} from "../answers/signatures.ts";
import type { SignatureStatus } from "../chain/record-types.ts";
import { parseSignatures } from "../dpi/schema.ts";
import { changesOf } from "../sig/signature-words.ts";
import { adminCommand, type CommandContext } from "./admin-command.ts";
import type { SignatureRow } from "./app-db.ts";
import { documentText, flag, reference, tenantName, whole } from "./command-schemas.ts";
import { tableText, timeText, warningLines } from "./command-values.ts";
import { checkSignatures, checkTogether } from "./signature-check.ts";
import { signatureTestCommand } from "./signature-test-command.ts";

const PATH = "/tenants/{tenant}/signatures";
const ONE = `${PATH}/{sig_id}`;
const VERSION_MAX = 2 ** 32 - 1;

const ofTenant = { tenant: tenantName };
const oneSignature = { sig_id: reference("of the signature"), ...ofTenant };
type OneSignature = Static<TObject<typeof oneSignature>>;

function versionOf(description: string) {
  return Type.Optional(whole(0, VERSION_MAX, description));
}

/** As it shall be on the ledger; within the caller's transaction. */
function publishVersion(
  { sigId, version }: { readonly sigId: string; readonly version: number },
  { tenant }: { readonly tenant: string },
  { state: { appDb, tenants } }: CommandContext,
): void {
  const { app } = appDb.version(tenant, sigId, version);
  appDb.publish(tenant, sigId, version);
  tenants.needTags(tenant, [app]);
}

/** Those that are published must be able to be in force together. */
function checkPublished(tenant: string, { state: { appDb } }: CommandContext): void {
  const published = appDb.published(tenant).filter(({ status }) => status === "published");
  checkTogether(
    published.map(({ sigId, version }) => appDb.version(tenant, sigId, version).contents),
  );
}

const add = adminCommand({
  name: "sig add",
  description: "keep signatures from standard input, a version each; nobody is given them yet",
  role: "operator",
  standardInput: { property: "document", mediaType: "application/yaml" },
  http: { method: "POST", path: PATH },
  input: {
    ...ofTenant,
    document: documentText("one signature or a list of them"),
    publish: Type.Optional(flag("and publish them")),
  },
  answer: signaturesAdded,
  run({ tenant, document, publish }, context) {
    const { state, who, ledgers } = context;
    const { appDb, tenants } = state;
    tenants.need(tenant);
    const { signatures, warnings } = checkSignatures(document);
    const by = { author: who, now: state.now() };
    const rows = state.transaction(() => {
      const added = signatures.map((signature) => {
        const { sigId: sig_id, version, app } = signature;
        const isNew = appDb.add(tenant, signature, by);
        const outcome: "added" | "unchanged" = isNew ? "added" : "unchanged";
        return { sig_id, version, app, outcome };
      });
      if (publish !== true) return added;
      for (const signature of signatures) publishVersion(signature, { tenant }, context);
      checkPublished(tenant, context);
      return added;
    });
    if (publish === true) ledgers.reconcile(tenant);
    const value = { signatures: rows, warnings, published: publish === true };
    return { value, text: [tableText(rows), ...warningLines(warnings)].join("\n") };
  },
});

const list = adminCommand({
  name: "sig list",
  description: "signatures of a tenant: newest version, and what the ledger holds",
  role: "viewer",
  http: { method: "GET", path: PATH },
  input: ofTenant,
  answer: signatureRows,
  run({ tenant }, { state: { appDb, tenants } }) {
    tenants.need(tenant);
    const rows = appDb.list(tenant).map(rowOf);
    return { value: rows, text: tableText(rows) };
  },
});

function rowOf({ sigId: sig_id, app, newest, published, status, sealed }: SignatureRow) {
  return { sig_id, app, newest, published, status, sealed };
}

const show = adminCommand({
  name: "sig show",
  description: "what a signature says: its newest version, or another",
  role: "viewer",
  words: ["sig_id"],
  http: { method: "GET", path: ONE },
  input: { ...oneSignature, version: versionOf("of this version") },
  answer: signatureShown,
  run({ tenant, sig_id, version }, { state: { appDb, tenants } }) {
    tenants.need(tenant);
    const versions = appDb.versions(tenant, sig_id);
    const asked = version ?? versions[0]?.version ?? 0;
    const contents: unknown = JSON.parse(appDb.version(tenant, sig_id, asked).contents);
    const history = versions.map(({ version: number, author, madeAt }) => {
      return { version: number, author, made: timeText(madeAt) };
    });
    const text = `${JSON.stringify(contents, null, 2)}\n\n${tableText(history)}`;
    return { value: { sig_id, version: asked, contents, versions: history }, text };
  },
});

const diff = adminCommand({
  name: "sig diff",
  description: "what differs between two versions of a signature, field by field",
  role: "viewer",
  words: ["sig_id"],
  http: { method: "GET", path: `${ONE}/diff` },
  input: {
    ...oneSignature,
    from: versionOf("the published one, if absent"),
    to: versionOf("the newest one, if absent"),
  },
  answer: signatureDifference,
  run({ tenant, sig_id, from, to }, { state: { appDb, tenants } }) {
    tenants.need(tenant);
    const row = appDb.list(tenant).find(({ sigId }) => sigId === sig_id);
    const newest = appDb.versions(tenant, sig_id)[0]?.version ?? 0;
    const ends = { from: from ?? row?.published ?? newest, to: to ?? newest };
    const [before, after] = [ends.from, ends.to].map((version) => {
      return parseSignatures(appDb.version(tenant, sig_id, version).contents, `version ${version}`);
    });
    const fields = changesOf(before ?? [], after ?? [])
      .flatMap((change) => change.fields)
      .map((field) => ({ ...field }));
    const text = fields.length === 0 ? "no difference" : tableText(fields);
    return { value: { sig_id, ...ends, fields }, text };
  },
});

const publish = adminCommand({
  name: "sig publish",
  description: "its commitment onto the ledger, then its contents to the VMs that host it",
  role: "operator",
  words: ["sig_id"],
  http: { method: "POST", path: `${ONE}/publish` },
  input: { ...oneSignature, version: versionOf("this version, not the newest") },
  answer: signaturePublished,
  run({ tenant, sig_id: sigId, version: asked }, context) {
    const { state, ledgers } = context;
    state.tenants.need(tenant);
    const version = asked ?? state.appDb.versions(tenant, sigId)[0]?.version ?? 0;
    state.transaction(() => {
      publishVersion({ sigId, version }, { tenant }, context);
      checkPublished(tenant, context);
    });
    ledgers.reconcile(tenant);
    const value = { sig_id: sigId, version, status: "published" as const };
    return { value, text: `${sigId} version ${version} goes onto the ledger, then to its VMs` };
  },
});

/** At once for agents, and on the ledger with the next block. */
function withdraw(
  { tenant, sig_id }: OneSignature,
  status: Exclude<SignatureStatus, "published">,
  { state, ledgers }: CommandContext,
) {
  state.tenants.need(tenant);
  state.transaction(() => {
    state.appDb.withdraw(tenant, sig_id, status);
    state.tenants.countUp(tenant);
  });
  ledgers.reconcile(tenant);
  return { value: { sig_id, status }, text: `${sig_id} is ${status}` };
}

const disable = adminCommand({
  name: "sig disable",
  description: "out of use until it is published again",
  role: "operator",
  words: ["sig_id"],
  http: { method: "POST", path: `${ONE}/disable` },
  input: oneSignature,
  answer: signatureWithdrawn,
  run: (input, context) => withdraw(input, "disabled", context),
});

const decommission = adminCommand({
  name: "sig decommission",
  description: "out of use for good: its id is never used again",
  role: "operator",
  words: ["sig_id"],
  http: { method: "POST", path: `${ONE}/decommission` },
  input: oneSignature,
  answer: signatureWithdrawn,
  run: (input, context) => withdraw(input, "decommissioned", context),
});

export const SIGNATURE_COMMANDS = [
  ...[add, list, show, diff, signatureTestCommand, publish, disable, decommission],
];
