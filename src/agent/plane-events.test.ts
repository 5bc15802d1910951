/** Decisions as events for people; the records come from a whole agent. */
import { expect, test } from "bun:test";
import { reversed, TCP, text } from "../../test/plane/frames.ts";
import { play, WEB_TO_DB, WEB_TO_DB6 } from "../../test/plane/pair.ts";
import { TcpTalk } from "../../test/plane/rare-frames.ts";

const misses = [
  { ends: WEB_TO_DB, payload: "APX1 question", why: "payload byte 2 is 0x58, against APP1" },
  { ends: WEB_TO_DB6, payload: "APP2", why: "payload byte 3 is 0x32, against APP1" },
];
test.each(misses)("$payload: the nearest signature and why it missed", ({ ends, payload, why }) => {
  play({}, (pair) => {
    const talk = new TcpTalk(ends, reversed(ends), 40_000);
    pair.webSends(talk.out(TCP.syn));
    pair.dbSends(talk.in(TCP.syn | TCP.ack));
    pair.webSends(talk.out(TCP.ack));
    expect(pair.webSends(talk.out(TCP.push | TCP.ack, text(payload)))).toEqual([]);
    const [event] = pair.web.eventsOf("refused");
    expect(event?.["reason"]).toBe("no-signature");
    expect(event?.["nearest"]).toEqual({ signature: "app1", why });
  });
});

test("a payload with nothing in common names no signature", () => {
  play({}, (pair) => {
    const talk = new TcpTalk(WEB_TO_DB, reversed(WEB_TO_DB), 40_000);
    pair.webSends(talk.out(TCP.syn));
    pair.dbSends(talk.in(TCP.syn | TCP.ack));
    pair.webSends(talk.out(TCP.ack));
    pair.webSends(talk.out(TCP.push | TCP.ack, text("quite another")));
    const [event] = pair.web.eventsOf("refused");
    expect([event?.["reason"], event?.["nearest"]]).toEqual(["no-signature", undefined]);
  });
});
