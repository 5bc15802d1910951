/**
 * One handshake as cryptography: writing and reading its two messages, and the keys that come of
 * it. docs/wire.md "HANDSHAKE". No tables, no clock, no randomness: initiating.ts and responding.ts
 * decide what to write and whether what was read may be accepted.
 */
import { ascii, concat, equalBytes } from "../bytes.ts";
import type { Role } from "../units.ts";
import {
  decodeHandshakePayload,
  encodeHandshake,
  encodeHandshakeClear,
  encodeHandshakePayload,
  type HandshakeClear,
  type HandshakeForm,
  type HandshakeMessage,
  type HandshakePayload,
  INITIATION,
  MAC_BYTES,
  RESPONSE,
} from "../wire/handshake-message.ts";
import type { Contract, ContractUse } from "./contract.ts";
import { type DirectionKeys, directionKeys } from "./data-keys.ts";
import { HandshakeState, IK_PSK0_PSK2, type NoiseSuite } from "./noise.ts";
import { sessionToken } from "./token.ts";
import type { KeyPair } from "./x25519.ts";

const PROLOGUE_LABEL = ascii("abs 1");
const NO_MAC = new Uint8Array(MAC_BYTES);

export type Identity = { readonly keys: KeyPair; readonly tenantTag: Uint8Array };

/** What its sender puts into a message. */
export type HandshakePlan = {
  readonly receiverIndex: number;
  readonly senderIndex: number;
  readonly use: ContractUse;
  readonly role: Role;
  readonly first: boolean;
  readonly applicationTag: Uint8Array;
  readonly stamp: Uint8Array;
  readonly ephemeralSecret: Uint8Array;
};

/** A message whose macs are still zero, the state it leaves behind, and its session token. */
export type WrittenHandshake = {
  readonly message: Uint8Array;
  readonly noise: HandshakeState;
  readonly token: Uint8Array;
};

/** Noise's cipher and hash come from SC-1. */
export function suiteOf(contract: Contract): NoiseSuite {
  const isChaCha = contract.algorithm === "chacha20-poly1305";
  return { cipher: isChaCha ? "ChaChaPoly" : "AESGCM", hash: contract.hash };
}

/** The initiation to the owner of `remoteStatic`; undefined when that is a low-order point. */
export function writeInitiation(
  identity: Identity,
  remoteStatic: Uint8Array,
  plan: HandshakePlan,
): WrittenHandshake | undefined {
  const clear = encodeHandshakeClear(INITIATION, clearOf(plan));
  const noise = new HandshakeState({
    pattern: IK_PSK0_PSK2,
    suite: suiteOf(plan.use.contract),
    initiator: true,
    prologue: concat(PROLOGUE_LABEL, identity.tenantTag, clear),
    localStatic: identity.keys,
    remoteStatic,
  });
  noise.addPsk(plan.use.generation.secret);
  return finish(INITIATION, identity, plan, noise);
}

export type ReadInitiation = {
  readonly noise: HandshakeState;
  readonly payload: HandshakePayload;
  readonly remoteStatic: Uint8Array;
};

/** Opens an initiation under the contract it names. What it claims is yet to be checked. */
export function readInitiation(
  identity: Identity,
  message: HandshakeMessage,
  use: ContractUse,
): ReadInitiation | "forged" | "marks" {
  const clear = encodeHandshakeClear(INITIATION, message);
  const noise = new HandshakeState({
    pattern: IK_PSK0_PSK2,
    suite: suiteOf(use.contract),
    initiator: false,
    prologue: concat(PROLOGUE_LABEL, identity.tenantTag, clear),
    localStatic: identity.keys,
  });
  noise.addPsk(use.generation.secret);
  const opened = noise.read(message.noise);
  if (opened === undefined || noise.remoteStatic === undefined) return "forged";
  const payload = decodeHandshakePayload(opened);
  if (typeof payload === "string") return "marks";
  return { noise, payload, remoteStatic: noise.remoteStatic };
}

/** The response that goes on from `noise`, the state that readInitiation left. */
export function writeResponse(
  identity: Identity,
  noise: HandshakeState,
  plan: HandshakePlan,
): WrittenHandshake | undefined {
  noise.mixHash(encodeHandshakeClear(RESPONSE, clearOf(plan)));
  noise.addPsk(plan.use.generation.secret);
  return finish(RESPONSE, identity, plan, noise);
}

/** Opens a response in a copy of `sent`, the state that writeInitiation left. */
export function readResponse(
  sent: HandshakeState,
  message: HandshakeMessage,
  use: ContractUse,
): { readonly noise: HandshakeState; readonly payload: HandshakePayload } | "forged" | "marks" {
  const noise = sent.clone();
  noise.mixHash(encodeHandshakeClear(RESPONSE, message));
  noise.addPsk(use.generation.secret);
  const opened = noise.read(message.noise);
  if (opened === undefined) return "forged";
  const payload = decodeHandshakePayload(opened);
  return typeof payload === "string" ? "marks" : { noise, payload };
}

/** Whether the token is the one of what was sent with it. */
export function tokenHolds(use: ContractUse, payload: HandshakePayload): boolean {
  return equalBytes(sessionToken(use.contract, payload), payload.token);
}

/** One side's contract and token. */
export type Party = { readonly use: ContractUse; readonly token: Uint8Array };

/** The keys of both directions, once both messages are through `noise`. */
export function sessionKeys(
  noise: HandshakeState,
  initiator: Party,
  responder: Party,
): { readonly initiator: DirectionKeys; readonly responder: DirectionKeys } {
  const split = noise.split();
  const { handshakeHash } = noise;
  return {
    initiator: keysOf(initiator, split.initiator, handshakeHash),
    responder: keysOf(responder, split.responder, handshakeHash),
  };
}

function keysOf(party: Party, splitKey: Uint8Array, handshakeHash: Uint8Array): DirectionKeys {
  return directionKeys({
    contract: party.use.contract,
    generation: party.use.generation.generation,
    splitKey,
    token: party.token,
    handshakeHash,
  });
}

function clearOf(plan: HandshakePlan): HandshakeClear {
  return {
    receiverIndex: plan.receiverIndex,
    senderIndex: plan.senderIndex,
    scId: plan.use.contract.scIdBytes,
    generation: plan.use.generation.generation,
  };
}

function finish(
  form: HandshakeForm,
  identity: Identity,
  plan: HandshakePlan,
  noise: HandshakeState,
): WrittenHandshake | undefined {
  const { tenantTag } = identity;
  const { role, first, applicationTag, stamp } = plan;
  const token = sessionToken(plan.use.contract, { tenantTag, applicationTag, stamp });
  const payload = { role, first, tenantTag, applicationTag, stamp, token };
  const written = noise.write(encodeHandshakePayload(payload), plan.ephemeralSecret);
  if (written === undefined) return undefined;
  const sealed = { ...clearOf(plan), noise: written, mac1: NO_MAC, mac2: NO_MAC };
  return { message: encodeHandshake(form, sealed), noise, token };
}
