/**
 * Valid packets of every kind that the parsers know: the fuzzer mutates them, tables cut them. A
 * few are well formed and refused all the same: a source route, a tag or header too many.
 * IP packets and frames; frames are the IP packets behind a link header, tags included.
 */
import {
  arp,
  authentication,
  type Bytes,
  discovery,
  ethernet,
  extension,
  filler,
  fragmentHeader,
  icmp,
  ipv4,
  ipv6,
  OWN_IP,
  OWN_IP6,
  OWN_MAC,
  PEER_IP,
  PEER_IP6,
  PEER_MAC,
  tcp,
  udp,
  withChecksum,
} from "./frames.ts";

export interface Seed {
  name: string;
  bytes: Uint8Array;
  /** Offset of the IP header (or the ARP message); 0 for an IP packet. */
  ipStart: number;
}

// MSS 1460, SACK permitted, time stamps, no-operation, window scale: what Linux sends.
export const SYN_OPTIONS: Bytes = [2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7];
const TIMESTAMPS: Bytes = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2];
const COOKIE: Bytes = [2, 4, 5, 180, 34, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1];
const COOKIE_EXPERIMENT: Bytes = [254, 8, 0xf9, 0x89, 1, 2, 3, 4, 2, 4, 5, 180];
const SYN = 2;
const ROUTER_MAC: Bytes = [0x02, 0, 0, 0, 0, 0xfe];
const GROUP_MAC: Bytes = [0x33, 0x33, 0, 0, 0, 2];
const ALL_ROUTERS: Bytes = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

function withTransport(packet: Bytes, headerBytes: number): number[] {
  const protocol = packet[0] >>> 4 === 4 ? packet[9] : packet[6];
  const offset = new Map([
    [6, 16],
    [17, 6],
    [1, 2],
    [58, 2],
  ]).get(protocol);
  return offset === undefined ? [...packet] : withChecksum(packet, headerBytes, offset);
}

function v4(payload: Bytes, protocol: number): number[] {
  return withTransport(ipv4(payload, { protocol }), 20);
}

function v6(payload: Bytes, next: number, life = 64): number[] {
  return withTransport(ipv6(payload, { next, life }), 40);
}

const quoted4 = v4(tcp(filler(20)), 6).slice(0, 28);
const quoted6 = v6(udp(filler(20)), 17);

/** A segment behind `count` destination options headers. */
function chain(count: number): number[] {
  let packet = extension(6, 8, tcp(filler(4)));
  for (let i = 1; i < count; i++) packet = extension(60, 8, packet);
  return ipv6(packet, { next: 60 });
}

const IP_PACKETS: readonly (readonly [string, Bytes])[] = [
  ["tcp", v4(tcp(filler(32), { options: TIMESTAMPS }), 6)],
  ["tcp without payload", v4(tcp(), 6)],
  ["tcp syn", v4(tcp([], { flags: SYN, options: SYN_OPTIONS }), 6)],
  ["tcp syn, odd", v4(tcp([], { flags: SYN, options: [1, 2, 4, 5, 180, 1, 1, 0] }), 6)],
  ["tcp syn fast open", v4(tcp(filler(9), { flags: SYN, options: COOKIE }), 6)],
  ["tcp syn-ack experiment", v4(tcp([], { flags: 0x12, options: COOKIE_EXPERIMENT }), 6)],
  ["udp", v4(udp(filler(33)), 17)],
  ["icmp echo", v4(icmp(8, 0, 0x1234_0001, filler(16)), 1)],
  ["icmp unreachable", v4(icmp(3, 4, 1400, quoted4), 1)],
  ["igmp", ipv4([0x16, 0, 0, 0, 224, 0, 0, 251], { protocol: 2, options: [148, 4, 0, 0] })],
  ["abs", v4([0x15, 6, 0x40, 0, ...filler(60)], 253)],
  ["options", ipv4(udp(filler(5)), { protocol: 17, options: [7, 7, 4, 0, 0, 0, 0, 0] })],
  ["options only", ipv4([], { protocol: 2, options: [1, 1, 7, 3, 4, 1, 1, 1] })],
  ["route", ipv4(udp(filler(5)), { protocol: 17, options: [1, 131, 7, 4, 10, 0, 0, 3] })],
  ["first fragment", ipv4(udp(filler(40)), { protocol: 17, fragment: 0x2000 })],
  ["first tcp fragment", ipv4(tcp(filler(20)), { protocol: 6, fragment: 0x2000 })],
  ["middle fragment", ipv4(filler(64), { protocol: 17, fragment: 0x2006 })],
  ["last fragment", ipv4(filler(37), { protocol: 17, fragment: 185 })],
  ["high fragment", ipv4(filler(37), { protocol: 17, fragment: 8180 })],
  ["later tcp fragment", ipv4(filler(40), { protocol: 6, fragment: 3 })],
  ["tcp 6", v6(tcp(filler(32), { options: TIMESTAMPS }), 6)],
  ["tcp syn 6", v6(tcp([], { flags: SYN, options: SYN_OPTIONS }), 6)],
  ["udp 6", v6(udp(filler(17)), 17)],
  ["echo 6", v6(icmp(128, 0, 0x4321_0001, filler(16)), 58)],
  ["too big 6", v6(icmp(2, 0, 1400, quoted6), 58)],
  ["abs 6", v6([0x15, 17, 0, 0, ...filler(60)], 253)],
  ["none 6", v6([], 59)],
  ["hop-by-hop", ipv6(extension(17, 8, udp(filler(4))), { next: 0 })],
  ["routing", ipv6(extension(6, 24, tcp(filler(4))), { next: 43 })],
  ["eight extensions", chain(8)],
  ["nine extensions", chain(9)],
  ["authentication", ipv6(authentication(6, 12, tcp(filler(4))), { next: 51 })],
  ["first fragment 6", ipv6(fragmentHeader(17, 0, 1, 7, udp(filler(40))), { next: 44 })],
  ["later fragment 6", ipv6(fragmentHeader(17, 48, 0, 7, filler(21)), { next: 44 })],
  ["later tcp fragment 6", ipv6(fragmentHeader(6, 24, 1, 7, filler(24)), { next: 44 })],
  ["high fragment 6", ipv6(fragmentHeader(17, 65_496, 0, 7, filler(21)), { next: 44 })],
  ["atomic fragment", ipv6(fragmentHeader(6, 0, 0, 7, tcp(filler(9))), { next: 44 })],
  [
    "fragment after options",
    ipv6(extension(44, 16, fragmentHeader(60, 0, 1, 9, extension(6, 8, tcp(filler(28))))), {
      next: 0,
    }),
  ],
];

