import { beforeEach, describe, expect, test } from "bun:test";
import {
  arp,
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
  udp,
} from "../../test/fuzz/frames.ts";
import { DROP, DROP_NAMES } from "./drop-reasons.ts";
import { BINDING_CONTRADICTS, BINDING_MATCHES, BINDING_UNKNOWN, MacTable } from "./mac-table.ts";
import { NeighbourGuard } from "./neighbour-guard.ts";
import { NeighbourMessage } from "./neighbour-message.ts";
import { parsePacket } from "./parse-packet.ts";
import { PARSED, ParsedPacket } from "./parsed-packet.ts";

const ROGUE_MAC: Bytes = [2, 0, 0, 0, 0, 0x66];
const ROUTER_MAC: Bytes = [2, 0, 0, 0, 0, 0xfe];
const GATEWAY: Bytes = [10, 0, 0, 254];
const NOBODY: Bytes = [0, 0, 0, 0];
const NOBODY6: Bytes = new Array<number>(16).fill(0);
/** fe80:: of OWN_MAC, RFC 4291 appendix A. */
const OWN_LINK_LOCAL: Bytes = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, 0, 0, 1];

function macOf(bytes: Bytes): [number, number] {
  const view = new DataView(Uint8Array.from(bytes).buffer);
  return [view.getUint16(0, false), view.getUint32(2, false)];
}

function row(address: Bytes, mac: Bytes): number[] {
  const bytes = [...new Array<number>(16 - address.length).fill(0), ...address];
  const view = new DataView(Uint8Array.from(bytes).buffer);
  return [0, 4, 8, 12].map((at) => view.getUint32(at, false)).concat(macOf(mac));
}

let guard: NeighbourGuard;
const message = new NeighbourMessage();

beforeEach(() => {
  guard = new NeighbourGuard();
  const bindings = [
    row(PEER_IP, PEER_MAC),
    row(PEER_IP6, PEER_MAC),
    row([10, 0, 0, 3], [0, 0, 0, 0, 0, 0]),
  ];
  guard.bindings.load(Uint32Array.from(bindings.flat()), bindings.length);
  guard.own.load(Uint32Array.from([...row(OWN_IP, OWN_MAC), ...row(OWN_IP6, OWN_MAC)]), 2);
  [guard.ownMacHigh, guard.ownMacLow] = macOf(OWN_MAC);
});

function check(frame: Bytes, direction: "in" | "out"): string {
  const memory = new DataView(Uint8Array.from(frame).buffer);
  const packet = new ParsedPacket();
  expect(parsePacket(memory, 0, frame.length, packet)).toBe(PARSED);
  const code =
    direction === "in"
      ? guard.checkIncoming(memory, packet, frame.length, message)
      : guard.checkOutgoing(memory, packet, frame.length, message);
  return code === PARSED ? "passes" : DROP_NAMES[code];
}

const arpFrame = (from: Bytes, mac: Bytes, sender: Bytes, operation = 2): number[] =>
  ethernet(arp(operation, mac, sender, OWN_IP), { type: 0x0806, from });
const ndFrame = (from: Bytes, body: Bytes, source: Bytes, life = 255): number[] =>
  ethernet(ipv6(body, { next: 58, life, source }), { from });

