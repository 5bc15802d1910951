/**
 * Which packets a rule is about, as OpenFlow 1.3 writes it: an ofp_match of OXM fields.
 * OpenFlow Switch Specification 1.3.5, §7.2.3. Only what quarantine needs; whatever else a switch
 * says is passed over and remembered as `hasOthers`, so that such a rule never looks like ours.
 */

/** Fields that are absent match anything. Addresses in their bytes' hex, lower case. */
export type FlowMatch = {
  readonly inPort?: number | undefined;
  /** 6 bytes. */
  readonly ethSource?: string | undefined;
  readonly ethType?: number | undefined;
  /** 4 bytes. */
  readonly ipv4Source?: string | undefined;
  /** 4 bytes. */
  readonly arpSource?: string | undefined;
  /** 16 bytes. */
  readonly ipv6Source?: string | undefined;
};

export type ReadMatch = {
  readonly match: FlowMatch;
  /** There are fields, or masks, that FlowMatch has not. */
  readonly hasOthers: boolean;
  /** Past its padding. */
  readonly end: number;
};

export const ETH_TYPE = { ipv4: 0x0800, arp: 0x0806, ipv6: 0x86dd } as const;

const OXM_CLASS_BASIC = 0x8000;
const MATCH_TYPE_OXM = 1;
const MATCH_HEADER_BYTES = 4;
const OXM_HEADER_BYTES = 4;
/** Name, OXM field number, bytes. In an order that puts what others ask for first. */
const FIELDS = [
  { name: "inPort", field: 0, bytes: 4 },
  { name: "ethSource", field: 4, bytes: 6 },
  { name: "ethType", field: 5, bytes: 2 },
  { name: "ipv4Source", field: 11, bytes: 4 },
  { name: "arpSource", field: 22, bytes: 4 },
  { name: "ipv6Source", field: 26, bytes: 16 },
] as const;

export function encodeMatch(match: FlowMatch): Uint8Array {
  const parts = FIELDS.flatMap(({ name, field, bytes }) => {
    const value = match[name];
    if (value === undefined) return [];
    const hex = typeof value === "number" ? value.toString(16).padStart(2 * bytes, "0") : value;
    const head = [OXM_CLASS_BASIC >>> 8, OXM_CLASS_BASIC & 0xff, field << 1, bytes];
    return [...head, ...Uint8Array.fromHex(hex)];
  });
  const length = MATCH_HEADER_BYTES + parts.length;
  const out = new Uint8Array(padded(length));
  const memory = new DataView(out.buffer);
  memory.setUint16(0, MATCH_TYPE_OXM, false);
  memory.setUint16(2, length, false);
  out.set(parts, MATCH_HEADER_BYTES);
  return out;
}

/** Reads the ofp_match at `start`; undefined: it is none, or passes `end`. */
export function decodeMatch(memory: DataView, start: number, end: number): ReadMatch | undefined {
  if (end - start < MATCH_HEADER_BYTES) return undefined;
  if (memory.getUint16(start, false) !== MATCH_TYPE_OXM) return undefined;
  const length = memory.getUint16(start + 2, false);
  const stop = start + length;
  const padEnd = start + padded(length);
  if (length < MATCH_HEADER_BYTES || padEnd > end) return undefined;
  const found: Record<string, number | string> = {};
  let hasOthers = false;
  let offset = start + MATCH_HEADER_BYTES;
  while (offset < stop) {
    if (stop - offset < OXM_HEADER_BYTES) return undefined;
    const bytes = memory.getUint8(offset + 3);
    const value = offset + OXM_HEADER_BYTES;
    if (stop - value < bytes) return undefined;
    const known = knownField(memory, offset);
    if (known === undefined || known.name in found) hasOthers = true;
    else found[known.name] = readValue(memory, value, known);
    offset = value + bytes;
  }
  return { match: found as FlowMatch, hasOthers, end: padEnd };
}

/** The same for the same match, whatever the order of its fields was. */
export function matchKey(match: FlowMatch): string {
  return FIELDS.map(({ name }) => match[name] ?? "").join("/");
}

function knownField(memory: DataView, offset: number): (typeof FIELDS)[number] | undefined {
  if (memory.getUint16(offset, false) !== OXM_CLASS_BASIC) return undefined;
  // The lowest bit says that a mask follows the value.
  const fieldAndMask = memory.getUint8(offset + 2);
  const bytes = memory.getUint8(offset + 3);
  return FIELDS.find((one) => fieldAndMask === one.field << 1 && one.bytes === bytes);
}

function readValue(
  memory: DataView,
  offset: number,
  { name, bytes }: (typeof FIELDS)[number],
): number | string {
  if (name === "ethType") return memory.getUint16(offset, false);
  if (name === "inPort") return memory.getUint32(offset, false);
  return new Uint8Array(memory.buffer, memory.byteOffset + offset, bytes).toHex();
}

function padded(length: number): number {
  return (length + 7) & ~7;
}
