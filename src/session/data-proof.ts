/**
 * The proof of single packets, computed in TypeScript: the main thread's own (keep-alives, REJECT;
 * lane 15), and the oracle that the shim's bursts are tested against. docs/wire.md "DATA",
 * "REJECT". Applications' packets are sealed and opened by the shim, a burst at a time.
 */
import { concat, equalBytes } from "../bytes.ts";
import { assert } from "../errors.ts";
import {
  addressHash,
  DATA_HEADER_BYTES,
  DATA_LANE_COUNTER,
  DATA_PROOF,
  DATA_PROOF_BYTES,
  dataHeaderToProve,
  MAIN_LANE,
  PSEUDO_ADDRESSES,
  PSEUDO_IDENTIFICATION,
  PSEUDO_LENGTH,
} from "../wire/data-frame.ts";
import { FLAG, NO_NEXT_HEADER, viewOf } from "../wire/header.ts";
import { decodeReject, encodeSealedReject, type SealedReject } from "../wire/reject-message.ts";
import { openAead, sealAead } from "./aead.ts";
import { CIPHER_NAMES, type CipherName } from "./contract.ts";
import { type DirectionKeys, SHIM_ALGORITHM } from "./data-keys.ts";

const IPV4_HEADER_BYTES = 20;
const EMPTY = new Uint8Array(0);

/** What the proof binds beside the bytes of the ABS packet. */
export type ProofContext = {
  readonly addresses: Uint8Array;
  readonly originalLength: number;
  readonly identification: number;
};

/** The outer addresses of a packet that the main thread sends. */
export type Route = { readonly source: Uint8Array; readonly destination: Uint8Array };

/**
 * The whole ABS packet: `header` is 32 bytes with the pseudo bytes in the proof's place.
 * The flag decides: an unauthenticated contract has a constant proof for DATA, never for REJECT.
 */
export function sealPacket(
  keys: DirectionKeys,
  header: Uint8Array,
  payload: Uint8Array,
): Uint8Array {
  const isData = flagOf(header) === FLAG.data;
  const packet = concat(header, payload);
  if (keys.quickProof !== undefined && isData) {
    packet.set(keys.quickProof, DATA_PROOF);
    return packet;
  }
  const isHidden = keys.confidential && isData;
  const sealed = sealAead(
    inputOf(keys, header, isHidden ? header : packet),
    isHidden ? payload : EMPTY,
  );
  const textBytes = isHidden ? payload.length : 0;
  packet.set(sealed.subarray(0, textBytes), DATA_HEADER_BYTES);
  packet.set(sealed.subarray(textBytes), DATA_PROOF);
  return packet;
}

/** The payload of an ABS packet whose proof holds, else undefined. */
export function openPacket(
  keys: DirectionKeys,
  packet: Uint8Array,
  context: ProofContext,
): Uint8Array | undefined {
  if (packet.length < DATA_HEADER_BYTES) return undefined;
  const isData = flagOf(packet) === FLAG.data;
  const proof = packet.slice(DATA_PROOF, DATA_PROOF + DATA_PROOF_BYTES);
  const payload = packet.slice(DATA_HEADER_BYTES);
  if (keys.quickProof !== undefined && isData) {
    return equalBytes(keys.quickProof, proof) ? payload : undefined;
  }
  const proved = packet.slice();
  proved.set(context.addresses, PSEUDO_ADDRESSES);
  viewOf(proved).setUint16(PSEUDO_LENGTH, context.originalLength, false);
  viewOf(proved).setUint16(PSEUDO_IDENTIFICATION, context.identification, false);
  const header = proved.subarray(0, DATA_HEADER_BYTES);
  if (keys.confidential && isData) {
    return openAead(inputOf(keys, header, header), concat(payload, proof));
  }
  return openAead(inputOf(keys, header, proved), proof) === undefined ? undefined : payload;
}

/** An empty DATA on lane 15: a keep-alive or a confirmation. `counter` is lane 15's next. */
export function keepAlivePacket(
  keys: DirectionKeys,
  remoteIndex: number,
  counter: number,
  route: Route,
): Uint8Array {
  const header = dataHeaderToProve({
    protocol: NO_NEXT_HEADER,
    fragment: 0,
    receiverIndex: remoteIndex,
    lane: MAIN_LANE,
    counter,
    ...contextOf(route, 0),
  });
  return sealPacket(keys, header, EMPTY);
}

/** A sealed REJECT; the proof in `reject` is ignored. */
export function rejectPacket(
  keys: DirectionKeys,
  reject: Omit<SealedReject, "kind" | "proof">,
  route: Route,
): Uint8Array {
  const none = new Uint8Array(DATA_PROOF_BYTES);
  const packet = encodeSealedReject({ ...reject, kind: "sealed", proof: none });
  const bodyBytes = packet.length - DATA_HEADER_BYTES;
  const context = contextOf(route, bodyBytes);
  packet.set(context.addresses, PSEUDO_ADDRESSES);
  viewOf(packet).setUint16(PSEUDO_LENGTH, context.originalLength, false);
  const header = packet.slice(0, DATA_HEADER_BYTES);
  return sealPacket(keys, header, packet.subarray(DATA_HEADER_BYTES));
}

/** The sealed REJECT in these bytes when its proof holds; its counter is the caller's to check. */
export function openReject(
  keys: DirectionKeys,
  packet: Uint8Array,
  route: Route,
): SealedReject | undefined {
  const reject = decodeReject(packet);
  if (typeof reject === "string" || reject.kind !== "sealed") return undefined;
  const context = contextOf(route, packet.length - DATA_HEADER_BYTES);
  return openPacket(keys, packet, context) === undefined ? undefined : reject;
}

/**
 * What the proof of the main thread's packets binds: the lengths as they would be without the ABS
 * header, as for DATA, and identification 0. The outer IPv4 header must carry identification 0 too.
 */
export function contextOf(route: Route, payloadBytes: number): ProofContext {
  const isV4 = route.source.length === 4;
  return {
    addresses: addressHash(route.source, route.destination),
    originalLength: payloadBytes + (isV4 ? IPV4_HEADER_BYTES : 0),
    identification: 0,
  };
}

function flagOf(header: Uint8Array): number {
  return (header[0] ?? 0) & 0x0f;
}

function inputOf(keys: DirectionKeys, header: Uint8Array, associated: Uint8Array) {
  const nonce = new Uint8Array(12);
  nonce.set(header.subarray(DATA_LANE_COUNTER, DATA_PROOF), 4);
  return { algorithm: algorithmOf(keys), key: keys.key, nonce, associated };
}

/** The name of what a direction is sealed with. */
export function algorithmOf(keys: DirectionKeys): CipherName {
  const name = CIPHER_NAMES.find((known) => SHIM_ALGORITHM[known] === keys.algorithm);
  assert(name !== undefined, "a direction has one of the three algorithms");
  return name;
}
