/**
 * The responder's half of a handshake. docs/wire.md "HANDSHAKE". On entry nothing about the message
 * is known; each check comes before any that costs more, and no table changes before the last one
 * has passed. A refused initiation is answered by nothing but, where stated, a cookie.
 */
import { equalBytes, toHex } from "../bytes.ts";
import type { PeerIndex, Role, TagIndex } from "../units.ts";
import {
  decodeHandshake,
  type HandshakeForm,
  type HandshakeMessage,
} from "../wire/handshake-message.ts";
import { type ContractUse, contractFits } from "./contract.ts";
import { establish, makeRoomForUnconfirmed, unconfirmedOf } from "./establishing.ts";
import { freshCookie } from "./initiating.ts";
import {
  type ReadInitiation,
  readInitiation,
  sessionKeys,
  tokenHolds,
  writeResponse,
} from "./key-agreement.ts";
import { mac1KeyOf, writeMacs } from "./mac.ts";
import { type Refusal, type Refused, refused } from "./refusals.ts";
import type { SessionsEvent } from "./session-api.ts";
import type { OwnIdentity, PeerState, SessionsState } from "./sessions-state.ts";
import { isZero } from "./x25519.ts";

type HandshakeEvent = Extract<SessionsEvent, { type: "handshake" }>;

/** An initiation that may be answered. */
type Claim = {
  /** Of our keys, the one that it was written to. */
  readonly own: OwnIdentity;
  readonly peer: PeerIndex;
  readonly tag: TagIndex;
  /** The initiator's; ours is the other. */
  readonly role: Role;
  readonly message: HandshakeMessage;
  readonly read: ReadInitiation;
  readonly use: ContractUse;
};

/** An initiation: answers it with a response, with a cookie, or not at all. */
export function acceptInitiation(
  state: SessionsState,
  event: HandshakeEvent,
  form: HandshakeForm,
): Refused | undefined {
  const message = decodeHandshake(form, event.message);
  if (typeof message === "string") return refused(message);
  const own = state.identityMeant(form, event.message, event.mac1Checked === true);
  if (own === undefined) return refused("mac1");
  if (event.underLoad) {
    if (!hasCookie(state, form, event)) return askForCookie(state, own, message, event, undefined);
    if (!state.sources.take(event.sourceAddress, state.now)) {
      return refused("source-limit");
    }
  }
  const use = state.contracts.find(message.scId, message.generation);
  if (typeof use === "string") return refused(use);
  const read = readInitiation(own, message, use);
  if (typeof read === "string") return refused(read);
  const peer = state.peerOfKey(read.remoteStatic);
  if (peer === undefined) return refused("static-unknown");
  const tag = judgeClaim(state, peer, read, use);
  if (typeof tag === "string") return refused(tag, peer);
  const { role, stamp } = read.payload;
  const verdict = state.received.judge(peer, role, tag, stamp);
  if (verdict === "old") return refused("stamp", peer);
  // The first of its key since our start may be a replay from before it.
  if (verdict === "first" && !hasCookie(state, form, event)) {
    return askForCookie(state, own, message, event, peer);
  }
  const refusal = respond(state, { own, peer, tag, role, message, read, use }, event);
  return refusal === undefined ? undefined : refused(refusal, peer);
}

function hasCookie(state: SessionsState, form: HandshakeForm, event: HandshakeEvent): boolean {
  if (isZero(event.message.subarray(form.mac2))) return false;
  return state.cookies.mac2Holds(form, event.message, event.sourceAddress);
}

function askForCookie(
  state: SessionsState,
  own: OwnIdentity,
  message: HandshakeMessage,
  event: HandshakeEvent,
  peer: PeerIndex | undefined,
): Refused {
  if (!state.cookieReplies.takeFrom(0, state.now)) return refused("cookie-limit", peer);
  const address = event.sourceAddress;
  const question = { receiverIndex: message.senderIndex, mac1: message.mac1, address };
  const reply = state.cookies.reply(own.keys.publicKey, question);
  state.emit({ type: "send", peer, address, message: reply });
  return refused("cookie-required", peer);
}

