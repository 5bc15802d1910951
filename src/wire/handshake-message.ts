/**
 * The two messages of a handshake, initiation and response, and the payload sealed in each.
 * docs/wire.md "HANDSHAKE". Big-endian; every message has one exact size, so one byte fewer or
 * more is a fault. Decoders copy out of the bytes given: those may be a buffer that is used again.
 */
import type { Role } from "../units.ts";
import {
  COMMON_HEADER_BYTES,
  type Field,
  FLAG,
  faultOfHeader,
  HANDSHAKE,
  HEADER_RECEIVER_INDEX,
  viewOf,
  type WireFault,
  writeCommonHeader,
} from "./header.ts";

export const INITIATION_BYTES = 237;
export const RESPONSE_BYTES = 189;
/** What RSA-2048 makes of whatever it wraps; it stands before mac1 in the two `rsa256` messages. */
export const RSA_WRAPPED_BYTES = 256;
/** Bytes of each message that the handshake hash takes in before the keys: prologue and MixHash. */
export const HANDSHAKE_CLEAR_BYTES = 32;

export const HANDSHAKE_SENDER_INDEX = 8;
export const HANDSHAKE_SC_ID = 12;
export const HANDSHAKE_GENERATION = 28;
export const HANDSHAKE_EPHEMERAL = 32;
export const INITIATION_STATIC = 64;
export const INITIATION_PAYLOAD = 112;
export const INITIATION_MAC1 = 205;
export const INITIATION_MAC2 = 221;
export const RESPONSE_PAYLOAD = 64;
export const RESPONSE_MAC1 = 157;
export const RESPONSE_MAC2 = 173;

export const SC_ID_BYTES = 16;
export const X25519_KEY_BYTES = 32;
export const AEAD_TAG_BYTES = 16;
export const MAC_BYTES = 16;
export const TAG_BYTES = 16;
export const STAMP_BYTES = 12;
export const TOKEN_BYTES = 32;
const SEALED_STATIC_BYTES = X25519_KEY_BYTES + AEAD_TAG_BYTES;
/** Marks 1, tenant tag 16, application tag 16, time stamp 12, session token 32. */
export const HANDSHAKE_PAYLOAD_BYTES = 77;
export const SEALED_PAYLOAD_BYTES = HANDSHAKE_PAYLOAD_BYTES + AEAD_TAG_BYTES;

export const PAYLOAD_MARKS = 0;
export const PAYLOAD_TENANT_TAG = 1;
export const PAYLOAD_APPLICATION_TAG = 17;
export const PAYLOAD_STAMP = 33;
export const PAYLOAD_TOKEN = 45;
const MARK_ROLE = 0x01;
const MARK_FIRST = 0x80;

export const INITIATION_LAYOUT: readonly Field[] = [
  { name: "common header", offset: 0, sizeBytes: COMMON_HEADER_BYTES },
  { name: "sender index", offset: HANDSHAKE_SENDER_INDEX, sizeBytes: 4 },
  { name: "SC-ID", offset: HANDSHAKE_SC_ID, sizeBytes: SC_ID_BYTES },
  { name: "generation", offset: HANDSHAKE_GENERATION, sizeBytes: 4 },
  { name: "ephemeral key", offset: HANDSHAKE_EPHEMERAL, sizeBytes: X25519_KEY_BYTES },
  { name: "static key, sealed", offset: INITIATION_STATIC, sizeBytes: SEALED_STATIC_BYTES },
  { name: "sealed payload", offset: INITIATION_PAYLOAD, sizeBytes: SEALED_PAYLOAD_BYTES },
  { name: "mac1", offset: INITIATION_MAC1, sizeBytes: MAC_BYTES },
  { name: "mac2", offset: INITIATION_MAC2, sizeBytes: MAC_BYTES },
];

