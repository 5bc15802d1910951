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

/** Ends the session at once. */
export function closeSession(state: SessionsState, session: Session, reason: CloseReason): void {
  const { slot, peer, tag, initiator } = session;
  if (!state.sessions.delete(slot)) return;
  state.emit({ type: "close", slot, reason });
  state.giveSlot(peer, slot, true);
  leaveBinding(state, session);
  state.notice("session-closed", { peer, tag, slot, reason, initiator });
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
  const key = bindingKey(session);
  if (state.current.get(key) !== session) return;
  state.current.delete(key);
  const next = liveSessionOf(state, session);
  if (next === undefined) return;
  state.current.set(key, next);
  const { slot, peer, tag, role } = next;
  state.emit({ type: "use", slot, peer, tag, myRole: role });
}
