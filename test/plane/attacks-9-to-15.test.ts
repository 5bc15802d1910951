/**
 * "What an attacker on the network must not achieve" (docs/wire.md): one test a line, as far as
 * two whole agents in one process can show it; lines 9 to 15. The attacker sees, holds back,
 * changes and repeats every frame of the wire, and where the line says so is a VM or an agent of
 * the tenant. test/e2e/attacks.test.ts does the same to agents on a real network.
 */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { parseContract } from "../../src/session/contract.ts";
import {
  ABS,
  abs,
  begin,
  changed,
  claim,
  claimApp2,
  dataOf,
  expectAlive,
  force,
  HANDSHAKE,
  handshakesOf,
  inject,
  question,
  REJECT,
  randomBytes,
  SECOND,
  sentBy,
  slots,
  withheld,
} from "./attack-kit.ts";
import { ipFrame, reversed, TCP, tcp, text, udp } from "./frames.ts";
import { play, WEB_TO_DB, WEB_TO_DB6 } from "./pair.ts";
import { echo, fragmentsOf, fragmentsOf6, icmpError, synWith, TcpTalk } from "./rare-frames.ts";

const DB_TO_WEB = reversed(WEB_TO_DB);
const PUSH = TCP.push | TCP.ack;

test("9. tear down or black-hole a session", () => {
  play({ busytime: 600 }, (pair) => {
    const talk = begin(pair);
    const before = slots(pair);
    const fromWeb = sentBy(pair, "web");
    const fromDb = sentBy(pair, "db");
    const [data] = dataOf(fromWeb) as [Uint8Array];
    const index = data.slice(ABS + 4, ABS + 8);
    const rejects: Uint8Array[] = [];
    for (let i = 0; i < 300; i++) {
      const sealed = randomBytes(48);
      sealed[0] = REJECT;
      sealed[1] = 0;
      sealed[2] = 0;
      sealed[3] = 0;
      sealed.set(index, 4);
      sealed[8] = 15;
      rejects.push(abs(sealed), abs(sealed, DB_TO_WEB));
    }
    // The hint that names the real index, with the real proof: it is worth one handshake beside.
    const hint = new Uint8Array(32);
    hint[0] = REJECT;
    hint.set(index, 12);
    hint.set(data.subarray(ABS + 16, ABS + 32), 16);
    for (let i = 0; i < 50; i++) rejects.push(abs(hint, DB_TO_WEB));
    expect(inject(pair, "web", ...rejects)).toEqual([]);
    expect(inject(pair, "db", ...rejects)).toEqual([]);
    expectAlive(pair, talk);
    expect(handshakesOf(sentBy(pair, "web"), 1).length).toBeLessThanOrEqual(
      handshakesOf(fromWeb, 1).length + 1,
    );

    // ICMP of every kind, about genuine packets and about none.
    const lost = changed(data, (copy) => copy.set(randomBytes(4), ABS + 4));
    const errors: Uint8Array[] = [];
    for (const about of [data, lost, question(1), talk.out(TCP.ack)]) {
      for (let code = 0; code < 16; code++) {
        errors.push(icmpError(DB_TO_WEB, 3, code, about, 68), icmpError(DB_TO_WEB, 11, 0, about));
      }
    }
    expect(inject(pair, "web", ...errors)).toEqual([]);
    // Even a believable one, of an index in use, does not go below the floor.
    expect(pair.web.plane.innerMtu[0]).toBeGreaterThanOrEqual(576 - 32);
    pair.run(3 * SECOND);
    expectAlive(pair, talk);

    // Recorded handshakes with rewritten indices, cookies of the attacker's making.
    const rewritten = [...fromWeb, ...fromDb]
      .filter((frame) => frame[ABS] === HANDSHAKE)
      .flatMap((frame) =>
        [4, 5, 6, 7, 8, 9, 10, 11].map((at) =>
          changed(frame, (copy) => {
            copy[ABS + at] = (copy[ABS + at] ?? 0) ^ 0x55;
          }),
        ),
      );
    const cookies = Array.from({ length: 100 }, () => {
      const body = randomBytes(64);
      body[0] = HANDSHAKE;
      body[1] = 3;
      return body;
    });
    inject(pair, "db", ...rewritten, ...cookies.map((body) => abs(body)));
    inject(pair, "web", ...rewritten, ...cookies.map((body) => abs(body, DB_TO_WEB)));
    expectAlive(pair, talk);
    // The first sessions are still those in use, but for the one handshake that the hint brought.
    const [webBefore, dbBefore] = JSON.parse(before) as [number[], number[]];
    const [webNow, dbNow] = JSON.parse(slots(pair)) as [number[], number[]];
    expect(webNow.length).toBeGreaterThanOrEqual(webBefore.length);
    expect(dbNow.length).toBeGreaterThanOrEqual(dbBefore.length);
    expect(pair.web.eventsOf("session-closed")).toEqual([]);
  });
});