export const RESPONSE_LAYOUT: readonly Field[] = [
  { name: "common header", offset: 0, sizeBytes: COMMON_HEADER_BYTES },
  { name: "sender index", offset: HANDSHAKE_SENDER_INDEX, sizeBytes: 4 },
  { name: "SC-ID", offset: HANDSHAKE_SC_ID, sizeBytes: SC_ID_BYTES },
  { name: "generation", offset: HANDSHAKE_GENERATION, sizeBytes: 4 },
  { name: "ephemeral key", offset: HANDSHAKE_EPHEMERAL, sizeBytes: X25519_KEY_BYTES },
  { name: "sealed payload", offset: RESPONSE_PAYLOAD, sizeBytes: SEALED_PAYLOAD_BYTES },
  { name: "mac1", offset: RESPONSE_MAC1, sizeBytes: MAC_BYTES },
  { name: "mac2", offset: RESPONSE_MAC2, sizeBytes: MAC_BYTES },
];

export const PAYLOAD_LAYOUT: readonly Field[] = [
  { name: "role and marks", offset: PAYLOAD_MARKS, sizeBytes: 1 },
  { name: "tenant tag", offset: PAYLOAD_TENANT_TAG, sizeBytes: TAG_BYTES },
  { name: "application tag", offset: PAYLOAD_APPLICATION_TAG, sizeBytes: TAG_BYTES },
  { name: "time stamp", offset: PAYLOAD_STAMP, sizeBytes: STAMP_BYTES },
  { name: "session token", offset: PAYLOAD_TOKEN, sizeBytes: TOKEN_BYTES },
];

/** What stands in the clear before the keys: bytes 0-31. */
export type HandshakeClear = {
  /** 0 in an initiation; the initiator's sender index in a response. */
  readonly receiverIndex: number;
  /** The index its sender chose for the session to be; never 0. */
  readonly senderIndex: number;
  readonly scId: Uint8Array;
  readonly generation: number;
};

export type HandshakeMessage = HandshakeClear & {
  /** The Noise message: keys and sealed payload. */
  readonly noise: Uint8Array;
  /** Of an `rsa256` contract; else empty. */
  readonly wrapped: Uint8Array;
  readonly mac1: Uint8Array;
  readonly mac2: Uint8Array;
};

export type HandshakePayload = {
  readonly role: Role;
  /** First handshake with this peer since the sender's start. */
  readonly first: boolean;
  readonly tenantTag: Uint8Array;
  readonly applicationTag: Uint8Array;
  readonly stamp: Uint8Array;
  readonly token: Uint8Array;
};

/** Which of the messages, with its own sizes. */
export type HandshakeForm = {
  readonly nextHeader: number;
  readonly isInitiation: boolean;
  readonly sizeBytes: number;
  /** End of the Noise message; what an `rsa256` contract wraps is between it and mac1. */
  readonly noiseEnd: number;
  readonly mac1: number;
  readonly mac2: number;
};
export const INITIATION: HandshakeForm = {
  nextHeader: HANDSHAKE.initiation,
  isInitiation: true,
  sizeBytes: INITIATION_BYTES,
  noiseEnd: INITIATION_MAC1,
  mac1: INITIATION_MAC1,
  mac2: INITIATION_MAC2,
};
export const RESPONSE: HandshakeForm = {
  nextHeader: HANDSHAKE.response,
  isInitiation: false,
  sizeBytes: RESPONSE_BYTES,
  noiseEnd: RESPONSE_MAC1,
  mac1: RESPONSE_MAC1,
  mac2: RESPONSE_MAC2,
};
export const RSA_INITIATION = withWrapped(INITIATION, HANDSHAKE.rsaInitiation);
export const RSA_RESPONSE = withWrapped(RESPONSE, HANDSHAKE.rsaResponse);

function withWrapped(form: HandshakeForm, nextHeader: number): HandshakeForm {
  return {
    ...form,
    nextHeader,
    sizeBytes: form.sizeBytes + RSA_WRAPPED_BYTES,
    mac1: form.mac1 + RSA_WRAPPED_BYTES,
    mac2: form.mac2 + RSA_WRAPPED_BYTES,
  };
}

