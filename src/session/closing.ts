/**
 * How a session stops: `retire` ends sending, `close` ends receiving and frees the slot.
 * docs/wire.md "Lifetimes". Between the two lies an overlap, so that packets on their way and a
 * peer that has not noticed yet lose nothing.
 */
import type { Micros } from "../units.ts";
import type { CloseReason } from "./session-api.ts";
import {
  type Binding,
  bindingKey,
  MICROS_PER_SECOND,
  type Session,
  type SessionsState,
} from "./sessions-state.ts";

/** How long an old session receives after it is no longer needed. */
export const OVERLAP_MICROS = 5 * MICROS_PER_SECOND;
/** Sessions under a contract that was made inactive have this long to move. */
const MOVE_MICROS = 10 * MICROS_PER_SECOND;
/** Only the initiator renegotiates; one that has not heard of the change by then is helped. */
const HELP_MICROS = 5 * MICROS_PER_SECOND;

/** Stops sending under the session; its binding falls back to another live one, if any. */
export function retireSession(state: SessionsState, session: Session): void {
  if (session.phase === "retiring") return;
  session.phase = "retiring";
  state.emit({ type: "retire", slot: session.slot });
  leaveBinding(state, session);
}

/** Retires the session and closes it after the overlap. */
export function retireAndClose(state: SessionsState, session: Session, reason: CloseReason): void {
  retireSession(state, session);
  session.closeAt = Math.min(session.closeAt, state.now + OVERLAP_MICROS) as Micros;
  session.closeReason = reason;
}

/** Its contract or generation is over: the session moves to another, and ends when it has. */
export function leaveContract(state: SessionsState, session: Session): void {
  const helpAt = session.initiator ? state.now : state.now + HELP_MICROS;
  session.renewAt = Math.min(session.renewAt, helpAt) as Micros;
  session.closeAt = Math.min(session.closeAt, state.now + MOVE_MICROS) as Micros;
  session.closeReason = "contract-ended";
}

/** Whether the session is on its way to another contract. */
export function isLeaving(session: Session): boolean {
  return session.phase === "live" && session.closeReason === "contract-ended";
}

/** Whether there is a newer generation of one of its contracts. */
export function isBehind(
  { contracts, peers }: SessionsState,
  { peer, myUse, peerUse }: Pick<Session, "peer" | "myUse" | "peerUse">,
): boolean {
  const announced = peers[peer]?.config.announced;
  return !contracts.isNewest(myUse, announced) || !contracts.isNewest(peerUse, announced);
}

/** Ends the session at once. */
export function closeSession(state: SessionsState, session: Session, reason: CloseReason): void {
  const { slot, peer, tag, initiator } = session;
  if (!state.sessions.delete(slot)) return;
  state.emit({ type: "close", slot, reason });
  state.giveSlot(peer, slot, true);
  leaveBinding(state, session);
  state.notice("session-closed", { peer, tag, slot, reason, initiator });
}

/** Whether its binding's packets are sent under it. */
export function isCurrent(state: SessionsState, session: Session): boolean {
  return state.current.get(bindingKey(session)) === session;
}

/** The newest session that this binding's packets may be sent under. */
export function liveSessionOf(state: SessionsState, binding: Binding): Session | undefined {
  const key = bindingKey(binding);
  let newest: Session | undefined;
  for (const session of state.sessions.values()) {
    if (session.phase !== "live" || bindingKey(session) !== key) continue;
    if (newest === undefined || session.createdAt > newest.createdAt) newest = session;
  }
  return newest;
}

function leaveBinding(state: SessionsState, session: Session): void {
  if (!isCurrent(state, session)) return;
  const key = bindingKey(session);
  state.current.delete(key);
  const next = liveSessionOf(state, session);
  if (next === undefined) return;
  state.current.set(key, next);
  const { slot, peer, tag, role } = next;
  state.emit({ type: "use", slot, peer, tag, myRole: role });
}
