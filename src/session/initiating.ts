/**
 * The initiator's half of a handshake: attempts, cookies received, the response.
 * docs/wire.md "HANDSHAKE". On entry to `acceptResponse` nothing about the message is known; a
 * wrong one leaves the attempt as it was, so that forged answers tear nothing down.
 */
import { equalBytes } from "../bytes.ts";
import type { Micros } from "../units.ts";
import { TENANT_TAG } from "../units.ts";
import { type CookieReply, decodeCookieReply } from "../wire/cookie-reply.ts";
import {
  decodeHandshake,
  type HandshakeForm,
  type HandshakeMessage,
  type HandshakePayload,
  INITIATION,
} from "../wire/handshake-message.ts";
import { closeSession } from "./closing.ts";
import { type ContractUse, contractFits } from "./contract.ts";
import { COOKIE_LIFE_MICROS, openCookie } from "./cookies.ts";
import { beginAsInitiator, establish, OLDER_MICROS } from "./establishing.ts";
import { readResponse, sessionKeys, tokenHolds, writeInitiation } from "./key-agreement.ts";
import { writeMacs } from "./mac.ts";
import { type Refusal, type Refused, refused } from "./refusals.ts";
import type { FailReason, OwnSecrets, SessionsEvent } from "./session-api.ts";
import {
  type Binding,
  bindingKey,
  MICROS_PER_SECOND,
  NEVER,
  type PeerState,
  type Pending,
  type Session,
  type SessionsState,
} from "./sessions-state.ts";
import { slotOf } from "./slots.ts";

/** When the attempts of one handshake go out, and when it is given up. */
const ATTEMPTS_AT = [0, 0.25, 0.75, 1.75, 3.75].map((seconds) => seconds * MICROS_PER_SECOND);
export const GIVE_UP_MICROS = 5 * MICROS_PER_SECOND;
/** Attempts come early or late by up to this share, so that many agents do not move in step. */
const JITTER = 0.1;
/** Wrong answers that an attempt is checked against: each costs two Diffie-Hellman agreements. */
const WRONG_ANSWERS_MAX = 16;
/** Cookies followed at once within one handshake; further ones wait for the next attempt. */
const COOKIE_ANSWERS_MAX = 3;
/** A renegotiation that failed is tried again after this long, plus as much at random. */
const RENEW_AGAIN_MICROS = MICROS_PER_SECOND;

/** Of a handshake that has had no attempt yet. */
const NO_KEY = { staticPublic: new Uint8Array(0), mac1Key: new Uint8Array(0) };

type HandshakeEvent = Extract<SessionsEvent, { type: "handshake" }>;

/** The data plane holds a packet for this binding. */
export function need(state: SessionsState, asked: Binding): void {
  const role = asked.tag === TENANT_TAG ? 0 : asked.role;
  const binding = { peer: asked.peer, tag: asked.tag, role };
  if (state.peerAt(binding.peer) === undefined || state.config.tags[binding.tag] === undefined) {
    fail(state, binding, "unknown-peer");
    return;
  }
  const session = state.current.get(bindingKey(binding));
  if (session === undefined) startHandshake(state, binding, undefined);
  else state.emit({ type: "use", slot: session.slot, ...asRole(binding) });
}

function asRole({ peer, tag, role }: Binding) {
  return { peer, tag, myRole: role };
}

/** Begins a handshake for a binding unless one is under way. */
export function startHandshake(
  state: SessionsState,
  { peer, tag, role }: Binding,
  replaces: Session | undefined,
): void {
  const binding = { peer, tag, role };
  const key = bindingKey(binding);
  if (state.pending.has(key)) return;
  const slot = state.takeSlot(peer);
  if (slot === undefined) {
    postpone(state, binding, replaces, "no-slot");
    return;
  }
  const pending: Pending = {
    ...binding,
    slot,
    startedAt: state.now,
    replaces,
    attempts: 0,
    attemptAt: state.now,
    nextAttemptAt: state.now,
    senderIndex: 0,
    use: undefined,
    tried: new Set(),
    noise: undefined,
    to: NO_KEY,
    token: new Uint8Array(0),
    form: INITIATION,
    message: new Uint8Array(0),
    wrongAnswers: 0,
    cookieAnswers: 0,
  };
  state.pending.set(key, pending);
  state.pendingBySlot.set(slot, pending);
  attempt(state, pending);
}

/** Sends what is due and gives up what has had its time. */
export function keepAttempting(state: SessionsState): void {
  for (const pending of [...state.pending.values()]) {
    if (state.now >= pending.startedAt + GIVE_UP_MICROS) abandon(state, pending, "no-answer");
    else if (state.now >= pending.nextAttemptAt) attempt(state, pending);
  }
}