describe("from the network", () => {
  const cases: [string, number[], string][] = [
    ["a peer's reply", arpFrame(PEER_MAC, PEER_MAC, PEER_IP), "passes"],
    ["a peer's request", arpFrame(PEER_MAC, PEER_MAC, PEER_IP, 1), "passes"],
    ["the gateway's reply", arpFrame(ROUTER_MAC, ROUTER_MAC, GATEWAY), "passes"],
    ["an address probe", arpFrame(ROGUE_MAC, ROGUE_MAC, NOBODY, 1), "passes"],
    ["a peer whose MAC nobody knows", arpFrame(ROGUE_MAC, ROGUE_MAC, [10, 0, 0, 3]), "passes"],
    ["a rogue claims a peer's address", arpFrame(ROGUE_MAC, ROGUE_MAC, PEER_IP), "arp-spoofed"],
    ["by a request", arpFrame(ROGUE_MAC, ROGUE_MAC, PEER_IP, 1), "arp-spoofed"],
    ["the peer's MAC inside only", arpFrame(ROGUE_MAC, PEER_MAC, PEER_IP), "arp-spoofed"],
    ["the peer's MAC outside only", arpFrame(PEER_MAC, ROGUE_MAC, PEER_IP), "arp-spoofed"],
    ["our address", arpFrame(ROGUE_MAC, ROGUE_MAC, OWN_IP), "arp-spoofed"],
    ["a group MAC", arpFrame(ROGUE_MAC, [1, 0, 0, 0, 0, 1], GATEWAY), "arp-malformed"],
    ["operation 3", arpFrame(PEER_MAC, PEER_MAC, PEER_IP, 3), "arp-malformed"],
    ["27 bytes", arpFrame(PEER_MAC, PEER_MAC, PEER_IP).slice(0, 41), "arp-malformed"],
    ["hardware type", arpFrame(PEER_MAC, PEER_MAC, PEER_IP).with(15, 6), "arp-malformed"],
    ["protocol type", arpFrame(PEER_MAC, PEER_MAC, PEER_IP).with(17, 1), "arp-malformed"],
    ["address sizes", arpFrame(PEER_MAC, PEER_MAC, PEER_IP).with(18, 8), "arp-malformed"],
    ["advertisement", ndFrame(PEER_MAC, discovery(136, PEER_IP6, 2, PEER_MAC), PEER_IP6), "passes"],
    ["solicitation", ndFrame(PEER_MAC, discovery(135, OWN_IP6, 1, PEER_MAC), PEER_IP6), "passes"],
    ["without option", ndFrame(PEER_MAC, icmp(136, 0, 0, PEER_IP6), PEER_IP6), "passes"],
    [
      "a rogue advertises a peer's address",
      ndFrame(ROGUE_MAC, discovery(136, PEER_IP6, 2, ROGUE_MAC), gateway6()),
      "neighbour-spoofed",
    ],
    [
      "without option",
      ndFrame(ROGUE_MAC, icmp(136, 0, 0, PEER_IP6), gateway6()),
      "neighbour-spoofed",
    ],
    [
      "a rogue solicits as a peer",
      ndFrame(ROGUE_MAC, discovery(135, OWN_IP6, 1, ROGUE_MAC), PEER_IP6),
      "neighbour-spoofed",
    ],
    [
      "our address",
      ndFrame(ROGUE_MAC, discovery(136, OWN_IP6, 2, ROGUE_MAC), gateway6()),
      "neighbour-spoofed",
    ],
    [
      "a redirect of a peer's address",
      ndFrame(
        ROUTER_MAC,
        icmp(137, 0, 0, [...PEER_IP6, ...PEER_IP6, 2, 1, ...ROGUE_MAC]),
        gateway6(),
      ),
      "neighbour-spoofed",
    ],
    [
      "a router's advertisement",
      ndFrame(ROUTER_MAC, icmp(134, 0, 0, filler(8)), gateway6()),
      "passes",
    ],
    [
      "a peer as router",
      ndFrame(PEER_MAC, icmp(134, 0, 0, filler(8)), gateway6()),
      "neighbour-spoofed",
    ],
    [
      "hop limit 254",
      ndFrame(PEER_MAC, discovery(136, PEER_IP6, 2, PEER_MAC), PEER_IP6, 254),
      "neighbour-malformed",
    ],
    ["code 1", ndFrame(PEER_MAC, icmp(136, 1, 0, PEER_IP6), PEER_IP6), "neighbour-malformed"],
    [
      "23 bytes",
      ndFrame(PEER_MAC, icmp(136, 0, 0, PEER_IP6.slice(1)), PEER_IP6),
      "neighbour-malformed",
    ],
    [
      "option of length 0",
      ndFrame(PEER_MAC, icmp(136, 0, 0, [...PEER_IP6, 2, 0, 0, 0, 0, 0, 0, 0]), PEER_IP6),
      "neighbour-malformed",
    ],
    [
      "option past the end",
      ndFrame(PEER_MAC, icmp(136, 0, 0, [...PEER_IP6, 2, 2, 0, 0, 0, 0, 0, 0]), PEER_IP6),
      "neighbour-malformed",
    ],
    [
      "half an option",
      ndFrame(PEER_MAC, icmp(136, 0, 0, [...PEER_IP6, 2, 1, 0]), PEER_IP6),
      "neighbour-malformed",
    ],
    [
      "two MACs",
      ndFrame(PEER_MAC, [...discovery(136, PEER_IP6, 2, PEER_MAC), 2, 1, ...ROGUE_MAC], PEER_IP6),
      "neighbour-malformed",
    ],
    [
      "a group target",
      ndFrame(PEER_MAC, discovery(135, PEER_IP6.with(0, 0xff), 1, PEER_MAC), PEER_IP6),
      "neighbour-malformed",
    ],
    [
      "a MAC for ::",
      ndFrame(PEER_MAC, discovery(135, OWN_IP6, 1, PEER_MAC), NOBODY6),
      "neighbour-malformed",
    ],
    [
      "a group MAC",
      ndFrame(PEER_MAC, discovery(136, PEER_IP6, 2, [1, 0, 0, 0, 0, 1]), PEER_IP6),
      "neighbour-malformed",
    ],
    [
      "in a fragment (RFC 6980)",
      ethernet(
        ipv6(fragmentHeader(58, 0, 1, 1, discovery(136, PEER_IP6, 2, PEER_MAC)), {
          next: 44,
          life: 255,
        }),
        { from: PEER_MAC },
      ),
      "neighbour-malformed",
    ],
    [
      "behind an extension header (RFC 7113)",
      ethernet(
        ipv6(extension(58, 8, discovery(136, PEER_IP6, 2, PEER_MAC)), { next: 60, life: 255 }),
      ),
      "neighbour-malformed",
    ],
    ["an echo", ndFrame(ROGUE_MAC, icmp(128, 0, 1), PEER_IP6, 64), "passes"],
  ];
  test.each(cases)("%s", (_, frame, wanted) => {
    expect(check(frame, "in")).toBe(wanted);
  });
});

