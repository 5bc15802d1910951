/**
 * Rule 8: after a restart the vote log is replayed before any vote. Nothing is signed while it is,
 * and what it forbids (a second vote in a view, a vote below a ROUND_CHANGE, in an attempt that was
 * left) is forbidden again. A wiped disk observes until a block is sealed that was agreed on after
 * its return: one whose time stamp is past the return by more than the clock window, since honest
 * members first vote only within that window. In a committee of three or fewer nothing can be
 * sealed without it, so there only a FORCED_REDRAW that names it brings it back.
 */
import { applyRedraw, countAbandon } from "./attempts.ts";
import { acceptCandidate } from "./candidate.ts";
import { paramsAt, type TipSeal } from "./chain-state.ts";
import { openHeight, report, takeMasterTerm, write } from "./ledger-node.ts";
import type { Height } from "./ledger-units.ts";
import { countRoundChange } from "./round-change.ts";
import type { LogEntry, OwnVote } from "./step-types.ts";
import { openRound, type Validator } from "./validator-state.ts";
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
    case "redraw":
      if (entry.message.height === height) applyRedraw(validator, entry.message);
      return;
    case "term":
      takeMasterTerm(validator, entry.message);
      return;
    case "observing":
      validator.observingSince = entry.since;
      return;
    case "stopped":
      validator.stoppedBy = entry.reason;
      return;
    case "sealed":
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
  validator.observingSince = validator.at.epoch;
  validator.readmittedFrom = undefined;
  write(validator, { kind: "observing", since: validator.at.epoch });
  report(validator, "observing", reason);
}

/** On entry the tip is new. Ends observing where the tip was agreed on after the return. */
export function endObserving(validator: Validator, height: Height, seal: TipSeal): void {
  const since = validator.observingSince;
  if (since === undefined) return;
  const { clockWindowSeconds } = paramsAt(validator.chain, height);
  const isYounger = validator.chain.core.timestamp > since + clockWindowSeconds;
  const { readmittedFrom } = validator;
  const isReadmitted = readmittedFrom !== undefined && seal.attempt >= readmittedFrom;
  if (!isYounger && !isReadmitted) return;
  validator.observingSince = undefined;
  write(validator, { kind: "observing", since: undefined });
  report(validator, "voting-again", `from height ${height + 1}`);
}
