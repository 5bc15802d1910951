/**
 * Rule 1: the master's CANDIDATE. Valid means: signed by the master of the present term, on the
 * sealed parent, all roots recomputed, contract and record rules kept (apply-block.ts), and for
 * attempts above 0 bound as the ABANDONs of the attempt before demand (attempts.ts). It is kept;
 * only now the view timer starts: without a candidate there is nothing to wait for.
 *
 * The clock is not looked at here but at a vote: voting.ts.
 */
import { bindingOf, enterAttempt } from "./attempts.ts";
import type { BlockBody, BlockCore } from "./block.ts";
import { blockHashOf } from "./block-core.ts";
import { faultCode, type Refusal, refuse } from "./block-fault.ts";
import { checkpointFault } from "./checkpoint.ts";
import {
  headerOf,
  isSignedByMaster,
  masterId,
  openHeight,
  ownKeys,
  report,
  send,
  sign,
  write,
} from "./ledger-node.ts";
import type { Attempt, BlockHash, CandidateSequence, Term } from "./ledger-units.ts";
import type { CandidateMessage, RejectMessage } from "./message-types.ts";
import { type Candidate, leaderOf, type Round } from "./round.ts";
import { startViewTimer } from "./round-change.ts";
import { isMaster, openRound, type Validator } from "./validator-state.ts";
import { progress } from "./voting.ts";
import { accuse } from "./witness.ts";

/** A lying master that sends more of them in one attempt only halts itself. */
const CANDIDATES_MAX = 16;

/** On entry the message is of the open height. */
export function onCandidate(validator: Validator, from: string, message: CandidateMessage): void {
  if (!isMaster(validator, message.signer) || from !== message.signer) return;
  if (message.attempt < validator.attempt || message.attempt < validator.lowestAttempt) return;
  if (message.core.height !== message.height || message.view !== 0) return;
  if (!isSignedByMaster(validator, message)) return;
  acceptCandidate(validator, message);
}

/** The same for a message that is known to be the master's: also when the log is replayed. */
export function acceptCandidate(validator: Validator, message: CandidateMessage): void {
  const binding = bindingOf(validator, message);
  if ("fault" in binding) {
    report(validator, "refused", `CANDIDATE ${message.attempt}: ${binding.fault}`);
    return;
  }
  const round = enterAttempt(validator, message.attempt, binding);
  if (round.seat === undefined) return;
  const blockHash = blockHashOf(message.core);
  if (!round.candidates.has(blockHash)) {
    if (isSecondOfSequence(validator, round, message, blockHash)) return;
    if (round.candidates.size >= CANDIDATES_MAX) return;
    const candidate = judge(validator, message.core, message.body, {
      term: message.term,
      sequence: message.sequence,
      message,
    });
    if ("fault" in candidate) return refuseBlock(validator, round, blockHash, candidate);
    round.candidates.set(blockHash, candidate);
    write(validator, { kind: "candidate", message });
  }
  startViewTimer(validator, round);
  progress(validator, round);
}

type Origin = Pick<Candidate, "term" | "sequence" | "message">;

/** Everything about a block that is a function of the chain. */
function judge(
  validator: Validator,
  core: BlockCore,
  body: BlockBody,
  origin: Origin,
): Candidate | Refusal {
  const misfit = checkpointFault(validator.catchUp.checkpoint, core);
  if (misfit !== undefined) return misfit;
  const next = validator.rules.applyBlock(validator.chain, core, body, validator.crypto);
  if ("fault" in next) return next;
  if (core.term > validator.term) return refuse("term", `${core.term} is not known`);
  return { blockHash: next.blockHash, core, body, next, ...origin };
}

/**
 * A body that was asked for because a certificate carries its hash: an honest member has seen the
 * master's word on it, so the certificate stands for that.
 */
export function takeCarriedBody(
  validator: Validator,
  attempt: Attempt,
  block: { readonly core: BlockCore; readonly body: BlockBody },
): void {
  const round = openRound(validator, attempt);
  const blockHash = blockHashOf(block.core);
  if (round.seat === undefined || round.candidates.has(blockHash)) return;
  if (block.core.height !== openHeight(validator)) return;
  const origin = { term: 0 as Term, sequence: 0 as CandidateSequence, message: undefined };
  const candidate = judge(validator, block.core, block.body, origin);
  if ("fault" in candidate) return;
  round.candidates.set(blockHash, candidate);
  startViewTimer(validator, round);
  progress(validator, round);
}

/** Two hashes under one sequence number: evidence against the master. */
function isSecondOfSequence(
  validator: Validator,
  round: Round,
  message: CandidateMessage,
  blockHash: BlockHash,
): boolean {
  for (const known of round.candidates.values()) {
    const isSame = known.term === message.term && known.sequence === message.sequence;
    if (!isSame || known.message === undefined || known.blockHash === blockHash) continue;
    accuse(validator, known.message, message);
    return true;
  }
  return false;
}

/** REJECT goes to the leader, who tells the master when no quorum is left (deciding.ts). */
export function refuseBlock(
  validator: Validator,
  round: Round,
  blockHash: BlockHash,
  refusal: Refusal,
): void {
  if (round.refused.has(blockHash)) return;
  round.refused.add(blockHash);
  report(validator, "refused", `${blockHash}: ${refusal.fault} ${refusal.detail}`);
  const leader = leaderOf(round, round.view);
  if (leader === undefined || validator.stoppedBy !== undefined) return;
  if (ownKeys(validator) === undefined) return;
  const reject = sign<RejectMessage>(validator, {
    kind: "REJECT",
    ...headerOf(validator, { attempt: round.attempt, view: round.view }),
    blockHash,
    reason: faultCode(refusal.fault),
  });
  if (leader !== validator.nodeId) return send(validator, [leader], reject);
  if (round.seat !== undefined) round.rejects.set(round.seat, reject);
  // It proposes nothing, so nobody else will refuse in this view: the master hears why.
  send(validator, [masterId(validator)], reject);
}
