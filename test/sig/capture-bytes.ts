/**
 * Builds captures byte by byte for tests: packets, frames, pcap and pcapng of either byte order.
 */
import { ascii, concat } from "../../src/bytes.ts";
import { parseAddress } from "../../src/wire/ip-text.ts";

export interface Order {
  readonly littleEndian: boolean;
}

export const LITTLE: Order = { littleEndian: true };
export const BIG: Order = { littleEndian: false };

export const ETHERNET = 1;
export const CLIENT = "10.0.0.1";
export const SERVER = "10.0.0.2";

export const SYN = 0x02;
export const SYN_ACK = 0x12;
export const ACK = 0x10;
export const PSH_ACK = 0x18;
export const RST = 0x04;
export const FIN_ACK = 0x11;

export function u16(value: number, order: Order = BIG): Uint8Array {
  const bytes = new Uint8Array(2);
  new DataView(bytes.buffer).setUint16(0, value, order.littleEndian);
  return bytes;
}

export function u32(value: number, order: Order = BIG): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, order.littleEndian);
  return bytes;
}

export interface Ends {
  readonly source: string;
  readonly destination: string;
  readonly sourcePort: number;
  readonly destinationPort: number;
}

export const FORWARD: Ends = {
  source: CLIENT,
  destination: SERVER,
  sourcePort: 40_000,
  destinationPort: 80,
};
export const BACK: Ends = reversed(FORWARD);

export function reversed(ends: Ends): Ends {
  return {
    source: ends.destination,
    destination: ends.source,
    sourcePort: ends.destinationPort,
    destinationPort: ends.sourcePort,
  };
}

export interface Segment {
  readonly ends?: Ends;
  readonly flags?: number;
  readonly sequence?: number;
  readonly acknowledgement?: number;
  readonly payload?: string | Uint8Array;
}

/** An IPv4 or IPv6 packet of a TCP segment. */
export function tcp(segment: Segment): Uint8Array {
  const { ends = FORWARD, flags = PSH_ACK, sequence = 0, acknowledgement = 0 } = segment;
  const header = concat(
    u16(ends.sourcePort),
    u16(ends.destinationPort),
    u32(sequence >>> 0),
    u32(acknowledgement >>> 0),
    Uint8Array.of(0x50, flags),
    u16(0xffff),
    u32(0),
  );
  return ip(6, ends, concat(header, bytesOf(segment.payload ?? "")));
}

export function udp(payload: string | Uint8Array, ends: Ends = FORWARD): Uint8Array {
  const bytes = bytesOf(payload);
  const ports = concat(u16(ends.sourcePort), u16(ends.destinationPort));
  return ip(17, ends, concat(ports, u16(8 + bytes.length), u16(0), bytes));
}

export interface Fragment {
  readonly identification: number;
  /** In bytes, a multiple of 8. */
  readonly offset: number;
  readonly more: boolean;
}

export function ip(
  protocol: number,
  { source, destination }: Pick<Ends, "source" | "destination">,
  payload: Uint8Array,
  fragment?: Fragment,
): Uint8Array {
  return source.includes(":")
    ? ipv6(protocol, source, destination, payload, fragment)
    : ipv4(protocol, source, destination, payload, fragment);
}

function ipv4(
  protocol: number,
  source: string,
  destination: string,
  payload: Uint8Array,
  fragment?: Fragment,
): Uint8Array {
  const field =
    fragment === undefined ? 0x4000 : fragment.offset / 8 + (fragment.more ? 0x2000 : 0);
  return concat(
    Uint8Array.of(0x45, 0),
    u16(20 + payload.length),
    u16(fragment?.identification ?? 0),
    u16(field),
    Uint8Array.of(64, protocol, 0, 0),
    address(source).slice(12),
    address(destination).slice(12),
    payload,
  );
}

function ipv6(
  protocol: number,
  source: string,
  destination: string,
  payload: Uint8Array,
  fragment?: Fragment,
): Uint8Array {
  const extension =
    fragment === undefined
      ? new Uint8Array(0)
      : concat(
          Uint8Array.of(protocol, 0),
          u16(fragment.offset + Number(fragment.more)),
          u32(fragment.identification),
        );
  const next = fragment === undefined ? protocol : 44;
  const length = extension.length + payload.length;
  const start = concat(u32(0x6000_0000), u16(length), Uint8Array.of(next, 64));
  return concat(start, address(source), address(destination), extension, payload);
}

/** 16 bytes; IPv4 in the last four. */
function address(text: string): Uint8Array {
  const parsed = parseAddress(text);
  if (parsed === undefined) throw new Error(`${text} is no address`);
  return concat(...parsed.words.map((word) => u32(word)));
}

