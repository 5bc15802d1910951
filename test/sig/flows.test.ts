/**
 * Captures to flows and their first payloads: TCP in sequence order whatever the segments do,
 * initiators, fragments, link types, tunnels, full tables. design/agent.md "Application
 * signatures".
 */
import { describe, expect, test } from "bun:test";
import { concat } from "../../src/bytes.ts";
import { FLOWS_MAX } from "../../src/capture/tracked-flows.ts";
import {
  ACK,
  BACK,
  BIG,
  bytesOf,
  type Ends,
  ethernet,
  FIN_ACK,
  FORWARD,
  fragmentOf,
  ip,
  LITTLE,
  PSH_ACK,
  pcap,
  RST,
  reversed,
  type Segment,
  SYN,
  SYN_ACK,
  tcp,
  u16,
  u32,
  udp,
} from "./capture-bytes.ts";
import { type HeardFlow, hear } from "./recorder.ts";

const V6: Ends = { ...FORWARD, source: "2001:db8::1", destination: "2001:db8::2" };

/** Initial sequence numbers: the responder's wraps after its first bytes. */
const CLIENT_ISN = 1000;
const SERVER_ISN = 0xffff_fffd;

const syn: Segment = { flags: SYN, sequence: CLIENT_ISN };
const synAck: Segment = {
  ends: BACK,
  flags: SYN_ACK,
  sequence: SERVER_ISN,
  acknowledgement: CLIENT_ISN + 1,
};
const ask = (payload: string, offset = 0): Segment => ({
  sequence: CLIENT_ISN + 1 + offset,
  acknowledgement: SERVER_ISN + 1,
  payload,
});
const answer = (payload: string, offset = 0): Segment => ({
  ends: BACK,
  sequence: SERVER_ISN + 1 + offset,
  acknowledgement: CLIENT_ISN + 1,
  payload,
});

function hearTcp(segments: readonly Segment[], need = 1) {
  return hear(pcap(segments.map((segment) => ethernet(tcp(segment)))), { need });
}

interface TcpCase {
  readonly name: string;
  readonly segments: readonly Segment[];
  readonly need?: number;
  readonly flow: Partial<HeardFlow>;
}

const open = [syn, synAck];
const long = "x".repeat(600);

const tcpCases: TcpCase[] = [
  {
    name: "in order",
    segments: [...open, ask("GET /"), answer("HTTP/1.1"), ask("more", 5)],
    flow: { request: "GET /", response: "HTTP/1.1", packets: 5, midStream: false },
  },
  {
    name: "the server speaks first",
    segments: [...open, answer("220 hello"), ask("EHLO")],
    flow: { request: "EHLO", response: "220 hello", initiatorPort: 40_000 },
  },
  {
    name: "repeated handshake, repeated first segments",
    segments: [syn, ...open, synAck, ask("GET"), ask("GET"), answer("OK"), answer("OK")],
    flow: { request: "GET", response: "OK" },
  },
  {
    name: "the second segment comes first",
    segments: [...open, ask("world", 6), ask("hello ")],
    flow: { request: "hello " },
  },
  {
    name: "the second comes first, and more is needed",
    segments: [...open, ask("world", 6), ask("hello ")],
    need: 8,
    flow: { request: "hello world" },
  },
  {
    name: "split, and more is needed",
    segments: [...open, ask("he"), ask("ll", 2), ask("o world", 4)],
    need: 5,
    flow: { request: "hello world" },
  },
  {
    name: "split in more segments than are waited for",
    segments: [...open, ask("h"), ask("e", 1), ask("l", 2), ask("lo", 3)],
    need: 5,
    flow: { request: "hel" },
  },
  {
    name: "split, overlapping, with a repetition of other content",
    segments: [...open, ask("abc"), ask("XXXd", 0), ask("Yde", 2)],
    need: 5,
    flow: { request: "abcde" },
  },
  {
    name: "short, and nothing follows",
    segments: [...open, ask("abc")],
    need: 5,
    flow: { request: "abc" },
  },
  {
    name: "a gap that is never filled",
    segments: [...open, ask("later", 5)],
    flow: { request: undefined, packets: 3 },
  },
  {
    name: "a keep-alive before anything was said",
    segments: [...open, { ...ask("\0", -1) }, ask("GET")],
    flow: { request: "GET" },
  },
  {
    name: "a first segment that begins before the connection",
    segments: [...open, ask("??GET", -2)],
    flow: { request: "GET" },
  },
  {
    name: "the SYN was not captured",
    segments: [synAck, answer("220"), ask("EHLO")],
    flow: { request: "EHLO", response: "220", initiatorPort: 40_000, midStream: false },
  },
  {
    name: "only the SYN-ACK and a later segment",
    segments: [synAck, ask("later", 7)],
    flow: { request: undefined },
  },
  {
    name: "a SYN with data (RFC 7413)",
    segments: [{ ...syn, payload: "GET" }, synAck, ask(" /", 3)],
    flow: { request: "GET" },
  },
  {
    name: "mid-stream, the server's segment first",
    segments: [{ ...answer("data"), flags: ACK }, ask("ok")],
    flow: { request: "ok", response: "data", initiatorPort: 40_000, midStream: true },
  },
  {
    name: "a reset with a reason in it",
    segments: [...open, { ...answer("closed"), flags: RST }],
    flow: { response: undefined },
  },
  {
    name: "more than 512 bytes at once",
    segments: [...open, ask(long)],
    need: 1000,
    flow: { request: long },
  },
  { name: "no payload", segments: [...open, ask("")], flow: { request: undefined, packets: 3 } },
];