function gateway6(): Bytes {
  return PEER_IP6.with(15, 0xfe);
}

describe("from this VM", () => {
  const udp4 = (source: Bytes, ports: Bytes = [5_353, 53], from = OWN_MAC): number[] =>
    ethernet(ipv4(udp([], ports), { protocol: 17, source }), { from });
  const cases: [string, number[], string][] = [
    ["a packet", udp4(OWN_IP), "passes"],
    ["another's address", udp4(PEER_IP), "source-address"],
    ["another's MAC", udp4(OWN_IP, [1, 1], PEER_MAC), "source-mac"],
    ["another's MAC, last bytes", udp4(OWN_IP, [1, 1], OWN_MAC.with(5, 9)), "source-mac"],
    ["DHCP without an address", udp4(NOBODY, [68, 67]), "passes"],
    ["something else without one", udp4(NOBODY, [68, 53]), "source-address"],
    ["IGMP without one", ethernet(ipv4(filler(8), { protocol: 2, source: NOBODY })), "passes"],
    ["IPv6", ethernet(ipv6(udp(), { next: 17 })), "passes"],
    [
      "our link-local address",
      ethernet(ipv6(udp(), { next: 17, source: OWN_LINK_LOCAL })),
      "passes",
    ],
    [
      "another link-local address",
      ethernet(ipv6(udp(), { next: 17, source: OWN_LINK_LOCAL.with(15, 2) })),
      "source-address",
    ],
    ["UDP from ::", ethernet(ipv6(udp(), { next: 17, source: NOBODY6 })), "source-address"],
    ["duplicate detection", ndFrame(OWN_MAC, icmp(135, 0, 0, OWN_IP6), NOBODY6), "passes"],
    ["router solicitation from ::", ndFrame(OWN_MAC, icmp(133, 0, 0), NOBODY6), "passes"],
    ["our ARP", arpFrame(OWN_MAC, OWN_MAC, OWN_IP), "passes"],
    ["an ARP probe", arpFrame(OWN_MAC, OWN_MAC, NOBODY, 1), "passes"],
    ["a reply for nobody", arpFrame(OWN_MAC, OWN_MAC, NOBODY, 2), "arp-forged"],
    ["a reply for a peer", arpFrame(OWN_MAC, OWN_MAC, PEER_IP), "arp-forged"],
    ["a reply with another's MAC", arpFrame(OWN_MAC, PEER_MAC, OWN_IP), "arp-forged"],
    ["our advertisement", ndFrame(OWN_MAC, discovery(136, OWN_IP6, 2, OWN_MAC), OWN_IP6), "passes"],
    [
      "an advertisement for a peer",
      ndFrame(OWN_MAC, discovery(136, PEER_IP6, 2, OWN_MAC), OWN_IP6),
      "neighbour-forged",
    ],
    [
      "an advertisement with another's MAC",
      ndFrame(OWN_MAC, discovery(136, OWN_IP6, 2, PEER_MAC), OWN_IP6),
      "neighbour-forged",
    ],
    [
      "an advertisement for ::",
      ndFrame(OWN_MAC, discovery(136, NOBODY6, 2, OWN_MAC), OWN_IP6),
      "neighbour-forged",
    ],
    [
      "a router advertisement",
      ndFrame(OWN_MAC, icmp(134, 0, 0, filler(8)), OWN_IP6),
      "neighbour-forged",
    ],
    ["a redirect", ndFrame(OWN_MAC, icmp(137, 0, 0, filler(32)), OWN_IP6), "neighbour-forged"],
  ];
  test.each(cases)("%s", (_, frame, wanted) => {
    expect(check(frame, "out")).toBe(wanted);
  });
});

