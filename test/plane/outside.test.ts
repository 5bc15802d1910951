/**
 * What is not inter-VM traffic, and what pretends to be none: strangers, other tenants, groups,
 * exceptions, bare packets, spoofing. design/agent.md "Egress" 2, "Ingress" 1 and 2.
 */
import { describe, expect, test } from "bun:test";
import { type Ends, reversed, TCP, tcp, text, udp } from "./frames.ts";
import { DB_IP, DB_MAC, type PairOptions, play, WEB_MAC, WEB_TO_DB } from "./pair.ts";
import { echo, icmpError, TcpTalk } from "./rare-frames.ts";

const DB_TO_WEB = reversed(WEB_TO_DB);
const ACK = TCP.ack;
const PUSH = TCP.push | TCP.ack;
const STRANGER = Uint8Array.of(192, 0, 2, 7);
const GATEWAY_MAC = Uint8Array.of(2, 0, 0, 0, 0, 99);
const WEB_TO_STRANGER: Ends = { ...WEB_TO_DB, toMac: GATEWAY_MAC, to: STRANGER };
const STRANGER_TO_DB: Ends = {
  fromMac: GATEWAY_MAC,
  toMac: DB_MAC,
  from: STRANGER,
  to: DB_IP,
};
const STRANGER_TO_WEB = reversed(WEB_TO_STRANGER);

function talk(port = 40_000, ends = WEB_TO_DB, serverPort = 6379): TcpTalk {
  return new TcpTalk(ends, reversed(ends), port, serverPort);
}

function drops(...entries: [string, number][]): Map<string, number> {
  return new Map(entries);
}

describe("not of the tenant", () => {
  test("out: allowed by default and unchanged; replies come back, nothing else does", () => {
    play({}, (pair) => {
      const conversation = talk(40_000, WEB_TO_STRANGER, 443);
      const syn = conversation.out(TCP.syn);
      pair.webKernel.send(syn);
      pair.run(20_000);
      expect(pair.carried.map(({ frame }) => frame)).toEqual([syn]);
      const answer = conversation.in(TCP.syn | ACK);
      pair.webWire.send(answer, answer);
      pair.run(20_000);
      expect(pair.webKernel.receive()).toEqual([answer, answer]);
      // Another port, and a SYN of theirs on the same 5-tuple: both begin something.
      pair.webWire.send(tcp(STRANGER_TO_WEB, 443, 40_001, { flags: PUSH, payload: text("x") }));
      pair.webWire.send(tcp(STRANGER_TO_WEB, 443, 40_000, { flags: TCP.syn }));
      pair.run(20_000);
      expect(pair.webKernel.receive()).toEqual([]);
      expect(pair.web.drops()).toEqual(drops(["outside-denied", 2]));
      const [event] = pair.web.eventsOf("refused");
      expect(event).toMatchObject({ reason: "outside-denied", rule: "default-outside" });
    });
  });

  test("in: a rule with a CIDR lets new flows in, and their replies out", () => {
    const dbRules = [
      {
        id: "web-public",
        direction: "in",
        from: { cidr: "192.0.2.0/24" },
        action: "allow",
        to: { protocol: "tcp", port: 443 },
      },
    ];
    play({ dbRules }, (pair) => {
      const conversation = talk(1234, STRANGER_TO_DB, 443);
      const syn = conversation.out(TCP.syn);
      pair.dbWire.send(syn);
      pair.run(20_000);
      expect(pair.dbKernel.receive()).toEqual([syn]);
      const answer = conversation.in(TCP.syn | ACK);
      pair.dbKernel.send(answer);
      pair.run(20_000);
      expect(pair.carried.map(({ frame }) => frame)).toEqual([answer]);
      pair.dbWire.send(tcp(STRANGER_TO_DB, 1234, 22, { flags: TCP.syn }));
      pair.run(20_000);
      expect(pair.dbKernel.receive()).toEqual([]);
      expect(pair.db.drops()).toEqual(drops(["outside-denied", 1]));
    });
  });

  test("out: other tenants are denied by default, others when the default says so", () => {
    const edit: PairOptions["edit"] = (web) => {
      web["otherTenants"] = ["192.0.2.0/24"];
      web.policy.defaults["refuse"] = "reject";
    };
    play({ edit }, (pair) => {
      pair.webSends(talk(40_000, WEB_TO_STRANGER, 443).out(TCP.syn));
      expect(pair.web.drops()).toEqual(drops(["outside-denied", 1]));
      expect(pair.webKernel.receive()[0]?.[47]).toBe(TCP.rst | ACK);
      const elsewhere = { ...WEB_TO_STRANGER, to: Uint8Array.of(198, 51, 100, 1) };
      const frame = udp(elsewhere, 1, 2, text("x"));
      pair.webSends(frame);
      expect(pair.carried.map((carried) => carried.frame)).toEqual([frame]);
    });
  });

  test("ICMP errors of the network reach flows to the outside only", () => {
    play({}, (pair) => {
      const sent = udp(WEB_TO_STRANGER, 4000, 53, text("query"));
      pair.webSends(sent);
      const router: Ends = { ...STRANGER_TO_WEB, from: Uint8Array.of(10, 9, 9, 9) };
      const unreachable = icmpError(router, 3, 3, sent);
      pair.webWire.send(unreachable);
      pair.run(20_000);
      expect(pair.webKernel.receive()).toEqual([unreachable]);
      const strange = udp(WEB_TO_STRANGER, 4001, 53, text("never sent"));
      pair.webWire.send(icmpError(router, 3, 3, strange));
      pair.run(20_000);
      expect(pair.webKernel.receive()).toEqual([]);
      expect(pair.web.drops()).toEqual(drops(["network-icmp", 1]));
    });
  });

  test("many ICMP errors and fragments to one stranger are few flows", () => {
    play({}, (pair) => {
      const about = udp(STRANGER_TO_WEB, 53, 4000, text("unwanted"));
      for (let i = 0; i < 50; i++) pair.webKernel.send(icmpError(WEB_TO_STRANGER, 3, 3, about));
      pair.run(20_000);
      expect(pair.carried.length).toBe(50);
      expect(pair.web.plane.flows.count).toBeLessThan(3);
    });
  });

  test("a 5-tuple used again after its end lives as long as a new one", () => {
    play({}, (pair) => {
      const conversation = talk(40_000, WEB_TO_STRANGER, 443);
      pair.webSends(conversation.out(TCP.syn), conversation.out(TCP.rst));
      const again = talk(40_000, WEB_TO_STRANGER, 443);
      pair.webSends(again.out(TCP.syn));
      pair.run(60_000_000, 1_000_000);
      const answer = again.in(TCP.syn | ACK);
      pair.webWire.send(answer);
      pair.run(20_000);
      expect(pair.webKernel.receive()).toEqual([answer]);
    });
  });
});