test.each(tcpCases)("TCP: $name", ({ segments, need, flow }) => {
  const { flows } = hearTcp(segments, need);
  expect(flows).toMatchObject([flow]);
});

test("TCP: every order of four segments gives the same first payload", () => {
  const parts = [ask("ab"), ask("cd", 2), ask("ef", 4), ask("gh", 6)];
  const orders = parts.flatMap((a) =>
    parts.flatMap((b) =>
      parts.flatMap((c) => parts.map((d) => [a, b, c, d]).filter((o) => new Set(o).size === 4)),
    ),
  );
  expect(orders.length).toBe(24);
  for (const order of orders) {
    const { flows } = hearTcp([...open, ...order], 6);
    // At least the six bytes asked for, from the start, as far as they had come by then.
    expect("abcdefgh").toStartWith(flows[0].request ?? "nothing");
    expect(flows[0].request?.length).toBeGreaterThanOrEqual(4);
  }
});

describe("TCP: a port that is used again", () => {
  const second: Segment[] = [
    { flags: SYN, sequence: 500_000 },
    { ends: BACK, flags: SYN_ACK, sequence: 7, acknowledgement: 500_001 },
    { sequence: 500_001, payload: "second" },
  ];

  test("after its connection ended, is another flow", () => {
    const { flows } = hearTcp([
      ...open,
      ask("first"),
      { ...ask("", 5), flags: FIN_ACK },
      ...second,
    ]);
    expect(flows.map(({ request }) => request)).toEqual(["first", "second"]);
  });

  test("before anything was said, is the same flow, which begins anew", () => {
    const { flows } = hearTcp([syn, ...second]);
    expect(flows).toMatchObject([{ request: "second", packets: 4 }]);
  });
});

test("UDP: the first datagram of each direction that holds something; empty ones are passed over", () => {
  const frames = [udp(""), udp("query"), udp("again"), udp("reply", BACK), udp("more", BACK)];
  const { flows } = hear(pcap(frames.map((packet) => ethernet(packet))));
  expect(flows).toMatchObject([{ request: "query", response: "reply", packets: 5 }]);
});

test("UDP: the sender of the first packet is the initiator, over IPv6 too", () => {
  const frames = [udp("reply", reversed(V6)), udp("query", V6)];
  const { flows } = hear(pcap(frames.map((packet) => ethernet(packet))));
  expect(flows).toMatchObject([{ request: "reply", response: "query", initiatorPort: 80 }]);
});