/** Solicitation, advertisement and router solicitation as the owner of `mac` sends them. */
function discoveries(source: Bytes, target: Bytes, mac: Bytes): (readonly [string, Bytes])[] {
  const packet = (message: Bytes): Bytes =>
    withTransport(ipv6(message, { next: 58, life: 255, source }), 40);
  return [
    ["solicitation", packet(discovery(135, target, 1, mac))],
    ["advertisement", packet(discovery(136, source, 2, mac))],
    ["router solicitation", packet(icmp(133, 0, 0, [1, 1, ...mac]))],
  ];
}

const FROM_OWN = discoveries(OWN_IP6, PEER_IP6, OWN_MAC);
const FROM_PEER = discoveries(PEER_IP6, OWN_IP6, PEER_MAC);
const FROM_ROUTER: readonly (readonly [string, Bytes])[] = [
  [
    "router advertisement",
    v6(icmp(134, 0, 0x4000_0708, [...filler(8), 1, 1, ...ROUTER_MAC]), 58, 255),
  ],
  ["redirect", v6(icmp(137, 0, 0, [...PEER_IP6, ...PEER_IP6, 2, 1, ...PEER_MAC]), 58, 255)],
];

const TAGS: readonly (readonly (readonly [number, number])[])[] = [
  [],
  [[0x8100, 100]],
  [
    [0x88a8, 200],
    [0x8100, 300],
  ],
  [[0x9100, 5]],
];

/** IP packets: what parseIpAt reads. */
export function ipSeeds(): Seed[] {
  return IP_PACKETS.map(([name, bytes]) => ({ name, bytes: Uint8Array.from(bytes), ipStart: 0 }));
}

/** Frames: every IP packet untagged and in one kind of tag, ARP, and a few odd types. */
export function frameSeeds(): Seed[] {
  const seeds: Seed[] = [];
  const add = (name: string, bytes: Bytes, ipStart: number): void => {
    seeds.push({ name, bytes: Uint8Array.from(bytes), ipStart });
  };
  IP_PACKETS.forEach(([name, packet], i) => {
    add(name, ethernet(packet), 14);
    const tags = TAGS[1 + (i % 3)];
    add(`${name}, ${tags.length} tag(s)`, ethernet(packet, { tags }), 14 + 4 * tags.length);
  });
  const tags = [...TAGS[2], [0x8100, 7]] as const;
  add("three tags", ethernet(IP_PACKETS[0][1], { tags }), 26);
  add("arp", ethernet(arp(1, OWN_MAC, OWN_IP, PEER_IP), { type: 0x0806 }), 14);
  return seeds;
}

/**
 * Frames that carry ARP and ND, in both directions, and a few ordinary ones. Those towards this VM
 * have an odd last byte of the destination MAC, those it sends an even one.
 */
export function neighbourSeeds(): Seed[] {
  const seeds: Seed[] = [];
  const add = (name: string, bytes: Bytes, tags: number): void => {
    seeds.push({ name, bytes: Uint8Array.from(bytes), ipStart: 14 + 4 * tags });
  };
  for (const tags of TAGS) {
    const inwards = { tags, from: PEER_MAC, to: OWN_MAC };
    for (const [name, packet] of FROM_OWN) {
      add(name, ethernet(packet, { tags, to: GROUP_MAC }), tags.length);
    }
    for (const [name, packet] of FROM_PEER) {
      add(`${name} in`, ethernet(packet, inwards), tags.length);
    }
    for (const [name, packet] of FROM_ROUTER) {
      add(name, ethernet(packet, { ...inwards, from: ROUTER_MAC }), tags.length);
    }
    for (const operation of [1, 2]) {
      const own = arp(operation, OWN_MAC, OWN_IP, PEER_IP);
      const peer = arp(operation, PEER_MAC, PEER_IP, OWN_IP);
      add("arp out", ethernet(own, { tags, type: 0x0806 }), tags.length);
      add("arp in", ethernet(peer, { ...inwards, type: 0x0806 }), tags.length);
    }
    const dhcp = ipv4(udp(filler(20), [68, 67]), { protocol: 17, source: [0, 0, 0, 0] });
    add("dhcp", ethernet(dhcp, { tags }), tags.length);
    add("udp", ethernet(ipv4(udp(filler(8)), { protocol: 17 }), { tags }), tags.length);
    const report = ipv6(icmp(143, 0, 0, []), { next: 58, destination: ALL_ROUTERS });
    add("mld", ethernet(report, { tags, to: GROUP_MAC }), tags.length);
  }
  return seeds;
}
