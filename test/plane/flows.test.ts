/**
 * The flow states of design/agent.md (Figs. 11 and 12) through both agents: what one kernel sends
 * is what the other receives, byte for byte, or it is refused for the reason it should be. Every
 * scenario ends with all buffers back in the pool (pair.ts, play).
 */
import { describe, expect, test } from "bun:test";
import { type Ends, reversed, TCP, tcp, text, udp } from "./frames.ts";
import { type Pair, type PairOptions, play, WEB_TO_DB, WEB_TO_DB6 } from "./pair.ts";
import { checksumsHold, echo, TcpTalk } from "./rare-frames.ts";

const DB_TO_WEB = reversed(WEB_TO_DB);
const ACK = TCP.ack;
const PUSH = TCP.push | TCP.ack;
const SYN_ACK = TCP.syn | TCP.ack;

function talkFor(ends: Ends, port = 40_000): TcpTalk {
  return new TcpTalk(ends, reversed(ends), port);
}

/** SYN, SYN-ACK, ACK, each delivered as it was sent. */
function connect(pair: Pair, talk: TcpTalk): void {
  const syn = talk.out(TCP.syn);
  expect(pair.webSends(syn)).toEqual([syn]);
  const answer = talk.in(SYN_ACK);
  expect(pair.dbSends(answer)).toEqual([answer]);
  const ack = talk.out(ACK);
  expect(pair.webSends(ack)).toEqual([ack]);
}

function expectNoDrops(pair: Pair): void {
  expect(pair.web.drops()).toEqual(new Map());
  expect(pair.db.drops()).toEqual(new Map());
}

/** Bytes as text, to look for payload in what the wire carried. */
function latin(frame: Uint8Array): string {
  return Buffer.from(frame).toString("latin1");
}

/** Flag and next header of the ABS headers that the wire carried, for carrier `ip` over IPv4. */
function dataFrames(pair: Pair): Uint8Array[] {
  return pair.carried.map(({ frame }) => frame).filter((frame) => frame[34] === 0x15);
}

const WAYS: { name: string; options: PairOptions; ends: Ends }[] = [];
for (const [version, ends] of [
  ["IPv4", WEB_TO_DB],
  ["IPv6", WEB_TO_DB6],
] as const) {
  for (const carrier of ["ip", "udp"] as const) {
    for (const protection of ["integrity", "confidential"] as const) {
      const name = `${version}, carrier ${carrier}, ${protection}`;
      WAYS.push({ name, options: { carrier, protection }, ends });
    }
  }
}

describe.each(WAYS)("$name", ({ options, ends }) => {
  test("a TCP connection from SYN to the last ACK", () => {
    play(options, (pair) => {
      const talk = talkFor(ends);
      connect(pair, talk);
      for (let i = 0; i < 3; i++) {
        const question = talk.out(PUSH, text(`APP1 question ${"x".repeat(i * 400)}`));
        expect(pair.webSends(question)).toEqual([question]);
        const answer = talk.in(PUSH, text(`answer ${"y".repeat(i * 401)}`));
        expect(pair.dbSends(answer)).toEqual([answer]);
      }
      const fin = talk.out(TCP.fin | ACK);
      expect(pair.webSends(fin)).toEqual([fin]);
      const end = talk.in(TCP.fin | ACK);
      expect(pair.dbSends(end)).toEqual([end]);
      const last = talk.out(ACK);
      expect(pair.webSends(last)).toEqual([last]);
      expectNoDrops(pair);
      const secret = pair.carried.some(({ frame }) => latin(frame).includes("APP1 question"));
      expect(secret).toBe(options.protection !== "confidential");
    });
  });

  test("UDP of every length from nothing to the largest that fits", () => {
    play(options, (pair) => {
      const room = ends.from.length === 4 ? 1500 - 28 : 1500 - 48;
      const most = room - 32 - (options.carrier === "udp" ? 8 : 0);
      for (const length of [4, 5, 6, 7, 8, 63, 64, 65, 1000, most - 1, most]) {
        const payload = new Uint8Array(length).map((_, i) => 65 + (i % 26));
        payload.set(text("APP1"));
        const frame = udp(ends, 4000, 6379, payload);
        expect(pair.webSends(frame)).toEqual([frame]);
        const back = udp(reversed(ends), 6379, 4000, payload);
        expect(pair.dbSends(back)).toEqual([back]);
      }
      const empty = udp(ends, 4000, 6379, new Uint8Array(0));
      expect(pair.webSends(empty)).toEqual([empty]);
      expectNoDrops(pair);
    });
  });
});

