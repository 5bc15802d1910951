/** Commands to a worker that meet a session in an unusual state; both agents are whole ones. */
import { expect, test } from "bun:test";
import { reversed, TCP } from "../../test/plane/frames.ts";
import { play, WEB_TO_DB } from "../../test/plane/pair.ts";
import { TcpTalk } from "../../test/plane/rare-frames.ts";
import { COMMAND } from "../dataplane/control-records.ts";
import { SESSION_LIVE, SESSION_RETIRING } from "../dataplane/session-table.ts";

test("a session that was retired for idleness and is used again is one as before", () => {
  play({}, (pair) => {
    const talk = new TcpTalk(WEB_TO_DB, reversed(WEB_TO_DB), 40_000);
    const syn = talk.out(TCP.syn);
    expect(pair.webSends(syn)).toEqual([syn]);
    const answer = talk.in(TCP.syn | TCP.ack);
    expect(pair.dbSends(answer)).toEqual([answer]);
    const { sessions, bindings } = pair.web.plane;
    const slot = sessions.state.indexOf(SESSION_LIVE);
    const binding = bindings.of(sessions.peer[slot], sessions.tag[slot], sessions.role[slot]);
    pair.web.link.send(COMMAND.retire, slot);
    pair.run(1_000);
    expect([sessions.state[slot], bindings.sendSession[binding]]).toEqual([SESSION_RETIRING, -1]);
    pair.web.link.send(COMMAND.use, slot);
    pair.run(1_000);
    expect([sessions.state[slot], bindings.sendSession[binding]]).toEqual([SESSION_LIVE, slot]);
    const ack = talk.out(TCP.ack);
    expect(pair.webSends(ack)).toEqual([ack]);
    expect(pair.db.plane.sessions.state.filter((state) => state === SESSION_LIVE)).toHaveLength(1);
  });
});
