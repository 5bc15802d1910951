/**
 * Packets that are not the common ones, through both agents: MSS, sizes, fragments in any order,
 * ICMP errors, VLAN tags, options, neighbours. docs/wire.md "Carriers", "Fragments and ICMP";
 * design/agent.md "Guard below IP".
 */
import { describe, expect, test } from "bun:test";
import { force } from "./attack-kit.ts";
import { type Ends, reversed, TCP, text, udp } from "./frames.ts";
import {
  DB_IP,
  DB_MAC,
  type Pair,
  type PairOptions,
  play,
  WEB_IP,
  WEB_MAC,
  WEB_TO_DB,
  WEB_TO_DB6,
} from "./pair.ts";
import {
  arp,
  checksumsHold,
  echo,
  fragmentsOf,
  fragmentsOf6,
  icmpError,
  mendIpv4,
  synWith,
  TcpTalk,
  tagged,
  withIpOptions,
} from "./rare-frames.ts";

const DB_TO_WEB = reversed(WEB_TO_DB);
const PUSH = TCP.push | TCP.ack;
const STRANGER = Uint8Array.of(192, 0, 2, 7);
const WEB_TO_STRANGER: Ends = { ...WEB_TO_DB, to: STRANGER };

function filled(length: number): Uint8Array {
  const payload = new Uint8Array(length).map((_, i) => i * 7);
  payload.set(text("APP1"));
  return payload;
}

/** An untagged frame without DF. */
function fragmentable(frame: Uint8Array, id = 77): Uint8Array {
  const view = new DataView(frame.buffer);
  view.setUint16(18, id);
  view.setUint16(20, 0);
  return mendIpv4(frame);
}

function openFlow(pair: Pair, ends = WEB_TO_DB): void {
  const first = udp(ends, 4000, 6379, text("APP1 first"));
  expect(pair.webSends(first)).toEqual([first]);
}

function mssOf(frame: Uint8Array | undefined, at: number): number {
  return frame === undefined ? -1 : new DataView(frame.buffer).getUint16(at);
}

describe("sizes", () => {
  test.each([
    ["ip", WEB_TO_DB, 1468 - 40],
    ["udp", WEB_TO_DB, 1460 - 40],
    ["ip", WEB_TO_DB6, 1468 - 60],
  ] as const)("carrier %s: the MSS of SYN and SYN-ACK is lowered", (carrier, ends, most) => {
    play({ carrier }, (pair) => {
      const at = (ends.from.length === 4 ? 34 : 54) + 22;
      const [syn] = pair.webSends(synWith(ends, [40_000, 6379], [2, 4, 5, 180, 1, 3, 3, 7]));
      expect(mssOf(syn, at)).toBe(most);
      expect(syn && checksumsHold(syn)).toBe(true);
      const answer = synWith(reversed(ends), [6379, 40_000], [2, 4, 5, 180], undefined, 18);
      const [back] = pair.dbSends(answer);
      expect(mssOf(back, at)).toBe(most);
      expect(back && checksumsHold(back)).toBe(true);
      const small = synWith(ends, [40_001, 6379], [2, 4, 2, 24]);
      expect(pair.webSends(small)).toEqual([small]);
    });
  });

  test("one byte too many with DF: fragmentation needed, with the size that passes", () => {
    play({}, (pair) => {
      openFlow(pair);
      const largest = udp(WEB_TO_DB, 4000, 6379, filled(1468 - 28));
      expect(pair.webSends(largest)).toEqual([largest]);
      expect(Math.max(...pair.carried.map(({ frame }) => frame.length))).toBe(1514);
      expect(pair.webSends(udp(WEB_TO_DB, 4000, 6379, filled(1469 - 28)))).toEqual([]);
      const [answer] = pair.webKernel.receive();
      expect([...(answer ?? []).slice(34, 36)]).toEqual([3, 4]);
      expect(mssOf(answer, 40)).toBe(1468);
      expect(answer && checksumsHold(answer)).toBe(true);
      expect(pair.web.drops()).toEqual(new Map([["egress-too-big", 1]]));
    });
  });

  test("IPv6: packet too big", () => {
    play({}, (pair) => {
      openFlow(pair, WEB_TO_DB6);
      const largest = udp(WEB_TO_DB6, 4000, 6379, filled(1468 - 48));
      expect(pair.webSends(largest)).toEqual([largest]);
      expect(pair.webSends(udp(WEB_TO_DB6, 4000, 6379, filled(1469 - 48)))).toEqual([]);
      const [answer] = pair.webKernel.receive();
      expect(answer?.[54]).toBe(2);
      expect(new DataView((answer as Uint8Array).buffer).getUint32(58)).toBe(1468);
      expect(answer && checksumsHold(answer)).toBe(true);
    });
  });

  test("too many without DF: split before sealing, each part proven", () => {
    for (const isNew of [false, true]) {
      play({}, (pair) => {
        if (!isNew) openFlow(pair);
        const big = fragmentable(udp(WEB_TO_DB, 4000, 6379, filled(1472)));
        const arrived = pair.webSends(big);
        expect(arrived).toEqual(fragmentsOf(big, 77, 1448));
        expect(pair.carried.every(({ frame }) => frame.length <= 1514)).toBe(true);
        expect(pair.web.drops()).toEqual(new Map());
      });
    }
  });

  test("a path MTU that was lowered splits fragments again", () => {
    play({}, (pair) => {
      openFlow(pair);
      pair.web.plane.innerMtu[0] = 548;
      const whole = fragmentable(udp(WEB_TO_DB, 4000, 6379, filled(2900)));
      const arrived = pair.webSends(...fragmentsOf(whole, 77, 1448));
      const data = new Uint8Array(whole.length - 34);
      for (const part of arrived) {
        expect(part.length).toBeLessThanOrEqual(548 + 14);
        data.set(part.subarray(34), (new DataView(part.buffer).getUint16(20) & 0x1fff) * 8);
      }
      expect(data).toEqual(whole.slice(34));
      expect(pair.web.drops()).toEqual(new Map());
    });
  });

  test("the network says too big for a packet of ours: the next is answered by the agent", () => {
    play({}, (pair) => {
      openFlow(pair);
      const big = udp(WEB_TO_DB, 4000, 6379, filled(1400));
      pair.webSends(big);
      const outer = pair.carried.at(-1)?.frame as Uint8Array;
      const router = { ...DB_TO_WEB, from: Uint8Array.of(10, 9, 9, 9) };
      pair.webWire.send(icmpError(router, 3, 4, outer, 1000));
      pair.run(20_000);
      expect(pair.webKernel.receive()).toEqual([]); // never delivered itself
      expect(pair.webSends(big)).toEqual([]);
      expect(mssOf(pair.webKernel.receive()[0], 40)).toBe(1000 - 32);
      pair.run(11 * 60 * 1e6, 1e6);
      pair.web.reader.age(pair.nowUs as never);
      expect(pair.webSends(big)).toEqual([big]);
    });
  });
});