export function bytesOf(payload: string | Uint8Array): Uint8Array {
  return typeof payload === "string" ? ascii(payload) : payload;
}

/** An Ethernet frame; the type is the packet's unless given. */
export function ethernet(packet: Uint8Array, type?: number): Uint8Array {
  const own = packet[0] >>> 4 === 6 ? 0x86dd : 0x0800;
  return concat(new Uint8Array(12).fill(2), u16(type ?? own), packet);
}

/**
 * A fragment of an IPv4 or IPv6 packet: [from, to) of its payload, to be sent as its own packet.
 */
export function fragmentOf(packet: Uint8Array, from: number, to: number): Uint8Array {
  const isIpv4 = packet[0] >>> 4 === 4;
  const header = isIpv4 ? 20 : 40;
  const payload = packet.subarray(header);
  const end = Math.min(to, payload.length);
  const fragment = { identification: 77, offset: from, more: end < payload.length };
  const field = isIpv4 ? fragment.offset / 8 + (fragment.more ? 0x2000 : 0) : 0;
  const part = payload.slice(from, end);
  if (isIpv4) {
    const start = packet.slice(0, header);
    start.set(u16(20 + part.length), 2);
    start.set(u16(fragment.identification), 4);
    start.set(u16(field), 6);
    return concat(start, part);
  }
  const start = packet.slice(0, header);
  const protocol = start[6];
  start.set(u16(8 + part.length), 4);
  start[6] = 44;
  const flags = u16(fragment.offset + Number(fragment.more));
  return concat(start, Uint8Array.of(protocol, 0), flags, u32(fragment.identification), part);
}

export interface PcapOptions extends Order {
  readonly linkType: number;
  readonly nanos: boolean;
  /** Bytes of each frame that are kept. */
  readonly snap: number;
}

/** A pcap file of Ethernet frames unless told otherwise; packet n is stamped n seconds. */
export function pcap(frames: readonly Uint8Array[], options: Partial<PcapOptions> = {}) {
  const order = { littleEndian: options.littleEndian ?? true };
  const header = concat(
    u32(options.nanos === true ? 0xa1b23c4d : 0xa1b2c3d4, order),
    u16(2, order),
    u16(4, order),
    u32(0, order),
    u32(0, order),
    u32(262_144, order),
    u32(options.linkType ?? ETHERNET, order),
  );
  const records = frames.map((frame, i) => {
    const kept = frame.subarray(0, options.snap ?? frame.length);
    const times = concat(u32(i, order), u32(5, order));
    return concat(times, u32(kept.length, order), u32(frame.length, order), kept);
  });
  return concat(header, ...records);
}

/** A pcapng block with its two lengths; the content is padded. */
export function block(type: number, content: Uint8Array, order: Order = LITTLE): Uint8Array {
  const padded = concat(content, new Uint8Array(-content.length & 3));
  const length = u32(padded.length + 12, order);
  return concat(u32(type, order), length, padded, length);
}

export function section(order: Order = LITTLE): Uint8Array {
  const length = new Uint8Array(8).fill(0xff);
  return block(
    0x0a0d0d0a,
    concat(u32(0x1a2b3c4d, order), u16(1, order), u16(0, order), length),
    order,
  );
}

/** `resolution` is if_tsresol. */
export function interfaceBlock(
  linkType: number,
  order: Order = LITTLE,
  resolution?: number,
  snap = 0,
): Uint8Array {
  const option =
    resolution === undefined
      ? new Uint8Array(0)
      : concat(u16(9, order), u16(1, order), Uint8Array.of(resolution, 0, 0, 0), u32(0, order));
  return block(1, concat(u16(linkType, order), u16(0, order), u32(snap, order), option), order);
}

export function enhanced(frame: Uint8Array, number = 0, order: Order = LITTLE): Uint8Array {
  const times = concat(u32(1, order), u32(2, order));
  const lengths = concat(u32(frame.length, order), u32(frame.length, order));
  return block(6, concat(u32(number, order), times, lengths, frame), order);
}

export function simple(frame: Uint8Array, order: Order = LITTLE, snap = 0): Uint8Array {
  const kept = snap === 0 ? frame : frame.subarray(0, snap);
  return block(3, concat(u32(frame.length, order), kept), order);
}

export function obsolete(frame: Uint8Array, number = 0, order: Order = LITTLE): Uint8Array {
  const times = concat(u16(number, order), u16(0, order), u32(1, order), u32(2, order));
  const lengths = concat(u32(frame.length, order), u32(frame.length, order));
  return block(2, concat(times, lengths, frame), order);
}
