/**
 * A validator: one step takes one event to the part it belongs to. Rules 1 to 8 of design
 * "Agreement" are candidate.ts, voting.ts, deciding.ts, round-change.ts, attempts.ts, recovery.ts;
 * spreading and checking are sealing.ts, replication.ts, catch-up.ts, digest-check.ts, witness.ts.
 * Here: who may say what at all, messages that come a height early, and the change of the tip.
 */
import { abandonedAgain, highestCertificate, takeRedraw } from "./attempts.ts";
import { areSameBodies, type Block, type BlockBody } from "./block.ts";
import { blockHashOf } from "./block-core.ts";
import { onCandidate, takeCarriedBody } from "./candidate.ts";
import {
  askHeaders,
  GOSSIP_MS,
  isAnswer,
  onBodyRequest,
  onBodyResponse,
  onGossipTimer,
  onHeadersRequest,
  onHeadersResponse,
} from "./catch-up.ts";
import { memberKeysAt } from "./chain-state.ts";
import { isDecided, onReject, onResultTimer, sendResult } from "./deciding.ts";
import {
  createDigestChecks,
  onCheckTimer,
  onDigestRequest,
  onDigestResponse,
  onRecomputed,
  takeRestored,
} from "./digest-check.ts";
import { createFreeze, promised, reached, takeRelease, takeSurvey } from "./freeze.ts";
import {
  cancelTimer,
  createNode,
  headerOf,
  isSignedByMaster,
  masterId,
  openHeight,
  ownKeys,
  plainHeader,
  report,
  reportKeys,
  send,
  setTimer,
  sign,
  takeMasterTerm,
  write,
} from "./ledger-node.ts";
import type { Attempt, BlockHash, Hash, Height, NodeId } from "./ledger-units.ts";
import type {
  BodyResponse,
  CandidateMessage,
  LedgerMessage,
  MasterTermMessage,
  QcFetchMessage,
  QcStateMessage,
  SealMessage,
} from "./message-types.ts";
import { askForHeights, countHeight, endObserving, observe, replayLog } from "./recovery.ts";
import { acknowledge, forward, onLineTimer, onReplAck } from "./replication.ts";
import type { Candidate, Round } from "./round.ts";
import { onRoundChange, onViewTimer, startViewTimer } from "./round-change.ts";
import { checkSeal, proofOfSeal } from "./seal-check.ts";
import { extendChain, judgeBlock, takeRival } from "./sealing.ts";
import type { Output, OwnVote, StepEvent, TimerName, ValidatorConfig } from "./step-types.ts";
import { peersOf, type Validator } from "./validator-state.ts";
import { onPrePrepare, onVote, progress } from "./voting.ts";
import { takeEvidence } from "./witness.ts";

/** Own messages of the height again: what was lost is heard then. */
const REPEAT_MS = 1000;
/** Of one member, of the height after the open one. */
const EARLY_MAX = 16;

export function createValidator(config: ValidatorConfig): Validator {
  const validator: Validator = {
    kind: "validator",
    ...createNode(config),
    rounds: new Map(),
    attempt: 0 as Attempt,
    lowestAttempt: 0 as Attempt,
    inherited: undefined,
    redraws: new Map(),
    freeze: createFreeze(),
    observing: undefined,
    readmittedFrom: undefined,
    early: new Map(),
    digests: createDigestChecks(),
    checkPeriodMs: config.checkPeriodMs,
    isReplaying: false,
    wasWiped: config.wasWiped,
    onlyCatchesUp: config.onlyCatchesUp ?? false,
  };
  replayLog(validator, config.log);
  return validator;
}

export function stepValidator(validator: Validator, event: StepEvent): Output[] {
  validator.at = event.at;
  validator.outputs = [];
  switch (event.kind) {
    case "start":
      start(validator);
      break;
    case "message":
      receive(validator, event.from, event.message);
      break;
    case "timer":
      onTimer(validator, event.timer, event.entropy);
      break;
    case "observe":
      observe(validator, event.reason);
      break;
    case "recomputed":
      onRecomputed(validator, event);
      break;
    case "propose":
    case "redraw":
    case "survey":
    case "release":
      break; // A master's.
  }
  return validator.outputs;
}

