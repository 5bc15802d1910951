/** Two whole agents over ring ports: design/agent.md Figs. 11 and 12, docs/wire.md. */
import { describe, expect, test } from "bun:test";
import { reversed, text, udp } from "./frames.ts";
import { Pair, WEB_TO_DB } from "./pair.ts";

const DB_TO_WEB = reversed(WEB_TO_DB);

describe("udp", () => {
  test("the first datagram of a recognised application arrives as it was sent", () => {
    const pair = new Pair();
    const frame = udp(WEB_TO_DB, 4000, 6379, text("APP1 hello"));
    expect(pair.webSends(frame)).toEqual([frame]);
    const back = udp(DB_TO_WEB, 6379, 4000, text("hello back"));
    expect(pair.dbSends(back)).toEqual([back]);
    expect(pair.web.drops()).toEqual(new Map());
    expect(pair.db.drops()).toEqual(new Map());
  });
});
