/**
 * The master assembles a block and offers it (paper §3.3.2: the master is a block generator). What
 * waits is taken in order, up to 1,024 contracts; what cannot be in a block on this tip is dropped
 * and reported, the rest goes on. A CANDIDATE is on the disk before it is sent, and repeated as it
 * was: the validators of docs/ledger.md "Evidence" would take another text for a lie.
 */
import type { EpochSeconds } from "../units.ts";
import { draftBlock } from "./apply-block.ts";
import { type BlockBody, CONTRACTS_MAX, RECORDS_MAX } from "./block.ts";
import { blockHashOf } from "./block-core.ts";
import type { Refusal } from "./block-fault.ts";
import { isChangePending, paramsAt } from "./chain-state.ts";
import { decodeContract } from "./contract-entry.ts";
import {
  headerOf,
  memberIds,
  openHeight,
  report,
  send,
  setTimer,
  sign,
  write,
} from "./ledger-node.ts";
import type { Attempt, CandidateSequence, View } from "./ledger-units.ts";
import { sealBare } from "./master-seal.ts";
import type { Draft, Master } from "./master-state.ts";
import { presentCommittee } from "./master-state.ts";
import type { AbandonMessage, CandidateMessage, MasterTermMessage } from "./message-types.ts";
import { decodeRecord, encodeRecord } from "./record-schema.ts";
import { recordId } from "./record-types.ts";

const REPEAT_MS = 1000;
/** A candidate nobody could vote on in time is replaced this long before its window ends. */
const WINDOW_MARGIN_SECONDS = 10;
/** Encoded bodies stay below block.ts's BODY_BYTES_MAX. */
const BODY_BYTES = 880_000;

/** Offers the next block where there is something to put into it. */
export function proposeNext(master: Master): void {
  if (master.offered !== undefined || master.asking !== undefined) return;
  if (master.stoppedBy !== undefined || master.wanted !== undefined) return;
  if (master.attempt !== 0 || master.sealedHash !== undefined) return;
  const draft = draftNext(master);
  if (draft === undefined) return;
  if (presentCommittee(master).length === 0) {
    return master.sealsAlone ? sealBare(master, draft) : undefined;
  }
  offer(master, draft, []);
}

/** The next block, or undefined when none is needed. */
export function draftNext(master: Master): Draft | undefined {
  for (;;) {
    const body = nextBody(master);
    const isEmpty = body.contracts.length + body.records.length === 0;
    if (isEmpty && !isChangePending(master.chain)) return undefined;
    const draft = draftOf(master, body);
    if (draft !== undefined) return draft;
    if (!dropFaulty(master, body)) return undefined;
  }
}

function draftOf(master: Master, body: BlockBody): Draft | undefined {
  const { chain, term, crypto } = master;
  const drafted = draftBlock(chain, { term, timestamp: timestampOf(master), body }, crypto);
  if ("fault" in drafted) return undefined;
  const draft = { core: drafted.core, body, next: drafted.next };
  master.drafts.set(blockHashOf(drafted.core), draft);
  return draft;
}

function timestampOf({ at, chain }: Master): EpochSeconds {
  return Math.max(at.epoch, chain.core.timestamp) as EpochSeconds;
}

/** What fits into one block, records in their order, one a subject. */
function nextBody(master: Master): BlockBody {
  const records = new Map<string, Uint8Array>();
  const { masterTerm } = master;
  let sizeBytes = 0;
  if (masterTerm !== undefined) records.set("MASTER_TERM", recordOf(masterTerm));
  for (const bytes of master.records) {
    const id = idOf(bytes);
    sizeBytes += bytes.length + 4;
    if (records.has(id) || records.size >= RECORDS_MAX || sizeBytes > BODY_BYTES) continue;
    records.set(id, bytes);
  }
  const contracts: Uint8Array[] = [];
  for (const bytes of master.contracts) {
    sizeBytes += bytes.length + 4;
    if (contracts.length >= CONTRACTS_MAX || sizeBytes > BODY_BYTES) break;
    contracts.push(bytes);
  }
  const sorted = [...records].sort(([one], [other]) => (one < other ? -1 : 1));
  return { contracts, records: sorted.map(([, bytes]) => bytes) };
}

function recordOf({ term, masterPub, signature }: MasterTermMessage): Uint8Array {
  return encodeRecord({ kind: "MASTER_TERM", term, masterPub, signature });
}

/** Why no block on this tip may hold these; a new term's must name its master as well. */
function faultOf(master: Master, { contracts, records }: BlockBody): Refusal | undefined {
  const { chain, term, crypto, masterTerm } = master;
  const own = masterTerm === undefined ? [] : [recordOf(masterTerm)];
  const sorted = [...own, ...records].sort((one, other) => (idOf(one) < idOf(other) ? -1 : 1));
  const plan = { term, timestamp: timestampOf(master), body: { contracts, records: sorted } };
  const drafted = draftBlock(chain, plan, crypto);
  return "fault" in drafted ? drafted : undefined;
}

function idOf(bytes: Uint8Array): string {
  const read = decodeRecord(bytes);
  return "complaint" in read ? `? ${bytes.toHex()}` : recordId(read.record);
}

/**
 * Takes the first item off the queue with which a body does not stand any more, while those before
 * it do: an item may need an earlier one, as a stake its NODE_ADD. By halves: a block of 1,024 is
 * searched in ten drafts.
 */
