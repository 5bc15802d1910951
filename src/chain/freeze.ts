/**
 * What a member promises an operator who asks before a FORCED_REDRAW (docs/ledger.md "The freeze"):
 * from its answer on it casts no vote in the height, of any kind or attempt, until
 *
 * - the FORCED_REDRAW of this survey or a later one is here,
 * - the master that asked gives the promise back, and this node knows every redraw it ordered, or
 * - a block of the height is sealed.
 *
 * The promise is on the disk before the answer is sent. So what the answers do not show can become
 * decided only by a quorum of others; redraw-safety.ts counts whether there is one. A survey has
 * the number of the attempt that its FORCED_REDRAW would open, and is known by its nonce: another
 * master, or one that lost its log, can give back only what it asked for. `mayVote` keeps it all.
 */
import { openHeight, write } from "./ledger-node.ts";
import type { Attempt, Hash } from "./ledger-units.ts";
import type { QcFetchMessage } from "./message-types.ts";
import type { LogEntry } from "./step-types.ts";
import type { Validator } from "./validator-state.ts";

/** Of one height, whatever a lying master asks: it only halts itself. */
const SURVEYS_MAX = 256;

/** Surveys of the open height: answered and not over, and given back. */
export type Freeze = { readonly pending: Map<Hash, Attempt>; readonly released: Set<Hash> };

export function createFreeze(): Freeze {
  return { pending: new Map(), released: new Set() };
}

/** On entry the master signed it. A survey of another height, or of one that is over, is none. */
export function takeSurvey(validator: Validator, message: QcFetchMessage): void {
  const { height, attempt: survey, nonce } = message;
  const { freeze } = validator;
  if (height !== openHeight(validator) || !isNew(freeze, nonce)) return;
  if (survey <= promised(freeze) || survey <= reached(validator)) return;
  keep(validator, { kind: "freeze", height, survey, nonce, isOn: true });
}

/** On entry the master signed it. True where this node may vote again. */
export function takeRelease(validator: Validator, message: QcFetchMessage): boolean {
  const { height, attempt: survey, nonce, redrawn } = message;
  const { freeze, redraws } = validator;
  const isPending = freeze.pending.has(nonce);
  if (height !== openHeight(validator) || !(isPending || isNew(freeze, nonce))) return false;
  // Somebody may have decided in that attempt: below it nobody votes again.
  if (redrawn !== 0 && !redraws.has(redrawn)) return false;
  keep(validator, { kind: "freeze", height, survey, nonce, isOn: false });
  return isPending && freeze.pending.size === 0;
}

function isNew({ pending, released }: Freeze, nonce: Hash): boolean {
  const isKnown = pending.has(nonce) || released.has(nonce);
  return !isKnown && pending.size + released.size < SURVEYS_MAX;
}

type FreezeEntry = Extract<LogEntry, { kind: "freeze" }>;

function keep(validator: Validator, entry: FreezeEntry): void {
  write(validator, entry);
  applyFreeze(validator.freeze, entry);
}

/** What an entry of the log says. On entry it is of the open height. */
export function applyFreeze({ pending, released }: Freeze, entry: FreezeEntry): void {
  const { survey, nonce, isOn } = entry;
  if (isOn) {
    pending.set(nonce, survey);
    return;
  }
  pending.delete(nonce);
  released.add(nonce);
}

/** A FORCED_REDRAW is what they were promised for, or comes after it; a later survey's stands. */
export function thaw({ pending, released }: Freeze, redrawn: Attempt): void {
  for (const [nonce, survey] of pending) {
    if (survey > redrawn) continue;
    pending.delete(nonce);
    released.add(nonce);
  }
}

/** The highest survey that it waits upon; 0: none. */
export function promised({ pending }: Freeze): Attempt {
  return Math.max(0, ...pending.values()) as Attempt;
}

/** The highest attempt that this node knows to be open. */
export function reached({ attempt, redraws }: Validator): Attempt {
  return Math.max(attempt, ...redraws.keys()) as Attempt;
}
