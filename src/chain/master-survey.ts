/**
 * The master's side of an operator's survey (docs/ledger.md "The freeze"): all are asked what they
 * hold, and to wait without a vote until the operator has decided. The number is on the disk before
 * anybody is asked. A survey ends by its FORCED_REDRAW, by the operator, by time, or by a crash; if
 * not by a redraw the promises are given back, again and again while the height is open. Only its
 * own surveys: another master's may have led to a redraw that this one does not know.
 */
import { headerOf, memberIds, openHeight, send, setTimer, sign, write } from "./ledger-node.ts";
import type { Attempt, Hash, View } from "./ledger-units.ts";
import type { Master } from "./master-state.ts";
import type { QcFetchMessage, QcPurpose } from "./message-types.ts";

/** How far ahead of the master an answer is believed: a liar can claim any attempt. */
const ATTEMPTS_AHEAD = 64;
const ATTEMPT_MAX = 65_535;
const ASK_AGAIN_MS = 1000;

/** Asks every member, whoever sits in which committee. */
export function askMembers(
  master: Master,
  words: { readonly purpose: QcPurpose; readonly nonce: Hash; readonly number?: Attempt },
): void {
  if (master.ownTerm !== undefined) send(master, memberIds(master), master.ownTerm);
  const { purpose, nonce, number } = words;
  const question = sign<QcFetchMessage>(master, {
    kind: "QC_FETCH",
    ...headerOf(master, { attempt: number ?? master.attempt, view: 0 as View }),
    nonce,
    purpose,
    redrawn: newestRedraw(master),
  });
  send(master, memberIds(master), question);
}

function newestRedraw({ redraws }: Master): Attempt {
  return Math.max(0, ...redraws.keys()) as Attempt;
}

/** An operator's question: what do all that can be reached hold, and will they wait? */
export function onSurvey(master: Master, nonce: Hash, holdMs: number | undefined): void {
  const number = holdMs === undefined ? undefined : nextSurvey(master);
  if (number !== undefined) {
    write(master, { kind: "survey", height: openHeight(master), survey: number, nonce });
    master.surveys.set(nonce, number);
  }
  const untilMs = master.at.ms + (holdMs ?? 0);
  master.survey = { nonce, answers: new Map(), number, untilMs };
  askSurvey(master);
}

function askSurvey(master: Master): void {
  const { survey } = master;
  if (survey === undefined) return;
  const { nonce, number } = survey;
  if (number === undefined) return askMembers(master, { purpose: "question", nonce });
  askMembers(master, { purpose: "survey", nonce, number });
  setTimer(master, "master", ASK_AGAIN_MS);
}

/** The attempt that a FORCED_REDRAW would open now: above all that is known or was told. */
export function nextSurvey(master: Master): Attempt {
  const answers = [...(master.survey?.answers.values() ?? [])];
  const told = answers.flatMap(({ attempt, frozen }) => [attempt, frozen]);
  const believed = Math.min(Math.max(0, ...told), master.attempt + ATTEMPTS_AHEAD);
  const known = Math.max(master.attempt, ...master.surveys.values(), newestRedraw(master));
  return Math.min(1 + Math.max(known, believed), ATTEMPT_MAX) as Attempt;
}

/** The operator has thought better of it. */
export function onRelease(master: Master): void {
  master.survey = undefined;
  release(master);
}

/** Every second: who has not answered is asked again; what led to nothing is given back. */
export function keepSurvey(master: Master): void {
  const { survey, at } = master;
  if (survey?.number !== undefined && at.ms < survey.untilMs) return askSurvey(master);
  if (survey?.number !== undefined) master.survey = undefined;
  for (const redraw of master.redraws.values()) send(master, memberIds(master), redraw);
  release(master);
}

/** What a FORCED_REDRAW rests on is never given back, nor what was promised before it. */
function release(master: Master): void {
  const redrawn = newestRedraw(master);
  for (const [nonce, number] of master.surveys) {
    if (number > redrawn) askMembers(master, { purpose: "release", nonce, number });
  }
}
