/**
 * Who may reach what, and what the refused one gets: design/agent.md "Egress" 3 and 4, "Ingress" 3
 * and 4, "Modes and stages"; docs/wire.md "REJECT". Both agents, whole.
 */
import { describe, expect, test } from "bun:test";
import { REJECT_REASON } from "../../src/wire/reject-message.ts";
import { reversed, TCP, text, udp } from "./frames.ts";
import { type Pair, type PairOptions, play, WEB_TO_DB } from "./pair.ts";
import { checksumsHold, echo, TcpTalk } from "./rare-frames.ts";

const ACK = TCP.ack;
const PUSH = TCP.push | TCP.ack;

function talk(port = 40_000, ends = WEB_TO_DB, serverPort = 6379): TcpTalk {
  return new TcpTalk(ends, reversed(ends), port, serverPort);
}

function connect(pair: Pair, conversation: TcpTalk): void {
  const syn = conversation.out(TCP.syn);
  expect(pair.webSends(syn)).toEqual([syn]);
  const answer = conversation.in(TCP.syn | ACK);
  expect(pair.dbSends(answer)).toEqual([answer]);
  const ack = conversation.out(ACK);
  expect(pair.webSends(ack)).toEqual([ack]);
}

function drops(...entries: [string, number][]): Map<string, number> {
  return new Map(entries);
}

function protocolOf(frame: Uint8Array | undefined): number {
  return frame?.[23] ?? -1;
}

describe("refused by the own agent", () => {
  test("a payload that no signature knows: event with first bytes, rule and 5-tuple", () => {
    play({}, (pair) => {
      const conversation = talk();
      connect(pair, conversation);
      expect(pair.webSends(conversation.out(PUSH, text("HTTP nonsense")))).toEqual([]);
      expect(pair.web.drops()).toEqual(drops(["no-signature", 1]));
      const [event] = pair.web.eventsOf("refused");
      expect(event).toMatchObject({
        reason: "no-signature",
        direction: "out",
        source: "10.0.0.1",
        sourcePort: 40_000,
        destination: "10.0.0.2",
        destinationPort: 6379,
        protocol: "tcp",
        peer: "db",
        stage: "enforce",
        bytes: Buffer.from("HTTP nonsense").toString("hex"),
        payloadBytes: 13,
      });
      expect(event).not.toHaveProperty("signature");
      // The flow stays refused, also for what would have matched.
      expect(pair.webSends(conversation.out(PUSH, text("APP1")))).toEqual([]);
      expect(pair.web.drops()).toEqual(drops(["no-signature", 1], ["refused-flow", 1]));
      expect(pair.web.eventsOf("refused").length).toBe(1);
    });
  });

  test("an application that this node may not claim", () => {
    play({ webTags: [] }, (pair) => {
      const conversation = talk();
      const syn = conversation.out(TCP.syn);
      pair.webSends(syn);
      const answer = conversation.in(TCP.syn | ACK);
      pair.dbSends(answer);
      expect(pair.webSends(conversation.out(PUSH, text("APP1 hello")))).toEqual([]);
      expect(pair.web.drops()).toEqual(drops(["not-entitled", 1]));
    });
  });

  test("no signature fits the numbers: refused at its first packet", () => {
    const edit: PairOptions["edit"] = (web) => {
      web.signatures[0] = { ...web.signatures[0], dst_port: "6379" };
    };
    play({ edit }, (pair) => {
      expect(pair.webSends(talk(40_000, WEB_TO_DB, 80).out(TCP.syn))).toEqual([]);
      expect(pair.web.drops()).toEqual(drops(["no-signature", 1]));
      expect(pair.carried).toEqual([]);
    });
  });

  test.each(["drop", "reject"] as const)("a rule denies it: %s", (refuse) => {
    const edit: PairOptions["edit"] = (web) => {
      const rule = { direction: "out", action: "deny", refuse, to: { agent: "db" } };
      web.policy.rules = [{ ...rule, id: "never" }];
    };
    play({ edit }, (pair) => {
      const conversation = talk();
      pair.webSends(conversation.out(TCP.syn));
      pair.webSends(udp(WEB_TO_DB, 5000, 6379, text("APP1")));
      pair.webSends(echo(WEB_TO_DB, false, 9, text("x")));
      const answers = pair.webKernel.receive();
      expect(pair.web.drops()).toEqual(drops(["policy-denied", 3]));
      expect(pair.web.eventsOf("refused").map(({ rule }) => rule)).toEqual([
        "never",
        "never",
        "never",
      ]);
      expect(pair.carried).toEqual([]);
      if (refuse === "drop") {
        expect(answers).toEqual([]);
        return;
      }
      expect(answers.map(protocolOf)).toEqual([6, 1, 1]);
      expect(answers.every(checksumsHold)).toBe(true);
      const [reset, prohibited] = answers as [Uint8Array, Uint8Array, Uint8Array];
      const view = new DataView(reset.buffer);
      expect(reset[47]).toBe(TCP.rst | ACK);
      expect(view.getUint32(42)).toBe(conversation.sequence); // what its SYN asked to acknowledge
      expect([...prohibited.subarray(34, 36)]).toEqual([3, 13]);
    });
  });

  test("the signature is that of the flow at hand, too", () => {
    const edit: PairOptions["edit"] = (web) => {
      const rule = { direction: "out", action: "deny", to: { protocol: "udp", port: 7 } };
      web.policy.rules = [{ ...rule, id: "never" }];
    };
    play({ edit }, (pair) => {
      expect(pair.webSends(udp(WEB_TO_DB, 5000, 6379, text("APP1"))).length).toBe(1);
      pair.webSends(udp(WEB_TO_DB, 5000, 7, text("APP1")));
      expect(pair.web.eventsOf("flow-allowed")[0]).toMatchObject({ signature: "app1" });
      expect(pair.web.eventsOf("refused")[0]).not.toHaveProperty("signature");
    });
  });

  test("the decision is that of the flow at hand, not of the packet before", () => {
    // A rule that only observes decides on another flow just before the refusal.
    const edit: PairOptions["edit"] = (web) => {
      const rule = { direction: "out", action: "deny", stage: "observe", refuse: "reject" };
      web.policy.rules = [{ ...rule, id: "watch", to: { protocol: "udp", port: 7 } }];
    };
    play({ edit }, (pair) => {
      const conversation = talk();
      connect(pair, conversation);
      pair.webSends(udp(WEB_TO_DB, 5000, 7, text("x")), conversation.out(PUSH, text("nothing")));
      expect(pair.web.drops()).toEqual(drops(["no-signature", 1]));
      expect(pair.webKernel.receive()).toEqual([]);
      expect(pair.web.eventsOf("refused")).toMatchObject([
        { rule: "watch", enforced: false },
        { rule: "default-outbound" },
      ]);
    });
  });

  test("a refused flow is judged again after 30 s, also if it never pauses", () => {
    play({}, (pair) => {
      const frame = udp(WEB_TO_DB, 5000, 6379, text("NOPE"));
      for (let second = 0; second < 65; second++) {
        pair.webKernel.send(frame);
        pair.run(1_000_000, 500_000);
      }
      expect(pair.web.eventsOf("refused").length).toBe(3);
    });
  });
});