const CONTRACTS = ["aes-128-gcm", "aes-256-gcm", "chacha20-poly1305"].flatMap((algorithm) =>
  ["sha256", "sha512", "blake2s", "blake2b"].map((hash) => ({ algorithm, hash })),
);

test.each(CONTRACTS)("contract $algorithm with $hash, both protections", ({ algorithm, hash }) => {
  for (const protection of ["integrity", "confidential"] as const) {
    play({ algorithm, hash, protection }, (pair) => {
      const talk = talkFor(WEB_TO_DB);
      connect(pair, talk);
      const question = talk.out(PUSH, text("APP1 question"));
      expect(pair.webSends(question)).toEqual([question]);
      const answer = talk.in(PUSH, text("an answer"));
      expect(pair.dbSends(answer)).toEqual([answer]);
      expectNoDrops(pair);
    });
  }
});

describe("modes", () => {
  test("an unauthenticated contract: one proof for all packets, no window", () => {
    const options: PairOptions = {
      mode: "quick",
      edit: (web, db) => {
        for (const file of [web, db]) file.contracts[0] = { ...file.contracts[0], quickmode: true };
        const rule = { direction: "in", from: { agent: "web" }, action: "allow" };
        db.policy.rules = [{ ...rule, id: "all", to: { protocol: ["tcp", "udp"], port: 6379 } }];
      },
    };
    play(options, (pair) => {
      const frames = [1, 2, 3].map((i) => udp(WEB_TO_DB, 4000, 6379, text(`anything ${i}`)));
      for (const frame of frames) expect(pair.webSends(frame)).toEqual([frame]);
      const proofs = dataFrames(pair)
        .filter((frame) => latin(frame).includes("anything"))
        .map((frame) => Buffer.from(frame.subarray(50, 66)).toString("hex"));
      expect(proofs.length).toBe(3);
      expect(new Set(proofs).size).toBe(1);
      const back = udp(DB_TO_WEB, 6379, 4000, text("back"));
      expect(pair.dbSends(back)).toEqual([back]);
      expectNoDrops(pair);
    });
  });

  test("quick mode: the tenant is enough, and no payload is looked at", () => {
    play({ mode: "quick" }, (pair) => {
      const talk = talkFor(WEB_TO_DB);
      connect(pair, talk);
      const question = talk.out(PUSH, text("no mark at all"));
      expect(pair.webSends(question)).toEqual([question]);
      const answer = talk.in(PUSH, text("fine"));
      expect(pair.dbSends(answer)).toEqual([answer]);
      expectNoDrops(pair);
      // Policy holds in quick mode as well.
      const other = udp(WEB_TO_DB, 4000, 9999, text("APP1"));
      expect(pair.webSends(other)).toEqual([]);
      expect(pair.db.drops()).toEqual(new Map([["policy-denied", 1]]));
    });
  });

  test("payload under the tenant from a quick peer is refused by a full one", () => {
    const edit: PairOptions["edit"] = (web) => {
      web.peers[0] = { ...web.peers[0], mode: "quick" };
    };
    play({ edit }, (pair) => {
      const talk = talkFor(WEB_TO_DB);
      connect(pair, talk);
      expect(pair.webSends(talk.out(PUSH, text("APP1 hello")))).toEqual([]);
      expect(pair.webSends(udp(WEB_TO_DB, 4000, 6379, text("APP1")))).toEqual([]);
      expect(pair.db.drops()).toEqual(new Map([["tenant-payload", 2]]));
    });
  });
});

