/**
 * The agent's own connections through its data plane: calls that were announced, calls from known
 * nodes at the published port, and nothing that only looks like them. design/agent.md "Egress" 2;
 * docs/peer-channel.md "Behind an agent's data plane".
 */
import { describe, expect, test } from "bun:test";
import { DataPlanePassage } from "../../src/agent/peer-passage.ts";
import { type Ends, reversed, TCP, tcp, text } from "./frames.ts";
import { DB_IP, DB_MAC, type Pair, play, WEB_TO_DB, WEB_TO_DB6 } from "./pair.ts";
import { TcpTalk } from "./rare-frames.ts";

const PORT = 6254;
const LOCAL = 61_500;
const DB_TO_WEB = reversed(WEB_TO_DB);
const PUSH = TCP.push | TCP.ack;
const STRANGER: Ends = {
  fromMac: Uint8Array.of(2, 0, 0, 0, 0, 99),
  toMac: DB_MAC,
  from: Uint8Array.of(192, 0, 2, 7),
  to: DB_IP,
};

function passageOf(pair: Pair, side: "web" | "db"): DataPlanePassage {
  const { link } = pair[side];
  const sendBytes = (type: number, bytes: Uint8Array) => link.sendBytes(type, bytes);
  return new DataPlanePassage({
    sendBytes,
    carryOut: async (type, bytes) => sendBytes(type, bytes),
  });
}

/** What the switch carried of web's and db's frames since the last time. */
function carried(pair: Pair): Uint8Array[] {
  return pair.carried.splice(0).map(({ frame }) => frame);
}

describe.each([
  ["IPv4", WEB_TO_DB, "10.0.0.2", "10.0.0.1"],
  ["IPv6", WEB_TO_DB6, "fd00::2", "fd00::1"],
] as const)("%s", (_, ends, dbHost, webHost) => {
  test("a call that was announced, taken at the published port: unchanged both ways", () => {
    play({}, (pair) => {
      void passageOf(pair, "web").open({ localPort: LOCAL, host: dbHost, port: PORT });
      passageOf(pair, "db").admit(PORT, [webHost]);
      pair.run(20_000);
      const talk = new TcpTalk(ends, reversed(ends), LOCAL, PORT);
      const steps = [
        [talk.out(TCP.syn), "web"],
        [talk.in(TCP.syn | TCP.ack), "db"],
        [talk.out(PUSH, text("hello")), "web"],
        [talk.in(PUSH, text("well met")), "db"],
        [talk.out(TCP.fin | TCP.ack), "web"],
      ] as const;
      for (const [frame, from] of steps) {
        const [near, far] =
          from === "web" ? [pair.webKernel, pair.dbKernel] : [pair.dbKernel, pair.webKernel];
        near.send(frame);
        pair.run(20_000);
        expect(carried(pair)).toEqual([frame]);
        expect(far.receive()).toEqual([frame]);
      }
      expect([pair.web.drops(), pair.db.drops()]).toEqual([new Map(), new Map()]);
    });
  });
});

test("a standing connection passes however the packets fall between the callers of a new list", () => {
  play({}, (pair) => {
    void passageOf(pair, "web").open({ localPort: LOCAL, host: "10.0.0.2", port: PORT });
    const talk = new TcpTalk(WEB_TO_DB, DB_TO_WEB, LOCAL, PORT);
    const answers = (): void => {
      pair.dbKernel.send(talk.in(PUSH, text("well met")));
      pair.run(20_000);
    };
    const { link } = pair.db;
    let isOpen = false;
    // The worker takes each command by itself, and packets in between.
    const passage = new DataPlanePassage({
      sendBytes: (type, bytes) => {
        link.sendBytes(type, bytes);
        pair.run(20_000);
        if (isOpen) answers();
      },
      carryOut: async () => {},
    });
    passage.admit(PORT, ["10.0.0.1"]);
    pair.webKernel.send(talk.out(TCP.syn));
    pair.run(20_000);
    pair.dbKernel.send(talk.in(TCP.syn | TCP.ack));
    pair.run(20_000);
    isOpen = true;
    passage.admit(PORT, ["10.0.0.7", "10.0.0.1", "10.0.0.8"]);
    expect(pair.db.drops()).toEqual(new Map());
  });
});