test("flows that differ in one address word, port, protocol or version are different flows", () => {
  const others: Ends[] = [
    { ...FORWARD, source: "10.0.0.9" },
    { ...FORWARD, sourcePort: 40_001 },
    { ...FORWARD, destinationPort: 81 },
    V6,
    { ...V6, source: "2001:db8:1::1" },
    { ...V6, source: "2001:db8:0:1::1" },
    { ...V6, source: "2001:db8::1:0:1" },
  ];
  const frames = [...[FORWARD, ...others].map((ends) => udp("x", ends)), tcp({ payload: "x" })];
  expect(hear(pcap(frames.map((packet) => ethernet(packet)))).flows.length).toBe(frames.length);
});

test("SCTP: the user data of the first DATA chunk; ICMP echo: both directions are one flow", () => {
  const data = concat(Uint8Array.of(0, 3), u16(20), new Uint8Array(12), bytesOf("DATA"));
  const init = concat(Uint8Array.of(1, 0), u16(8), u32(0));
  const head = concat(u16(2905), u16(2905), u32(1), u32(0));
  const echo = (type: number) =>
    concat(Uint8Array.of(type, 0, 0, 0), u16(9), u16(1), bytesOf("ping"));
  const frames = [
    ip(132, FORWARD, concat(head, init, data)),
    ip(1, FORWARD, echo(8)),
    ip(1, BACK, echo(0)),
  ];
  const { flows } = hear(pcap(frames.map((packet) => ethernet(packet))));
  expect(flows).toMatchObject([
    { request: "DATA", packets: 1 },
    { request: "ping", response: "ping", packets: 2 },
  ]);
});

describe("fragments", () => {
  const payload = Array.from({ length: 3000 }, (_, i) => String.fromCharCode(97 + (i % 26))).join(
    "",
  );
  for (const ends of [FORWARD, V6]) {
    const packet = udp(payload, ends);
    const parts = [0, 1480, 2960].map((from) => fragmentOf(packet, from, from + 1480));
    const name = ends === V6 ? "IPv6" : "IPv4";

    test.each([[[0, 1, 2]], [[2, 1, 0]], [[1, 0, 2]], [[0, 0, 2, 1]]])(
      `${name}, in order %p: the first payload and its whole length`,
      (order) => {
        const { flows } = hear(pcap(order.map((i) => ethernet(parts[i]))));
        expect(flows.length).toBe(1);
        expect(payload).toStartWith(flows[0].request ?? "nothing");
        expect(flows[0].request?.length).toBeGreaterThanOrEqual(1000);
        expect(flows[0].requestBytes).toBe(3000);
      },
    );
  }

  test("smaller than the transport header", () => {
    const packet = udp("abcdefghijklmnopqrstuvwxyz");
    const frames = [0, 8, 16, 24, 32].map((from) => ethernet(fragmentOf(packet, from, from + 8)));
    const { flows } = hear(pcap(frames));
    expect(flows).toMatchObject([{ request: "abcdefghijklmnopqrstuvwxyz", fragmented: false }]);
  });

  test("that never become whole are judged by what there is, and said to be fragments", () => {
    const packet = udp("abcdefghijklmnopqrstuvwxyz");
    const frames = [0, 8, 24].map((from) => ethernet(fragmentOf(packet, from, from + 8)));
    const { flows, path } = hear(pcap(frames));
    expect(flows).toMatchObject([{ request: "abcdefgh", fragmented: true }]);
    expect(path.lostFragments).toBe(1);
  });

  test("of many packets at once leave no more behind than there are places", () => {
    const packet = udp("abcdefghijklmnopqrstuvwxyz");
    const frames = Array.from({ length: 5000 }, (_, i) => {
      const fragment = fragmentOf(packet, 8, 16);
      fragment.set(u16(i), 4);
      return ethernet(fragment);
    });
    const { flows, path } = hear(pcap(frames));
    expect({ flows: flows.length, lost: path.lostFragments }).toEqual({ flows: 0, lost: 5000 });
  });
});