test("9. spoil a handshake under way: forged answers leave it as it was", () => {
  play({}, (pair) => {
    pair.webKernel.send(question(1));
    const answers = withheld(pair, "db", () => pair.run(20_000));
    const kinds = answers.map((frame) => frame[ABS + 1]);
    expect(kinds.every((kind) => kind === 2 || kind === 3)).toBe(true);
    const forged = answers.flatMap((frame) =>
      Array.from({ length: 12 }, (_, i) =>
        changed(frame, (copy) => {
          const at = ABS + 8 + Math.floor((i * (frame.length - ABS - 9)) / 12);
          copy[at] = (copy[at] ?? 0) ^ 1;
        }),
      ),
    );
    inject(pair, "web", ...forged);
    inject(pair, "web", ...answers);
    pair.run(SECOND / 10);
    expect(pair.dbKernel.receive()).toEqual([question(1)]);
  });
});

test("10. use an old generation after its overlap", () => {
  play({ busytime: 60, idletime: 60 }, (pair) => {
    begin(pair);
    const old = withheld(pair, "web", () => {
      for (let i = 0; i < 5; i++) pair.webSends(question(i));
    });
    const initiations = handshakesOf(sentBy(pair, "web"), 1);
    for (let i = 0; i < 70; i++) {
      pair.webKernel.send(question(100 + i));
      pair.run(SECOND, SECOND / 2);
    }
    expect(pair.dbKernel.receive().length).toBe(70);
    // Never seen before, with good proofs, but under a session that was replaced 5 s ago.
    expect(inject(pair, "db", ...old, ...initiations)).toEqual([]);
    expect(pair.db.drops().get("unknown-index")).toBe(5);

    // The contract's secret has a new generation, and the old one is over at db.
    const contract = pair.db.provisioning.contracts[0];
    const entry = pair.provisioning.db.contracts[0] as Record<string, unknown>;
    const { secrets: _, ...fields } = entry;
    const next = parseContract(fields as never, [
      { generation: 2, secret: crypto.getRandomValues(new Uint8Array(32)) },
    ]);
    expect(contract).not.toBe(next);
    const contracts = { type: "contracts", contracts: [next] } as never;
    pair.db.driver.step(contracts, pair.nowUs as never, pair.wallMs as never);
    for (let i = 0; i < 30; i++) {
      pair.webKernel.send(question(i));
      pair.run(SECOND, SECOND / 2);
    }
    pair.dbKernel.receive();
    expect(pair.webSends(question(31))).toEqual([]);
    expect(pair.db.driver.installed.size).toBe(0);
    expect(pair.db.eventsOf("handshake-refused").length).toBeGreaterThan(0);
  });
});

/** A frame with an IPv6 extension header of this kind between header and payload. */
function extended(frame: Uint8Array, kind: number, body: readonly number[]): Uint8Array {
  const out = new Uint8Array(frame.length + body.length);
  out.set(frame.subarray(0, 54));
  out.set(body, 54);
  out[54] = frame[20] ?? 0;
  out[20] = kind;
  out.set(frame.subarray(54), 54 + body.length);
  new DataView(out.buffer).setUint16(18, out.length - 54);
  return out;
}