function start(validator: Validator): void {
  if (validator.wasWiped && validator.observing === undefined) {
    observe(validator, "the disk was lost");
  }
  setTimer(validator, "repeat", REPEAT_MS);
  setTimer(validator, "gossip", GOSSIP_MS);
  setTimer(validator, "check", validator.checkPeriodMs);
  reportKeys(validator);
  goOn(validator);
}

/** With what is here already: after a start, and after a wait that no timer outlived. */
function goOn(validator: Validator): void {
  const round = validator.rounds.get(validator.attempt);
  if (round === undefined) return;
  round.isTimed = false;
  startViewTimer(validator, round);
  progress(validator, round);
}

function onTimer(validator: Validator, timer: TimerName, entropy: Hash): void {
  switch (timer) {
    case "view":
      return onViewTimer(validator);
    case "result":
      return onResultTimer(validator);
    case "repeat":
      return repeat(validator);
    case "gossip":
      onGossipTimer(validator, entropy);
      return askForHeights(validator);
    case "check":
      return onCheckTimer(validator, entropy);
    case "master":
      return;
    default:
      onLineTimer(validator, Number(timer.slice("line ".length)) as Height);
  }
}

/** Frozen: what was sent is sent again as it was, where it can still matter to somebody. */
function repeat(validator: Validator): void {
  setTimer(validator, "repeat", REPEAT_MS);
  if (validator.stoppedBy !== undefined) return;
  for (const round of validator.rounds.values()) {
    const isPresent = round.attempt === validator.attempt;
    for (const message of round.sent.values()) {
      if (message.kind === "ABANDON") send(validator, [masterId(validator)], message);
      else if (message.kind === "COMMIT" || (isPresent && mayMatter(round, message))) {
        send(validator, peersOf(validator, round), message);
      }
    }
    sendResult(validator, round);
    // The clock may have come into the window meanwhile.
    if (isPresent) progress(validator, round);
  }
}

/**
 * Rule 4: COMMITs of older views and attempts still decide, with the PRE_PREPARE of their view. A
 * PREPARE below the own view is not needed: q that could still commit there have not left it. Of
 * ROUND_CHANGEs only the last counts.
 */
function mayMatter(round: Round, { kind, view }: OwnVote): boolean {
  return kind === "PRE_PREPARE" || view >= round.view;
}

function receive(validator: Validator, from: NodeId, message: LedgerMessage): void {
  if (message.chainId !== validator.chain.chainId) return;
  switch (message.kind) {
    case "SEAL":
      return onSeal(validator, from, message);
    case "REPL_ACK":
      return onReplAck(validator, from, message);
    case "DIGEST_REQ":
      return onDigestRequest(validator, from, message);
    case "DIGEST_RESP":
      return onDigestResponse(validator, from, message);
    case "HEADERS_REQ":
      return onHeadersRequest(validator, from, message);
    case "HEADERS_RESP":
      if (isAnswer(validator, message)) countHeight(validator, from, message.height);
      return onHeadersResponse(validator, from, message);
    case "BODY_REQ":
      return onBodyRequest(validator, from, message, (hash) => findCandidate(validator, hash));
    case "BODY_RESP":
      return onBodies(validator, from, message);
    case "EVIDENCE":
      return takeEvidence(validator, message);
    case "MASTER_TERM":
      return onMasterTerm(validator, message);
    case "QC_FETCH":
      return onQcFetch(validator, message);
    case "RESULT":
    case "NO_QUORUM":
    case "ABANDON":
    case "QC_STATE":
    case "LINK_DOWN":
      return; // To a master.
    default:
      agree(validator, from, message);
  }
}

type AgreementMessage = Extract<
  LedgerMessage,
  {
    kind:
      | "CANDIDATE"
      | "PRE_PREPARE"
      | "PREPARE"
      | "COMMIT"
      | "REJECT"
      | "ROUND_CHANGE"
      | "FORCED_REDRAW";
  }
>;

