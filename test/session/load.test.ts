/**
 * Load and bounds: docs/wire.md "Cookie", "Sessions a peer are bounded". Under load an initiation
 * costs nothing but a cookie until its address is shown; nothing that a stranger sends fills a
 * table.
 */
import { describe, expect, test } from "bun:test";
import type { Micros, PeerIndex, WallMillis } from "../../src/units.ts";
import { seed } from "../prng.ts";
import { cookieFrom, forgeInitiation, hand, machineOf, sentBy } from "./forging.ts";
import { APP1, PEER, pairOf, TAGS } from "./setup.ts";
import { START_WALL } from "./simulated-network.ts";

function at(seconds: number) {
  const now = (1_000_000 + seconds * 1_000_000) as Micros;
  return { type: "time", now, wall: (START_WALL + seconds * 1000) as WallMillis } as const;
}

describe("under load", () => {
  test("an initiation without mac2 gets a cookie and nothing else", () => {
    const b = machineOf("b");
    const outputs = hand(b, forgeInitiation(), { underLoad: true });
    expect(outputs.map(({ type }) => type)).toEqual(["send", "event"]);
    expect(sentBy(outputs)[0]?.length).toBe(64);
    expect(b.refusals.get("cookie-required")).toBe(1);
  });

  test("two agents still find each other", () => {
    const { network, a, b } = pairOf(seed);
    a.isUnderLoad = true;
    b.isUnderLoad = true;
    a.send(PEER, APP1, 0, 1);
    network.run(1);
    expect(b.delivered).toEqual([1]);
    expect(network.handshakes.length).toBe(4);
  });

  test("a source address has its share and no more", () => {
    const b = machineOf("b");
    const cookie = cookieFrom(b);
    // What follows the cookie is not even opened: the altered text keeps the macs right.
    const message = forgeInitiation({ cookie, plan: { applicationTag: TAGS[2]?.bytes ?? cookie } });
    for (let i = 0; i < 100; i++) hand(b, message, { underLoad: true });
    expect(b.refusals.get("tag")).toBe(40);
    expect(b.refusals.get("source-limit")).toBe(60);
    b.step(at(1));
    for (let i = 0; i < 100; i++) hand(b, message, { underLoad: true });
    expect(b.refusals.get("tag")).toBe(60);
  });

  test("cookie replies have a limit of their own", () => {
    const b = machineOf("b");
    const message = forgeInitiation();
    let replies = 0;
    for (let i = 0; i < 1500; i++) replies += sentBy(hand(b, message, { underLoad: true })).length;
    expect(replies).toBe(1000);
    expect(b.refusals.get("cookie-limit")).toBe(500);
  });

  test("a cookie lives through one change of the secret and dies at the second", () => {
    for (const [seconds, isTaken] of [
      [119, true],
      [121, true],
      [241, false],
      [1000, false],
    ] as const) {
      const b = machineOf("b");
      const cookie = cookieFrom(b);
      if (seconds === 241) b.step(at(121));
      b.step(at(seconds));
      hand(b, forgeInitiation({ cookie }), { underLoad: true });
      expect([seconds, b.list().length > 0]).toEqual([seconds, isTaken]);
    }
  });

  test("a cookie is worth nothing at another address", () => {
    const b = machineOf("b");
    const message = forgeInitiation({ cookie: cookieFrom(b) });
    const sourceAddress = new Uint8Array([10, 0, 0, 9]);
    b.step({ type: "handshake", message, sourceAddress, underLoad: true });
    expect(b.list().length).toBe(0);
  });

  test("cookies that never hold cause no more than three more initiations at once", () => {
    const { network, a, b } = pairOf(seed);
    b.isUnderLoad = true;
    // B's secret changes at once, so that no cookie is ever right.
    a.send(PEER, APP1, 0, 1);
    for (let i = 0; i < 50; i++) {
      b.step({ type: "forget-all" });
      network.run(0.004);
      b.step({ type: "forget-all" });
    }
    expect(network.handshakes.filter(({ from }) => from === a).length).toBeLessThanOrEqual(6);
  });
});

describe("tables are bounded", () => {
  test("unconfirmed sessions: two a peer and tag, for 5 s", () => {
    const b = machineOf("b");
    const cookie = cookieFrom(b);
    for (let i = 0; i < 50; i++) hand(b, forgeInitiation({ cookie }));
    expect(b.list().length).toBe(2);
    b.step(at(4.9));
    expect(b.list().length).toBe(2);
    const outputs = b.step(at(5.1));
    expect(b.list().length).toBe(0);
    expect(outputs.filter(({ type }) => type === "close").length).toBe(2);
  });

  test("a flood of strangers leaves nothing behind", () => {
    const b = machineOf("b");
    const message = forgeInitiation({ mac1Receiver: new Uint8Array(32).fill(9) });
    let outputs = 0;
    for (let i = 0; i < 20_000; i++) outputs += hand(b, message).length;
    // Notices have a limit, counters none.
    expect(outputs).toBeLessThanOrEqual(100);
    expect(b.refusals.get("mac1")).toBe(20_000);
    expect(b.list().length + b.pendingCount).toBe(0);
  });

  test("needs for everything: slots end, and what waits is told", () => {
    const peers = Array.from({ length: 10 }, (_, i) => ({
      id: `peer ${i}`,
      staticPublic: new Uint8Array(32).fill(i + 1),
      entitledTags: [APP1],
    }));
    const a = machineOf("a", { peers, limits: { sessions: 16, sessionsPerPeer: 2 } });
    const failed: unknown[] = [];
    for (let peer = 0; peer < peers.length; peer++) {
      for (const tag of [0, 1, 2]) {
        const binding = { peer: peer as PeerIndex, tag: tag as typeof APP1, role: 0 as const };
        const outputs = a.step({ type: "need", ...binding });
        failed.push(...outputs.filter(({ type }) => type === "failed"));
      }
    }
    expect(a.pendingCount).toBe(16);
    expect(failed.length).toBe(14);
    a.step(at(6));
    expect(a.pendingCount).toBe(0);
    a.step({ type: "need", peer: PEER, tag: APP1, role: 0 });
    expect(a.pendingCount).toBe(1);
  });

  test("needs of a peer or tag that is not there fail at once", () => {
    const a = machineOf("a");
    for (const [peer, tag] of [
      [7, 1],
      [0, 9],
    ] as const) {
      const outputs = a.step({
        type: "need",
        peer: peer as PeerIndex,
        tag: tag as typeof APP1,
        role: 0,
      });
      expect(outputs.map(({ type }) => type)).toEqual(["failed", "event"]);
    }
  });
});
