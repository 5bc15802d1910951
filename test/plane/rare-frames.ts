/**
 * Frames beyond frames.ts: tags, fragments, ICMP, ARP, options. Checksums are right unless said.
 */
import { type Ends, ipFrame, TCP, tcp } from "./frames.ts";

/** The frame behind VLAN tags, the outermost first. */
export function tagged(frame: Uint8Array, ...ids: readonly number[]): Uint8Array {
  const out = new Uint8Array(frame.length + 4 * ids.length);
  const view = new DataView(out.buffer);
  out.set(frame.subarray(0, 12));
  ids.forEach((id, i) => {
    const isOuter = i < ids.length - 1;
    view.setUint16(12 + 4 * i, isOuter ? 0x88a8 : 0x8100);
    view.setUint16(14 + 4 * i, id);
  });
  out.set(frame.subarray(12), 12 + 4 * ids.length);
  return out;
}

function sum16(bytes: Uint8Array): number {
  let total = 0;
  for (let i = 0; i < bytes.length; i += 2) total += (bytes[i] << 8) | (bytes[i + 1] ?? 0);
  while (total > 0xffff) total = (total & 0xffff) + Math.floor(total / 0x10000);
  return total;
}

/** Writes the checksum of an untagged IPv4 frame's header. */
export function mendIpv4(frame: Uint8Array): Uint8Array {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const headerBytes = (view.getUint8(14) & 15) * 4;
  view.setUint16(24, 0);
  view.setUint16(24, ~sum16(frame.subarray(14, 14 + headerBytes)) & 0xffff);
  return frame;
}

/** Whether an untagged frame's IPv4 header and TCP, UDP or ICMP checksums hold. */
export function checksumsHold(frame: Uint8Array): boolean {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const isV4 = view.getUint16(12) === 0x0800;
  if (isV4 && sum16(frame.subarray(14, 34)) !== 0xffff) return false;
  const start = isV4 ? 34 : 54;
  const end = isV4 ? 14 + view.getUint16(16) : 54 + view.getUint16(18);
  const protocol = frame[isV4 ? 23 : 20];
  const addresses = isV4 ? frame.subarray(26, 34) : frame.subarray(22, 54);
  let total = sum16(frame.subarray(start, end));
  if (protocol !== 1) total += sum16(addresses) + (protocol ?? 0) + (end - start);
  while (total > 0xffff) total = (total & 0xffff) + Math.floor(total / 0x10000);
  return total === 0xffff;
}

/** The parts of an untagged IPv4 frame, each with at most `bytes` of the packet's payload. */
export function fragmentsOf(frame: Uint8Array, id: number, bytes: number): Uint8Array[] {
  const payload = frame.subarray(34);
  const parts: Uint8Array[] = [];
  for (let at = 0; at < payload.length; at += bytes) {
    const data = payload.subarray(at, at + bytes);
    const part = new Uint8Array(34 + data.length);
    const view = new DataView(part.buffer);
    part.set(frame.subarray(0, 34));
    part.set(data, 34);
    view.setUint16(16, 20 + data.length);
    view.setUint16(18, id);
    view.setUint16(20, (at + bytes < payload.length ? 0x2000 : 0) | (at >>> 3));
    parts.push(mendIpv4(part));
  }
  return parts;
}

/** The same for IPv6, with a fragment header. */
export function fragmentsOf6(frame: Uint8Array, id: number, bytes: number): Uint8Array[] {
  const payload = frame.subarray(54);
  const parts: Uint8Array[] = [];
  for (let at = 0; at < payload.length; at += bytes) {
    const data = payload.subarray(at, at + bytes);
    const part = new Uint8Array(62 + data.length);
    const view = new DataView(part.buffer);
    part.set(frame.subarray(0, 54));
    part.set(data, 62);
    view.setUint16(18, 8 + data.length);
    part[20] = 44;
    part[54] = frame[20] ?? 0;
    view.setUint16(56, at | (at + bytes < payload.length ? 1 : 0));
    view.setUint32(58, id);
    parts.push(part);
  }
  return parts;
}

