/**
 * Netlink messages as bytes (linux/netlink.h, RFC 3549 §2.2): headers, attributes, nesting.
 * Pure. Netlink is in host byte order, which is little-endian on every machine we build for.
 * netlink-socket.ts sends and receives; links.ts, addresses.ts, routes.ts know the families.
 */
import { concat } from "../bytes.ts";
import { AbsError } from "../errors.ts";

export const HEADER_BYTES = 16;
const ATTRIBUTE_HEADER_BYTES = 4;
const NESTED = 0x8000;
const ATTRIBUTE_TYPE_MASK = 0x3fff;

export const NLM_F_REQUEST = 1;
export const NLM_F_ACK = 4;
export const NLM_F_DUMP_INTERRUPTED = 0x10;
export const NLM_F_DUMP = 0x300;
export const NLM_F_REPLACE = 0x100;
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;
export const NLM_F_APPEND = 0x800;

export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;

export type NetlinkMessage = {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  /** What follows the netlink header. */
  readonly payload: Uint8Array;
};

/** Attributes by type; a repeated type keeps its last value, as the kernel's own parser does. */
export type Attributes = ReadonlyMap<number, Uint8Array>;

const padded = (sizeBytes: number): number => (sizeBytes + 3) & ~3;

export function encodeMessage(
  header: { readonly type: number; readonly flags: number; readonly sequence: number },
  payload: Uint8Array,
): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES + payload.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, bytes.length, true);
  view.setUint16(4, header.type, true);
  view.setUint16(6, header.flags, true);
  view.setUint32(8, header.sequence, true);
  bytes.set(payload, HEADER_BYTES);
  return bytes;
}

/** The messages of one datagram. */
export function decodeMessages(datagram: Uint8Array): NetlinkMessage[] {
  const view = new DataView(datagram.buffer, datagram.byteOffset, datagram.length);
  const messages: NetlinkMessage[] = [];
  let start = 0;
  while (datagram.length - start >= HEADER_BYTES) {
    const sizeBytes = view.getUint32(start, true);
    if (sizeBytes < HEADER_BYTES || sizeBytes > datagram.length - start) {
      throw malformed(`a message claims ${sizeBytes} of ${datagram.length - start} bytes`);
    }
    messages.push({
      type: view.getUint16(start + 4, true),
      flags: view.getUint16(start + 6, true),
      sequence: view.getUint32(start + 8, true),
      payload: datagram.slice(start + HEADER_BYTES, start + sizeBytes),
    });
    start += padded(sizeBytes);
  }
  return messages;
}

export function attribute(type: number, value: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(padded(ATTRIBUTE_HEADER_BYTES + value.length));
  const view = new DataView(bytes.buffer);
  view.setUint16(0, ATTRIBUTE_HEADER_BYTES + value.length, true);
  view.setUint16(2, type, true);
  bytes.set(value, ATTRIBUTE_HEADER_BYTES);
  return bytes;
}

export function nestedAttribute(type: number, ...inner: readonly Uint8Array[]): Uint8Array {
  return attribute(type | NESTED, concat(...inner));
}

export function textAttribute(type: number, text: string): Uint8Array {
  return attribute(type, new TextEncoder().encode(`${text}\0`));
}

export function u32Attribute(type: number, value: number): Uint8Array {
  return attribute(type, u32Bytes(value));
}

export function u8Attribute(type: number, value: number): Uint8Array {
  return attribute(type, Uint8Array.of(value));
}

/** The attributes that fill `bytes` from `start` on. */
export function decodeAttributes(bytes: Uint8Array, start = 0): Attributes {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const attributes = new Map<number, Uint8Array>();
  let at = start;
  while (bytes.length - at >= ATTRIBUTE_HEADER_BYTES) {
    const sizeBytes = view.getUint16(at, true);
    if (sizeBytes < ATTRIBUTE_HEADER_BYTES || sizeBytes > bytes.length - at) {
      throw malformed(`an attribute claims ${sizeBytes} of ${bytes.length - at} bytes`);
    }
    const type = view.getUint16(at + 2, true) & ATTRIBUTE_TYPE_MASK;
    attributes.set(type, bytes.slice(at + ATTRIBUTE_HEADER_BYTES, at + sizeBytes));
    at += padded(sizeBytes);
  }
  return attributes;
}

export function u32Of(value: Uint8Array | undefined): number | undefined {
  if (value === undefined || value.length < 4) return undefined;
  return new DataView(value.buffer, value.byteOffset, value.length).getUint32(0, true);
}

/** Text up to its NUL. */
export function textOf(value: Uint8Array | undefined): string | undefined {
  if (value === undefined) return undefined;
  const end = value.indexOf(0);
  return new TextDecoder().decode(end < 0 ? value : value.subarray(0, end));
}

export function u32Bytes(...values: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(4 * values.length);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < values.length; i++) view.setUint32(4 * i, values[i] ?? 0, true);
  return bytes;
}

function malformed(detail: string): AbsError {
  return new AbsError("NETLINK_MALFORMED", `The kernel's netlink answer is malformed: ${detail}.`);
}