/** Votes come from who signed them; of the open height, or kept until it is. */
function agree(validator: Validator, from: NodeId, message: AgreementMessage): void {
  if (from !== message.signer || validator.stoppedBy !== undefined) return;
  if (message.kind === "CANDIDATE") takeParent(validator, message);
  const height = openHeight(validator);
  if (message.height === height + 1) return keepEarly(validator, from, message);
  if (message.height !== height) return;
  switch (message.kind) {
    case "CANDIDATE":
      return onCandidate(validator, from, message);
    case "PRE_PREPARE":
      return onPrePrepare(validator, message);
    case "PREPARE":
    case "COMMIT":
      return onVote(validator, message);
    case "REJECT":
      return onReject(validator, message);
    case "ROUND_CHANGE":
      return onRoundChange(validator, message);
    case "FORCED_REDRAW":
      takeRedraw(validator, message);
  }
}

function keepEarly(validator: Validator, from: NodeId, message: AgreementMessage): void {
  const isKnown = memberKeysAt(validator.chain, from, message.height) !== undefined;
  if (!isKnown && from !== masterId(validator)) return;
  if (message.kind === "CANDIDATE") askHeaders(validator, [from], openHeight(validator), 1);
  const kept = validator.early.get(from) ?? [];
  if (kept.length >= EARLY_MAX) return;
  kept.push(message);
  validator.early.set(from, kept);
}

/** A CANDIDATE brings its parent's seal: for a node that the line has not reached yet. */
function takeParent(validator: Validator, message: CandidateMessage): void {
  const { parent, core } = message;
  if (parent === undefined || message.signer !== masterId(validator)) return;
  if (core.previousBlockHash === validator.chain.blockHash) {
    if (message.height === openHeight(validator)) {
      takeRival(validator, validator.chain.core, parent);
    }
    return;
  }
  const candidate = findCandidate(validator, core.previousBlockHash);
  if (candidate === undefined || message.height !== openHeight(validator) + 1) return;
  const block = { core: candidate.core, body: candidate.body, proof: parent };
  const judged = judgeBlock(validator, block, candidate.next);
  if ("fault" in judged) return;
  extendChain(validator, block, judged);
  beginHeight(validator);
}

function findCandidate(validator: Validator, blockHash: BlockHash): Candidate | undefined {
  for (const round of validator.rounds.values()) {
    const candidate = round.candidates.get(blockHash);
    if (candidate !== undefined) return candidate;
  }
  return undefined;
}

/** Verified whole, forwarded, acknowledged, written; a repeat is acknowledged only. */
function onSeal(validator: Validator, from: NodeId, message: SealMessage): void {
  const { core, height } = message;
  if (core.height !== height || blockHashOf(core) !== message.blockHash) return;
  if (height <= validator.chain.height) return onOldSeal(validator, from, message);
  if (validator.stoppedBy !== undefined) return;
  if (height > openHeight(validator)) {
    // The predecessor tries again; until then the missing blocks may have come.
    return askHeaders(validator, [from], openHeight(validator), 64);
  }
  // The body that the candidate was judged with, if there is one: the line may alter this one.
  const candidate = findCandidate(validator, message.blockHash);
  const body = candidate?.body ?? message.body;
  const block: Block = { core, body, proof: proofOfSeal(message) };
  const judged = judgeBlock(validator, block, candidate?.next);
  if ("fault" in judged) {
    report(validator, "refused", `SEAL ${height}: ${judged.fault} ${judged.detail}`);
    if (judged.fault === "parent-quorum") {
      askHeaders(validator, [from], validator.chain.height, 1);
    }
    return;
  }
  forward(validator, withBody(message, body));
  // It says that the line goes on here, not that the block is on the disk: a block that a crash
  // takes is pulled from peers.
  acknowledge(validator, from, message);
  extendChain(validator, block, judged);
  beginHeight(validator);
}

/** As it came, where nothing was altered: its bytes are known then. */
function withBody(message: SealMessage, body: BlockBody): SealMessage {
  return areSameBodies(body, message.body) ? message : { ...message, body };
}

function onOldSeal(validator: Validator, from: NodeId, message: SealMessage): void {
  const { height, core, blockHash } = message;
  const isTip = height === validator.chain.height;
  const known = isTip ? validator.chain.core : validator.history.at(height)?.core;
  if (known === undefined) return;
  if (blockHashOf(known) === blockHash) {
    acknowledge(validator, from, message);
    if (isTip && height > validator.forwarded) passOn(validator, message);
    return;
  }
  if (isTip) takeRival(validator, core, proofOfSeal(message));
}