/** Answers to what was begun with a key that is ours no more would not be taken: it goes again. */
export function changeIdentity(state: SessionsState, secrets: OwnSecrets): void {
  const { publicKey } = state.identity.keys;
  state.setIdentity(secrets);
  if (state.identities.some(({ keys }) => equalBytes(keys.publicKey, publicKey))) return;
  for (const pending of [...state.pending.values()]) attempt(state, pending);
}

/** Ends a handshake without a session. */
export function abandon(state: SessionsState, pending: Pending, reason: FailReason): void {
  const { replaces } = pending;
  forgetPending(state, pending);
  state.giveSlot(pending.peer, pending.slot, false);
  // A session that never carried an answer is no better than the handshake that was to replace it.
  if (replaces !== undefined && replaces.provenAt === NEVER && replaces.initiator) {
    closeSession(state, replaces, "unconfirmed");
  }
  postpone(state, pending, replaces, reason);
}

function forgetPending(state: SessionsState, pending: Pending): void {
  state.pending.delete(bindingKey(pending));
  state.pendingBySlot.delete(pending.slot);
}

/** With a session left for the binding, tries again later; without one, what waits is dropped. */
function postpone(
  state: SessionsState,
  binding: Binding,
  replaces: Session | undefined,
  reason: FailReason,
): void {
  if (replaces !== undefined) {
    const pause = RENEW_AGAIN_MICROS * (1 + state.fraction());
    replaces.renewAt = Math.max(replaces.renewAt, state.now + pause) as Micros;
  }
  if (state.current.has(bindingKey(binding))) {
    state.notice("handshake-failed", { peer: binding.peer, tag: binding.tag, reason });
  } else fail(state, binding, reason);
}

function fail(state: SessionsState, { peer, tag, role }: Binding, reason: FailReason): void {
  state.emit({ type: "failed", peer, tag, role, reason });
  state.notice("handshake-failed", { peer, tag, reason });
}

/** One attempt: new ephemeral key, stamp and index. The answer to the attempt before is void. */
function attempt(state: SessionsState, pending: Pending): void {
  const peer = state.peerAt(pending.peer);
  const use = peer && chooseUse(state, pending, peer);
  if (peer === undefined || use === undefined) {
    abandon(state, pending, peer === undefined ? "unknown-peer" : "no-contract");
    return;
  }
  const [to] = peer.keys;
  const { stamp, save } = state.stamps.next(state.wall);
  pending.senderIndex = state.slots.newIndex(pending.slot);
  const written = writeInitiation(state.identity, to.staticPublic, {
    receiverIndex: 0,
    senderIndex: pending.senderIndex,
    use,
    role: pending.role,
    first: !peer.isCompleted,
    applicationTag: state.tagBytes(pending.tag),
    stamp,
    ephemeralSecret: state.random(32),
    wrappedSecret: state.random(32),
  });
  if (written === undefined) {
    abandon(state, pending, "unknown-peer");
    return;
  }
  pending.use = use;
  pending.noise = written.noise;
  pending.to = to;
  pending.token = written.token;
  pending.form = written.form;
  pending.message = written.message;
  pending.wrongAnswers = 0;
  pending.attemptAt = state.now;
  pending.attempts++;
  const wait = ATTEMPTS_AT[pending.attempts] ?? Number.POSITIVE_INFINITY;
  const jitter = 1 + JITTER * (2 * state.fraction() - 1);
  pending.nextAttemptAt = (pending.startedAt + wait * jitter) as Micros;
  if (save !== undefined) state.emit({ type: "persist-stamp", stamp: save });
  sendInitiation(state, pending, peer);
}

/** Each attempt under another contract, as far as there are: the peer may not take one of them. */
function chooseUse(
  state: SessionsState,
  pending: Pending,
  peer: PeerState,
): ContractUse | undefined {
  const { tried } = pending;
  const use = state.chooseContract(pending, {
    takesOlder: () => takesOlder(state, pending, peer),
    avoids: (scId) => tried.has(scId),
  });
  if (use === undefined) return undefined;
  if (tried.has(use.contract.scId)) tried.clear();
  tried.add(use.contract.scId);
  return use;
}

/**
 * Where nobody has announced what the peer holds, every other attempt is under the older of two
 * generations: a peer that has not got the newest yet does not answer to that.
 */
function takesOlder(state: SessionsState, { attempts }: Pending, peer: PeerState): boolean {
  const isOdd = attempts % 2 === 1;
  return state.now < peer.olderUntil ? !isOdd : isOdd;
}

function sendInitiation(state: SessionsState, pending: Pending, peer: PeerState): void {
  writeMacs(pending.form, pending.message, {
    mac1Key: pending.to.mac1Key,
    cookie: freshCookie(state, peer),
  });
  const message = pending.message.slice();
  state.emit({ type: "send", peer: pending.peer, address: undefined, message });
}

