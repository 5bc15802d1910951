/**
 * What a switch says, written from the specification (1.3.5 §7.3 and §7.4) and not with the
 * product's encoders: for tests of the decoder, and for switches that lie.
 */

export function message(type: number, xid: number, body: readonly number[] = [], version = 4) {
  const length = 8 + body.length;
  const head = [version, type, length >>> 8, length & 0xff, ...u32(xid)];
  return new Uint8Array([...head, ...body]);
}

export function u16(value: number): number[] {
  return [(value >>> 8) & 0xff, value & 0xff];
}

export function u32(value: number): number[] {
  return [...u16(value >>> 16), ...u16(value & 0xffff)];
}

export function u64(value: bigint): number[] {
  return [...u32(Number(value >> 32n)), ...u32(Number(value & 0xffffffffn))];
}

/** eth_src only. */
export const MAC_MATCH = [0, 1, 0, 14, 0x80, 0, 0x08, 6, 2, 0xab, 0x0f, 0, 0, 1, 0, 0];
/** vlan_vid, which no rule of ours has. */
export const VLAN_MATCH = [0, 1, 0, 10, 0x80, 0, 0x0c, 2, 0x10, 5, 0, 0, 0, 0, 0, 0];

export const HELLO = message(0, 1, [0, 1, 0, 8, 0, 0, 0, 0x10]);
/** Without the bitmap, as switches of before 1.3.1 say it. */
export const BARE_HELLO = message(0, 1);
export const OLD_HELLO = message(0, 1, [], 1);
export const ECHO = message(2, 7, [1, 2, 3]);
export const ERROR = message(1, 9, [...u16(5), ...u16(1), 4, 14, 0, 8]);
export const BARRIER = message(21, 11);

export function features(xid: number, datapathId = 0x1122n): Uint8Array {
  return message(6, xid, [...u64(datapathId), ...u32(0), 254, 0, 0, 0, ...u32(0x47), ...u32(0)]);
}

export function flowRemoved(cookie: bigint): Uint8Array {
  const times = [...u32(10), ...u32(0), ...u16(0), ...u16(60)];
  const counts = [...u64(1n), ...u64(2n)];
  const head = [...u64(cookie), ...u16(65_500), 1, 0];
  return message(11, 0, [...head, ...times, ...counts, ...MAC_MATCH]);
}

/** @param instructions bytes after the match */
export function flowStats(
  cookie: bigint,
  match: readonly number[] = MAC_MATCH,
  instructions: readonly number[] = [],
): number[] {
  const length = 48 + match.length + instructions.length;
  const head = [...u16(length), 0, 0, ...u32(5), ...u32(0), ...u16(65_500)];
  const middle = [...u16(0), ...u16(3600), ...u16(1), 0, 0, 0, 0, ...u64(cookie)];
  return [...head, ...middle, ...u64(3n), ...u64(180n), ...match, ...instructions];
}

export function flows(xid: number, entries: readonly number[], hasMore = false): Uint8Array {
  return message(19, xid, [...u16(1), ...u16(hasMore ? 1 : 0), 0, 0, 0, 0, ...entries]);
}

/** goto_table 1. */
export const INSTRUCTION = [0, 1, 0, 8, 1, 0, 0, 0];

/** One of each kind. */
export const MESSAGES: readonly Uint8Array[] = [
  ...[HELLO, BARE_HELLO, OLD_HELLO, ECHO, ERROR, BARRIER, features(3), flowRemoved(5n)],
  flows(12, []),
  flows(12, [
    ...flowStats(5n),
    ...flowStats(6n, VLAN_MATCH),
    ...flowStats(7n, MAC_MATCH, INSTRUCTION),
  ]),
  ...[message(10, 0, [1, 2, 3, 4]), message(3, 8), message(19, 5, [0, 3, 0, 0, 0, 0, 0, 0])],
];
