/**
 * Whether the other side is still there: keep-alives, confirmation that goes astray, dead peers.
 * docs/wire.md "Dead peers", "Confirmation", "REJECT" (the unauthenticated hint). Nothing
 * unauthenticated ends anything: the most it does is one handshake beside the session.
 */
import type { Micros, PeerIndex } from "../units.ts";
import { isCurrent, retireAndClose } from "./closing.ts";
import { confirm, UNCONFIRMED_MICROS } from "./establishing.ts";
import { startHandshake } from "./initiating.ts";
import type { SessionActivity } from "./session-api.ts";
import {
  bindingKey,
  MICROS_PER_SECOND,
  NEVER,
  type Session,
  type SessionsState,
} from "./sessions-state.ts";

/** Received data and nothing to send for this long: send an empty DATA. */
const KEEPALIVE_MICROS = 10 * MICROS_PER_SECOND;
/** Sent data and nothing received for this long: new handshake. */
const SILENCE_MICROS = 15 * MICROS_PER_SECOND;
/** While the silence lasts, another handshake after this long. */
const SILENCE_AGAIN_MICROS = 10 * MICROS_PER_SECOND;
/** One handshake a peer because of unauthenticated hints. */
const HINT_MICROS = 5 * MICROS_PER_SECOND;
/** When the initiator repeats its first keep-alive, counted from the session's begin. */
const PROOF_TRIES_AT = [0.25, 0.75, 1.75, 3.75].map((seconds) => seconds * MICROS_PER_SECOND);

/** Takes what the data plane saw. A slot that is closed by now is no error: reports cross. */
export function noteActivity(state: SessionsState, seen: SessionActivity): void {
  const session = state.sessions.get(seen.slot);
  if (session === undefined) return;
  // A session closed and one opened in the same slot: what is older than it is not its own.
  if (Math.max(seen.lastSent, seen.lastHeard) < session.createdAt) return;
  session.usedAt = Math.max(session.usedAt, seen.lastSent, seen.lastReceived) as Micros;
  session.lastSpoke = Math.max(session.lastSpoke, seen.lastSent) as Micros;
  session.lastHeard = Math.max(session.lastHeard, seen.lastHeard) as Micros;
  if (seen.lastHeard >= session.createdAt) confirm(state, seen.slot);
  if (session.lastHeard >= session.unansweredSince) session.unansweredSince = 0 as Micros;
  if (session.unansweredSince === 0 && seen.lastSent > session.lastHeard) {
    session.unansweredSince = seen.lastSent;
  }
  if (session.lastSpoke >= session.owedSince) session.owedSince = 0 as Micros;
  if (session.owedSince === 0 && seen.lastReceived > session.lastSpoke) {
    session.owedSince = seen.lastReceived;
  }
  reviveIdle(state, session);
  limitPackets(state, session, seen.packetsSent);
}

/** The peer sent at the last moment, so it keeps the session: so do we. */
function reviveIdle(state: SessionsState, session: Session): void {
  if (session.phase !== "retiring" || session.closeReason !== "idle") return;
  if (state.now >= session.usedAt + session.idleMicros) return;
  session.phase = "live";
  session.closeAt = NEVER;
  const key = bindingKey(session);
  if (state.current.has(key)) return;
  state.current.set(key, session);
  const { slot, peer, tag, role } = session;
  state.emit({ type: "use", slot, peer, tag, myRole: role });
}

/** Long before the counter ends: a new handshake, by whichever side sends that much. */
function limitPackets(state: SessionsState, session: Session, packetsSent: number): void {
  if (session.phase !== "live" || packetsSent < state.limits.packets) return;
  if (packetsSent >= 2 * state.limits.packets) retireAndClose(state, session, "packet-limit");
  else if (isCurrent(state, session) && state.now >= session.silenceAt) {
    session.silenceAt = (state.now + SILENCE_AGAIN_MICROS) as Micros;
    startHandshake(state, session, session);
  }
}

/** What is due on this session by now. */
export function keepAlive(state: SessionsState, session: Session): void {
  if (session.phase !== "live") return;
  const { now } = state;
  if (session.initiator && session.provenAt === NEVER) haveProven(state, session);
  if (session.owedSince !== 0 && now >= session.owedSince + KEEPALIVE_MICROS) {
    session.owedSince = 0 as Micros;
    speak(state, session);
  }
  const isSilent = session.unansweredSince !== 0 && now >= session.unansweredSince + SILENCE_MICROS;
  if (!isSilent || now < session.silenceAt || !isCurrent(state, session)) return;
  session.silenceAt = (now + SILENCE_AGAIN_MICROS) as Micros;
  state.notice("peer-silent", { peer: session.peer, tag: session.tag, slot: session.slot });
  startHandshake(state, session, session);
}

/** Until the responder is heard, the initiator's first DATA may be what was lost. */
function haveProven(state: SessionsState, session: Session): void {
  const age = state.now - session.createdAt;
  const tryAt = PROOF_TRIES_AT[session.proofTries];
  if (age >= UNCONFIRMED_MICROS) {
    if (isCurrent(state, session)) startHandshake(state, session, session);
  } else if (tryAt !== undefined && age >= tryAt) {
    session.proofTries++;
    speak(state, session);
  }
}

function speak(state: SessionsState, session: Session): void {
  session.lastSpoke = state.now;
  state.emit({ type: "keepalive", slot: session.slot });
}

/** Somebody says that the peer does not know our session: see, by one handshake beside it. */
export function tryHint(state: SessionsState, peer: PeerIndex, unknownIndex: number): void {
  const known = state.peerAt(peer);
  if (known === undefined || state.now < known.hintAt + HINT_MICROS) return;
  for (const session of state.sessions.values()) {
    if (session.peer !== peer || session.remoteIndex !== unknownIndex) continue;
    if (session.phase !== "live") continue;
    known.hintAt = state.now;
    startHandshake(state, session, session);
    return;
  }
}
