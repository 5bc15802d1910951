/**
 * From a completed exchange of messages to a session in use: building it, handing its keys to the
 * data plane, confirming it, and moving its binding over from the session before.
 * docs/wire.md "Confirmation", "A starting agent", "Lifetimes".
 */
import type { Micros, Role, SessionSlot } from "../units.ts";
import { TENANT_TAG } from "../units.ts";
import {
  closeSession,
  isBehind,
  leaveContract,
  OVERLAP_MICROS,
  retireAndClose,
  retireSession,
} from "./closing.ts";
import type { ContractUse } from "./contract.ts";
import type { DirectionKeys } from "./data-keys.ts";
import type { InstallOutput } from "./session-api.ts";
import {
  type Binding,
  bindingKey,
  endOfSession,
  MICROS_PER_SECOND,
  moveTimeOf,
  NEVER,
  type Session,
  type SessionsState,
} from "./sessions-state.ts";
import { isStampLater } from "./stamps.ts";

/** How long a session waits for its first valid DATA. */
export const UNCONFIRMED_MICROS = 5 * MICROS_PER_SECOND;
const UNCONFIRMED_PER_BINDING = 2;
/** A peer that took only an older generation is asked for the newest after this long. */
export const OLDER_MICROS = 60 * MICROS_PER_SECOND;
/** How much later a message may arrive than one that was sent after it. */
const REORDERING_MICROS = MICROS_PER_SECOND;

export type Agreed = Binding & {
  readonly slot: SessionSlot;
  readonly receiverIndex: number;
  readonly remoteIndex: number;
  readonly initiator: boolean;
  readonly isPeerFirst: boolean;
  readonly peerStamp: Uint8Array;
  readonly begunAt: Micros;
  readonly myUse: ContractUse;
  readonly peerUse: ContractUse;
  readonly out: DirectionKeys;
  readonly in: DirectionKeys;
};

/** Enters the session and installs it. The initiator's is live at once. */
export function establish(state: SessionsState, agreed: Agreed): Session {
  const { out, in: incoming, ...kept } = agreed;
  const busySeconds = Math.min(
    agreed.myUse.contract.busySeconds,
    agreed.peerUse.contract.busySeconds,
  );
  const idleSeconds = Math.min(
    agreed.myUse.contract.idleSeconds,
    agreed.peerUse.contract.idleSeconds,
  );
  const { now } = state;
  const busyMicros = busySeconds * MICROS_PER_SECOND;
  const endsAt = endOfSession(agreed);
  const movesAt = moveTimeOf(state, endsAt);
  // Between 80 and 90 % of the smaller busy lifetime.
  const renewMicros = busyMicros * (0.8 + 0.1 * state.fraction());
  const isLess = isBehind(state, agreed) && renewMicros > OLDER_MICROS;
  const role: Role = agreed.tag === TENANT_TAG ? 0 : agreed.role;
  const session: Session = {
    ...kept,
    role,
    order: ++state.installs,
    createdAt: now,
    idleMicros: idleSeconds * MICROS_PER_SECOND,
    busyEnd: (now + busyMicros) as Micros,
    endsAt,
    // A session that begins this close to the end of its contracts had no others to choose.
    movesAt: movesAt > state.wall / 1000 ? movesAt : Number.POSITIVE_INFINITY,
    phase: agreed.initiator ? "live" : "unconfirmed",
    provenAt: NEVER,
    renewAt: (now + (isLess ? OLDER_MICROS : renewMicros)) as Micros,
    closeAt: agreed.initiator ? NEVER : ((now + UNCONFIRMED_MICROS) as Micros),
    closeReason: "unconfirmed",
    usedAt: now,
    lastHeard: 0 as Micros,
    lastSpoke: 0 as Micros,
    unansweredSince: 0 as Micros,
    owedSince: 0 as Micros,
    proofTries: 0,
    silenceAt: 0 as Micros,
  };
  state.sessions.set(session.slot, session);
  install(state, session, out, incoming);
  return session;
}

function install(
  state: SessionsState,
  session: Session,
  out: DirectionKeys,
  incoming: DirectionKeys,
): void {
  const { slot, receiverIndex, remoteIndex, peer, tag, initiator } = session;
  state.emit({
    type: "install",
    slot,
    receiverIndex,
    remoteIndex,
    peer,
    tag,
    myRole: session.role,
    initiator,
    under: [session.myUse, session.peerUse].map(nameOf),
    out,
    in: incoming,
    sendNow: initiator,
    order: session.order,
    endsBefore: orderAfter(ofEarlierStarts(state, session)),
  });
}

function nameOf({ contract, generation }: ContractUse): InstallOutput["under"][number] {
  return { scId: contract.scId, generation: generation.generation };
}

/** Our initiation was answered: send under the session, and have the responder hear from us. */
export function beginAsInitiator(state: SessionsState, session: Session): void {
  takeOver(state, session, false);
  state.emit({ type: "keepalive", slot: session.slot });
  session.lastSpoke = state.now;
  complete(state, session);
  leaveIfEnded(state, session);
}

/** Its contracts were in use when its handshake began. */
function leaveIfEnded(state: SessionsState, session: Session): void {
  const { contracts } = state;
  if (contracts.isUsable(session.myUse) && contracts.isUsable(session.peerUse)) return;
  leaveContract(state, session);
}

