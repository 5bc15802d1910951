/** Sessions with switches that lie, flood, fall silent or refuse. */
import { expect, test } from "bun:test";
import { CookieRange } from "../../src/switch/flow-table.ts";
import { OpenFlowSession } from "../../src/switch/openflow-session.ts";
import * as said from "./switch-messages.ts";

const COOKIES = new CookieRange(1);

class Talk {
  readonly sent: Uint8Array[] = [];
  readonly ended: string[] = [];
  readonly removed: bigint[] = [];
  readyWith: bigint | undefined;
  readonly session: OpenFlowSession;

  constructor(wantedId?: bigint) {
    this.session = new OpenFlowSession(
      COOKIES,
      wantedId,
      {
        send: (bytes) => this.sent.push(bytes),
        ended: (why) => this.ended.push(why),
        ready: (id) => {
          this.readyWith = id;
        },
        removed: (cookie) => this.removed.push(cookie),
      },
      0,
    );
  }

  greet(): this {
    this.session.take(said.HELLO, 0);
    this.session.take(said.features(2), 0);
    expect(this.readyWith).toBe(0x1122n);
    return this;
  }

  get lastXid(): number {
    const last = this.sent.at(-1) ?? new Uint8Array(8);
    return new DataView(last.buffer).getUint32(4, false);
  }
}

async function codeOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => "done",
    (thrown) => (thrown as { code?: string }).code,
  );
}

const strangers = [
  { name: "OpenFlow 1.0", bytes: said.OLD_HELLO, why: "does not speak" },
  {
    name: "HTTP",
    bytes: new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n".padEnd(9000)),
    why: "version",
  },
  { name: "a message of 0 bytes", bytes: new Uint8Array(64), why: "shorter than its header" },
];
test.each(strangers)("not a switch: $name", ({ bytes, why }) => {
  const talk = new Talk();
  for (let i = 0; i < 10; i++) talk.session.take(bytes, 0);
  expect(talk.ended).toHaveLength(1);
  expect(talk.ended[0]).toContain(why);
});

test("another datapath than the one that is expected here", () => {
  const talk = new Talk(0x99n);
  talk.session.take(said.HELLO, 0);
  talk.session.take(said.features(2), 0);
  expect(talk.ended[0]).toContain("0000000000001122");
});

test("an echo is answered, a removed rule told of only if it is ours", () => {
  const talk = new Talk().greet();
  talk.session.take(said.ECHO, 0);
  expect(talk.sent.at(-1)?.toHex()).toBe("0403000b00000007010203");
  talk.session.take(said.flowRemoved(COOKIES.of(4)), 0);
  talk.session.take(said.flowRemoved(4n), 0);
  expect(talk.removed).toEqual([COOKIES.of(4)]);
});

test("rules of others are not listed, even where the switch says more than it was asked", async () => {
  const talk = new Talk().greet();
  const asked = talk.session.installed();
  const xid = talk.lastXid;
  talk.session.take(said.flows(xid, said.flowStats(COOKIES.of(1)), true), 0);
  talk.session.take(said.flows(xid, said.flowStats(77n)), 0);
  expect((await asked).map(({ cookie }) => cookie)).toEqual([COOKIES.of(1)]);
});

test("a list without end ends the session", async () => {
  const talk = new Talk().greet();
  const asked = codeOf(talk.session.installed());
  const xid = talk.lastXid;
  const part = said.flows(
    xid,
    Array(900)
      .fill(said.flowStats(COOKIES.of(1)))
      .flat(),
    true,
  );
  for (let i = 0; i < 20; i++) talk.session.take(part, 0);
  expect(await asked).toBe("SWITCH_LOST");
  expect(talk.ended).toHaveLength(1);
});

test("a flood of what nobody asked for ends the session; as many over a minute do not", () => {
  const slow = new Talk().greet();
  for (let i = 0; i < 6000; i++) slow.session.take(said.ECHO, i * 10);
  expect(slow.ended).toEqual([]);
  const fast = new Talk().greet();
  for (let i = 0; i < 6000; i++) fast.session.take(said.ECHO, 0);
  expect(fast.ended[0]).toContain("more than anybody asked for");
  expect(fast.sent.length).toBeLessThan(2100);
});

test("a refused rule fails the change that it is in, and only that", async () => {
  const talk = new Talk().greet();
  const rule = { cookie: COOKIES.of(1), match: { inPort: 1 }, seconds: 60 };
  const first = codeOf(talk.session.change([rule], []));
  const barrier = talk.lastXid;
  const second = codeOf(talk.session.change([rule], []));
  talk.session.take(said.message(1, barrier - 1, [0, 5, 0, 1]), 0);
  talk.session.take(said.message(21, barrier), 0);
  talk.session.take(said.message(21, talk.lastXid), 0);
  expect(await first).toBe("SWITCH_REFUSED");
  expect(await second).toBe("done");
});

test("a silent switch is probed, and given up; one that answers is not", () => {
  const talk = new Talk().greet();
  const echo = said.message(3, 9);
  for (let second = 1; second < 60; second++) {
    talk.session.tick(second * 1000);
    const asked = talk.sent.at(-1)?.[1] === 2;
    if (asked && second < 30) talk.session.take(echo, second * 1000);
    if (second === 30) expect(talk.ended).toEqual([]);
  }
  expect(talk.ended).toEqual(["it does not answer"]);
});