/** The cookie that this peer gave us, while it is worth anything. */
export function freshCookie(state: SessionsState, peer: PeerState): Uint8Array | undefined {
  return state.now - peer.cookieAt < COOKIE_LIFE_MICROS ? peer.cookie : undefined;
}

/** A cookie reply: the same initiation goes again at once, with mac2. */
export function acceptCookie(state: SessionsState, event: HandshakeEvent): Refused | undefined {
  const reply = decodeCookieReply(event.message);
  if (typeof reply === "string") return refused(reply);
  const pending = pendingOf(state, reply.receiverIndex);
  const peer = pending && state.peerAt(pending.peer);
  if (pending === undefined || peer === undefined) return refused("unexpected");
  const refusal = takeCookie(state, pending, peer, reply);
  return refusal === undefined ? undefined : refused(refusal, pending.peer);
}

function takeCookie(
  state: SessionsState,
  pending: Pending,
  peer: PeerState,
  reply: CookieReply,
): Refusal | undefined {
  if (pending.wrongAnswers >= WRONG_ANSWERS_MAX) return "answer-limit";
  const mac1 = pending.message.subarray(pending.form.mac1, pending.form.mac2);
  const cookie = openCookie(reply, pending.to.staticPublic, mac1);
  if (cookie === undefined) {
    pending.wrongAnswers++;
    return "cookie-forged";
  }
  peer.cookie = cookie;
  peer.cookieAt = state.now;
  if (pending.cookieAnswers >= COOKIE_ANSWERS_MAX) return "answer-limit";
  pending.cookieAnswers++;
  sendInitiation(state, pending, peer);
  return undefined;
}

function pendingOf(state: SessionsState, index: number): Pending | undefined {
  const pending = state.pendingBySlot.get(slotOf(index));
  return pending?.senderIndex === index ? pending : undefined;
}

/** A response: checks all of it, then makes the session. */
export function acceptResponse(
  state: SessionsState,
  event: HandshakeEvent,
  form: HandshakeForm,
): Refused | undefined {
  const message = decodeHandshake(form, event.message);
  if (typeof message === "string") return refused(message);
  const pending = pendingOf(state, message.receiverIndex);
  if (pending?.noise === undefined || pending.use === undefined) {
    return refused("unexpected");
  }
  if (pending.wrongAnswers >= WRONG_ANSWERS_MAX) return refused("answer-limit", pending.peer);
  const own = state.identityMeant(form, event.message, event.mac1Checked === true);
  if (own === undefined) return refused("mac1", pending.peer);
  const refusal = finishHandshake(state, pending, message);
  if (refusal === undefined) return undefined;
  pending.wrongAnswers++;
  return refused(refusal, pending.peer);
}

function finishHandshake(
  state: SessionsState,
  pending: Pending,
  message: HandshakeMessage,
): Refusal | undefined {
  const { peer, tag, role, use, noise } = pending;
  if (use === undefined || noise === undefined) return "unexpected";
  const peerUse = state.contracts.find(message.scId, message.generation);
  if (typeof peerUse === "string") return peerUse;
  if (!contractFits(peerUse.contract, { peer, tag }, state.config.contractRule?.(peer, tag))) {
    return "contract-refused";
  }
  const read = readResponse(noise, message, peerUse);
  if (typeof read === "string") return read;
  const refusal = judgeResponse(state, pending, read.payload);
  if (refusal !== undefined) return refusal;
  if (!tokenHolds(peerUse, read.payload)) return "token";
  const keys = sessionKeys(
    read.noise,
    { use, token: pending.token },
    { use: peerUse, token: read.payload.token },
  );
  forgetPending(state, pending);
  const known = state.peers[peer];
  const isNewest = state.contracts.isNewest(use);
  if (known !== undefined) {
    known.olderUntil = isNewest ? state.now : ((state.now + OLDER_MICROS) as Micros);
  }
  const session = establish(state, {
    peer,
    tag,
    role,
    slot: pending.slot,
    receiverIndex: pending.senderIndex,
    remoteIndex: message.senderIndex,
    initiator: true,
    isPeerFirst: read.payload.first,
    peerStamp: read.payload.stamp,
    begunAt: pending.attemptAt,
    myUse: use,
    peerUse,
    out: keys.initiator,
    in: keys.responder,
  });
  beginAsInitiator(state, session);
  return undefined;
}

/** Under `return: inherit` the response repeats the initiator's tag, in the other role. */
function judgeResponse(
  state: SessionsState,
  pending: Pending,
  payload: HandshakePayload,
): Refusal | undefined {
  if (!equalBytes(payload.tenantTag, state.identity.tenantTag)) return "tenant";
  if (payload.role === pending.role) return "binding";
  if (!equalBytes(payload.applicationTag, state.tagBytes(pending.tag))) return "binding";
  return undefined;
}