test("11. pass a payload by fragments, Fast Open, options or extension headers", () => {
  play({}, (pair) => {
    begin(pair);
    const port = 22;
    const payload = randomBytes(1200);
    // Everything goes under the tenant session, sealed by an agent that looks at nothing.
    const smuggled: Uint8Array[] = [
      synWith(WEB_TO_DB, [1, 6379], [34, 2, 1, 1], text("APP1 early")),
      synWith(WEB_TO_DB, [2, 6379], [], text("APP1 early")),
      ...fragmentsOf(udp(WEB_TO_DB, 3, port, payload), 70, 400),
      ...fragmentsOf(udp(WEB_TO_DB, 3, port, payload), 71, 400).reverse(),
      ...fragmentsOf(udp(WEB_TO_DB, 4, 6379, payload), 72, 400),
      ...fragmentsOf(tcp(WEB_TO_DB, 5, 6379, { flags: TCP.syn, payload }), 73, 8),
      ...fragmentsOf(tcp(WEB_TO_DB, 6, 6379, { flags: PUSH, payload }), 74, 24),
      ...fragmentsOf6(udp(WEB_TO_DB6, 7, port, payload), 75, 400),
      extended(udp(WEB_TO_DB6, 8, port, payload), 60, [0, 0, 1, 4, 0, 0, 0, 0]),
      extended(udp(WEB_TO_DB6, 9, port, payload), 0, [0, 0, 1, 4, 0, 0, 0, 0]),
      extended(udp(WEB_TO_DB6, 10, port, payload), 43, [0, 0, 0, 0, 0, 0, 0, 0]),
      extended(udp(WEB_TO_DB6, 11, port, payload), 44, [0, 0, 0, 0, 0, 0, 0, 9]),
      ipFrame(WEB_TO_DB, 4, udp(WEB_TO_DB, 1, 1, payload).subarray(14)),
      ipFrame(WEB_TO_DB, 47, payload),
      ipFrame(WEB_TO_DB, 132, payload),
      icmpError(WEB_TO_DB, 3, 3, udp(DB_TO_WEB, 1, 1, payload)),
    ];
    for (const [i, frame] of smuggled.entries()) {
      const arrived = force(pair, frame, 0);
      if (arrived.length > 0) throw new Error(`number ${i} was delivered: ${arrived[0]?.join()}`);
    }
    // Later fragments under another session than their first: the tenant's after the application's.
    const parts = fragmentsOf(udp(WEB_TO_DB, 4000, 6379, randomBytes(1200)), 80, 400);
    expect(force(pair, parts[0] as Uint8Array, 1).length).toBe(1);
    expect(force(pair, parts[1] as Uint8Array, 0)).toEqual([]);
    expect(pair.db.drops().get("fragment-session")).toBe(1);
    expect(force(pair, parts[2] as Uint8Array, 1).length).toBe(1);
    expectAlive(pair);
  });
});

