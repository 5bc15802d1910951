/**
 * A new master for a ledger whose master key is lost: fresh keys, a certificate of its own, and the
 * MASTER_TERM by which the recovery key gives it the next term. docs/ledger.md "Recovery". It
 * writes one folder; nothing is sent, and nothing holds before `abs ledger master run` begins.
 */
import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { encodeGenesis } from "../chain/genesis-file.ts";
import { signCertificate } from "../chain/identity-certificate.ts";
import type { PublicKey, Term } from "../chain/ledger-units.ts";
import { signMasterTerm } from "../chain/master-term.ts";
import { encodeRecord } from "../chain/record-schema.ts";
import { AbsError, messageOf } from "../errors.ts";
import { createLedgerCrypto } from "./ledger-crypto.ts";
import { certificateOf, type NodePlace, newNode, writeNode } from "./ledger-init.ts";
import { Ledger } from "./ledger-reader.ts";
import { epochNow } from "./ledger-runner.ts";
import { fileIn, loadGenesis, loadPeers } from "./node-folder.ts";
import { loadKeys, type OwnKeys } from "./node-keys.ts";

export const AUDIT_FILE = "recoveries.jsonl";
/** Action of a line behind that of a redraw: the master made none of it. */
export const REDRAW_REFUSED = "redraw-refused";

export type HeirPlan = {
  /** A node of the ledger: genesis file, peers and, where it is, the chain. */
  readonly from: string;
  readonly recovery: OwnKeys;
  readonly place: NodePlace;
  readonly into: string;
  readonly term: Term;
};

/** The recovery keys of a folder. @throws AbsError RECOVERY_KEY_WRONG for another ledger's */
export function loadRecovery(recoveryDir: string, recoveryPub: PublicKey): OwnKeys {
  const keys = loadKeys(fileIn(recoveryDir, "keys"));
  if (keys.ledger.signer.publicKey === recoveryPub) return keys;
  throw new AbsError(
    "RECOVERY_KEY_WRONG",
    `The key in ${recoveryDir} is not the recovery key of this ledger's genesis file.`,
    "Name the folder `recovery` that `abs ledger init` wrote for this tenant.",
  );
}

/** Genesis, and the newest term that a node's disk knows of. */
export function readLedger(dir: string): {
  readonly genesis: ReturnType<typeof loadGenesis>;
  readonly term: Term;
  readonly hasChain: boolean;
} {
  const genesis = loadGenesis(dir, createLedgerCrypto());
  if (!existsSync(fileIn(dir, "store"))) return { genesis, term: 1 as Term, hasChain: false };
  const ledger = new Ledger(dir);
  try {
    return { genesis, term: ledger.newestTerm(), hasChain: true };
  } finally {
    ledger.close();
  }
}

export type Heir = { readonly nodeId: string; readonly term: Term; readonly masterPub: PublicKey };

/** @throws AbsError LEDGER_EXISTS when the folder is one already */
export function requireEmpty(into: string): void {
  if (existsSync(fileIn(into, "keys")) || existsSync(fileIn(into, "genesis"))) {
    const what = `${into} holds a node already.`;
    throw new AbsError(
      "LEDGER_EXISTS",
      what,
      "Choose an empty --into; keys are never overwritten.",
    );
  }
}

/** @throws AbsError LEDGER_EXISTS: nothing is written */
export function makeHeir(plan: HeirPlan): Heir {
  const { from, recovery, place, into, term } = plan;
  requireEmpty(into);
  const genesis = loadGenesis(from, createLedgerCrypto());
  const { file, chainId } = genesis.genesis;
  const node = newNode();
  const { signer } = node.keys.ledger;
  const masterPub = signer.publicKey;
  const words = { node, place, role: "master", chainId, issuer: node.keys.nodeId };
  const own = signCertificate(
    certificateOf({ tenant: file.tenant, timestamp: epochNow() }, words),
    signer,
  );
  const members = loadPeers(from).filter(
    ({ certificate }) => !certificate.roles.includes("master"),
  );
  const peers = [own, ...members];
  writeNode(into, node.secrets, own, { genesis: encodeGenesis(file), peers });
  const message = signMasterTerm(recovery.ledger.signer, { chainId, term, masterPub });
  const { signature } = message;
  const record = encodeRecord({ kind: "MASTER_TERM", term, masterPub, signature });
  // Last: a folder with it is whole.
  writeFileSync(fileIn(into, "term"), record);
  return { nodeId: node.keys.nodeId, term, masterPub };
}

/** The highest term that the audit file says was given on this chain; 0 for none. */
export function auditedTerm(file: string, chainId: string): number {
  const terms = auditLines(file, chainId).map(({ term }) => (typeof term === "number" ? term : 0));
  return Math.max(0, ...terms);
}

/** Attempts of redraws of a height that a master was told to make, and did not refuse. */
export function auditedRedraws(
  file: string,
  place: { readonly chainId: string; readonly height: number },
): number[] {
  const attempts = new Set<number>();
  for (const { action, height, attempt } of auditLines(file, place.chainId)) {
    if (height !== place.height || typeof attempt !== "number") continue;
    if (action === "redraw") attempts.add(attempt);
    if (action === REDRAW_REFUSED) attempts.delete(attempt);
  }
  return [...attempts];
}

function auditLines(file: string, chainId: string): Record<string, unknown>[] {
  if (!existsSync(file)) return [];
  return readFileSync(file, "utf8")
    .split("\n")
    .flatMap((line) => {
      try {
        const words = JSON.parse(line) as Record<string, unknown>;
        return words["chain_id"] === chainId ? [words] : [];
      } catch {
        return []; // The empty last line, or one that a crash has cut.
      }
    });
}

/**
 * One line for whoever asks later what was done with the recovery key: before it is done.
 * @throws AbsError AUDIT_UNWRITABLE
 */
export function auditRecovery(file: string, fields: Readonly<Record<string, unknown>>): void {
  const line = JSON.stringify({ at: new Date().toISOString(), ...fields });
  try {
    appendFileSync(file, `${line}\n`, { mode: 0o600 });
  } catch (cause) {
    throw new AbsError(
      "AUDIT_UNWRITABLE",
      `The use of the recovery key cannot be written down in ${file}: ${messageOf(cause)}.`,
      "Nothing was done. Name a file that can be written: --audit FILE.",
      cause,
    );
  }
}
