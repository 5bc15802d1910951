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
  RSA_INITIATION,
  RSA_RESPONSE,
} from "../wire/handshake-message.ts";
import type { Contract, ContractUse } from "./contract.ts";
import { type DirectionKeys, directionKeys } from "./data-keys.ts";
import { HandshakeState, IK_PSK0_PSK2, type NoiseSuite } from "./noise.ts";
import { sessionToken } from "./token.ts";
import type { KeyPair } from "./x25519.ts";

const PROLOGUE_LABEL = ascii("abs 1");
const NOTHING = new Uint8Array(0);
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
  /** 32 random bytes that an `rsa256` contract wraps; others leave them. */
  readonly wrappedSecret: Uint8Array;
};

/** A message whose macs are still zero, the state it leaves behind, and its session token. */
export type WrittenHandshake = {
  readonly form: HandshakeForm;
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
  const form = formOf(plan.use, INITIATION, RSA_INITIATION);
  const clear = encodeHandshakeClear(form, clearOf(plan));
  const noise = new HandshakeState({
    pattern: IK_PSK0_PSK2,
    suite: suiteOf(plan.use.contract),
    initiator: true,
    prologue: concat(PROLOGUE_LABEL, identity.tenantTag, clear),
    localStatic: identity.keys,
    remoteStatic,
  });
  return finish(form, identity, plan, noise);
}

/** The form that a contract's messages have. */
function formOf(use: ContractUse, plain: HandshakeForm, wrapping: HandshakeForm): HandshakeForm {
  return use.generation.rsa === undefined ? plain : wrapping;
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
  const clear = encodeHandshakeClear(formOf(use, INITIATION, RSA_INITIATION), message);
  const noise = new HandshakeState({
    pattern: IK_PSK0_PSK2,
    suite: suiteOf(use.contract),
    initiator: false,
    prologue: concat(PROLOGUE_LABEL, identity.tenantTag, clear),
    localStatic: identity.keys,
  });
  const payload = readSealed(noise, message, use);
  if (typeof payload === "string") return payload;
  if (noise.remoteStatic === undefined) return "forged";
  return { noise, payload, remoteStatic: noise.remoteStatic };
}

/** The response that goes on from `noise`, the state that readInitiation left. */
export function writeResponse(
  identity: Identity,
  noise: HandshakeState,
  plan: HandshakePlan,
): WrittenHandshake | undefined {
  const form = formOf(plan.use, RESPONSE, RSA_RESPONSE);
  noise.mixHash(encodeHandshakeClear(form, clearOf(plan)));
  return finish(form, identity, plan, noise);
}

/** Opens a response in a copy of `sent`, the state that writeInitiation left. */
export function readResponse(
  sent: HandshakeState,
  message: HandshakeMessage,
  use: ContractUse,
): { readonly noise: HandshakeState; readonly payload: HandshakePayload } | "forged" | "marks" {
  const noise = sent.clone();
  noise.mixHash(encodeHandshakeClear(formOf(use, RESPONSE, RSA_RESPONSE), message));
  const payload = readSealed(noise, message, use);
  return typeof payload === "string" ? payload : { noise, payload };
}

/**
 * Reads the Noise message and mixes in what is wrapped beside it. The wrapped bytes are in the
 * handshake hash before anything is opened: only who holds the pre-shared key makes us use RSA.
 */
function readSealed(
  noise: HandshakeState,
  message: HandshakeMessage,
  { generation }: ContractUse,
): HandshakePayload | "forged" | "marks" {
  const { rsa } = generation;
  if ((rsa !== undefined) !== message.wrapped.length > 0) return "forged";
  if (rsa !== undefined) noise.mixHash(message.wrapped);
  noise.addPsk(generation.secret);
  const opened = noise.read(message.noise);
  if (opened === undefined) return "forged";
  if (rsa !== undefined) {
    const secret = rsa.unwrap(message.wrapped);
    if (secret === undefined) return "forged";
    noise.mixKeyAndHash(secret);
  }
  const payload = decodeHandshakePayload(opened);
  return typeof payload === "string" ? "marks" : payload;
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
  const { rsa, secret } = plan.use.generation;
  const wrapped = rsa?.wrap(plan.wrappedSecret) ?? NOTHING;
  if (rsa !== undefined) noise.mixHash(wrapped);
  noise.addPsk(secret);
  const written = noise.write(encodeHandshakePayload(payload), plan.ephemeralSecret);
  if (written === undefined) return undefined;
  if (rsa !== undefined) noise.mixKeyAndHash(plan.wrappedSecret);
  const sealed = { ...clearOf(plan), noise: written, wrapped, mac1: NO_MAC, mac2: NO_MAC };
  return { form, message: encodeHandshake(form, sealed), noise, token };
}