describe("not by a port alone", () => {
  const announced = (pair: Pair) => {
    void passageOf(pair, "web").open({ localPort: LOCAL, host: "10.0.0.2", port: PORT });
    passageOf(pair, "web").admit(PORT, ["10.0.0.2"]);
    passageOf(pair, "db").admit(PORT, ["10.0.0.1"]);
    pair.run(20_000);
  };
  const outgoing = [
    ["from another local port", LOCAL + 1, PORT],
    ["to another port", LOCAL, PORT + 1],
    ["a call from the port that listens", PORT, PORT],
  ] as const;
  test.each(outgoing)("out: %s", (_, from, to) => {
    play({}, (pair) => {
      announced(pair);
      const syn = tcp(WEB_TO_DB, from, to, { flags: TCP.syn });
      pair.webKernel.send(syn);
      pair.run(20_000);
      expect(pair.dbKernel.receive()).toEqual([]);
      expect(carried(pair).some((frame) => frame.length === syn.length)).toBe(false);
    });
  });

  const incoming = [
    ["a peer at another port", tcp(WEB_TO_DB, 40_000, PORT + 1, { flags: TCP.syn }), "untagged"],
    ["somebody who is no node", tcp(STRANGER, 40_000, PORT, { flags: TCP.syn }), "outside-denied"],
  ] as const;
  test.each(incoming)("in: %s", (_, frame, reason) => {
    play({}, (pair) => {
      announced(pair);
      pair.dbWire.send(frame);
      pair.run(20_000);
      expect(pair.dbKernel.receive()).toEqual([]);
      expect(pair.db.drops()).toEqual(new Map([[reason, 1]]));
    });
  });

  test("in: who answers a call may not make one from there", () => {
    play({}, (pair) => {
      announced(pair);
      pair.webWire.send(tcp(DB_TO_WEB, PORT, LOCAL, { flags: TCP.syn }));
      pair.run(20_000);
      expect(pair.webKernel.receive()).toEqual([]);
      expect(pair.web.drops()).toEqual(new Map([["untagged", 1]]));
    });
  });

  test("a node that calls too often is held back; others are not", () => {
    play({}, (pair) => {
      passageOf(pair, "db").admit(PORT, ["10.0.0.1", "192.0.2.7"]);
      pair.run(20_000);
      for (let i = 0; i < 50; i++) {
        pair.dbWire.send(tcp(WEB_TO_DB, 40_000 + i, PORT, { flags: TCP.syn }));
      }
      pair.run(20_000);
      expect(pair.dbKernel.receive().length).toBe(20);
      expect(pair.db.drops()).toEqual(new Map([["management-rate", 30]]));
      const other = tcp(STRANGER, 40_000, PORT, { flags: TCP.syn });
      pair.dbWire.send(other);
      pair.run(20_000);
      expect(pair.dbKernel.receive()).toEqual([other]);
    });
  });

  test("nobody calls any more once the node is gone", () => {
    play({}, (pair) => {
      const passage = passageOf(pair, "db");
      passage.admit(PORT, ["10.0.0.1"]);
      passage.closeAll();
      pair.run(20_000);
      pair.dbWire.send(tcp(WEB_TO_DB, 40_000, PORT, { flags: TCP.syn }));
      pair.run(20_000);
      expect(pair.db.drops()).toEqual(new Map([["untagged", 1]]));
    });
  });
});

test("a call on the 5-tuple of an application's earlier flow is not sealed with it", () => {
  play({}, (pair) => {
    const before = new TcpTalk(WEB_TO_DB, DB_TO_WEB, LOCAL, 6379);
    pair.webKernel.send(before.out(TCP.syn));
    pair.run(50_000);
    pair.dbKernel.send(before.in(TCP.syn | TCP.ack));
    pair.run(50_000);
    pair.webKernel.send(before.out(PUSH, text("APP1 hello")));
    pair.run(50_000);
    expect(pair.dbKernel.receive().length).toBe(2);
    void passageOf(pair, "web").open({ localPort: LOCAL, host: "10.0.0.2", port: 6379 });
    pair.run(20_000);
    carried(pair);
    const call = new TcpTalk(WEB_TO_DB, DB_TO_WEB, LOCAL, 6379);
    for (const frame of [call.out(TCP.syn), call.out(PUSH, text("mine"))]) {
      pair.webKernel.send(frame);
      pair.run(20_000);
      expect(carried(pair)).toEqual([frame]);
    }
  });
});