describe("ICMP echo", () => {
  const edit: PairOptions["edit"] = (web, db) => {
    const tag = { name: "ping", tag: "c1f0a9b87d6e4f5a8b9c0d1e2f3a4b5c" };
    for (const file of [web, db]) {
      file.tags.push(tag);
      file.signatures.push({ builtin: "ping" });
    }
    web.node["tags"] = ["app1", "ping"];
    db.peers[0] = { ...db.peers[0], tags: ["app1", "ping"] };
    const rule = { direction: "in", from: { agent: "web" }, app: "ping", action: "allow" };
    db.policy.rules.push({ ...rule, id: "ping-in" });
  };

  test.each([
    ["IPv4", WEB_TO_DB],
    ["IPv6", WEB_TO_DB6],
  ] as const)("%s: an application with a numeric signature", (_, ends) => {
    play({ edit }, (pair) => {
      for (const payload of ["", "x".repeat(56), "y".repeat(1400)]) {
        const ping = echo(ends, false, 77, text(payload));
        expect(checksumsHold(ping)).toBe(true);
        expect(pair.webSends(ping)).toEqual([ping]);
        const pong = echo(reversed(ends), true, 77, text(payload));
        expect(pair.dbSends(pong)).toEqual([pong]);
      }
      expectNoDrops(pair);
      // The other way nothing allows it.
      expect(pair.dbSends(echo(reversed(ends), false, 78, text("x")))).toEqual([]);
    });
  });
});

describe("a known 5-tuple", () => {
  test("a SYN sent again is the same beginning; a new one after the end begins again", () => {
    play({}, (pair) => {
      const talk = talkFor(WEB_TO_DB);
      const syn = talk.out(TCP.syn);
      expect(pair.webSends(syn, syn)).toEqual([syn, syn]);
      const answer = talk.in(SYN_ACK);
      expect(pair.dbSends(answer, answer)).toEqual([answer, answer]);
      const ack = talk.out(ACK);
      expect(pair.webSends(ack)).toEqual([ack]);
      const question = talk.out(PUSH, text("APP1 first"));
      expect(pair.webSends(question)).toEqual([question]);
      const reset = talk.in(TCP.rst | ACK);
      expect(pair.dbSends(reset)).toEqual([reset]);
      const again = talkFor(WEB_TO_DB);
      connect(pair, again);
      // It begins again on both sides: the application has to show itself anew.
      expect(pair.webSends(again.out(PUSH, text("NOPE")))).toEqual([]);
      expect(pair.web.drops()).toEqual(new Map([["no-signature", 1]]));
      const third = talkFor(WEB_TO_DB);
      connect(pair, third);
      const late = third.out(PUSH, text("APP1 third"));
      expect(pair.webSends(late)).toEqual([late]);
      expect(pair.web.plane.halfOpen.count(0) + pair.db.plane.halfOpen.count(0)).toBe(0);
    });
  });

  test("RST and FIN of a connection that has no tag yet pass under the tenant", () => {
    play({}, (pair) => {
      const talk = talkFor(WEB_TO_DB);
      connect(pair, talk);
      const fin = talk.out(TCP.fin | ACK);
      expect(pair.webSends(fin)).toEqual([fin]);
      const end = talk.in(TCP.rst);
      expect(pair.dbSends(end)).toEqual([end]);
      expectNoDrops(pair);
    });
  });

  test("a port that the server's kernel refuses: the RST arrives", () => {
    play({}, (pair) => {
      const talk = talkFor(WEB_TO_DB);
      const syn = talk.out(TCP.syn);
      expect(pair.webSends(syn)).toEqual([syn]);
      const reset = talk.in(TCP.rst | ACK);
      expect(pair.dbSends(reset)).toEqual([reset]);
      expectNoDrops(pair);
    });
  });
});