describe("refused by the other agent", () => {
  test("an application that no rule lets in, dropped: the sender learns nothing", () => {
    play({ dbRules: [] }, (pair) => {
      expect(pair.webSends(udp(WEB_TO_DB, 5000, 8080, text("APP1 x")))).toEqual([]);
      expect(pair.db.drops()).toEqual(drops(["policy-denied", 1]));
      expect(pair.db.eventsOf("refused")[0]).toMatchObject({
        reason: "policy-denied",
        direction: "in",
        app: "app1",
        peer: "web",
        rule: "default-inbound",
        destinationPort: 8080,
      });
      pair.run(100_000);
      expect(pair.web.eventsOf("rejected-by-peer")).toEqual([]);
      expect(pair.webKernel.receive()).toEqual([]);
    });
  });

  test("rejected: a datagram's sender gets ICMP for the next", () => {
    play({ refuse: "reject" }, (pair) => {
      const frame = udp(WEB_TO_DB, 5000, 8080, text("APP1 x"));
      expect(pair.webSends(frame)).toEqual([]);
      pair.run(100_000);
      expect(pair.web.eventsOf("rejected-by-peer")).toMatchObject([
        { peer: "db", protocol: "udp", destination: "10.0.0.2", destinationPort: 8080 },
      ]);
      expect(pair.webSends(frame)).toEqual([]);
      const [answer] = pair.webKernel.receive();
      expect(protocolOf(answer)).toBe(1);
      expect(answer && checksumsHold(answer)).toBe(true);
      expect([...(answer ?? []).slice(34, 36)]).toEqual([3, 13]);
      expect(pair.web.drops()).toEqual(drops(["refused-flow", 1]));
    });
  });

  test("rejected: a SYN sent again is answered by a reset, and the one after begins again", () => {
    play({ refuse: "reject" }, (pair) => {
      const conversation = talk(40_000, WEB_TO_DB, 8080);
      const syn = conversation.out(TCP.syn);
      expect(pair.webSends(syn)).toEqual([]);
      pair.run(100_000);
      expect(pair.web.eventsOf("rejected-by-peer").length).toBe(1);
      expect(pair.webSends(syn)).toEqual([]);
      const answers = pair.webKernel.receive();
      expect(answers.length).toBe(1);
      expect(answers[0]?.[47]).toBe(TCP.rst | ACK);
      const before = pair.carried.length;
      expect(pair.webSends(syn)).toEqual([]);
      expect(pair.carried.length).toBeGreaterThan(before);
    });
  });

  test("rejected: a running connection is reset at its next segment", () => {
    play({ refuse: "reject" }, (pair) => {
      const edit = talk();
      connect(pair, edit);
      const question = edit.out(PUSH, text("APP1 q"));
      expect(pair.webSends(question)).toEqual([question]);
      // db's policy changes its mind: the flow there is refused, and web told.
      pair.db.driver.sendReject(0 as never, 1 as never, {
        reason: REJECT_REASON.policyDenied,
        protocol: 6,
        sourcePort: 40_000,
        destinationPort: 6379,
        source: WEB_TO_DB.from,
        destination: WEB_TO_DB.to,
      });
      pair.run(50_000);
      pair.webSends(edit.out(PUSH, text("more")));
      const [reset] = pair.webKernel.receive();
      expect(reset?.[47]).toBe(TCP.rst);
      const view = new DataView((reset as Uint8Array).buffer);
      expect(view.getUint32(38)).toBe(edit.peerSequence);
    });
  });

  test("an unencumbered SYN to a port that no rule opens gets nowhere", () => {
    play({}, (pair) => {
      expect(pair.webSends(talk(40_000, WEB_TO_DB, 22).out(TCP.syn))).toEqual([]);
      expect(pair.db.drops()).toEqual(drops(["policy-denied", 1]));
    });
  });
});

