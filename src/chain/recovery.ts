/**
 * Rule 8: after a restart the vote log is replayed before any vote. Nothing is signed while it is,
 * and what it forbids (a second vote in a view, a vote below a ROUND_CHANGE, in an attempt that was
 * left) is forbidden again. A wiped disk observes, and trusts no clock for its end:
 *
 * It voted at height H at most where H - 1 was sealed, so q members of a committee sent COMMIT at
 * H - 1, and the honest ones of them hold H - 2. All members but f (itself among the missing) have
 * told their heights since its return: one of those was honest and sent such a COMMIT, because
 * q > 2f. Heights above its own tip are not counted, so a liar can claim nothing that no quorum
 * sealed. With its own tip at M by then, H <= M + 2: it votes again once M + 2 is sealed.
 * Where f = 0 no answers are enough, and only a FORCED_REDRAW that names it brings it back.
 */
import { applyRedraw, countAbandon } from "./attempts.ts";
import { acceptCandidate } from "./candidate.ts";
import { askHeaders } from "./catch-up.ts";
import { faultsOf } from "./certificate.ts";
import { committeeOf, type TipSeal } from "./chain-state.ts";
import { applyFreeze, createFreeze } from "./freeze.ts";
import { memberIds, openHeight, report, takeMasterTerm, write } from "./ledger-node.ts";
import type { Attempt, Height, NodeId } from "./ledger-units.ts";
import { countRoundChange } from "./round-change.ts";
import type { LogEntry, OwnVote } from "./step-types.ts";
import { type Observation, openRound, type Validator } from "./validator-state.ts";
import { countOwn } from "./voting.ts";

export function replayLog(validator: Validator, log: readonly LogEntry[]): void {
  validator.isReplaying = true;
  for (const entry of log) replay(validator, entry);
  validator.isReplaying = false;
  validator.outputs = [];
}

function replay(validator: Validator, entry: LogEntry): void {
  const height = openHeight(validator);
  switch (entry.kind) {
    case "candidate":
      if (entry.message.height === height) acceptCandidate(validator, entry.message);
      return;
    case "sent":
      if (entry.message.height === height) replaySent(validator, entry.message);
      return;
    case "lock":
      if (entry.height === height) {
        openRound(validator, entry.certificate.attempt).lock = entry.certificate;
      }
      return;
    case "freeze":
      if (entry.height === height) applyFreeze(validator.freeze, entry);
      return;
    case "redraw":
      if (entry.message.height === height) applyRedraw(validator, entry.message);
      return;
    case "term":
      takeMasterTerm(validator, entry.message);
      return;
    case "observing":
      // What was answered before the crash is asked again.
      validator.observing = entry.isOn ? createObservation() : undefined;
      if (entry.isOn) validator.freeze = createFreeze();
      return;
    case "stopped":
      validator.stoppedBy = entry.reason;
      return;
    case "sealed":
    case "survey":
    case "parked":
  }
}

function replaySent(validator: Validator, message: OwnVote): void {
  const round = openRound(validator, message.attempt);
  if (message.kind === "ROUND_CHANGE") return countRoundChange(round, message);
  if (message.kind === "ABANDON") return countAbandon(validator, round, message);
  countOwn(round, message);
  if (message.kind === "PRE_PREPARE") round.prePrepares.set(message.view, message);
  if (message.view >= round.view) {
    round.view = message.view;
    round.isChanging = false;
  }
}

/** As after a wiped disk; on the disk itself, so that a crash does not end it. */
export function observe(validator: Validator, reason: string): void {
  validator.observing = createObservation();
  validator.readmittedFrom = undefined;
  // It casts no vote as it is, and only a redraw whose survey it answers from now on names it.
  validator.freeze = createFreeze();
  // What others told before this moment is no answer to what is asked after it.
  validator.catchUp.nonces = [];
  write(validator, { kind: "observing", isOn: true });
  report(validator, "observing", reason);
}

function createObservation(): Observation {
  return { answered: new Set(), until: undefined };
}

/** While it observes it asks everybody, not a few. */
export function askForHeights(validator: Validator): void {
  if (validator.observing === undefined) return;
  const others = memberIds(validator).filter((nodeId) => nodeId !== validator.nodeId);
  askHeaders(validator, others, openHeight(validator), 1);
}

/** A member told its height; one above the own tip is proven first, by catching up. */
export function countHeight(validator: Validator, from: NodeId, height: Height): void {
  const { observing, chain } = validator;
  if (observing === undefined || observing.until !== undefined) return;
  if (height > chain.height || from === validator.nodeId) return;
  observing.answered.add(from);
  const members = memberIds(validator);
  const answers = members.filter((nodeId) => observing.answered.has(nodeId)).length;
  const f = faultsOf(committeeOf(chain, 0 as Attempt).length);
  if (answers >= members.length - f) observing.until = (chain.height + 2) as Height;
}

/** On entry the tip is new. Ends observing where no forgotten vote can be above it. */
export function endObserving(validator: Validator, height: Height, seal: TipSeal): void {
  const { observing, readmittedFrom } = validator;
  if (observing === undefined) return;
  const isBeyond = observing.until !== undefined && height >= observing.until;
  const isReadmitted = readmittedFrom !== undefined && seal.attempt >= readmittedFrom;
  if (!isBeyond && !isReadmitted) return;
  validator.observing = undefined;
  write(validator, { kind: "observing", isOn: false });
  report(validator, "voting-again", `from height ${height + 1}`);
}