describe("first payload in short segments", () => {
  test("is held, matched and delivered in order", () => {
    play({}, (pair) => {
      const talk = talkFor(WEB_TO_DB);
      connect(pair, talk);
      const parts = ["A", "PP", "1 hello"].map((part) => talk.out(PUSH, text(part)));
      expect(pair.webSends(parts[0] as Uint8Array)).toEqual([]);
      expect(pair.webSends(parts[1] as Uint8Array)).toEqual([]);
      expect(pair.webSends(parts[2] as Uint8Array)).toEqual(parts);
      expectNoDrops(pair);
    });
  });

  test("is judged after 200 ms by what there is", () => {
    play({}, (pair) => {
      const talk = talkFor(WEB_TO_DB);
      connect(pair, talk);
      expect(pair.webSends(talk.out(PUSH, text("APP")))).toEqual([]);
      pair.run(150_000);
      expect(pair.web.plane.holds.count).toBe(1);
      pair.run(100_000);
      expect(pair.web.plane.holds.count).toBe(0);
      expect(pair.web.drops()).toEqual(new Map([["no-signature", 1]]));
      expect(pair.dbKernel.receive()).toEqual([]);
    });
  });

  test("a fourth segment is judged, whatever it brings", () => {
    play({}, (pair) => {
      const talk = talkFor(WEB_TO_DB);
      connect(pair, talk);
      const parts = ["A", "P", "P"].map((part) => talk.out(PUSH, text(part)));
      expect(pair.webSends(...parts)).toEqual([]);
      // The third was the last that is waited for: APP is no APP1.
      expect(pair.web.drops().get("no-signature")).toBe(3);
    });
  });

  test("repetitions of a held segment change nothing and are bounded", () => {
    play({}, (pair) => {
      const talk = talkFor(WEB_TO_DB);
      connect(pair, talk);
      const first = talk.out(PUSH, text("AP"));
      pair.webKernel.send(...new Array<Uint8Array>(60).fill(first));
      pair.run(10_000);
      expect(pair.web.plane.holds.count).toBeLessThanOrEqual(3);
      const rest = talk.out(PUSH, text("P1"));
      const arrived = pair.webSends(rest);
      expect(arrived.at(-1)).toEqual(rest);
      expect(arrived[0]).toEqual(first);
      expect([...pair.web.drops().keys()]).toEqual(["identify-limit"]);
    });
  });

  test("a FIN right behind a short request does not lose it", () => {
    const signature = { contents: [{ offset: 0, depth: 4, expr: "AP" }] };
    const edit: PairOptions["edit"] = (web) => {
      web.signatures[0] = { ...web.signatures[0], ...signature };
    };
    play({ edit }, (pair) => {
      const talk = talkFor(WEB_TO_DB);
      connect(pair, talk);
      const short = talk.out(PUSH, text("AP"));
      const fin = talk.out(TCP.fin | ACK);
      pair.webKernel.send(short, fin);
      pair.run(300_000);
      expect(pair.dbKernel.receive().map(latin).sort()).toEqual([short, fin].map(latin).sort());
      expectNoDrops(pair);
    });
  });

  test("more flows than seats: the next are judged by what they have", () => {
    play({}, (pair) => {
      const syns = Array.from({ length: 1100 }, (_, i) =>
        tcp(WEB_TO_DB, 10_000 + i, 6379, { flags: TCP.syn, sequence: 1 }),
      );
      for (let i = 0; i < syns.length; i += 500) pair.webSends(...syns.slice(i, i + 500));
      const shorts = syns.map((_, i) =>
        tcp(WEB_TO_DB, 10_000 + i, 6379, { flags: PUSH, sequence: 2, payload: text("AP") }),
      );
      for (let i = 0; i < shorts.length; i += 500) {
        pair.webKernel.send(...shorts.slice(i, i + 500));
        pair.run(1_000);
      }
      const { holds } = pair.web.plane;
      expect(holds.count).toBeGreaterThan(0);
      expect(holds.count).toBeLessThanOrEqual(8192 / 16);
      pair.run(400_000);
      expect(holds.count).toBe(0);
      // Those that found no room to wait may try again: nothing was decided about them.
      const full = pair.web.drops().get("hold-queue-full") ?? 0;
      const none = pair.web.drops().get("no-signature") ?? 0;
      expect(full + none).toBe(1100);
      expect(full).toBeGreaterThan(0);
      const whole = tcp(WEB_TO_DB, 10_000 + 1099, 6379, {
        flags: PUSH,
        sequence: 2,
        payload: text("APP1"),
      });
      const isOpen = pair.db.drops().get("half-open-limit") === undefined;
      if (isOpen) expect(pair.webSends(whole)).toEqual([whole]);
    });
  });
});

