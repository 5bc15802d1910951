/**
 * The ages of sessions: renegotiation before `busytime`, closing at `idletime`, moving to other
 * contracts before theirs end, and the changes that the manager makes. docs/wire.md "Lifetimes".
 * Ages are measured by the monotonic clock; ends of contracts are read off our own wall clock.
 */
import { type EpochSeconds, type Micros, TENANT_TAG } from "../units.ts";
import {
  closeSession,
  isBehind,
  isCurrent,
  isLeaving,
  leaveContract,
  retireAndClose,
} from "./closing.ts";
import { type Contract, type ContractUse, endOfUse } from "./contract.ts";
import { abandon, startHandshake } from "./initiating.ts";
import type { PeerConfig, TagConfig } from "./session-api.ts";
import {
  bindingKey,
  MICROS_PER_SECOND,
  moveTimeOf,
  NEVER,
  type PeerState,
  type Session,
  type SessionsState,
  sharesKey,
} from "./sessions-state.ts";

/** Sessions go to a new generation within this long, at random, so that not all do at once. */
const NEW_GENERATION_MICROS = 2 * MICROS_PER_SECOND;

/** What is due on this session by now. */
export function ageSession(state: SessionsState, session: Session): void {
  const wallSeconds = state.wall / 1000;
  if (wallSeconds >= session.endsAt) {
    closeSession(state, session, "contract-ended");
  } else if (state.now >= session.closeAt) {
    closeSession(state, session, session.closeReason);
  } else if (session.phase === "live") {
    if (state.now >= session.busyEnd) retireAndClose(state, session, "busytime");
    else if (state.now >= session.usedAt + session.idleMicros) {
      retireAndClose(state, session, "idle");
    } else renew(state, session, wallSeconds);
  }
}

/**
 * Only the initiator renegotiates, but where a contract is over; the session in use stays until the
 * new one stands.
 */
function renew(state: SessionsState, session: Session, wallSeconds: number): void {
  if (!session.initiator && !needsHelp(state, session)) return;
  if (state.now >= session.renewAt) {
    startHandshake(state, session, session);
  } else if (wallSeconds >= session.movesAt) {
    const choice = state.chooseContract(session);
    session.movesAt = Number.POSITIVE_INFINITY;
    if (choice === undefined || endOfUse(choice) <= session.endsAt) return;
    session.renewAt = state.now;
    startHandshake(state, session, session);
  }
}

/** Whether it has to leave its contract and nothing has taken its place yet. */
function needsHelp(state: SessionsState, session: Session): boolean {
  return isLeaving(session) && isCurrent(state, session);
}

/** Contracts that came to their end by our clock just now. */
export function expireContracts(state: SessionsState): void {
  for (const { scId } of state.contracts.keepTime(state.wall)) {
    const at = Math.floor(state.wall / 1000) as EpochSeconds;
    state.emit({ type: "contract-expired", scId, at });
  }
}

/** New contracts, states or generations: sessions under what is gone move at once. */
export function changeContracts(state: SessionsState, contracts: readonly Contract[]): void {
  state.contracts.replace(contracts);
  for (const peer of state.peers) peer.olderUntil = state.now;
  for (const session of [...state.sessions.values()]) {
    const uses = [session.myUse, session.peerUse].map((use) =>
      state.contracts.find(use.contract.scIdBytes, use.generation.generation),
    );
    const known = uses.filter((use) => typeof use !== "string");
    if (known.length === uses.length) stay(state, session, known);
    else if (session.phase === "live" && !isLeaving(session)) {
      leaveContract(state, session);
      renew(state, session, state.wall / 1000);
    }
  }
}

/** Its contracts go on, perhaps shorter, perhaps again, perhaps with a new generation. */
function stay(state: SessionsState, session: Session, uses: readonly ContractUse[]): void {
  session.endsAt = Math.min(...uses.map(endOfUse)) as EpochSeconds;
  session.movesAt = moveTimeOf(state, session.endsAt);
  if (isLeaving(session)) {
    session.closeAt = NEVER;
    session.closeReason = "unconfirmed";
  }
  if (!session.initiator || !isBehind(state, session)) return;
  const soon = state.now + NEW_GENERATION_MICROS * state.fraction();
  session.renewAt = Math.min(session.renewAt, soon) as Micros;
}

/**
 * New lists: sessions with a peer that kept none of its keys, or of a tag their peer may no longer
 * claim, end at once.
 */
export function changePeers(
  state: SessionsState,
  lists: { readonly peers: readonly PeerConfig[]; readonly tags: readonly TagConfig[] },
): void {
  const before = state.peers;
  state.setPeers(lists);
  const isSameKey = (peer: Session["peer"]): boolean =>
    state.peerAt(peer) !== undefined && isPeer(before[peer], state.peers[peer]);
  before.forEach((_, i) => {
    if (!isSameKey(i as Session["peer"])) state.received.forget(i as Session["peer"]);
  });
  for (const pending of [...state.pending.values()]) {
    if (!isSameKey(pending.peer)) abandon(state, pending, "unknown-peer");
  }
  for (const session of [...state.sessions.values()]) {
    // In role 1 we answer: then the application is the peer's.
    const isPeersTag = session.tag !== TENANT_TAG && session.role === 1;
    const isEntitled = !isPeersTag || state.isEntitled(session.peer, session.tag);
    if (!isSameKey(session.peer) || !isEntitled) closeSession(state, session, "peer-changed");
  }
}

function isPeer(before: PeerState | undefined, after: PeerState | undefined): boolean {
  return before !== undefined && sharesKey(before, after?.keys);
}

/** The VM was resumed from a snapshot or cloned: no key, cookie or stamp of before counts. */
export function forgetAll(state: SessionsState): void {
  const bindings = new Map<number, Session>();
  for (const session of state.current.values()) bindings.set(bindingKey(session), session);
  state.current.clear();
  for (const pending of [...state.pending.values()]) abandon(state, pending, "forgotten");
  for (const session of [...state.sessions.values()]) closeSession(state, session, "forgotten");
  state.received.forgetAll();
  state.cookies.forgetAll(state.now);
  for (const peer of state.peers) {
    peer.isCompleted = false;
    peer.cookie = undefined;
  }
  for (const session of bindings.values()) startHandshake(state, session, undefined);
}