/** It came another way than along the line, which must not end here for those who follow. */
function passOn(validator: Validator, message: SealMessage): void {
  const { below, chain, crypto, history, tipBody } = validator;
  const body = tipBody ?? history.at(chain.height)?.body;
  if (below === undefined || body === undefined) return;
  if ("fault" in checkSeal(below, chain, proofOfSeal(message), crypto)) return;
  forward(validator, withBody(message, body));
}

function onBodies(validator: Validator, from: NodeId, message: BodyResponse): void {
  const { others, hasGrown } = onBodyResponse(validator, from, message);
  if (hasGrown) beginHeight(validator);
  for (const block of others) {
    if (takeRestored(validator, block)) continue;
    if (isCarried(validator, blockHashOf(block.core))) {
      takeCarriedBody(validator, validator.attempt, block);
    }
  }
}

/** Whether a certificate of the present attempt stands in for the master's word. */
function isCarried(validator: Validator, blockHash: BlockHash): boolean {
  const round = validator.rounds.get(validator.attempt);
  if (round === undefined) return false;
  if (round.boundHash === blockHash) return true;
  return [...round.roundChanges.values()]
    .concat([...round.prePrepares.values()].flatMap(({ justification }) => justification))
    .some(({ prepared }) => prepared?.blockHash === blockHash);
}

/** The tip is new: what was of the old height ends, what came early is heard. */
function beginHeight(validator: Validator): void {
  const { below, chain } = validator;
  if (below !== undefined && chain.seal !== undefined) {
    endObserving(validator, chain.height, chain.seal);
  }
  validator.rounds.clear();
  validator.redraws.clear();
  validator.attempt = 0 as Attempt;
  validator.lowestAttempt = 0 as Attempt;
  validator.inherited = undefined;
  validator.freeze = createFreeze();
  validator.readmittedFrom = undefined;
  cancelTimer(validator, "view");
  cancelTimer(validator, "result");
  reportKeys(validator);
  const early = [...validator.early];
  validator.early.clear();
  for (const [from, messages] of early) {
    for (const message of messages) receive(validator, from, message);
  }
}

/** Acts on receipt. */
function onMasterTerm(validator: Validator, message: MasterTermMessage): void {
  const before = masterId(validator);
  if (!takeMasterTerm(validator, message)) return;
  write(validator, { kind: "term", message });
  // One that was thought lost and still listens hears that its reign is over.
  send(validator, [before], message);
  tellOfMaster(validator);
  report(validator, "new-term", `term ${message.term}`);
}

/** The one before was proven to lie, and would not say so itself: its heir writes it down. */
function tellOfMaster(validator: Validator): void {
  const { masterLie: evidence } = validator;
  if (evidence === undefined) return;
  validator.masterLie = undefined;
  const header = plainHeader(validator, openHeight(validator));
  send(validator, [masterId(validator)], { kind: "EVIDENCE", ...header, evidence });
}

/** What this node holds of the height; and its ABANDONs, for a master that lost them. */
function onQcFetch(validator: Validator, message: QcFetchMessage): void {
  if (!isSignedByMaster(validator, message) || validator.stoppedBy !== undefined) return;
  if (message.purpose === "release") {
    if (takeRelease(validator, message)) goOn(validator);
    return;
  }
  if (ownKeys(validator) === undefined) return;
  if (message.purpose === "survey") takeSurvey(validator, message);
  const round = validator.rounds.get(validator.attempt);
  const rounds = [...validator.rounds.values()];
  const state = sign<QcStateMessage>(validator, {
    kind: "QC_STATE",
    ...headerOf(validator, { attempt: reached(validator), view: round?.view ?? (0 as never) }),
    nonce: message.nonce,
    sealedHeight: validator.chain.height,
    sealedHash: validator.chain.blockHash,
    abandoned: round?.abandoned !== undefined,
    frozen: promised(validator.freeze),
    isPromised: validator.freeze.pending.has(message.nonce),
    remembers: validator.observing === undefined,
    prepared: highestCertificate(validator),
    committed: rounds.find((other) => isDecided(validator, other))?.decided,
  });
  send(validator, [message.signer], state);
  for (const again of abandonedAgain(validator)) send(validator, [message.signer], again);
}
