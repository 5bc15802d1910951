/**
 * The DATA packet: offsets for the data plane's hot path, and the 16 bytes that stand in the proof
 * field while the proof is computed. docs/wire.md "DATA". Offsets count from the ABS header.
 * The address hash is computed once per session and address pair, never per packet.
 */
import { createHash } from "node:crypto";
import { ascii } from "../bytes.ts";
import {
  COMMON_HEADER_BYTES,
  type Field,
  FLAG,
  HEADER_FRAGMENT,
  HEADER_NEXT,
  HEADER_RECEIVER_INDEX,
  viewOf,
  WIRE_VERSION,
  writeCommonHeader,
} from "./header.ts";

/** Bytes that a DATA packet adds in front of the original IP payload. */
export const DATA_HEADER_BYTES = 32;
/** The first byte of a DATA packet: version and flag. */
export const DATA_FIRST_BYTE = (WIRE_VERSION << 4) | FLAG.data;
export const DATA_NEXT = HEADER_NEXT;
export const DATA_FRAGMENT = HEADER_FRAGMENT;
export const DATA_RECEIVER_INDEX = HEADER_RECEIVER_INDEX;
/** Lane (upper 8 bits) and counter (lower 56 bits): also bytes 4-11 of the nonce. */
export const DATA_LANE_COUNTER = 8;
export const DATA_LANE = 8;
/**
 * The upper 24 bits of the counter share a big-endian word with the lane; these are the lower 32.
 */
export const DATA_COUNTER_LOW = 12;
export const DATA_PROOF = 16;
export const DATA_PROOF_BYTES = 16;
export const DATA_PAYLOAD = DATA_HEADER_BYTES;

export const LANES = 16;
/** Lane of the main thread: REJECT and keep-alive. */
export const MAIN_LANE = 15;
/** Counters are exact doubles: one this large is refused long after a new handshake was due. */
export const COUNTER_END = 2 ** 53;

/** Where the pseudo bytes lie inside the proof field while the proof is computed. */
export const PSEUDO_ADDRESSES = 16;
export const PSEUDO_ADDRESSES_BYTES = 12;
export const PSEUDO_LENGTH = 28;
export const PSEUDO_IDENTIFICATION = 30;

export const DATA_LAYOUT: readonly Field[] = [
  { name: "common header", offset: 0, sizeBytes: COMMON_HEADER_BYTES },
  { name: "lane", offset: DATA_LANE_COUNTER, sizeBytes: 8 },
  { name: "proof", offset: DATA_PROOF, sizeBytes: DATA_PROOF_BYTES },
];

const ADDRESS_LABEL = ascii("abs addr");

/**
 * First 12 bytes of SHA-256("abs addr" || IP version || source || destination); both addresses
 * have 4 bytes or both have 16.
 */
export function addressHash(source: Uint8Array, destination: Uint8Array): Uint8Array {
  const version = source.length === 4 ? 4 : 6;
  const digest = createHash("sha256")
    .update(ADDRESS_LABEL)
    .update(new Uint8Array([version]))
    .update(source)
    .update(destination)
    .digest();
  return new Uint8Array(digest.subarray(0, PSEUDO_ADDRESSES_BYTES));
}

export type DataHeader = {
  /** The original IP protocol or next header. */
  readonly protocol: number;
  /** Original flags and fragment offset (IPv4), else 0. */
  readonly fragment: number;
  readonly receiverIndex: number;
  readonly lane: number;
  /** Below COUNTER_END. */
  readonly counter: number;
  readonly addresses: Uint8Array;
  /** Original total length (IPv4) or payload length (IPv6). */
  readonly originalLength: number;
  /** Original identification (IPv4), else 0. */
  readonly identification: number;
};

/** The 32 bytes a proof is computed over: the header with the pseudo bytes in the proof's place. */
export function dataHeaderToProve(header: DataHeader): Uint8Array {
  const bytes = new Uint8Array(DATA_HEADER_BYTES);
  const view = viewOf(bytes);
  writeCommonHeader(view, {
    flag: FLAG.data,
    nextHeader: header.protocol,
    fragment: header.fragment,
    receiverIndex: header.receiverIndex,
  });
  writeLaneCounter(view, header.lane, header.counter);
  bytes.set(header.addresses.subarray(0, PSEUDO_ADDRESSES_BYTES), PSEUDO_ADDRESSES);
  view.setUint16(PSEUDO_LENGTH, header.originalLength, false);
  view.setUint16(PSEUDO_IDENTIFICATION, header.identification, false);
  return bytes;
}

/** Writes bytes 8-15 of an ABS header. */
export function writeLaneCounter(view: DataView, lane: number, counter: number): void {
  const high = Math.floor(counter / 2 ** 32);
  view.setUint32(DATA_LANE_COUNTER, ((lane << 24) | high) >>> 0, false);
  view.setUint32(DATA_COUNTER_LOW, counter % 2 ** 32, false);
}

/** The counter in bytes 9-15 of an ABS header; not exact from COUNTER_END on. */
export function readCounter(view: DataView): number {
  const high = view.getUint32(DATA_LANE_COUNTER, false) & 0xff_ff_ff;
  return high * 2 ** 32 + view.getUint32(DATA_COUNTER_LOW, false);
}