describe("VLAN tags", () => {
  const cases: [string, (readonly [number, number])[], string][] = [
    ["none", [], "passes"],
    ["a priority tag", [[0x8100, 0xe000]], "passes"],
    ["an expected one", [[0x8100, 0x6000 | 100]], "passes"],
    ["another", [[0x8100, 101]], "vlan-unexpected"],
    ["4095", [[0x8100, 4_095]], "vlan-unexpected"],
    [
      "two, expected",
      [
        [0x88a8, 200],
        [0x8100, 100],
      ],
      "passes",
    ],
    [
      "two, inner unexpected",
      [
        [0x88a8, 200],
        [0x8100, 5],
      ],
      "vlan-unexpected",
    ],
    [
      "two, native outer (hopping)",
      [
        [0x8100, 1],
        [0x8100, 100],
      ],
      "vlan-double",
    ],
    [
      "two, same",
      [
        [0x8100, 100],
        [0x8100, 100],
      ],
      "vlan-double",
    ],
    [
      "two, outer 0",
      [
        [0x8100, 0],
        [0x8100, 100],
      ],
      "vlan-double",
    ],
  ];
  test.each(cases)("%s", (_, tags, wanted) => {
    guard.allowedVlans[100 >>> 5] |= 1 << (100 & 31);
    guard.allowedOuterVlans[200 >>> 5] |= 1 << (200 & 31);
    const frame = ethernet(ipv4(udp(), { protocol: 17 }), { tags });
    const packet = new ParsedPacket();
    parsePacket(new DataView(Uint8Array.from(frame).buffer), 0, frame.length, packet);
    const code = guard.checkVlan(packet);
    expect(code === PARSED ? "passes" : DROP_NAMES[code]).toBe(wanted);
  });

  test("untagged frames can be refused", () => {
    guard.allowedVlans[0] = 0;
    expect(guard.checkVlan(new ParsedPacket())).toBe(DROP.vlanUnexpected);
  });
});

describe("MacTable", () => {
  test("agrees with a list of rows, and forgets what was loaded before", () => {
    const table = new MacTable();
    for (const count of [700, 0, 1, 5]) {
      const rows = new Uint32Array(count * 6);
      for (let i = 0; i < count; i++) rows.set([0, 0, i & 7, i >>> 1, i & 3, i + 1], i * 6);
      table.load(rows, count);
      for (let i = 0; i < 720; i++) {
        const has = i < count;
        expect(table.check(0, 0, i & 7, i >>> 1, i & 3, i + 1)).toBe(
          has ? BINDING_MATCHES : BINDING_UNKNOWN,
        );
        expect(table.check(0, 0, i & 7, i >>> 1, 9, 9)).toBe(
          has ? BINDING_CONTRADICTS : BINDING_UNKNOWN,
        );
        expect(table.hasMac(i & 3, i + 1)).toBe(has);
        expect(table.hasAddress(1, 0, i & 7, i >>> 1)).toBe(false);
      }
    }
  });

  test("an address may have several MACs", () => {
    const table = new MacTable();
    table.load(Uint32Array.from([...row(PEER_IP, PEER_MAC), ...row(PEER_IP, ROUTER_MAC)]), 2);
    const words = row(PEER_IP, PEER_MAC);
    for (const [mac, wanted] of [
      [PEER_MAC, BINDING_MATCHES],
      [ROUTER_MAC, BINDING_MATCHES],
      [ROGUE_MAC, BINDING_CONTRADICTS],
    ] as const) {
      const [high, low] = macOf(mac);
      expect(table.check(words[0], words[1], words[2], words[3], high, low)).toBe(wanted);
    }
  });
});
