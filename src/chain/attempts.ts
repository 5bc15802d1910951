/**
 * Attempts: another committee for the same height, after all views of one failed. ABANDON, the hash
 * that is carried on, FORCED_REDRAW. docs/ledger.md "Attempts"; docs/model shows what breaks
 * without each of these:
 *
 * - After ABANDON(h, a) never a vote in an attempt <= a.
 * - ABANDON carries the highest certificate by (attempt, view), own or inherited; it is frozen.
 * - In an attempt above 0, ABANDON comes only after its CANDIDATE was accepted: before that, what
 *   binds it is not known here.
 * - A CANDIDATE of attempt a + 1 shows q ABANDONs of attempt a, and is of the highest hash in them.
 * - Without q, a FORCED_REDRAW by master and recovery key names committee and hash.
 */

import { blockHashOf } from "./block-core.ts";
import { type Refusal, refuse } from "./block-fault.ts";
import { type PreparedCertificate, quorumOf } from "./certificate.ts";
import { preparedFault } from "./certificate-check.ts";
import { committeeOf } from "./chain-state.ts";
import { thaw } from "./freeze.ts";
import {
  cancelTimer,
  headerOf,
  isSignedByMember,
  type LedgerNode,
  masterId,
  openHeight,
  report,
  send,
  sign,
  write,
} from "./ledger-node.ts";
import type { Attempt, BlockHash } from "./ledger-units.ts";
import type { AbandonMessage, CandidateMessage, ForcedRedrawMessage } from "./message-types.ts";
import { contextOf, type Round, rememberSent } from "./round.ts";
import { redrawFault } from "./seal-check.ts";
import { mayVote, openRound, type Validator } from "./validator-state.ts";

/** What an attempt above 0 inherits. */
export type Binding = {
  readonly hash: BlockHash | undefined;
  readonly certificate: PreparedCertificate | undefined;
};

const FREE: Binding = { hash: undefined, certificate: undefined };

/** All views failed: leaves the attempt for good. Written before it is sent. */
export function abandon(validator: Validator, round: Round): void {
  if (round.candidates.size === 0 || !mayVote(validator, round)) return;
  const message = sign<AbandonMessage>(validator, {
    kind: "ABANDON",
    ...headerOf(validator, { attempt: round.attempt, view: round.view }),
    highest: highestCertificate(validator),
  });
  write(validator, { kind: "sent", message });
  countAbandon(validator, round, message);
  cancelTimer(validator, "view");
  send(validator, [masterId(validator)], message);
}

/** What an own ABANDON forbids: also when the log is replayed. */
export function countAbandon(validator: Validator, round: Round, message: AbandonMessage): void {
  rememberSent(round, message);
  round.abandoned = message;
  leaveBelow(validator, (message.attempt + 1) as Attempt);
}

function leaveBelow(validator: Validator, attempt: Attempt): void {
  if (attempt > validator.lowestAttempt) validator.lowestAttempt = attempt;
}

/** All own ABANDONs of the height, as they were sent. */
export function abandonedAgain(validator: Validator): AbandonMessage[] {
  return [...validator.rounds.values()].flatMap(({ abandoned }) => abandoned ?? []);
}

/** Own or inherited, the highest by (attempt, view). */
export function highestCertificate(validator: Validator): PreparedCertificate | undefined {
  let highest = validator.inherited;
  for (const { lock } of validator.rounds.values()) highest = higher(highest, lock);
  return highest;
}

export function higher(
  one: PreparedCertificate | undefined,
  other: PreparedCertificate | undefined,
): PreparedCertificate | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  if (one.attempt !== other.attempt) return one.attempt > other.attempt ? one : other;
  return one.view >= other.view ? one : other;
}

/** What a CANDIDATE of the open height is bound by, or why it proves nothing. */
export function bindingOf(validator: Validator, message: CandidateMessage): Binding | Refusal {
  const { attempt, redraw, abandons } = message;
  if (redraw !== undefined) {
    const fault = takeRedraw(validator, redraw);
    if (fault !== undefined) return fault;
  }
  const known = validator.redraws.get(attempt);
  if (known !== undefined) return checkHash(message, bindingOfRedraw(known));
  if (attempt === 0) return abandons.length === 0 ? FREE : refuse("attempt", "ABANDONs at 0");
  const binding = bindingOfAbandons(
    validator,
    (attempt - 1) as Attempt,
    abandons,
    validator.redraws,
  );
  return "fault" in binding ? binding : checkHash(message, binding);
}