/** Every order of n things. */
function orders(n: number): number[][] {
  if (n === 1) return [[0]];
  return orders(n - 1).flatMap((order) =>
    Array.from({ length: n }, (_, at) => [...order.slice(0, at), n - 1, ...order.slice(at)]),
  );
}

describe("fragments", () => {
  test.each([
    ["IPv4", WEB_TO_DB],
    ["IPv6", WEB_TO_DB6],
  ] as const)("%s: out of the VM in every order, known flow or new", (_, ends) => {
    const isV4 = ends.from.length === 4;
    const cut = isV4 ? fragmentsOf : fragmentsOf6;
    orders(4).forEach((order, i) => {
      play({}, (pair) => {
        if (i % 2 === 0) openFlow(pair, ends);
        const whole = udp(ends, 4000, 6379, filled(4000));
        const parts = cut(whole, 500 + i, 1200);
        const sent = order.map((n) => parts[n] as Uint8Array);
        const arrived = pair.webSends(...sent);
        const sorted = (frames: Uint8Array[]) => frames.map((frame) => frame.join()).sort();
        expect(sorted(arrived)).toEqual(sorted(parts));
        expect(pair.web.drops()).toEqual(new Map());
        expect(pair.db.drops()).toEqual(new Map());
      });
    });
  });

  test("into the VM in every order: the wire reorders them", () => {
    orders(3).forEach((order, i) => {
      play({}, (pair) => {
        openFlow(pair);
        const kept: Uint8Array[] = [];
        pair.carry = (frame, from) => {
          if (from === "web") kept.push(frame);
          return from === "web" ? [] : [frame];
        };
        const parts = fragmentsOf(udp(WEB_TO_DB, 4000, 6379, filled(3000)), 600 + i, 1200);
        expect(pair.webSends(...parts)).toEqual([]);
        expect(kept.length).toBe(3);
        pair.dbWire.send(...order.map((n) => kept[n] as Uint8Array));
        pair.run(20_000);
        const arrived = pair.dbKernel.receive().map((frame) => frame.join());
        expect(arrived.sort()).toEqual(parts.map((frame) => frame.join()).sort());
        expect(pair.db.drops()).toEqual(new Map());
      });
    });
  });

  test("of one datagram, while a session is wanted and comes late", () => {
    play({}, (pair) => {
      let isDown = true;
      pair.carry = (frame) => (isDown ? [] : [frame]);
      const parts = fragmentsOf(udp(WEB_TO_DB, 4000, 6379, filled(3000)), 601, 1200);
      pair.webKernel.send(parts[0] as Uint8Array, parts[1] as Uint8Array);
      pair.run(300_000);
      isDown = false;
      pair.webKernel.send(parts[2] as Uint8Array);
      pair.run(2_000_000);
      expect(pair.dbKernel.receive()).toEqual(parts);
      expect(pair.web.drops()).toEqual(new Map());
    });
  });

  test("whose first never comes are dropped after a second, and counted", () => {
    play({}, (pair) => {
      openFlow(pair);
      const parts = fragmentsOf(udp(WEB_TO_DB, 4000, 6379, filled(3000)), 602, 1200);
      expect(pair.webSends(...parts.slice(1))).toEqual([]);
      expect(pair.web.plane.fragmentsOut.heldCount).toBe(2);
      pair.run(1_100_000);
      expect(pair.web.drops()).toEqual(new Map([["fragment-timeout", 2]]));
    });
  });

  test("that overlap condemn the whole packet, held ones included", () => {
    play({}, (pair) => {
      openFlow(pair);
      const parts = fragmentsOf(udp(WEB_TO_DB, 4000, 6379, filled(5000)), 603, 1200);
      const [first, second, third] = parts as [Uint8Array, Uint8Array, Uint8Array];
      // The first is judged by itself and may leave: without the rest it is of no use.
      expect(pair.webSends(third, second, second, first)).toEqual([first]);
      expect(pair.webSends(parts[3] as Uint8Array)).toEqual([]);
      expect([...pair.web.drops().keys()]).toEqual(["fragment-overlap"]);
      // The same on the way in: a duplicate on the wire is a replay, not an overlap.
      const again = fragmentsOf(udp(WEB_TO_DB, 4000, 6379, filled(3000)), 604, 1200);
      pair.carry = (frame) => [frame, frame];
      expect(pair.webSends(...again)).toEqual(again);
      expect(pair.db.drops().get("counter-replayed")).toBe(3);
    });
  });

  test("that overlap on the way in, sealed by a peer's agent that looks at nothing", () => {
    play({}, (pair) => {
      openFlow(pair);
      const whole = udp(WEB_TO_DB, 4000, 6379, filled(5000));
      const [first, second, third] = fragmentsOf(whole, 620, 1200);
      for (const part of [third, second, second, first]) {
        expect(force(pair, part as Uint8Array, 1)).toEqual([]);
      }
      expect(pair.db.plane.fragmentsIn.heldCount).toBe(0);
      expect(pair.db.drops()).toEqual(new Map([["fragment-overlap", 4]]));
    });
  });

  test("of a refused flow, whatever their order", () => {
    play({}, (pair) => {
      const whole = udp(WEB_TO_DB, 4001, 6379, new Uint8Array(3000).fill(66));
      const parts = fragmentsOf(whole, 605, 1200);
      expect(pair.webSends(...parts)).toEqual([]);
      expect(pair.webSends(...fragmentsOf(whole, 606, 1200).reverse())).toEqual([]);
      expect(pair.carried).toEqual([]);
      expect(pair.web.drops().get("refused-flow")).toBe(5);
    });
  });

  test("to the outside follow their first, too", () => {
    const edit: PairOptions["edit"] = (web) => {
      web["otherTenants"] = ["198.51.100.0/24"];
    };
    play({ edit }, (pair) => {
      const parts = fragmentsOf(udp(WEB_TO_STRANGER, 9, 9, filled(3000)), 607, 1200);
      pair.webSends(...parts, ...fragmentsOf(udp(WEB_TO_STRANGER, 9, 9, filled(3000)), 608, 1200));
      expect(pair.carried.map(({ frame }) => frame.join()).length).toBe(6);
      expect(pair.web.plane.flows.count).toBe(1);
      const denied = { ...WEB_TO_STRANGER, to: Uint8Array.of(198, 51, 100, 9) };
      pair.webSends(...fragmentsOf(udp(denied, 9, 9, filled(3000)), 609, 1200));
      pair.run(1_200_000);
      expect(pair.carried.length).toBe(6);
      // And back: a reply in parts, the last one first.
      const reply = fragmentsOf(udp(reversed(WEB_TO_STRANGER), 9, 9, filled(3000)), 610, 1200);
      pair.webWire.send(...reply.slice().reverse());
      pair.run(20_000);
      expect(
        pair.webKernel
          .receive()
          .map((frame) => frame.join())
          .sort(),
      ).toEqual(reply.map((frame) => frame.join()).sort());
    });
  });

  test("from strangers are bounded: 64 held, and the pool survives", () => {
    play({}, (pair) => {
      for (let round = 0; round < 20; round++) {
        for (let i = 0; i < 100; i++) {
          const from = { ...reversed(WEB_TO_STRANGER), from: Uint8Array.of(192, 0, 2, i) };
          const parts = fragmentsOf(udp(from, 9, 9, filled(2000)), round * 100 + i, 1200);
          pair.webWire.send(parts[1] as Uint8Array);
        }
        pair.run(10_000);
      }
      expect(pair.web.plane.fragmentsIn.heldCount).toBe(64);
      pair.run(2_000_000);
      expect(pair.web.plane.fragmentsIn.heldCount).toBe(0);
    });
  });
});