test("a full table ends the flow that is silent longest, and counts it", () => {
  const many = FLOWS_MAX + 1000;
  const frames = Array.from({ length: many }, (_, i) =>
    ethernet(udp("x", { ...FORWARD, source: `10.${i >>> 16}.${(i >>> 8) & 255}.${i & 255}` })),
  );
  const { flows, tracker } = hear(pcap(frames));
  expect(flows.length).toBe(many);
  expect(tracker.evicted).toBe(1000);
  expect(flows.every(({ packets, request }) => packets === 1 && request === "x")).toBe(true);
});

const packet = udp("payload");
const packet6 = udp("payload", V6);
const vlan = (type: number) => concat(u16(100), u16(type));
const label = (bottom: number) => Uint8Array.of(0, 0x10, 0x10 | bottom, 64);
const pppoe = (protocol: number) => concat(Uint8Array.of(0x11, 0), u16(1), u16(99), u16(protocol));
const sll = concat(u16(0), u16(1), u16(6), new Uint8Array(8), u16(0x0800));
const sll2 = concat(u16(0x86dd), u16(0), u32(1), u16(1), Uint8Array.of(0, 6), new Uint8Array(8));
const snap = concat(u16(8 + packet.length), Uint8Array.of(0xaa, 0xaa, 3, 0, 0, 0), u16(0x0800));

const links = [
  { name: "Ethernet", linkType: 1, frame: ethernet(packet) },
  { name: "Ethernet, IPv6", linkType: 1, frame: ethernet(packet6) },
  { name: "VLAN", linkType: 1, frame: ethernet(concat(vlan(0x0800), packet), 0x8100) },
  {
    name: "QinQ",
    linkType: 1,
    frame: ethernet(concat(vlan(0x8100), vlan(0x86dd), packet6), 0x88a8),
  },
  { name: "MPLS", linkType: 1, frame: ethernet(concat(label(0), label(1), packet), 0x8847) },
  {
    name: "MPLS pseudowire with control word",
    linkType: 1,
    frame: ethernet(concat(label(1), u32(0), ethernet(packet)), 0x8847),
  },
  { name: "PPPoE", linkType: 1, frame: ethernet(concat(pppoe(0x0021), packet), 0x8864) },
  { name: "PPPoE, IPv6", linkType: 1, frame: ethernet(concat(pppoe(0x0057), packet6), 0x8864) },
  {
    name: "PPPoE in VLAN",
    linkType: 1,
    frame: ethernet(concat(vlan(0x8864), pppoe(0x0021), packet), 0x8100),
  },
  { name: "LLC/SNAP", linkType: 1, frame: concat(new Uint8Array(12), snap, packet) },
  { name: "SLL", linkType: 113, frame: concat(sll, packet) },
  { name: "SLL2", linkType: 276, frame: concat(sll2, packet6) },
  { name: "BSD null, little-endian", linkType: 0, frame: concat(u32(2, LITTLE), packet) },
  { name: "BSD null, big-endian", linkType: 0, frame: concat(u32(2, BIG), packet) },
  { name: "BSD null, IPv6 of macOS", linkType: 0, frame: concat(u32(30, LITTLE), packet6) },
  { name: "BSD loopback", linkType: 108, frame: concat(u32(24, BIG), packet6) },
  { name: "PPP", linkType: 9, frame: concat(Uint8Array.of(0xff, 3), u16(0x0021), packet) },
  { name: "Cisco HDLC", linkType: 104, frame: concat(u32(0x0f00_0800), packet) },
  ...[12, 14, 101, 228].map((linkType) => ({ name: `raw ${linkType}`, linkType, frame: packet })),
  { name: "raw IPv6", linkType: 229, frame: packet6 },
];

test.each(links)("link type: $name", ({ linkType, frame }) => {
  expect(hear(pcap([frame], { linkType })).flows).toMatchObject([{ request: "payload" }]);
  // Cut anywhere: no payload that was not captured.
  for (let snapBytes = 0; snapBytes < frame.length; snapBytes++) {
    const { flows, path } = hear(pcap([frame], { linkType, snap: snapBytes }));
    expect("payload").toStartWith(flows[0]?.request ?? "");
    expect(flows.length + path.notIp + path.malformed).toBe(1);
  }
});

