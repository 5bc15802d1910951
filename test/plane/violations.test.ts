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
} from "./attack-kit.ts";
import { TCP, tcp, text, udp } from "./frames.ts";
import { type Pair, play, WEB_TO_DB } from "./pair.ts";

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
