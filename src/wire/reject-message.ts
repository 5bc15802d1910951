/**
 * REJECT: the explicit notice of a closed connection, sealed under a session, and the
 * unauthenticated hint that an index is unknown. docs/wire.md "REJECT". Only bytes:
 * src/session/data-proof.ts computes and checks the proof of the sealed form.
 * The two forms are told apart by the receiver index: 0 names no session.
 */
import {
  DATA_LANE,
  DATA_LANE_COUNTER,
  DATA_PROOF,
  DATA_PROOF_BYTES,
  MAIN_LANE,
  readCounter,
  writeLaneCounter,
} from "./data-frame.ts";
import {
  COMMON_HEADER_BYTES,
  type Field,
  FLAG,
  faultOfHeader,
  HEADER_RECEIVER_INDEX,
  viewOf,
  type WireFault,
  writeCommonHeader,
} from "./header.ts";

/** Why a packet was refused, as told to the other agent. */
export const REJECT_REASON = {
  unknownIndex: 1,
  policyDenied: 2,
  applicationRefused: 3,
  flowBinding: 4,
  quarantined: 5,
} as const;
const REASON_MAX = REJECT_REASON.quarantined;

export const REJECT_REASON_AT = 32;
export const REJECT_PROTOCOL = 34;
export const REJECT_IP_VERSION = 35;
export const REJECT_SOURCE_PORT = 36;
export const REJECT_DESTINATION_PORT = 38;
export const REJECT_ADDRESSES = 40;
export const SEALED_REJECT_BYTES_V4 = 48;
export const SEALED_REJECT_BYTES_V6 = 72;

export const HINT_REASON = 8;
export const HINT_RESERVED = 10;
export const HINT_INDEX = 12;
export const HINT_PROOF = 16;
export const HINT_BYTES = 32;

export const SEALED_REJECT_LAYOUT: readonly Field[] = [
  { name: "common header", offset: 0, sizeBytes: COMMON_HEADER_BYTES },
  { name: "lane 15 and counter", offset: DATA_LANE_COUNTER, sizeBytes: 8 },
  { name: "proof", offset: DATA_PROOF, sizeBytes: DATA_PROOF_BYTES },
  { name: "reason", offset: REJECT_REASON_AT, sizeBytes: 2 },
  { name: "protocol", offset: REJECT_PROTOCOL, sizeBytes: 1 },
  { name: "IP version", offset: REJECT_IP_VERSION, sizeBytes: 1 },
  { name: "source port", offset: REJECT_SOURCE_PORT, sizeBytes: 2 },
  { name: "destination port", offset: REJECT_DESTINATION_PORT, sizeBytes: 2 },
];

export const HINT_LAYOUT: readonly Field[] = [
  { name: "common header", offset: 0, sizeBytes: COMMON_HEADER_BYTES },
  { name: "reason", offset: HINT_REASON, sizeBytes: 2 },
  { name: "reserved", offset: HINT_RESERVED, sizeBytes: 2 },
  { name: "unknown index", offset: HINT_INDEX, sizeBytes: 4 },
  { name: "proof echoed", offset: HINT_PROOF, sizeBytes: DATA_PROOF_BYTES },
];

/** The refused flow as its own agent sees it: source is the application that is told. */
export type SealedReject = {
  readonly kind: "sealed";
  readonly receiverIndex: number;
  readonly counter: number;
  readonly proof: Uint8Array;
  readonly reason: number;
  readonly protocol: number;
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** 4 or 16 bytes, both alike. */
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
};

/** Unauthenticated: triggers one rate-limited handshake beside the old session, nothing else. */
export type UnknownIndexHint = {
  readonly kind: "hint";
  readonly unknownIndex: number;
  readonly proof: Uint8Array;
};

