/**
 * A master: where blocks begin and where they are sealed. One step takes one event to the part it
 * belongs to; master-state.ts names the parts. A master that crashes or stalls harms no safety, one
 * that lies is bound by q of its committee.
 */

import { blockHashOf } from "./block-core.ts";
import {
  askHeaders,
  GOSSIP_MS,
  onBodyRequest,
  onBodyResponse,
  onGossipTimer,
  onHeadersRequest,
  onHeadersResponse,
} from "./catch-up.ts";
import { masterOf } from "./chain-state.ts";
import { type Contradiction, contradictionChecks, offenderKey, readEvidence } from "./evidence.ts";
import {
  createNode,
  masterId,
  openHeight,
  report,
  setTimer,
  takeMasterTerm,
  write,
} from "./ledger-node.ts";
import type { Attempt, CandidateSequence, Hash, Height, NodeId } from "./ledger-units.ts";
import {
  offerForced,
  onAbandon,
  onNoQuorum,
  onRedraw,
  onReject,
  openForced,
  openNext,
} from "./master-attempts.ts";
import {
  dropSealed,
  offer,
  proposeNext,
  renewStale,
  requeue,
  resetHeight,
  sendOffered,
} from "./master-candidate.ts";
import { keepList, noteSeen } from "./master-list.ts";
import { ask, onQcState } from "./master-recovery.ts";
import { askBody, onResult, takeBody } from "./master-seal.ts";
import { type Draft, type Master, newestRedraw, presentCommittee } from "./master-state.ts";
import { keepSurvey, onRelease, onSurvey } from "./master-survey.ts";
import type {
  BodyResponse,
  CandidateMessage,
  EvidenceMessage,
  LedgerMessage,
  MasterTermMessage,
} from "./message-types.ts";
import { encodeRecord } from "./record-schema.ts";
import { onLineTimer, onReplAck } from "./replication.ts";
import type { LogEntry, MasterConfig, Output, StepEvent, TimerName } from "./step-types.ts";

const MASTER_MS = 1000;
const COPY = "this may be a copy: what members hold is asked first, and nothing is sealed alone";

export function createMaster(config: MasterConfig): Master {
  const master: Master = {
    kind: "master",
    ...createNode(config),
    contracts: [],
    records: [],
    drafts: new Map(),
    attempt: 0 as Attempt,
    offered: undefined,
    nextSequence: config.firstSequence ?? (0 as CandidateSequence),
    firstSequence: config.firstSequence ?? (0 as CandidateSequence),
    sealsAlone: config.mayHaveForgotten !== true,
    abandons: new Map(),
    redraws: new Map(),
    sealedHash: undefined,
    asking: { nonce: config.chain.blockHash as string as Hash, answers: new Map() },
    survey: undefined,
    surveys: new Map(),
    wanted: undefined,
    seenMs: new Map(),
    watchedMs: new Map(),
    parked: new Map(),
    ownTerm: config.masterTerm,
  };
  if (config.masterTerm !== undefined) takeMasterTerm(master, config.masterTerm);
  for (const entry of config.log) replay(master, entry);
  endReign(master);
  return master;
}

function replay(master: Master, entry: LogEntry): void {
  const height = openHeight(master);
  switch (entry.kind) {
    case "candidate":
      if (entry.message.height === height) replayCandidate(master, entry.message);
      return;
    case "redraw":
      if (entry.message.height === height) master.redraws.set(entry.message.attempt, entry.message);
      return;
    case "sealed":
      if (entry.height === height) master.sealedHash = entry.blockHash;
      return;
    case "survey":
      if (entry.height === height) master.surveys.set(entry.nonce, entry.survey);
      return;
    case "term":
      takeMasterTerm(master, entry.message);
      return;
    case "parked":
      master.parked.clear();
      for (const line of entry.lines) master.parked.set(line.nodeId, line);
      return;
    case "stopped":
      master.stoppedBy = entry.reason;
      return;
    case "sent":
    case "lock":
    case "freeze":
    case "observing":
  }
}

/** What was offered is offered again, as it was. */
function replayCandidate(master: Master, message: CandidateMessage): void {
  const next = master.rules.applyBlock(master.chain, message.core, message.body, master.crypto);
  if ("fault" in next) return;
  const draft = { core: message.core, body: message.body, next };
  master.drafts.set(blockHashOf(message.core), draft);
  // The queue was memory: what had come as far as a candidate is not lost with it.
  requeue(master, message.body);
  if (message.term !== master.term) return;
  master.attempt = message.attempt;
  master.offered = message;
  master.nextSequence = (message.sequence + 1) as CandidateSequence;
}

export function stepMaster(master: Master, event: StepEvent): Output[] {
  master.at = event.at;
  master.outputs = [];
  switch (event.kind) {
    case "start":
      setTimer(master, "gossip", GOSSIP_MS);
      setTimer(master, "master", 0);
      if (!master.sealsAlone) report(master, "observing", COPY);
      break;
    case "message":
      if (event.message.chainId === master.chain.chainId) {
        noteSeen(master, event.from);
        receive(master, event.from, event.message);
      }
      break;
    case "timer":
      onTimer(master, event.timer, event.entropy);
      break;
    case "propose":
      master.contracts.push(...event.contracts);
      master.records.push(...event.records);
      proposeNext(master);
      break;
    case "redraw":
      onRedraw(master, event.redraw, event.mayFork);
      break;
    case "survey":
      onSurvey(master, event.nonce, event.holdMs);
      break;
    case "release":
      onRelease(master);
      break;
    case "observe":
      doubt(master, event.reason);
      break;
    case "recomputed":
      break; // A validator's.
  }
  return master.outputs;
}