/** ICMP echo of either IP version. */
export function echo(
  ends: Ends,
  isReply: boolean,
  id: number,
  payload: Uint8Array,
  flags = 0x4000,
): Uint8Array {
  const isV4 = ends.from.length === 4;
  const body = new Uint8Array(8 + payload.length);
  const view = new DataView(body.buffer);
  if (isV4) view.setUint8(0, isReply ? 0 : 8);
  else view.setUint8(0, isReply ? 129 : 128);
  view.setUint16(4, id);
  view.setUint16(6, 1);
  body.set(payload, 8);
  if (!isV4) return ipFrame(ends, 58, body, 2, flags);
  view.setUint16(2, ~sum16(body) & 0xffff);
  return ipFrame(ends, 1, body, -1, flags);
}

/** An ICMPv4 error about an untagged frame. @param rest the second word of the ICMP header */
export function icmpError(
  ends: Ends,
  type: number,
  code: number,
  about: Uint8Array,
  rest = 0,
): Uint8Array {
  const quoted = about.subarray(14, 14 + 28 + 32);
  const body = new Uint8Array(8 + quoted.length);
  const view = new DataView(body.buffer);
  view.setUint8(0, type);
  view.setUint8(1, code);
  view.setUint32(4, rest);
  body.set(quoted, 8);
  view.setUint16(2, ~sum16(body) & 0xffff);
  return ipFrame(ends, 1, body, -1, 0);
}

export function arp(
  operation: 1 | 2,
  sender: { mac: Uint8Array; ip: Uint8Array },
  target: { mac: Uint8Array; ip: Uint8Array },
): Uint8Array {
  const frame = new Uint8Array(42);
  const view = new DataView(frame.buffer);
  frame.set(operation === 1 ? new Uint8Array(6).fill(255) : target.mac, 0);
  frame.set(sender.mac, 6);
  view.setUint16(12, 0x0806);
  view.setUint32(14, 0x00010800);
  view.setUint16(18, 0x0604);
  view.setUint16(20, operation);
  frame.set(sender.mac, 22);
  frame.set(sender.ip, 28);
  if (operation === 2) frame.set(target.mac, 32);
  frame.set(target.ip, 38);
  return frame;
}

/** A SYN with TCP options, padded to words by the caller. */
export function synWith(
  ends: Ends,
  ports: readonly [number, number],
  options: readonly number[],
  payload: Uint8Array = new Uint8Array(0),
  flags: number = TCP.syn,
): Uint8Array {
  const body = new Uint8Array(20 + options.length + payload.length);
  const view = new DataView(body.buffer);
  view.setUint16(0, ports[0]);
  view.setUint16(2, ports[1]);
  view.setUint32(4, 1000);
  view.setUint16(12, ((5 + options.length / 4) << 12) | flags);
  view.setUint16(14, 65535);
  body.set(options, 20);
  body.set(payload, 20 + options.length);
  return ipFrame(ends, 6, body, 16);
}

/** The same frame with IPv4 options between header and payload. */
export function withIpOptions(frame: Uint8Array, options: readonly number[]): Uint8Array {
  const out = new Uint8Array(frame.length + options.length);
  out.set(frame.subarray(0, 34));
  out.set(options, 34);
  out.set(frame.subarray(34), 34 + options.length);
  const view = new DataView(out.buffer);
  view.setUint8(14, 0x45 + options.length / 4);
  view.setUint16(16, view.getUint16(16) + options.length);
  return mendIpv4(out);
}

/** The usual beginning of a TCP connection, seen from its initiator's wire. */
export class TcpTalk {
  sequence = 1000;
  peerSequence = 5000;

  constructor(
    readonly ends: Ends,
    readonly back: Ends,
    readonly port: number,
    readonly serverPort = 6379,
  ) {}

  out(flags: number, payload: Uint8Array = new Uint8Array(0)): Uint8Array {
    const frame = tcp(this.ends, this.port, this.serverPort, {
      flags,
      sequence: this.sequence,
      acknowledgement: (flags & TCP.ack) === 0 ? 0 : this.peerSequence,
      payload,
    });
    this.sequence += payload.length + ((flags & (TCP.syn | TCP.fin)) === 0 ? 0 : 1);
    return frame;
  }

  in(flags: number, payload: Uint8Array = new Uint8Array(0)): Uint8Array {
    const frame = tcp(this.back, this.serverPort, this.port, {
      flags,
      sequence: this.peerSequence,
      acknowledgement: this.sequence,
      payload,
    });
    this.peerSequence += payload.length + ((flags & (TCP.syn | TCP.fin)) === 0 ? 0 : 1);
    return frame;
  }
}
