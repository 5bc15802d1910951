/**
 * What is held against a peer (src/agent/violation-counts.ts), between two whole agents: flows of
 * its own that policy refuses, and nothing that somebody else sends in its name, be it bare, made
 * up, tampered with, or a repetition of its own packets.
 */
import { expect, test } from "bun:test";
import type { Violations } from "../../src/channel/violation-report.ts";
import {
  ABS,
  begin,
  changed,
  dataOf,
  inject,
  question,
  randomBytes,
  sentBy,
  withheld,
} from "./attack-kit.ts";
import { reversed, TCP, tcp, text, udp } from "./frames.ts";
import { type Pair, play, WEB_TO_DB } from "./pair.ts";

const DB_TO_WEB = reversed(WEB_TO_DB);

function heldAt(pair: Pair): Violations[] {
  const found: Violations[] = [];
  pair.db.reader.violations.flush((list) => {
    found.push(...list);
    return true;
  });
  return found;
}

test("refused flows of the peer's own are held against it", () => {
  play({}, (pair) => {
    begin(pair);
    expect(heldAt(pair)).toEqual([]);
    // The tag is right, and no rule lets it reach these ports.
    for (let i = 0; i < 3; i++) {
      pair.webSends(udp(WEB_TO_DB, 4000 + i, 7777, text("APP1 x")));
    }
    expect(pair.db.drops().get("policy-denied")).toBe(3);
    const [held] = heldAt(pair);
    expect(held).toMatchObject({ count: 3, reason: "policy-denied" });
    expect(heldAt(pair)).toEqual([]);
  });
});

test("a flood of forged packets hides neither them nor what the VM itself was refused", () => {
  play({}, (pair) => {
    begin(pair);
    const own = withheld(pair, "web", () => {
      pair.webSends(udp(WEB_TO_DB, 4000, 7777, text("APP1 x")));
    });
    expect(own.length).toBe(1);
    pair.db.events.length = 0;
    const forged = Array.from({ length: 8000 }, (_, i) =>
      udp(WEB_TO_DB, 1024 + i, 7777, text("APP1 x")),
    );
    // In its midst, where every report that the limit gives back is spent at once.
    forged.splice(7900, 0, ...own);
    expect(inject(pair, "db", ...forged)).toEqual([]);
    pair.dbSends(udp(DB_TO_WEB, 4000, 7777, text("APP1 x")));
    const refused = pair.db.eventsOf("refused");
    const bare = refused.filter(({ reason }) => reason === "untagged");
    expect(bare.length).toBeGreaterThan(3000);
    expect(bare.length).toBeLessThan(8000);
    expect(pair.db.drops().get("untagged")).toBe(8000);
    expect(heldAt(pair)).toMatchObject([{ count: 1, reason: "policy-denied" }]);
    const others = refused.filter(({ reason }) => reason !== "untagged");
    expect(others).toMatchObject([{ direction: "in" }, { direction: "out" }]);
    for (const { suppressed } of others) expect(suppressed).toBeUndefined();
  });
});

test("a flood in its name is not: bare, made up, tampered with, repeated", () => {
  play({}, (pair) => {
    begin(pair);
    const genuine = dataOf(sentBy(pair, "web"));
    const forged: Uint8Array[] = [...genuine, ...genuine];
    for (let i = 0; i < 3000; i++) {
      const one = genuine[i % genuine.length] as Uint8Array;
      forged.push(
        udp(WEB_TO_DB, 1024 + i, 7777, text("APP1 x")),
        tcp(WEB_TO_DB, 1024 + i, 22, { flags: TCP.syn, sequence: i }),
        changed(one, (copy) => {
          copy[ABS + 15] = i & 0xff;
          copy[ABS + 14] = 0x70 + (i >> 8);
        }),
        changed(one, (copy) => {
          copy.set(randomBytes(16), ABS + 16);
        }),
      );
    }
    expect(inject(pair, "db", ...forged)).toEqual([]);
    const reasons = pair.db.drops();
    for (const reason of ["untagged", "proof", "counter-replayed"]) {
      expect(reasons.get(reason)).toBeGreaterThan(0);
    }
    expect(heldAt(pair)).toEqual([]);
    pair.webSends(question(1));
  });
});
