/** Verdicts on flows: what a killed process leaves of them (docs/adr/007), and when they fall. */
import { expect, test } from "bun:test";
import { reversed, TCP, text } from "../../test/plane/frames.ts";
import { play, WEB_TO_DB } from "../../test/plane/pair.ts";
import { TcpTalk } from "../../test/plane/rare-frames.ts";
import {
  F_BINDING,
  F_STATE,
  F_TAG_RULE,
  FLOW_ALLOWED,
  FLOW_WORDS,
} from "../dataplane/flow-table.ts";

test("a flow is allowed last of all: between two writes it never is so under tag 0", () => {
  play({}, (pair) => {
    const talk = new TcpTalk(WEB_TO_DB, reversed(WEB_TO_DB), 40_000);
    pair.webSends(talk.out(TCP.syn));
    pair.dbSends(talk.in(TCP.syn | TCP.ack));
    pair.webSends(talk.out(TCP.ack));
    const { flows } = pair.web.plane;
    const { words } = flows;
    const seen: boolean[] = [];
    // Each write is followed by a look at the record, as a successor would see it.
    const watched = new Proxy(words, {
      get: (target, name) => Reflect.get(target, name, target),
      set: (target, name, value) => {
        Reflect.set(target, name, value, target);
        const at = Number(name) - (Number(name) % FLOW_WORDS);
        if ((target[at + F_STATE] & 0xff) !== FLOW_ALLOWED) return true;
        seen.push(target[at + F_TAG_RULE] >>> 16 !== 0 && target[at + F_BINDING] !== 0);
        return true;
      },
    });
    Object.defineProperty(flows, "words", { value: watched, configurable: true });
    const question = talk.out(TCP.push | TCP.ack, text("APP1 question"));
    expect(pair.webSends(question)).toEqual([question]);
    Object.defineProperty(flows, "words", { value: words, configurable: true });
    expect(seen.length).toBeGreaterThan(0);
    expect(seen).not.toContain(false);
  });
});

test("flows that wait for more bytes are judged after 200 ms, however many they are", () => {
  play({}, (pair) => {
    const talks = Array.from(
      { length: 150 },
      (_, i) => new TcpTalk(WEB_TO_DB, reversed(WEB_TO_DB), 30_000 + i),
    );
    pair.webSends(...talks.map((talk) => talk.out(TCP.syn)));
    pair.dbSends(...talks.map((talk) => talk.in(TCP.syn | TCP.ack)));
    pair.webSends(...talks.map((talk) => talk.out(TCP.ack)));
    pair.webSends(...talks.map((talk) => talk.out(TCP.push | TCP.ack, text("AP"))));
    pair.run(170_000);
    expect([pair.web.plane.holds.count, pair.web.drops().size]).toEqual([150, 0]);
    pair.run(30_000);
    expect(pair.web.plane.holds.count).toBe(0);
    expect(pair.web.drops()).toEqual(new Map([["no-signature", 150]]));
  });
});
