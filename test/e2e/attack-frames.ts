/**
 * What the attack tests inject: the frames and packets of each attempt, named after the line of the
 * list in design/wire.md that they belong to. Pure; attacks.test.ts sends them and judges.
 */
import { randomBytes } from "node:crypto";
import { ascii, concat } from "../../src/bytes.ts";
import type { Captured } from "../../src/lab/capture.ts";
import {
  ethernet,
  ipPacket,
  PROTOCOL,
  TCP_FLAG,
  tcpPacket,
  udpPacket,
} from "../../src/lab/frames.ts";
import type { VmPlan } from "../../src/lab/topology.ts";
import { CLIENT, PORTS, ROGUE, SERVER, STRANGER } from "./harness.ts";

export const ABS_HEADER_BYTES = 32;
const INITIATION_BYTES = 237;
/** First bytes of ABS messages: version 1 and the flag. */
export const FIRST_BYTE = { handshake: 0x14, data: 0x15, reject: 0x16 } as const;

const LINK = { sourceMac: CLIENT.mac, destinationMac: SERVER.mac };
const PAYLOAD = ascii("payload-of-the-attacker");

/** An ABS packet in the client's name around `message`. */
function absFrame(message: Uint8Array): Uint8Array {
  const addresses = { source: CLIENT.ipv4, destination: SERVER.ipv4, protocol: PROTOCOL.abs };
  return ethernet(LINK, ipPacket(addresses, message));
}

/** TCP, UDP and echo without the field, from `vm` to the server, over IPv4 and IPv6. */
export function barePackets(vm: VmPlan, sourcePort: number): Uint8Array[] {
  const link = { sourceMac: vm.mac, destinationMac: SERVER.mac };
  return (["ipv4", "ipv6"] as const).flatMap((version) => {
    const addresses = { source: vm[version], destination: SERVER[version] };
    const flow = { ...addresses, sourcePort };
    const isV4 = version === "ipv4";
    const protocol = isV4 ? PROTOCOL.icmp : PROTOCOL.icmpv6;
    const echo = concat(Uint8Array.of(isV4 ? 8 : 128, 0, 0, 0, 0, 1, 0, 1), PAYLOAD);
    const syn = { ...flow, destinationPort: PORTS.redis, flags: TCP_FLAG.syn };
    const segment = { ...syn, flags: TCP_FLAG.ack | TCP_FLAG.psh, acknowledgement: 1 };
    return [
      tcpPacket(syn),
      tcpPacket(segment, PAYLOAD),
      udpPacket({ ...flow, destinationPort: 7_000 }, PAYLOAD),
      ipPacket({ ...addresses, protocol }, echo),
    ].map((packet) => ethernet(link, packet));
  });
}

/** Line 1: every version and flag with random fields, and DATA cut at every length. */
export function keylessFrames(): Uint8Array[] {
  const frames = barePackets(CLIENT, 20_010);
  for (let first = 0; first < 256; first++) {
    const message = new Uint8Array(randomBytes(ABS_HEADER_BYTES + PAYLOAD.length));
    message.set(PAYLOAD, ABS_HEADER_BYTES);
    message[0] = first;
    message[1] = PROTOCOL.udp;
    frames.push(absFrame(message));
    if (first !== FIRST_BYTE.data) continue;
    for (let lane = 0; lane < 16; lane++) {
      message[8] = lane;
      frames.push(absFrame(message));
    }
    for (let end = 0; end < message.length; end++) frames.push(absFrame(message.subarray(0, end)));
  }
  return frames;
}

/** Lines 6 and 7: initiations of the right size with a random mac1. */
export function randomInitiations(count: number): Uint8Array[] {
  return Array.from({ length: count }, () => {
    const initiation = new Uint8Array(randomBytes(INITIATION_BYTES));
    initiation.set([FIRST_BYTE.handshake, 1, 0, 0, 0, 0, 0, 0]);
    return absFrame(initiation);
  });
}

/** Line 6: first fragments whose others never come. */
export function endlessFragments(count: number): Uint8Array[] {
  const addresses = { source: STRANGER.ipv4, destination: SERVER.ipv4, protocol: PROTOCOL.udp };
  return Array.from({ length: count }, (_, identification) => {
    const fields = { ...addresses, identification, fragmentField: 0x2000 };
    return ethernet(LINK, ipPacket(fields, new Uint8Array(64)));
  });
}

type Change = (packet: DataView, absStart: number) => void;

/**
 * Line 3: one field of `first` changed at a time; last, the payload of `other` under its header.
 */
export function movedFields(other: Captured): Change[] {
  const inner = ABS_HEADER_BYTES;
  const foreign = other.ipPayload?.subarray(inner) ?? new Uint8Array(0);
  return [
    (packet, abs) => packet.setUint8(abs + inner + 8, 0x58), // payload
    (packet, abs) => packet.setUint16(abs + inner, 9_999), // source port
    (packet, abs) => packet.setUint16(abs + inner + 2, 7_001), // destination port
    (packet) => packet.setUint8(15, 99), // source address: nobody's
    (packet) => packet.setUint8(15, 13), // source address: rogue's
    (packet) => packet.setUint16(4, packet.getUint16(4) ^ 1), // identification
    (packet) => packet.setUint16(2, packet.getUint16(2) - 1), // total length
    (packet, abs) => packet.setUint16(abs + 2, 0x2000), // fragment: more follow
    (packet, abs) => packet.setUint16(abs + 2, 0x0001), // fragment: an offset
    (packet, abs) => packet.setUint8(abs + 1, PROTOCOL.tcp), // next header
    (packet, abs) => packet.setUint8(abs + 15, packet.getUint8(abs + 15) + 9), // counter
    (packet, abs) => packet.setUint8(abs + 16, packet.getUint8(abs + 16) ^ 1), // proof
    (packet, abs) => {
      const room = packet.byteLength - abs - inner;
      for (let i = 0; i < Math.min(foreign.length, room); i++) {
        packet.setUint8(abs + inner + i, foreign[i] ?? 0);
      }
    },
  ];
}