describe("ICMP errors inside the tenant", () => {
  test("travel under the session of the flow they quote", () => {
    play({}, (pair) => {
      const sent = udp(WEB_TO_DB, 4000, 6379, text("APP1 nobody listens"));
      expect(pair.webSends(sent)).toEqual([sent]);
      const unreachable = icmpError(DB_TO_WEB, 3, 3, sent);
      expect(pair.dbSends(unreachable)).toEqual([unreachable]);
      expect(pair.carried.every(({ frame }) => frame[23] === 253)).toBe(true);
      // Quoting a flow that does not exist: nothing of the kind leaves.
      const never = udp(WEB_TO_DB, 4999, 6379, text("APP1"));
      expect(pair.dbSends(icmpError(DB_TO_WEB, 3, 3, never))).toEqual([]);
      expect(pair.db.drops()).toEqual(new Map([["no-signature", 1]]));
    });
  });

  test("bare ones are never delivered", () => {
    play({}, (pair) => {
      const sent = udp(WEB_TO_DB, 4000, 6379, text("APP1"));
      pair.webSends(sent);
      pair.webWire.send(icmpError(DB_TO_WEB, 3, 3, sent), icmpError(DB_TO_WEB, 3, 4, sent, 600));
      pair.run(20_000);
      expect(pair.webKernel.receive()).toEqual([]);
      expect(pair.web.drops()).toEqual(new Map([["network-icmp", 2]]));
      expect(pair.web.plane.innerMtu[0]).toBe(1468);
    });
  });
});

