/**
 * Frames that the main thread sends itself: handshakes, REJECTs, keep-alives and ARP requests carry
 * an ABS message in an Ethernet, IP and (carrier `udp`) UDP header. docs/wire.md "Carriers".
 * Control plane. DATA of applications never comes here; the worker crafts it in place.
 */
import { concat } from "../bytes.ts";

export type Carrier = "ip" | "udp";

/** How to reach one address of a peer on the outside link. */
export interface Route {
  /** Ethernet header up to and including the EtherType: 14, 18 or 22 bytes. */
  readonly link: Uint8Array;
  /** 4 or 16 bytes. */
  readonly source: Uint8Array;
  /** 4 or 16 bytes, the same length as `source`. */
  readonly destination: Uint8Array;
  readonly carrier: Carrier;
  /** IP protocol of carrier `ip`. */
  readonly protocol: number;
  /** Destination port of carrier `udp`. */
  readonly port: number;
}

const UDP_PROTOCOL = 17;
const FIRST_SOURCE_PORT = 49152;

/** Sum of 16-bit words (RFC 1071), not folded; an odd last byte is padded with zero. */
function sumWords(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += ((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0);
  return sum;
}

function foldChecksum(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 0x10000);
  return ~folded & 0xffff;
}

function udpHeader(route: Route, message: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(8);
  const header = new DataView(bytes.buffer);
  header.setUint16(0, FIRST_SOURCE_PORT, false);
  header.setUint16(2, route.port, false);
  header.setUint16(4, 8 + message.length, false);
  if (route.source.length === 16) {
    const sum =
      sumWords(route.source) +
      sumWords(route.destination) +
      UDP_PROTOCOL +
      8 +
      message.length +
      sumWords(bytes) +
      sumWords(message);
    header.setUint16(6, foldChecksum(sum) || 0xffff, false);
  }
  return bytes;
}

function ipv4Header(route: Route, payloadBytes: number, protocol: number): Uint8Array {
  const bytes = new Uint8Array(20);
  const header = new DataView(bytes.buffer);
  header.setUint16(0, 0x4500, false);
  header.setUint16(2, 20 + payloadBytes, false);
  header.setUint16(6, 0x4000, false); // DF, docs/wire.md "Carriers"
  header.setUint8(8, 64);
  header.setUint8(9, protocol);
  bytes.set(route.source, 12);
  bytes.set(route.destination, 16);
  header.setUint16(10, foldChecksum(sumWords(bytes)), false);
  return bytes;
}

function ipv6Header(route: Route, payloadBytes: number, protocol: number): Uint8Array {
  const bytes = new Uint8Array(40);
  const header = new DataView(bytes.buffer);
  header.setUint8(0, 0x60);
  header.setUint16(4, payloadBytes, false);
  header.setUint8(6, protocol);
  header.setUint8(7, 64);
  bytes.set(route.source, 8);
  bytes.set(route.destination, 24);
  return bytes;
}

/** The whole frame that carries `message` (from the ABS common header on) along `route`. */
export function outerFrame(route: Route, message: Uint8Array): Uint8Array {
  const body = route.carrier === "udp" ? concat(udpHeader(route, message), message) : message;
  const protocol = route.carrier === "udp" ? UDP_PROTOCOL : route.protocol;
  const ip =
    route.source.length === 4
      ? ipv4Header(route, body.length, protocol)
      : ipv6Header(route, body.length, protocol);
  return concat(route.link, ip, body);
}

/** The link header of an answer to a frame with `link`: MAC addresses swapped, tags kept. */
export function answerLink(link: Uint8Array): Uint8Array {
  const answer = link.slice();
  answer.set(link.subarray(6, 12), 0);
  answer.set(link.subarray(0, 6), 6);
  return answer;
}