describe("server first", () => {
  test("without the rule the greeting never leaves", () => {
    play({}, (pair) => {
      const talk = talkFor(WEB_TO_DB);
      connect(pair, talk);
      expect(pair.dbSends(talk.in(PUSH, text("220 hello")))).toEqual([]);
      expect(pair.db.drops()).toEqual(new Map([["tenant-payload", 1]]));
    });
  });

  test("with it up to 16 KiB pass before the initiator speaks, and all after", () => {
    play({ serverFirst: true }, (pair) => {
      const talk = talkFor(WEB_TO_DB);
      connect(pair, talk);
      for (let i = 0; i < 16; i++) {
        const words = talk.in(PUSH, new Uint8Array(1024).fill(65 + i));
        expect(pair.dbSends(words)).toEqual([words]);
      }
      const more = talk.in(PUSH, text("one byte more is too much"));
      expect(pair.dbSends(more)).toEqual([]);
      expect(pair.db.drops()).toEqual(new Map([["server-first-limit", 1]]));
      const ack = talk.out(ACK);
      expect(pair.webSends(ack)).toEqual([ack]);
      const question = talk.out(PUSH, text("APP1 go on"));
      expect(pair.webSends(question)).toEqual([question]);
      expect(pair.dbSends(more)).toEqual([more]);
    });
  });

  test("both speak at once, as in SSH: nothing is lost, nothing refused", () => {
    play({ serverFirst: true }, (pair) => {
      const talk = talkFor(WEB_TO_DB);
      connect(pair, talk);
      const greeting = talk.in(PUSH, text("SSH-2.0-server"));
      const mine = talk.out(PUSH, text("APP1 SSH-2.0-client"));
      // The client's agent has bound the flow when the greeting, sent before, arrives.
      pair.webKernel.send(mine);
      pair.dbKernel.send(greeting);
      pair.run(50_000);
      expect(pair.dbKernel.receive()).toEqual([mine]);
      expect(pair.webKernel.receive()).toEqual([greeting]);
      const next = talk.in(PUSH, text("key exchange"));
      expect(pair.dbSends(next)).toEqual([next]);
      expectNoDrops(pair);
    });
  });

  test("a greeting delayed on the wire until after the flow was allowed still arrives", () => {
    play({ serverFirst: true }, (pair) => {
      const talk = talkFor(WEB_TO_DB);
      connect(pair, talk);
      const kept: Uint8Array[] = [];
      pair.carry = (frame, from) => {
        if (from !== "db" || !latin(frame).includes("SSH-2.0")) return [frame];
        kept.push(frame);
        return [];
      };
      const greeting = talk.in(PUSH, text("SSH-2.0-server"));
      expect(pair.dbSends(greeting)).toEqual([]);
      const mine = talk.out(PUSH, text("APP1 SSH-2.0-client"));
      expect(pair.webSends(mine)).toEqual([mine]);
      pair.webWire.send(...kept);
      pair.run(10_000);
      expect(pair.webKernel.receive()).toEqual([greeting]);
      expectNoDrops(pair);
    });
  });

  test("the initiator's agent counts too: 16 KiB in all, before and after", () => {
    play({ serverFirst: true }, (pair) => {
      const talk = talkFor(WEB_TO_DB);
      connect(pair, talk);
      // A compromised server's agent: its own limit is lifted.
      const words = pair.db.plane.flows.words;
      let arrived = 0;
      for (let i = 0; i < 40; i++) {
        for (let at = 0; at < words.length; at += 16) {
          if ((words[at + 10] & 0xff) === 2) words[at + 10] &= 0xffff;
        }
        arrived += pair.dbSends(talk.in(PUSH, new Uint8Array(1024).fill(65))).length;
      }
      expect(arrived).toBe(16);
      expect(pair.web.drops()).toEqual(new Map([["server-first-limit", 24]]));
    });
  });
});