describe("groups, exceptions and spoofing", () => {
  const MULTICAST: Ends = {
    ...WEB_TO_DB,
    toMac: Uint8Array.of(1, 0, 0x5e, 0, 0, 251),
    to: Uint8Array.of(224, 0, 0, 251),
  };

  test("multicast is denied by default, DHCP passes both ways", () => {
    play({}, (pair) => {
      pair.webSends(udp(MULTICAST, 5353, 5353, text("mdns")));
      expect(pair.web.drops()).toEqual(drops(["multicast-denied", 1]));
      const everybody: Ends = {
        fromMac: WEB_MAC,
        toMac: new Uint8Array(6).fill(255),
        from: new Uint8Array(4),
        to: new Uint8Array(4).fill(255),
      };
      const discover = udp(everybody, 68, 67, text("discover"));
      pair.webSends(discover);
      expect(pair.carried.map(({ frame }) => frame)).toEqual([discover]);
      const offer = udp(STRANGER_TO_WEB, 67, 68, text("offer"));
      pair.webWire.send(offer);
      pair.run(20_000);
      expect(pair.webKernel.receive()).toEqual([offer]);
      pair.webWire.send(udp(STRANGER_TO_WEB, 67, 69, text("not dhcp")));
      pair.run(20_000);
      expect(pair.webKernel.receive()).toEqual([]);
    });
  });

  test("multicast from outside is denied", () => {
    play({}, (pair) => {
      pair.webWire.send(
        udp({ ...MULTICAST, from: STRANGER, fromMac: GATEWAY_MAC }, 1, 2, text("x")),
      );
      pair.run(20_000);
      expect(pair.webKernel.receive()).toEqual([]);
      expect(pair.web.drops().size).toBe(1);
    });
  });

  test("bare packets of a peer are dropped whatever they are", () => {
    play({}, (pair) => {
      pair.dbWire.send(
        udp(WEB_TO_DB, 4000, 6379, text("APP1")),
        talk().out(TCP.syn),
        echo(WEB_TO_DB, false, 1, text("x")),
      );
      pair.run(20_000);
      expect(pair.dbKernel.receive()).toEqual([]);
      expect(pair.db.drops()).toEqual(drops(["untagged", 3]));
      expect(pair.db.eventsOf("refused").length).toBe(3);
    });
  });

  test("what the VM sends under another address or MAC does not leave, in no flow", () => {
    play({}, (pair) => {
      const frame = udp(WEB_TO_DB, 4000, 6379, text("APP1"));
      expect(pair.webSends(frame)).toEqual([frame]);
      const carried = pair.carried.length;
      pair.webSends(udp({ ...WEB_TO_DB, from: Uint8Array.of(10, 0, 0, 3) }, 1, 6379, text("APP1")));
      pair.webSends(udp({ ...WEB_TO_DB, fromMac: DB_MAC }, 4001, 6379, text("APP1")));
      // The flow that is allowed is no way round the guard.
      pair.webSends(udp({ ...WEB_TO_DB, fromMac: DB_MAC }, 4000, 6379, text("APP1")));
      expect(pair.web.drops()).toEqual(drops(["source-mac", 2], ["source-address", 1]));
      expect(pair.carried.length).toBe(carried);
    });
  });

  test("the VM cannot send ABS packets of its own making", () => {
    play({}, (pair) => {
      const frame = udp(WEB_TO_DB, 4000, 6379, text("APP1"));
      frame[23] = 253;
      expect(pair.webSends(frame)).toEqual([]);
      expect(pair.web.drops().get("egress-abs")).toBe(1);
    });
  });

  test("db begins nothing of its own", () => {
    play({}, (pair) => {
      expect(pair.dbSends(udp(DB_TO_WEB, 1, 2, text("APP1")))).toEqual([]);
      expect(pair.db.drops()).toEqual(drops(["policy-denied", 1]));
    });
  });
});
