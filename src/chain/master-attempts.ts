/**
 * The master's side of attempts: gathers q ABANDONs, opens the next attempt with the hash that
 * they bind it to, or with a new block where they bind it to none. Without q, an operator's
 * FORCED_REDRAW. docs/ledger.md "Attempts"; attempts.ts is the validators' side.
 */
import { abandonFault, type Binding, bindingOfAbandons } from "./attempts.ts";
import { BLOCK_FAULTS } from "./block-fault.ts";
import { quorumOf } from "./certificate.ts";
import { isSignedByMember, memberIds, openHeight, report, send, write } from "./ledger-node.ts";
import type { Attempt, NodeId } from "./ledger-units.ts";
import { draftNext, offer } from "./master-candidate.ts";
import { askBody } from "./master-seal.ts";
import { committeeAt, type Master, newestRedraw, presentCommittee } from "./master-state.ts";
import type {
  AbandonMessage,
  ForcedRedrawMessage,
  NoQuorumMessage,
  RejectMessage,
} from "./message-types.ts";
import { redrawComplaint } from "./redraw-plan.ts";

export function onAbandon(master: Master, from: NodeId, message: AbandonMessage): void {
  const { attempt } = message;
  if (from !== message.signer || message.height !== openHeight(master)) return;
  // One attempt ahead of what a restarted or new master knows is proven by its q ABANDONs.
  if (!committeeAt(master, attempt).includes(from) || attempt > master.attempt + 64) return;
  const known = master.abandons.get(attempt) ?? new Map<NodeId, AbandonMessage>();
  if (known.has(from)) return openNext(master);
  if (abandonFault(master, message, master.redraws) !== undefined) return;
  known.set(from, message);
  master.abandons.set(attempt, known);
  openNext(master);
}

/** The attempt above the highest that q have left. */
export function openNext(master: Master): void {
  if (master.asking !== undefined || master.stoppedBy !== undefined) return;
  for (const [attempt, messages] of [...master.abandons].sort(([one], [other]) => other - one)) {
    if (attempt < master.attempt) return;
    const needed = quorumOf(committeeAt(master, attempt).length);
    if (messages.size < needed) continue;
    const abandons = mostBinding([...messages.values()], needed);
    const binding = bindingOfAbandons(master, attempt, abandons, master.redraws);
    if ("fault" in binding) continue;
    return openAttempt(master, (attempt + 1) as Attempt, abandons, binding);
  }
}

/** q of them, the highest certificates first: never less bound than another choice of q. */
function mostBinding(messages: AbandonMessage[], count: number): AbandonMessage[] {
  const rank = ({ highest }: AbandonMessage): number =>
    highest === undefined ? -1 : highest.attempt * 65_536 + highest.view;
  return messages.sort((one, other) => rank(other) - rank(one)).slice(0, count);
}

export function openAttempt(
  master: Master,
  attempt: Attempt,
  abandons: readonly AbandonMessage[],
  binding: Binding,
): void {
  if (attempt < master.attempt) return;
  const isNew = attempt > master.attempt;
  if (!isNew && master.offered !== undefined) return;
  const bound = binding.hash;
  if (bound !== undefined && !master.drafts.has(bound)) {
    return askBody(master, bound, abandons.length > 0 ? signersOf(abandons) : memberIds(master));
  }
  const before = master.offered === undefined ? undefined : blockOf(master, master.offered);
  if (isNew) {
    master.attempt = attempt;
    master.nextSequence = master.firstSequence;
    master.offered = undefined;
  }
  const draft = bound === undefined ? (draftNext(master) ?? before) : master.drafts.get(bound);
  if (draft !== undefined) offer(master, draft, abandons);
}

function blockOf(master: Master, { core, body }: NonNullable<Master["offered"]>) {
  return [...master.drafts.values()].find((draft) => draft.core === core && draft.body === body);
}

function signersOf(messages: readonly AbandonMessage[]): NodeId[] {
  return messages.map(({ signer }) => signer);
}

/** By an operator with the recovery key; on the disk before it is sent, loud. */
export function onRedraw(master: Master, redraw: ForcedRedrawMessage, mayFork: boolean): void {
  const complaint = redrawComplaint(master, redraw, mayFork);
  if (complaint !== undefined) return report(master, "refused", `FORCED_REDRAW: ${complaint}`);
  report(master, "forced-redraw", `height ${redraw.height}, attempt ${redraw.attempt}`);
  write(master, { kind: "redraw", message: redraw });
  master.redraws.set(redraw.attempt, redraw);
  master.asking = undefined;
  master.survey = undefined;
  send(master, memberIds(master), redraw);
  openForced(master, redraw);
}

export function openForced(master: Master, redraw: ForcedRedrawMessage): void {
  const binding = { hash: redraw.carriedHash, certificate: redraw.carried };
  openAttempt(master, redraw.attempt, [], binding);
}

/** A redraw of an attempt in which nothing was waiting to be put into a block, or that is open. */
export function offerForced(master: Master): void {
  const redraw = newestRedraw(master, master.attempt);
  const isIdle = master.offered === undefined && master.wanted === undefined;
  if (redraw !== undefined && isIdle && master.asking === undefined) openForced(master, redraw);
}

/** "Agreement couldn't be reached": the next view or attempt goes on; people hear why. */
export function onNoQuorum(master: Master, message: NoQuorumMessage): void {
  if (message.height !== openHeight(master) || message.attempt !== master.attempt) return;
  if (!presentCommittee(master).includes(message.signer)) return;
  const reasons = message.refusals.map(({ reason }) => faultOf(reason)).join(", ");
  report(master, "no-quorum", `height ${message.height}: reasons ${reasons}`);
}

/** Of a leader that proposes nothing because of it. */
export function onReject(master: Master, from: NodeId, message: RejectMessage): void {
  if (message.height !== openHeight(master) || message.attempt !== master.attempt) return;
  if (from !== message.signer || !presentCommittee(master).includes(from)) return;
  if (!isSignedByMember(master, message)) return;
  const { height, reason, view } = message;
  report(
    master,
    "no-quorum",
    `height ${height}: ${from}, leader of view ${view}: ${faultOf(reason)}`,
  );
}

/** The word of a reason, or its number where a later version gave it. */
function faultOf(reason: number): string {
  return BLOCK_FAULTS[reason - 1] ?? String(reason);
}