export function encodeSealedReject(reject: SealedReject): Uint8Array {
  const isV4 = reject.source.length === 4;
  const bytes = new Uint8Array(isV4 ? SEALED_REJECT_BYTES_V4 : SEALED_REJECT_BYTES_V6);
  const view = viewOf(bytes);
  writeCommonHeader(view, {
    flag: FLAG.reject,
    nextHeader: 0,
    fragment: 0,
    receiverIndex: reject.receiverIndex,
  });
  writeLaneCounter(view, MAIN_LANE, reject.counter);
  bytes.set(reject.proof, DATA_PROOF);
  view.setUint16(REJECT_REASON_AT, reject.reason, false);
  view.setUint8(REJECT_PROTOCOL, reject.protocol);
  view.setUint8(REJECT_IP_VERSION, isV4 ? 4 : 6);
  view.setUint16(REJECT_SOURCE_PORT, reject.sourcePort, false);
  view.setUint16(REJECT_DESTINATION_PORT, reject.destinationPort, false);
  bytes.set(reject.source, REJECT_ADDRESSES);
  bytes.set(reject.destination, REJECT_ADDRESSES + reject.source.length);
  return bytes;
}

export function encodeUnknownIndexHint(hint: UnknownIndexHint): Uint8Array {
  const bytes = new Uint8Array(HINT_BYTES);
  const view = viewOf(bytes);
  writeCommonHeader(view, { flag: FLAG.reject, nextHeader: 0, fragment: 0, receiverIndex: 0 });
  view.setUint16(HINT_REASON, REJECT_REASON.unknownIndex, false);
  view.setUint32(HINT_INDEX, hint.unknownIndex, false);
  bytes.set(hint.proof, HINT_PROOF);
  return bytes;
}

/** Either form. A sealed one is only worth something once its proof has been checked. */
export function decodeReject(bytes: Uint8Array): SealedReject | UnknownIndexHint | WireFault {
  const fault = faultOfHeader(bytes, {
    sizeBytes: bytes.length,
    flag: FLAG.reject,
    nextHeader: 0,
  });
  if (fault !== undefined) return fault;
  const view = viewOf(bytes);
  const receiverIndex = view.getUint32(HEADER_RECEIVER_INDEX, false);
  return receiverIndex === 0 ? decodeHint(bytes, view) : decodeSealed(bytes, view, receiverIndex);
}

function decodeHint(bytes: Uint8Array, view: DataView): UnknownIndexHint | WireFault {
  if (bytes.length !== HINT_BYTES) return "length";
  if (view.getUint16(HINT_REASON, false) !== REJECT_REASON.unknownIndex) return "reason";
  if (view.getUint16(HINT_RESERVED, false) !== 0) return "reason";
  const unknownIndex = view.getUint32(HINT_INDEX, false);
  if (unknownIndex === 0) return "receiver-index";
  return { kind: "hint", unknownIndex, proof: bytes.slice(HINT_PROOF, HINT_BYTES) };
}

function decodeSealed(
  bytes: Uint8Array,
  view: DataView,
  receiverIndex: number,
): SealedReject | WireFault {
  if (bytes.length !== SEALED_REJECT_BYTES_V4 && bytes.length !== SEALED_REJECT_BYTES_V6) {
    return "length";
  }
  if (view.getUint8(DATA_LANE) !== MAIN_LANE) return "lane";
  const reason = view.getUint16(REJECT_REASON_AT, false);
  if (reason <= REJECT_REASON.unknownIndex || reason > REASON_MAX) return "reason";
  const isV4 = bytes.length === SEALED_REJECT_BYTES_V4;
  if (view.getUint8(REJECT_IP_VERSION) !== (isV4 ? 4 : 6)) return "ip-version";
  const middle = REJECT_ADDRESSES + (isV4 ? 4 : 16);
  return {
    kind: "sealed",
    receiverIndex,
    counter: readCounter(view),
    proof: bytes.slice(DATA_PROOF, DATA_PROOF + DATA_PROOF_BYTES),
    reason,
    protocol: view.getUint8(REJECT_PROTOCOL),
    sourcePort: view.getUint16(REJECT_SOURCE_PORT, false),
    destinationPort: view.getUint16(REJECT_DESTINATION_PORT, false),
    source: bytes.slice(REJECT_ADDRESSES, middle),
    destination: bytes.slice(middle),
  };
}