/** The first valid DATA arrived: docs/wire.md "Confirmation". Later ones change nothing. */
export function confirm(state: SessionsState, slot: SessionSlot): void {
  const session = state.sessions.get(slot);
  if (session === undefined || session.provenAt !== NEVER) return;
  session.provenAt = state.now;
  session.lastHeard = state.now;
  if (session.phase === "unconfirmed") confirmAsResponder(state, session);
  else if (session.initiator) endReplaced(state, session);
}

function confirmAsResponder(state: SessionsState, session: Session): void {
  session.phase = "live";
  session.closeAt = NEVER;
  if (isOvertaken(state, session)) {
    retireAndClose(state, session, "replaced");
    return;
  }
  takeOver(state, session, true);
  complete(state, session);
  leaveIfEnded(state, session);
  // So that the initiator knows, and ends the session before in its turn.
  state.emit({ type: "keepalive", slot: session.slot });
  session.lastSpoke = state.now;
}

/** Whether the initiator has gone on to a newer session, whose first DATA came earlier. */
function isOvertaken(state: SessionsState, session: Session): boolean {
  const key = bindingKey(session);
  for (const other of state.sessions.values()) {
    if (other.phase !== "live" || other.initiator || bindingKey(other) !== key) continue;
    if (other.createdAt > session.createdAt) return true;
  }
  return false;
}

/** Makes the session its binding's current one and retires those it replaces. */
function takeOver(state: SessionsState, session: Session, isToldToUse: boolean): void {
  const { slot, peer, tag, role } = session;
  state.current.set(bindingKey(session), session);
  if (isToldToUse) state.emit({ type: "use", slot, peer, tag, myRole: role });
  const replaced = replacedBy(state, session);
  // A session that nobody uses does not become young by renegotiation.
  if (replaced.length > 0) session.usedAt = newestUse(replaced);
  for (const old of replaced) retireSession(state, old);
  if (!session.initiator) endReplaced(state, session);
  state.notice("session-established", { peer, tag, slot, initiator: session.initiator });
}

/**
 * The sessions of the same binding that the same side initiated before. Sessions that the other
 * side initiated stay: it may be sending under them, and both sides must see the same order.
 */
function replacedBy(state: SessionsState, session: Session): Session[] {
  const key = bindingKey(session);
  const replaced: Session[] = [];
  for (const old of state.sessions.values()) {
    if (old === session || old.initiator !== session.initiator) continue;
    if (bindingKey(old) !== key || old.phase === "unconfirmed") continue;
    if (old.createdAt <= session.createdAt) replaced.push(old);
  }
  return replaced;
}

function newestUse(sessions: readonly Session[]): Micros {
  return Math.max(...sessions.map((session) => session.usedAt)) as Micros;
}

/** Old sessions receive until the new one is confirmed and 5 s beyond. */
function endReplaced(state: SessionsState, session: Session): void {
  for (const old of replacedBy(state, session)) {
    if (old.phase !== "retiring") continue;
    old.closeAt = Math.min(old.closeAt, state.now + OVERLAP_MICROS) as Micros;
    old.closeReason = "replaced";
  }
}

/** A completed handshake: only now is a mark believed, since a replay never comes this far. */
function complete(state: SessionsState, session: Session): void {
  const peer = state.peers[session.peer];
  if (peer !== undefined) peer.isCompleted = true;
  const earlier = ofEarlierStarts(state, session);
  for (const old of earlier) closeSession(state, old, "peer-restarted");
  if (earlier.length > 0) state.notice("peer-restarted", { peer: session.peer });
}

/**
 * The sessions that a handshake shows to be of the peer's earlier starts; none, unless the peer
 * marked it. A peer marks its handshakes until it has completed one, and its stamps only grow: what
 * it did not mark, under an older stamp, is of an earlier start, and so is what has a still older
 * one. So is what it proved before this one began. Others may be of the same start: several tags at
 * once.
 */
function ofEarlierStarts(state: SessionsState, session: Session): Session[] {
  if (!session.isPeerFirst) return [];
  const others = [...state.sessions.values()].filter(
    (old) => old.peer === session.peer && old !== session,
  );
  const unmarked = others.filter(
    (old) => !old.isPeerFirst && isStampLater(session.peerStamp, old.peerStamp),
  );
  return others.filter(
    (old) =>
      old.provenAt < session.begunAt - REORDERING_MICROS ||
      unmarked.some((known) => !isStampLater(old.peerStamp, known.peerStamp)),
  );
}

/** 0: there are none. */
function orderAfter(sessions: readonly Session[]): number {
  return sessions.reduce((after, { order }) => Math.max(after, order + 1), 0);
}

/** At most two unconfirmed sessions a peer and tag: the oldest gives way. */
export function makeRoomForUnconfirmed(state: SessionsState, binding: Binding): void {
  const waiting = unconfirmedOf(state, binding);
  const [oldest] = waiting;
  if (oldest !== undefined && waiting.length >= UNCONFIRMED_PER_BINDING) {
    closeSession(state, oldest, "unconfirmed");
  }
}

/** Sessions with this peer for this tag that nothing has arrived under; the oldest first. */
export function unconfirmedOf(state: SessionsState, { peer, tag }: Binding): Session[] {
  const waiting: Session[] = [];
  for (const session of state.sessions.values()) {
    if (session.phase !== "unconfirmed" || session.peer !== peer) continue;
    if (session.tag === tag) waiting.push(session);
  }
  return waiting.sort((left, right) => left.createdAt - right.createdAt);
}