test("frames without IP, and link types that are not known, are counted as such", () => {
  const arp = ethernet(new Uint8Array(28), 0x0806);
  expect(hear(pcap([arp, ethernet(packet)])).path.notIp).toBe(1);
  expect(hear(pcap([arp, arp], { linkType: 147 })).path.notIp).toBe(2);
});

const tunnel = (port: number, header: Uint8Array, content: Uint8Array) =>
  udp(concat(header, content), { ...FORWARD, destinationPort: port });
const gtp = (flags: number, ...more: number[]) =>
  concat(Uint8Array.of(flags, 255), u16(50), u32(1), Uint8Array.from(more));
const inner = tcp({ payload: "inside" });
const inner6 = tcp({ ends: V6, payload: "inside" });

const tunnels = [
  { name: "VXLAN", packet: tunnel(4789, concat(u32(0x0800_0000), u32(0x100)), ethernet(inner)) },
  { name: "GENEVE", packet: tunnel(6081, concat(u32(0x0000_6558), u32(0x100)), ethernet(inner)) },
  {
    name: "GENEVE with options, IPv6 inside",
    packet: tunnel(6081, concat(u32(0x0100_86dd), u32(0x100), u32(0)), inner6),
  },
  { name: "GTP-U", packet: tunnel(2152, gtp(0x30), inner) },
  { name: "GTP-U with sequence number", packet: tunnel(2152, gtp(0x32, 0, 1, 0, 0), inner) },
  {
    name: "GTP-U with an extension header",
    packet: tunnel(2152, gtp(0x34, 0, 0, 0, 0x85, 1, 0, 9, 0), inner),
  },
  { name: "GRE", packet: ip(47, FORWARD, concat(u32(0x0000_0800), inner)) },
  { name: "GRE with key", packet: ip(47, FORWARD, concat(u32(0x2000_86dd), u32(7), inner6)) },
  { name: "GRE, Ethernet inside", packet: ip(47, V6, concat(u32(0x0000_6558), ethernet(inner))) },
  { name: "IP in IP", packet: ip(4, FORWARD, inner) },
  { name: "IPv6 in IPv4", packet: ip(41, FORWARD, inner6) },
  { name: "Teredo", packet: tunnel(3544, new Uint8Array(0), inner6) },
  { name: "Teredo with origin", packet: tunnel(3544, new Uint8Array(8), inner6) },
  {
    name: "VXLAN in GRE",
    packet: ip(
      47,
      FORWARD,
      concat(u32(0x0000_0800), tunnel(4789, concat(u32(0x0800_0000), u32(1)), ethernet(inner))),
    ),
  },
];

test.each(tunnels)("tunnel: $name", ({ packet: outer }) => {
  const capture = pcap([ethernet(outer)]);
  const within = hear(capture, { inner: true });
  expect(within.flows).toMatchObject([{ request: "inside", packets: 1 }]);
  const outside = hear(capture);
  expect(outside.flows.length).toBe(1);
  expect(outside.flows[0].request).not.toBe("inside");
});

const fakes = [
  { name: "port only", packet: tunnel(4789, new Uint8Array(0), bytesOf("not a tunnel at all")) },
  { name: "broken inside", packet: tunnel(2152, gtp(0x30), bytesOf("E is no IP header")) },
  { name: "a GTP-U echo", packet: tunnel(2152, concat(u32(0x3201_0004), u32(0), u32(1)), u32(0)) },
];

test.each(fakes)("what is no tunnel after all stays the outer flow: $name", ({ packet: outer }) => {
  const { flows } = hear(pcap([ethernet(outer)]), { inner: true });
  expect(flows).toMatchObject([{ packets: 1, initiatorPort: 40_000 }]);
  expect(flows[0].request).not.toBeUndefined();
});

test("segments of 1 byte, each judged once more, are bounded by three", () => {
  const segments = Array.from({ length: 50 }, (_, i) => ({ ...ask("z", i), flags: PSH_ACK }));
  const { judged } = hearTcp([...open, ...segments], 100);
  expect(judged).toEqual([-1, -2, 3]);
});