describe("tags and options", () => {
  const vlans: PairOptions["edit"] = (web, db) => {
    web.node["vlans"] = [7];
    db.node["vlans"] = [7];
  };

  test("a VLAN that is expected is carried, flows of two VLANs are two flows", () => {
    play({ edit: vlans }, (pair) => {
      const plain = udp(WEB_TO_DB, 4000, 6379, text("APP1 plain"));
      const inVlan = tagged(udp(WEB_TO_DB, 4000, 6379, text("APP1 tagged")), 7);
      expect(pair.webSends(plain, inVlan)).toEqual([plain, inVlan]);
      expect(pair.web.plane.flows.count).toBe(2);
      const talk = new TcpTalk(WEB_TO_DB, DB_TO_WEB, 40_000);
      const frames = [tagged(talk.out(TCP.syn), 7)];
      expect(pair.webSends(...frames)).toEqual(frames);
      const answer = tagged(talk.in(TCP.syn | TCP.ack), 7);
      expect(pair.dbSends(answer)).toEqual([answer]);
      const question = tagged(talk.out(PUSH, text("APP1")), 7);
      expect(pair.webSends(question)).toEqual([question]);
    });
  });

  test("unexpected and double tags are refused both ways, also in a flow that is allowed", () => {
    play({ edit: vlans }, (pair) => {
      const frame = udp(WEB_TO_DB, 4000, 6379, text("APP1"));
      openFlow(pair);
      expect(pair.webSends(tagged(frame, 8), tagged(frame, 5, 7), tagged(frame, 5, 0))).toEqual([]);
      expect(pair.web.drops()).toEqual(
        new Map([
          ["vlan-unexpected", 1],
          ["vlan-double", 2],
        ]),
      );
      pair.carry = (carried, from) => (from === "db" ? [carried] : [tagged(carried, 5, 0)]);
      expect(pair.webSends(frame)).toEqual([]);
      pair.carry = (carried, from) => (from === "db" ? [carried] : [tagged(carried, 8)]);
      expect(pair.webSends(frame)).toEqual([]);
      expect(pair.db.drops()).toEqual(
        new Map([
          ["vlan-unexpected", 1],
          ["vlan-double", 1],
        ]),
      );
    });
  });

  test("IPv4 options to a peer are refused, also in a flow that is allowed", () => {
    play({}, (pair) => {
      openFlow(pair);
      const frame = withIpOptions(udp(WEB_TO_DB, 4000, 6379, text("APP1")), [1, 1, 1, 0]);
      expect(pair.webSends(frame)).toEqual([]);
      expect(pair.web.drops()).toEqual(new Map([["egress-options", 1]]));
      pair.carry = (carried, from) =>
        from === "db" ? [carried] : [withIpOptions(carried, [1, 1, 1, 0])];
      expect(pair.webSends(udp(WEB_TO_DB, 4000, 6379, text("APP1 more")))).toEqual([]);
      expect(pair.db.drops()).toEqual(new Map([["abs-options", 1]]));
    });
  });

  test("a SYN with data is refused on either side", () => {
    play({}, (pair) => {
      const open = synWith(WEB_TO_DB, [40_000, 6379], [34, 2, 1, 1], text("APP1 early"));
      expect(pair.webSends(open)).toEqual([]);
      expect(pair.web.drops()).toEqual(new Map([["fast-open", 1]]));
      // The request for a cookie carries nothing, and passes.
      const asks = synWith(WEB_TO_DB, [40_000, 6379], [34, 2, 1, 1]);
      expect(pair.webSends(asks)).toEqual([asks]);
    });
  });

  test("Ethernet padding does not travel, the packet does", () => {
    play({}, (pair) => {
      const frame = udp(WEB_TO_DB, 4000, 6379, text("APP1"));
      const padded = new Uint8Array(60);
      padded.set(frame);
      expect(pair.webSends(padded)).toEqual([frame]);
      pair.carry = (carried) => {
        const longer = new Uint8Array(carried.length + 9);
        longer.set(carried);
        return [longer];
      };
      expect(pair.webSends(frame)).toEqual([frame]);
    });
  });
});