function checkHash({ core }: CandidateMessage, binding: Binding): Binding | Refusal {
  const isBound = binding.hash !== undefined && binding.hash !== blockHashOf(core);
  return isBound ? refuse("bound-hash", `bound to ${binding.hash}`) : binding;
}

function bindingOfRedraw({ carried, carriedHash }: ForcedRedrawMessage): Binding {
  return { hash: carriedHash, certificate: carried };
}

/** q ABANDONs of one attempt: the highest certificate in them binds the next. */
export function bindingOfAbandons(
  node: LedgerNode,
  attempt: Attempt,
  abandons: readonly AbandonMessage[],
  redraws: ReadonlyMap<Attempt, ForcedRedrawMessage>,
): Binding | Refusal {
  const committee = redraws.get(attempt)?.committee ?? committeeOf(node.chain, attempt);
  const signers = new Set(abandons.map(({ signer }) => signer));
  if (signers.size !== abandons.length || signers.size < quorumOf(committee.length)) {
    return refuse("quorum-short", `${signers.size} ABANDONs`);
  }
  let highest: PreparedCertificate | undefined;
  for (const message of abandons) {
    if (message.attempt !== attempt || !committee.includes(message.signer)) {
      return refuse("attempt", "an ABANDON of another attempt or committee");
    }
    const fault = abandonFault(node, message, redraws);
    if (fault !== undefined) return fault;
    highest = higher(highest, message.highest);
  }
  return { hash: highest?.blockHash, certificate: highest };
}

/** Signature and certificate of one ABANDON of the open height. */
export function abandonFault(
  node: LedgerNode,
  message: AbandonMessage,
  redraws: ReadonlyMap<Attempt, ForcedRedrawMessage>,
): Refusal | undefined {
  const { highest, attempt, height, chainId } = message;
  if (height !== openHeight(node) || chainId !== node.chain.chainId) return refuse("height");
  if (!isSignedByMember(node, message)) return refuse("vote-signature", "ABANDON");
  if (highest === undefined) return undefined;
  if (highest.attempt > attempt) return refuse("attempt", "a certificate of a later attempt");
  return certificateFault(node, highest, redraws);
}

/** A certificate of any attempt of the open height. */
export function certificateFault(
  node: LedgerNode,
  certificate: PreparedCertificate,
  redraws: ReadonlyMap<Attempt, ForcedRedrawMessage>,
): Refusal | undefined {
  const { attempt } = certificate;
  const committee = redraws.get(attempt)?.committee ?? committeeOf(node.chain, attempt);
  return preparedFault(contextOf(node, committee), certificate);
}

/** The attempt is proven to be open: all below it is left. */
export function enterAttempt(validator: Validator, attempt: Attempt, binding: Binding): Round {
  const round = openRound(validator, attempt);
  round.boundHash = binding.hash ?? round.boundHash;
  validator.inherited = higher(validator.inherited, binding.certificate);
  if (attempt <= validator.attempt) return round;
  const before = validator.rounds.get(validator.attempt);
  if (before !== undefined) before.isTimed = false;
  validator.attempt = attempt;
  cancelTimer(validator, "view");
  return round;
}

/** FORCED_REDRAW: loud, and on the disk before it has effect. */
export function takeRedraw(validator: Validator, redraw: ForcedRedrawMessage): Refusal | undefined {
  const known = validator.redraws.get(redraw.attempt);
  if (known !== undefined) {
    const isSame = Buffer.compare(known.signature, redraw.signature) === 0;
    return isSame ? undefined : refuse("redraw", "another one of this attempt is known");
  }
  if (redraw.term !== validator.term) return refuse("redraw", "of another term");
  if (redraw.attempt <= validator.attempt) return refuse("redraw", "the attempt is open");
  const fault = redrawFault(validator.chain, redraw, validator.masterPub, validator.crypto);
  if (fault !== undefined) return fault;
  report(validator, "forced-redraw", `height ${redraw.height}, attempt ${redraw.attempt}`);
  write(validator, { kind: "redraw", message: redraw });
  applyRedraw(validator, redraw);
  return undefined;
}

/**
 * Whoever it names votes in its attempt even after a wiped disk, for it has never voted there:
 * where it has answered the survey of this very attempt since, which came before the redraw.
 */
export function applyRedraw(validator: Validator, redraw: ForcedRedrawMessage): void {
  const { attempt, committee } = redraw;
  const { freeze } = validator;
  validator.redraws.set(attempt, redraw);
  leaveBelow(validator, attempt);
  const isAnswered = [...freeze.pending.values()].includes(attempt);
  if (isAnswered && committee.includes(validator.nodeId)) validator.readmittedFrom ??= attempt;
  thaw(freeze, attempt);
}
