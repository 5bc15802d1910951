/**
 * Whole frames for the plane tests: Ethernet, IPv4 or IPv6, and TCP or UDP, with right checksums.
 */

export interface Ends {
  readonly fromMac: Uint8Array;
  readonly toMac: Uint8Array;
  /** 4 or 16 bytes each. */
  readonly from: Uint8Array;
  readonly to: Uint8Array;
}

export const TCP = { fin: 1, syn: 2, rst: 4, push: 8, ack: 16 } as const;

function sum(bytes: Uint8Array): number {
  let total = 0;
  for (let i = 0; i < bytes.length; i += 2) total += (bytes[i] << 8) | (bytes[i + 1] ?? 0);
  return total;
}

function fold(total: number): number {
  let folded = total;
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 65536);
  return ~folded & 0xffff;
}

/** An IP packet with its link header around `body`; `checksumAt` is filled with the L4 checksum. */
export function ipFrame(
  ends: Ends,
  protocol: number,
  body: Uint8Array,
  checksumAt = -1,
  flags = 0x4000,
): Uint8Array {
  const isV4 = ends.from.length === 4;
  const headerBytes = isV4 ? 20 : 40;
  const frame = new Uint8Array(14 + headerBytes + body.length);
  const view = new DataView(frame.buffer);
  frame.set(ends.toMac, 0);
  frame.set(ends.fromMac, 6);
  view.setUint16(12, isV4 ? 0x0800 : 0x86dd);
  if (isV4) {
    view.setUint16(14, 0x4500);
    view.setUint16(16, 20 + body.length);
    view.setUint16(18, 0x1234);
    view.setUint16(20, flags);
    view.setUint16(22, (64 << 8) | protocol);
    frame.set(ends.from, 26);
    frame.set(ends.to, 30);
    view.setUint16(24, fold(sum(frame.subarray(14, 34))));
  } else {
    view.setUint32(14, 0x60000000);
    view.setUint16(18, body.length);
    view.setUint16(20, (protocol << 8) | 64);
    frame.set(ends.from, 22);
    frame.set(ends.to, 38);
  }
  frame.set(body, 14 + headerBytes);
  if (checksumAt >= 0) {
    const total = sum(ends.from) + sum(ends.to) + protocol + body.length + sum(body);
    view.setUint16(14 + headerBytes + checksumAt, fold(total) || 0xffff);
  }
  return frame;
}

export function udp(ends: Ends, fromPort: number, toPort: number, payload: Uint8Array): Uint8Array {
  const body = new Uint8Array(8 + payload.length);
  const view = new DataView(body.buffer);
  view.setUint16(0, fromPort);
  view.setUint16(2, toPort);
  view.setUint16(4, body.length);
  body.set(payload, 8);
  return ipFrame(ends, 17, body, 6);
}

export interface Segment {
  readonly flags: number;
  readonly sequence?: number;
  readonly acknowledgement?: number;
  readonly payload?: Uint8Array;
}

export function tcp(ends: Ends, fromPort: number, toPort: number, segment: Segment): Uint8Array {
  const payload = segment.payload ?? new Uint8Array(0);
  const body = new Uint8Array(20 + payload.length);
  const view = new DataView(body.buffer);
  view.setUint16(0, fromPort);
  view.setUint16(2, toPort);
  view.setUint32(4, segment.sequence ?? 0);
  view.setUint32(8, segment.acknowledgement ?? 0);
  view.setUint16(12, 0x5000 | segment.flags);
  view.setUint16(14, 65535);
  body.set(payload, 20);
  return ipFrame(ends, 6, body, 16);
}

export function reversed(ends: Ends): Ends {
  return { fromMac: ends.toMac, toMac: ends.fromMac, from: ends.to, to: ends.from };
}

export function text(words: string): Uint8Array {
  return new TextEncoder().encode(words);
}