/** Bytes 0-31 of an initiation or response: what both ends mix into the handshake hash. */
export function encodeHandshakeClear(form: HandshakeForm, clear: HandshakeClear): Uint8Array {
  const bytes = new Uint8Array(HANDSHAKE_CLEAR_BYTES);
  const view = viewOf(bytes);
  writeCommonHeader(view, {
    flag: FLAG.handshake,
    nextHeader: form.nextHeader,
    fragment: 0,
    receiverIndex: clear.receiverIndex,
  });
  view.setUint32(HANDSHAKE_SENDER_INDEX, clear.senderIndex, false);
  bytes.set(clear.scId, HANDSHAKE_SC_ID);
  view.setUint32(HANDSHAKE_GENERATION, clear.generation, false);
  return bytes;
}

/** The whole message; `noise` and `wrapped` fill it up to mac1. */
export function encodeHandshake(form: HandshakeForm, message: HandshakeMessage): Uint8Array {
  const bytes = new Uint8Array(form.sizeBytes);
  bytes.set(encodeHandshakeClear(form, message), 0);
  const noiseBytes = form.noiseEnd - HANDSHAKE_CLEAR_BYTES;
  bytes.set(message.noise.subarray(0, noiseBytes), HANDSHAKE_CLEAR_BYTES);
  bytes.set(message.wrapped.subarray(0, form.mac1 - form.noiseEnd), form.noiseEnd);
  bytes.set(message.mac1, form.mac1);
  bytes.set(message.mac2, form.mac2);
  return bytes;
}

export function decodeHandshake(
  form: HandshakeForm,
  bytes: Uint8Array,
): HandshakeMessage | WireFault {
  const fault = faultOfHeader(bytes, {
    sizeBytes: form.sizeBytes,
    flag: FLAG.handshake,
    nextHeader: form.nextHeader,
  });
  if (fault !== undefined) return fault;
  const view = viewOf(bytes);
  const receiverIndex = view.getUint32(HEADER_RECEIVER_INDEX, false);
  if (form.isInitiation !== (receiverIndex === 0)) return "receiver-index";
  const senderIndex = view.getUint32(HANDSHAKE_SENDER_INDEX, false);
  if (senderIndex === 0) return "sender-index";
  return {
    receiverIndex,
    senderIndex,
    scId: bytes.slice(HANDSHAKE_SC_ID, HANDSHAKE_GENERATION),
    generation: view.getUint32(HANDSHAKE_GENERATION, false),
    noise: bytes.slice(HANDSHAKE_EPHEMERAL, form.noiseEnd),
    wrapped: bytes.slice(form.noiseEnd, form.mac1),
    mac1: bytes.slice(form.mac1, form.mac2),
    mac2: bytes.slice(form.mac2, form.sizeBytes),
  };
}

export function encodeHandshakePayload(payload: HandshakePayload): Uint8Array {
  const bytes = new Uint8Array(HANDSHAKE_PAYLOAD_BYTES);
  bytes[PAYLOAD_MARKS] = payload.role | (payload.first ? MARK_FIRST : 0);
  bytes.set(payload.tenantTag, PAYLOAD_TENANT_TAG);
  bytes.set(payload.applicationTag, PAYLOAD_APPLICATION_TAG);
  bytes.set(payload.stamp, PAYLOAD_STAMP);
  bytes.set(payload.token, PAYLOAD_TOKEN);
  return bytes;
}

export function decodeHandshakePayload(bytes: Uint8Array): HandshakePayload | WireFault {
  if (bytes.length !== HANDSHAKE_PAYLOAD_BYTES) return "length";
  const marks = viewOf(bytes).getUint8(PAYLOAD_MARKS);
  if ((marks & ~(MARK_ROLE | MARK_FIRST)) !== 0) return "marks";
  return {
    role: (marks & MARK_ROLE) === 0 ? 0 : 1,
    first: (marks & MARK_FIRST) !== 0,
    tenantTag: bytes.slice(PAYLOAD_TENANT_TAG, PAYLOAD_APPLICATION_TAG),
    applicationTag: bytes.slice(PAYLOAD_APPLICATION_TAG, PAYLOAD_STAMP),
    stamp: bytes.slice(PAYLOAD_STAMP, PAYLOAD_TOKEN),
    token: bytes.slice(PAYLOAD_TOKEN, HANDSHAKE_PAYLOAD_BYTES),
  };
}