/** What the sealed payload claims, against what the manager certified: the tag, or why not. */
function judgeClaim(
  state: SessionsState,
  peer: PeerIndex,
  read: ReadInitiation,
  use: ContractUse,
): TagIndex | Refusal {
  const { payload } = read;
  if (!equalBytes(payload.tenantTag, state.identity.tenantTag)) return "tenant";
  const tag = state.tagIndexOf.get(toHex(payload.applicationTag));
  if (tag === undefined) return "tag";
  // Role 1 brings the receiver's own tag: what counts is that replies of it are expected.
  if (payload.role === 0 && !state.isEntitled(peer, tag)) return "tag";
  if (payload.role === 1 && !state.config.hasAllowedFlow(peer, tag)) return "role";
  if (!contractFits(use.contract, { peer, tag }, state.config.contractRule?.(peer, tag))) {
    return "contract-refused";
  }
  return tokenHolds(use, payload) ? tag : "token";
}

/** Everything about the initiation has been checked: make the session and answer. */
function respond(state: SessionsState, claim: Claim, event: HandshakeEvent): Refusal | undefined {
  const { peer, tag, message, read } = claim;
  const peerState = state.peerAt(peer);
  // The initiator comes again when it does not take what we name: then it is something else. What
  // it named itself it holds, and for all we know nothing newer.
  const unconfirmed = unconfirmedOf(state, claim);
  const last = unconfirmed.at(-1)?.myUse;
  const { contract: named, generation } = claim.use;
  const myUse = state.chooseContract(claim, {
    takesOlder: (scId, newest) =>
      last === undefined
        ? scId === named.scId && generation.generation < newest
        : state.contracts.isNewest(last),
    avoids: (scId) => unconfirmed.some((session) => session.myUse.contract.scId === scId),
  });
  if (peerState === undefined || myUse === undefined) return "contract-none";
  makeRoomForUnconfirmed(state, claim);
  const slot = state.takeSlot(peer);
  if (slot === undefined) return "sessions-full";
  const myRole: Role = claim.role === 0 ? 1 : 0;
  const receiverIndex = state.slots.newIndex(slot);
  const written = writeAnswer(state, claim, { myUse, myRole, receiverIndex, peerState });
  if (written === undefined) {
    state.giveSlot(peer, slot, false);
    return "forged";
  }
  state.received.accept(peer, claim.role, tag, read.payload.stamp);
  const keys = sessionKeys(
    read.noise,
    { use: claim.use, token: read.payload.token },
    { use: myUse, token: written.token },
  );
  establish(state, {
    peer,
    tag,
    role: myRole,
    slot,
    receiverIndex,
    remoteIndex: message.senderIndex,
    initiator: false,
    isPeerFirst: read.payload.first,
    peerStamp: read.payload.stamp,
    begunAt: state.now,
    myUse,
    peerUse: claim.use,
    out: keys.responder,
    in: keys.initiator,
  });
  const { sourceAddress: address } = event;
  state.emit({ type: "send", peer, address, message: written.message });
  return undefined;
}

function writeAnswer(
  state: SessionsState,
  claim: Claim,
  answer: {
    readonly myUse: ContractUse;
    readonly myRole: Role;
    readonly receiverIndex: number;
    readonly peerState: PeerState;
  },
) {
  const { stamp, save } = state.stamps.next(state.wall);
  const written = writeResponse(claim.own, claim.read.noise, {
    receiverIndex: claim.message.senderIndex,
    senderIndex: answer.receiverIndex,
    use: answer.myUse,
    role: answer.myRole,
    first: !answer.peerState.isCompleted,
    applicationTag: state.tagBytes(claim.tag),
    stamp,
    ephemeralSecret: state.random(32),
    wrappedSecret: state.random(32),
  });
  if (written === undefined) return undefined;
  if (save !== undefined) state.emit({ type: "persist-stamp", stamp: save });
  const cookie = freshCookie(state, answer.peerState);
  const mac1Key = mac1KeyOf(claim.read.remoteStatic);
  writeMacs(written.form, written.message, { mac1Key, cookie });
  return written;
}