function dropFaulty(master: Master, body: BlockBody): boolean {
  const waiting = new Set(master.records);
  const records = body.records.filter((bytes) => waiting.has(bytes));
  const items = [...records, ...body.contracts];
  const faultOfFirst = (count: number): Refusal | undefined => {
    const contracts = items.slice(records.length, Math.max(count, records.length));
    return faultOf(master, { records: records.slice(0, count), contracts });
  };
  let why = faultOfFirst(items.length);
  if (why === undefined || faultOfFirst(0) !== undefined) return false;
  let [right, wrong] = [0, items.length];
  while (wrong - right > 1) {
    const middle = (right + wrong) >> 1;
    const fault = faultOfFirst(middle);
    if (fault === undefined) right = middle;
    else [wrong, why] = [middle, fault];
  }
  const faulty = items[right];
  if (faulty === undefined) return false;
  master.records = master.records.filter((other) => other !== faulty);
  master.contracts = master.contracts.filter((other) => other !== faulty);
  report(master, "refused", complaintOf(faulty, right < records.length, why));
  return true;
}

/** Which item it is and why it may not stand, for people. */
function complaintOf(item: Uint8Array, isRecord: boolean, { fault, detail }: Refusal): string {
  const read = isRecord ? { complaint: "a record" } : decodeContract(item);
  const name = "contract" in read ? `contract ${read.contract.scId}` : read.complaint;
  return `${name}: ${fault} ${detail}: ${Buffer.from(item.subarray(0, 200)).toString()}`;
}

/** On the disk, then to the committee, and again every second. */
export function offer(master: Master, draft: Draft, abandons: readonly AbandonMessage[]): void {
  const redraw = master.redraws.get(master.attempt);
  const message = sign<CandidateMessage>(master, {
    kind: "CANDIDATE",
    ...headerOf(master, { attempt: master.attempt, view: 0 as View }),
    sequence: master.nextSequence,
    core: draft.core,
    body: draft.body,
    parent: master.tipProof,
    abandons: redraw === undefined ? abandons : [],
    redraw,
  });
  master.nextSequence = (master.nextSequence + 1) as CandidateSequence;
  master.offered = message;
  write(master, { kind: "candidate", message });
  sendOffered(master);
  setTimer(master, "master", REPEAT_MS);
}

export function sendOffered(master: Master): void {
  const { offered, ownTerm, masterTerm } = master;
  if (offered === undefined) return;
  if (masterTerm !== undefined && ownTerm !== undefined) send(master, memberIds(master), ownTerm);
  send(master, presentCommittee(master), offered);
}

/**
 * A candidate that waited too long for its first vote: another with the present time, unless a hash
 * is carried, which is voted on at any time. Votes on the old one still count.
 */
export function renewStale(master: Master): void {
  const { offered, chain, at } = master;
  if (offered === undefined || offered.redraw?.carriedHash !== undefined) return;
  if (offered.abandons.some(({ highest }) => highest !== undefined)) return;
  const { clockWindowSeconds } = paramsAt(chain, openHeight(master));
  const age = Math.abs(at.epoch - offered.core.timestamp);
  if (age <= Math.max(1, clockWindowSeconds - WINDOW_MARGIN_SECONDS)) return;
  if (offered.core.timestamp === Math.max(at.epoch, chain.core.timestamp)) return;
  const draft = draftOf(master, offered.body);
  if (draft !== undefined && draft.core.term === offered.core.term) {
    offer(master, draft, offered.abandons);
  }
}

/** A body that was offered before a crash waits again, each item once; a MASTER_TERM comes anew. */
export function requeue(master: Master, { contracts, records }: BlockBody): void {
  const waiting = new Set([...master.contracts, ...master.records].map((bytes) => bytes.toHex()));
  const isNew = (bytes: Uint8Array): boolean => !waiting.has(bytes.toHex());
  master.contracts.push(...contracts.filter(isNew));
  const lasting = records.filter((bytes) => idOf(bytes) !== "MASTER_TERM");
  master.records.push(...lasting.filter(isNew));
}

/** What the chain has now is off the queue. */
export function dropSealed(master: Master, { contracts, records }: BlockBody): void {
  master.contracts = without(master.contracts, contracts);
  master.records = without(master.records, records);
}

/** Own blocks hold the very bytes that waited; those of another master's may be the same text. */
function without(waiting: Uint8Array[], sealed: readonly Uint8Array[]): Uint8Array[] {
  if (waiting.length === 0 || sealed.length === 0) return waiting;
  const known = new Set(sealed);
  const left = waiting.filter((bytes) => !known.has(bytes));
  if (left.length + sealed.length === waiting.length) return left;
  const texts = new Set(sealed.map((bytes) => bytes.toHex()));
  return left.filter((bytes) => !texts.has(bytes.toHex()));
}

export function resetHeight(master: Master): void {
  master.attempt = 0 as Attempt;
  master.offered = undefined;
  master.nextSequence = master.firstSequence;
  master.sealedHash = undefined;
  master.wanted = undefined;
  // What was told of the height below binds nothing here.
  master.asking?.answers.clear();
  master.survey = undefined;
  master.surveys.clear();
  master.drafts.clear();
  master.abandons.clear();
  master.redraws.clear();
}