/** Line 9: forged REJECTs, ICMP errors and a cookie reply that quote a DATA packet as it was. */
export function tearDownFrames(data: Captured): Uint8Array[] {
  const message = data.ipPayload ?? new Uint8Array(ABS_HEADER_BYTES);
  const index = message.slice(4, 8);
  const proof = message.slice(16, 32);
  const head = concat(Uint8Array.of(FIRST_BYTE.reject, 0, 0, 0), index, new Uint8Array(8), proof);
  const rejects = Array.from({ length: 64 }, (_, reason) => [
    absFrame(concat(head, Uint8Array.of(0, reason))),
    absFrame(concat(head, Uint8Array.of(0, reason, PROTOCOL.tcp, 4), new Uint8Array(12))),
  ]);
  const ipStart = data.ipStart ?? 14;
  const quote = data.bytes.slice(ipStart, ipStart + 60);
  const kinds: readonly (readonly [number, number])[] = [
    [3, 1],
    [3, 3],
    [3, 4],
    [3, 13],
    [4, 0],
    [5, 1],
    [11, 0],
  ];
  const errors = kinds.map(([type, code]) => {
    const error = concat(Uint8Array.of(type, code, 0, 0, 0, 0, 0, 68), quote);
    const fields = { source: STRANGER.ipv4, destination: SERVER.ipv4, protocol: PROTOCOL.icmp };
    return ethernet(LINK, ipPacket(fields, error));
  });
  const cookie = concat(Uint8Array.of(FIRST_BYTE.handshake, 3, 0, 0), index);
  return [...rejects.flat(), ...errors, absFrame(concat(cookie, new Uint8Array(randomBytes(56))))];
}

/** Line 11: packets of rogue that carry `text` to Redis by every side door. */
export function smuggledPackets(text: string): Uint8Array[] {
  const ports = { sourcePort: 22_000, destinationPort: PORTS.redis };
  const tcp4 = { source: ROGUE.ipv4, destination: SERVER.ipv4, protocol: PROTOCOL.tcp };
  const tcp6 = { source: ROGUE.ipv6, destination: SERVER.ipv6, protocol: PROTOCOL.tcp };
  const flow = { ...tcp4, ...ports };
  const flow6 = { ...tcp6, ...ports };
  const payload = ascii(text);
  const acknowledged = { flags: TCP_FLAG.ack | TCP_FLAG.psh, acknowledgement: 1 };
  const segment = tcpPacket({ ...flow, ...acknowledged }, payload).subarray(20);
  const segment6 = tcpPacket({ ...flow6, ...acknowledged }, payload).subarray(40);
  const part = (identification: number, fragmentField: number, bytes: Uint8Array) =>
    ipPacket({ ...tcp4, identification, fragmentField }, bytes);
  const extended = (protocol: number, header: Uint8Array, bytes: Uint8Array) =>
    ipPacket({ ...tcp6, protocol }, concat(header, bytes));
  const padding = Uint8Array.of(PROTOCOL.tcp, 0, 1, 4, 0, 0, 0, 0);
  const fragment = (field: number, id: number) =>
    Uint8Array.of(PROTOCOL.tcp, 0, field >>> 8, field & 0xff, 0, 0, 0, id);
  return [
    tcpPacket({ ...flow, flags: TCP_FLAG.syn }, payload), // Fast Open
    tcpPacket({ ...flow6, flags: TCP_FLAG.syn }, payload),
    tcpPacket({ ...flow, flags: TCP_FLAG.rst }, payload),
    ipPacket(tcp4, segment),
    ipPacket({ ...tcp4, options: Uint8Array.of(7, 4, 4, 0) }, segment), // record route
    ipPacket({ ...tcp4, options: Uint8Array.of(131, 4, 4, 0) }, segment), // loose source route
    part(1, 0x2000, segment.subarray(0, 24)), // the payload in two
    part(1, 3, segment.subarray(24)),
    part(2, 0x2000, segment.subarray(0, 8)), // RFC 1858
    part(2, 1, segment.subarray(8)),
    extended(0, padding, segment6), // hop-by-hop
    extended(60, padding, segment6), // destination options
    extended(44, fragment(1, 7), segment6.subarray(0, 16)),
    extended(44, fragment(16, 7), segment6.subarray(16)),
    extended(44, fragment(0, 8), segment6), // atomic fragment
  ];
}

/** SYNs in the name of a VM, one a source port. */
export function synFlood(vm: VmPlan, count: number, destinationPort: number): Uint8Array[] {
  return Array.from({ length: count }, (_, i) => {
    const flow = { source: vm.ipv4, destination: SERVER.ipv4, destinationPort };
    return tcpPacket({ ...flow, sourcePort: 21_000 + i, flags: TCP_FLAG.syn });
  });
}
