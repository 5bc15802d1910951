/**
 * The folder of one node of the ledger: what `abs ledger init` writes into it and a process finds
 * there. docs/ledger.md "Folders". Everything but `keys.json` and the control socket is public.
 */
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { masterTermMessage } from "../chain/apply-records.ts";
import { canonicalJson, canonicalText, isList, parseJsonText } from "../chain/canonical-json.ts";
import type { ChainState } from "../chain/chain-state.ts";
import type { LedgerCrypto } from "../chain/crypto-interface.ts";
import { genesisState } from "../chain/genesis-block.ts";
import { parseGenesis } from "../chain/genesis-file.ts";
import {
  decodeSignedCertificate,
  type SignedCertificate,
  signedCertificateJson,
} from "../chain/identity-certificate.ts";
import type { MasterTermMessage } from "../chain/message-types.ts";
import { decodeRecord } from "../chain/record-schema.ts";
import type { MasterTermRecord } from "../chain/record-types.ts";
import { isMasterTerm } from "../chain/seal-check.ts";
import { AbsError, messageOf } from "../errors.ts";

export const FOLDER = {
  genesis: "genesis.json",
  keys: "keys.json",
  certificate: "certificate.json",
  peers: "peers.json",
  store: "scd.sqlite",
  control: "control.sock",
  /** Written at the first start: keys with it and without a store have lost their disk. */
  started: "started",
  /** Of a master whose key the recovery key put in the place of a lost one. */
  term: "master-term.json",
  /** Whom the master has revoked, while no block holds it. */
  revocations: "revocations.json",
  /** A height and its hash that enrolment or a renewal vouched for. */
  checkpoint: "checkpoint.json",
  /** Held by the process that signs with these keys: two would contradict each other. */
  lock: "lock",
} as const;

const PEERS_MAX = 10_000;

export function fileIn(dir: string, name: keyof typeof FOLDER): string {
  return join(dir, FOLDER[name]);
}

/** The state of height 0. @throws AbsError LEDGER_FILE_UNREADABLE, GENESIS_INVALID */
export function loadGenesis(dir: string, crypto: LedgerCrypto): ChainState {
  const file = fileIn(dir, "genesis");
  const read = parseGenesis(readBytes(file));
  const state = "complaint" in read ? read.complaint : genesisState(read.file, crypto);
  if (typeof state !== "string") return state;
  throw new AbsError(
    "GENESIS_INVALID",
    `${file}: ${state}.`,
    "It must be the tenant's own, byte for byte: copy it from another node.",
  );
}

/** The MASTER_TERM of a new term's master, if there is one. @throws AbsError MASTER_TERM_INVALID */
export function loadMasterTerm(
  dir: string,
  genesis: ChainState,
  crypto: LedgerCrypto,
): MasterTermMessage | undefined {
  const file = fileIn(dir, "term");
  if (!existsSync(file)) return undefined;
  const read = decodeRecord(readBytes(file));
  const isTerm = "record" in read && read.record.kind === "MASTER_TERM";
  const message = isTerm ? masterTermMessage(read.record as MasterTermRecord, genesis) : undefined;
  if (message !== undefined && isMasterTerm(genesis, message, crypto)) return message;
  throw new AbsError(
    "MASTER_TERM_INVALID",
    `${file} is not signed by the recovery key of this genesis file.`,
    "Make it again: `abs ledger recover master-term --help`.",
  );
}

/** What this node shows to its peers. @throws AbsError CERTIFICATE_INVALID */
export function loadCertificate(dir: string): SignedCertificate {
  const file = fileIn(dir, "certificate");
  const read = decodeSignedCertificate(readBytes(file));
  if ("signed" in read) return read.signed;
  throw certificateError(`${file}: ${read.complaint}`);
}

/** Certificates of the nodes to speak with. @throws AbsError CERTIFICATE_INVALID */
export function loadPeers(dir: string): SignedCertificate[] {
  const file = fileIn(dir, "peers");
  if (!existsSync(file)) return [];
  const json = parseJsonText(readBytes(file));
  if ("fault" in json) throw certificateError(`${file}: ${json.fault}`);
  if (!isList(json.value) || json.value.length > PEERS_MAX) {
    throw certificateError(`${file}: it is no list of at most ${PEERS_MAX} certificates`);
  }
  return json.value.map((value, i) => {
    const read = decodeSignedCertificate(canonicalJson(value));
    if ("complaint" in read) throw certificateError(`${file}, number ${i + 1}: ${read.complaint}`);
    return read.signed;
  });
}

/** Whole or not at all; a disk that is full keeps the old one. */
export function savePeers(dir: string, peers: readonly SignedCertificate[]): void {
  const file = fileIn(dir, "peers");
  const text = canonicalText(peers.slice(0, PEERS_MAX).map(signedCertificateJson));
  try {
    writeFileSync(`${file}.new`, text);
    renameSync(`${file}.new`, file);
  } catch {
    // They are only a help: whoever is missing calls, or is named by others.
    rmSync(`${file}.new`, { force: true });
  }
}

function certificateError(what: string): AbsError {
  return new AbsError("CERTIFICATE_INVALID", `${what}.`, "Copy it anew from the master.");
}

/** @throws AbsError LEDGER_FILE_UNREADABLE */
export function readBytes(file: string): Uint8Array {
  try {
    return readFileSync(file);
  } catch (cause) {
    throw new AbsError(
      "LEDGER_FILE_UNREADABLE",
      `${file} cannot be read: ${messageOf(cause)}.`,
      "`abs ledger init` makes the folders of a new ledger; name one with --dir.",
      cause,
    );
  }
}