describe("neighbours", () => {
  const macs: PairOptions["edit"] = (web, db) => {
    web.peers[0] = { ...web.peers[0], macs: ["02:00:00:00:00:02"] };
    db.peers[0] = { ...db.peers[0], macs: ["02:00:00:00:00:01"] };
  };
  const web = { mac: WEB_MAC, ip: WEB_IP };
  const db = { mac: DB_MAC, ip: DB_IP };
  const nobody = { mac: new Uint8Array(6), ip: DB_IP };
  const rogue = { mac: Uint8Array.of(2, 0, 0, 0, 0, 66), ip: DB_IP };

  test("ARP passes both ways; what contradicts the known MAC does not", () => {
    play({ edit: macs }, (pair) => {
      const ask = arp(1, web, nobody);
      expect(pair.webSends(ask)).toEqual([ask]);
      const answer = arp(2, db, web);
      expect(pair.dbSends(answer)).toEqual([answer]);
      pair.webWire.send(arp(2, rogue, web));
      pair.run(20_000);
      expect(pair.webKernel.receive()).toEqual([]);
      expect(pair.web.drops()).toEqual(new Map([["arp-spoofed", 1]]));
      expect(pair.web.eventsOf("refused")).toMatchObject([{ reason: "arp-spoofed" }]);
    });
  });

  test("the VM claims no address and no MAC but its own", () => {
    play({ edit: macs }, (pair) => {
      pair.webSends(arp(2, { mac: WEB_MAC, ip: DB_IP }, db), arp(2, { ...web, mac: DB_MAC }, db));
      expect(pair.carried).toEqual([]);
      expect(pair.web.drops()).toEqual(
        new Map([
          ["arp-forged", 1],
          ["source-mac", 1],
        ]),
      );
    });
  });
});

test("frames of every kind that nobody understands are counted and freed", () => {
  play({}, (pair) => {
    const good = udp(WEB_TO_DB, 4000, 6379, text("APP1"));
    const frames = [
      good.slice(0, 10),
      good.slice(0, 30),
      good.slice(0, 40),
      new Uint8Array(60).fill(0xff),
      tagged(tagged(good, 1, 2), 3),
      echo(WEB_TO_DB, false, 1, text("x")).slice(0, 36),
    ];
    pair.webKernel.send(...frames);
    pair.dbWire.send(...frames);
    pair.run(20_000);
    const sum = (drops: Map<string, number>) => [...drops.values()].reduce((a, b) => a + b, 0);
    expect(sum(pair.web.drops())).toBe(frames.length);
    expect(sum(pair.db.drops())).toBe(frames.length);
  });
});