/** A copy of this master may have gone on: nothing new before q have told what they hold. */
function doubt(master: Master, reason: string): void {
  master.asking = { nonce: master.chain.blockHash as string as Hash, answers: new Map() };
  report(master, "observing", reason);
}

function onTimer(master: Master, timer: TimerName, entropy: Hash): void {
  if (timer === "gossip") return onGossipTimer(master, entropy);
  if (timer === "master") return again(master, entropy);
  if (timer.startsWith("line ")) {
    onLineTimer(master, Number(timer.slice("line ".length)) as Height);
  }
}

/** Every second: what is offered or asked, again. */
function again(master: Master, entropy: Hash): void {
  setTimer(master, "master", MASTER_MS);
  if (master.stoppedBy !== undefined) return;
  keepSurvey(master);
  const { wanted, asking } = master;
  if (wanted !== undefined) askBody(master, wanted, presentCommittee(master));
  if (asking !== undefined) {
    // The nonce of createMaster() is no secret: the first question draws a fresh one.
    if (asking.answers.size === 0) master.asking = { nonce: entropy, answers: asking.answers };
    ask(master, entropy);
    return sendOffered(master);
  }
  offerForced(master);
  renewStale(master);
  sendOffered(master);
  openNext(master);
  keepList(master);
  proposeNext(master);
}

function receive(master: Master, from: NodeId, message: LedgerMessage): void {
  switch (message.kind) {
    case "RESULT":
      return onResult(master, message);
    case "ABANDON":
      return onAbandon(master, from, message);
    case "NO_QUORUM":
      return onNoQuorum(master, message);
    case "REJECT":
      return onReject(master, from, message);
    case "QC_STATE":
      return onQcState(master, from, message);
    case "REPL_ACK":
      return onReplAck(master, from, message);
    case "LINK_DOWN":
      return report(master, "link-down", `${message.nodeId}, says ${from}`);
    case "HEADERS_REQ":
      // Who asks for a height above ours has blocks that this disk has not: of members too that
      // this copy does not know.
      if (message.height > openHeight(master)) askHeaders(master, [from], openHeight(master), 64);
      return onHeadersRequest(master, from, message);
    case "HEADERS_RESP":
      return onHeadersResponse(master, from, message);
    case "BODY_REQ":
      return onBodyRequest(master, from, message, (hash) => master.drafts.get(hash));
    case "BODY_RESP":
      return onBodies(master, from, message);
    case "EVIDENCE":
      return onEvidence(master, message);
    case "MASTER_TERM":
      return onMasterTerm(master, message);
    case "DIGEST_RESP":
      return report(master, "peer-differs", `${message.signer}, height ${message.height}`);
    default:
  }
}

function onBodies(master: Master, from: NodeId, message: BodyResponse): void {
  const { others, hasGrown } = onBodyResponse(master, from, message);
  if (hasGrown) {
    dropSealedUpTo(master);
    resetHeight(master);
    endReign(master);
    // A tip from elsewhere: what is held above it is asked anew.
    master.asking = { nonce: master.chain.blockHash as string as Hash, answers: new Map() };
    askHeaders(master, [from], openHeight(master), 64);
  }
  for (const block of others) {
    const draft = takeBody(master, block);
    if (draft !== undefined) offerFetched(master, draft);
  }
}

/** The body of a hash that must be carried on is here: by a redraw, ABANDONs or a new master. */
function offerFetched(master: Master, draft: Draft): void {
  const redraw = newestRedraw(master, master.attempt);
  if (redraw !== undefined && redraw.attempt !== master.offered?.attempt) {
    return openForced(master, redraw);
  }
  openNext(master);
  const isIdle = master.offered === undefined && master.asking === undefined;
  if (isIdle && master.attempt === 0 && master.stoppedBy === undefined) offer(master, draft, []);
}

function dropSealedUpTo(master: Master): void {
  const tip = master.history.at(master.chain.height);
  if (tip !== undefined) dropSealed(master, tip.body);
}

/** Another has this office: an old master that comes back learns it from whoever tells it. */
function onMasterTerm(master: Master, message: MasterTermMessage): void {
  if (!takeMasterTerm(master, message)) return;
  write(master, { kind: "term", message });
  endReign(master);
}

/** The newest term is another key's: nothing is proposed or sealed by this one any more. */
function endReign(master: Master): void {
  if (masterId(master) === master.nodeId || master.stoppedBy !== undefined) return;
  master.stoppedBy = `term ${master.term} is the reign of another master, ${masterId(master)}`;
  master.offered = undefined;
  report(master, "new-term", master.stoppedBy);
}

/** Also whoever is not on the ledger, and this master itself. */
function isKnownLiar({ chain, nodeId }: Master, found: Contradiction): boolean {
  if (!found.isMaster) {
    const member = chain.members.get(found.offender);
    return member === undefined || member.revokedBy === "evidence";
  }
  return found.offender === nodeId || masterOf(chain, found.term)?.isProvenLiar !== false;
}

/** Into the next block; there the liar is revoked, and a master's term is marked. */
function onEvidence(master: Master, { evidence }: EvidenceMessage): void {
  const { chain, crypto } = master;
  const contradiction = readEvidence(chain.chainId, evidence);
  if (typeof contradiction === "string" || isKnownLiar(master, contradiction)) return;
  const { offender, height } = contradiction;
  const key = offenderKey(chain, contradiction);
  if (key === undefined) return;
  if (crypto.signatures.verifyMany(contradictionChecks(contradiction, key)).includes(false)) return;
  const bytes = encodeRecord({ kind: "EVIDENCE", evidence });
  if (master.records.some((other) => Buffer.compare(other, bytes) === 0)) return;
  report(master, "evidence", `${offender} at height ${height}`);
  master.records.push(bytes);
  proposeNext(master);
}