test("12. the way behind the agent's back is tried on a real network", () => {
  const source = readFileSync(new URL("../e2e/attacks.test.ts", import.meta.url), "utf8");
  expect(source).toMatch(/test\("12\. /);
});

test("13. lock a host out by time stamps", () => {
  play({}, (pair) => {
    expect(pair.webSends(question(1))).toEqual([question(1)]);
    const recorded = handshakesOf(sentBy(pair, "web"), 1);
    // A year ahead and back again, over a restart: what was saved is what goes on.
    pair.wallMs += 365 * 86_400_000;
    pair.restart("web");
    expect(pair.webSends(question(2))).toEqual([question(2)]);
    pair.wallMs -= 365 * 86_400_000;
    pair.run(5 * SECOND);
    pair.restart("web");
    expect(pair.webSends(question(3))).toEqual([question(3)]);
    // The attacker repeats the newest to a receiver that has forgotten all stamps.
    pair.run(5 * SECOND);
    const newest = [...recorded, ...handshakesOf(sentBy(pair, "web"), 1)];
    pair.restart("db");
    inject(pair, "db", ...newest, ...newest);
    expect(pair.db.driver.installed.size).toBe(0);
    pair.webKernel.send(question(4));
    pair.run(SECOND);
    expect(pair.webSends(question(5))).toEqual([question(5)]);
    inject(pair, "db", ...newest);
    expectAlive(pair);
  });
});

test("14. close a window by a forged counter", () => {
  play({}, (pair) => {
    const talk = begin(pair);
    const [real] = dataOf(sentBy(pair, "web")).slice(-1) as [Uint8Array];
    const forged: Uint8Array[] = [];
    for (let lane = 0; lane < 16; lane++) {
      for (let bit = 12; bit < 56; bit++) {
        forged.push(
          changed(real, (copy) => {
            const view = new DataView(copy.buffer);
            view.setBigUint64(ABS + 8, (BigInt(lane) << 56n) | (1n << BigInt(bit)));
          }),
        );
      }
      forged.push(
        changed(real, (copy) => copy.set([lane, 255, 255, 255, 255, 255, 255, 255], ABS + 8)),
      );
    }
    expect(inject(pair, "db", ...forged)).toEqual([]);
    expectAlive(pair, talk);
  });
});

test("15. as a compromised VM: claim another application, scan ports, read before being known", () => {
  play({ serverFirst: true }, (pair) => {
    begin(pair);
    // Scan: only the port that a rule opens is ever heard of.
    const syns = Array.from({ length: 2000 }, (_, i) =>
      tcp(WEB_TO_DB, 30_000, 5379 + i, { flags: TCP.syn, sequence: 1 }),
    );
    const heard: number[] = [];
    for (let at = 0; at < syns.length; at += 250) {
      for (const frame of pair.webSends(...syns.slice(at, at + 250))) {
        heard.push(new DataView(frame.buffer).getUint16(36));
      }
    }
    expect(heard).toEqual([6379]);
    for (const flags of [TCP.ack, TCP.rst, TCP.fin | TCP.ack, TCP.syn | TCP.ack]) {
      expect(force(pair, tcp(WEB_TO_DB, 30_001, 22, { flags }), 0)).toEqual([]);
    }
    expect(force(pair, udp(WEB_TO_DB, 30_001, 53, text("x")), 0)).toEqual([]);
    expect(force(pair, echo(WEB_TO_DB, false, 5, text("x")), 0)).toEqual([]);
    // Under its own application's session, to ports and flows that are not that application's.
    expect(force(pair, udp(WEB_TO_DB, 30_002, 53, text("APP1")), 1)).toEqual([]);
    expect(
      force(pair, tcp(WEB_TO_DB, 30_003, 6379, { flags: PUSH, payload: text("x") }), 1),
    ).toEqual([]);
    // Replies that nobody asked for.
    expect(force(pair, udp(WEB_TO_DB, 6379, 4001, text("x")), 1)).toEqual([]);
    // Payload under the tenant in a connection of its own, before and after it is known.
    const talk = new TcpTalk(WEB_TO_DB, DB_TO_WEB, 41_000);
    pair.webSends(talk.out(TCP.syn));
    pair.dbSends(talk.in(TCP.syn | TCP.ack));
    pair.webSends(talk.out(TCP.ack));
    expect(force(pair, talk.out(PUSH, text("unknown")), 0)).toEqual([]);
    expect(pair.webSends(talk.out(PUSH, text("APP1")))).toEqual([]);
  });
  // Without the rule the service's words never leave: there is nothing to read.
  play({}, (pair) => {
    const talk = new TcpTalk(WEB_TO_DB, DB_TO_WEB, 41_000);
    pair.webSends(talk.out(TCP.syn));
    pair.dbSends(talk.in(TCP.syn | TCP.ack));
    pair.webSends(talk.out(TCP.ack));
    const before = sentBy(pair, "db").length;
    expect(pair.dbSends(talk.in(PUSH, text("secret greeting")))).toEqual([]);
    expect(sentBy(pair, "db").length).toBe(before);
  });
  // Another application: neither its own agent nor the other's lets it.
  const other = claim(claimApp2);
  expect(new Set(other.reasons)).toEqual(new Set(["tag"]));
});