describe("stages", () => {
  test.each(["observe", "warn"] as const)("%s: everything passes, and is said", (stage) => {
    play({ stage }, (pair) => {
      const conversation = talk(40_000, WEB_TO_DB, 8080);
      connect(pair, conversation);
      const question = conversation.out(PUSH, text("whatever this is"));
      expect(pair.webSends(question)).toEqual([question]);
      const answer = conversation.in(PUSH, text("an answer"));
      expect(pair.dbSends(answer)).toEqual([answer]);
      const datagram = udp(WEB_TO_DB, 5000, 53, text("query"));
      expect(pair.webSends(datagram)).toEqual([datagram]);
      // A connection older than the agents.
      const old = talk(41_000);
      for (const frame of [old.out(ACK), old.out(PUSH, text("middle of something"))]) {
        expect(pair.webSends(frame)).toEqual([frame]);
      }
      const more = old.in(PUSH, text("and back"));
      expect(pair.dbSends(more)).toEqual([more]);
      // A bare packet of a peer.
      const bare = udp(WEB_TO_DB, 6000, 6379, text("bare"));
      pair.dbWire.send(bare);
      pair.run(10_000);
      expect(pair.dbKernel.receive()).toEqual([bare]);
      expect(pair.web.drops()).toEqual(new Map());
      expect(pair.db.drops()).toEqual(new Map());
      const all = [...pair.web.eventsOf("refused"), ...pair.db.eventsOf("refused")];
      expect(all.length).toBeGreaterThan(3);
      expect(all.every(({ enforced }) => enforced === false)).toBe(true);
      expect(all.every((event) => event["stage"] === stage)).toBe(true);
    });
  });

  test("a server that speaks first without the rule passes while only observed", () => {
    play({ stage: "observe" }, (pair) => {
      const conversation = talk();
      connect(pair, conversation);
      const greeting = conversation.in(PUSH, text("220 hello"));
      expect(pair.dbSends(greeting)).toEqual([greeting]);
      expect(pair.db.eventsOf("refused")[0]).toMatchObject({ reason: "tenant-payload" });
    });
  });

  test("the stage of a rule goes before the default", () => {
    const dbRules = [
      {
        id: "try",
        direction: "in",
        from: { agent: "web" },
        action: "deny",
        stage: "observe",
        to: { protocol: "udp", port: 53 },
      },
    ];
    play({ dbRules }, (pair) => {
      const watched = udp(WEB_TO_DB, 5000, 53, text("APP1"));
      expect(pair.webSends(watched)).toEqual([watched]);
      expect(pair.webSends(udp(WEB_TO_DB, 5000, 54, text("APP1")))).toEqual([]);
      expect(pair.db.drops()).toEqual(drops(["policy-denied", 1]));
    });
  });
});

describe("connections older than the agent", () => {
  test("are refused by default", () => {
    play({}, (pair) => {
      const old = talk();
      expect(pair.webSends(old.out(ACK))).toEqual([]);
      expect(pair.web.drops()).toEqual(drops(["midstream", 1]));
    });
  });

  test("pass under the tenant until the stated time, and not after", () => {
    // A minute after the tests' beginning.
    const until = new Date(1_700_000_060_000).toISOString();
    const edit: PairOptions["edit"] = (web, db) => {
      for (const file of [web, db]) {
        file.policy.defaults["midstream"] = { until };
      }
    };
    const attempt = (pair: Pair, port: number) => {
      const old = talk(port);
      const frames = [old.out(ACK), old.out(PUSH, text("middle")), old.out(PUSH, text("of it"))];
      return { old, frames, arrived: pair.webSends(...frames) };
    };
    play({ edit }, (pair) => {
      const { old, frames, arrived } = attempt(pair, 40_000);
      expect(arrived).toEqual(frames);
      const back = old.in(PUSH, text("an answer"));
      expect(pair.dbSends(back)).toEqual([back]);
      // The responder's segment may be the first that is seen.
      const other = talk(40_001);
      const first = other.in(PUSH, text("download"));
      expect(pair.dbSends(first)).toEqual([first]);
      pair.run(61_000_000, 1_000_000);
      expect(attempt(pair, 40_002).arrived).toEqual([]);
      expect(pair.web.drops()).toEqual(drops(["midstream", 1], ["refused-flow", 2]));
    });
  });
});
