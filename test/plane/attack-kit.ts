/**
 * What the attacks of attacks.test.ts are made of: frames seen on the wire, changed and put back,
 * and a peer's agent that sends what its VM should not have been able to.
 */

import { expect } from "bun:test";
import { parsePacket } from "../../src/dataplane/parse-packet.ts";
import { ParsedPacket } from "../../src/dataplane/parsed-packet.ts";
import { addressOf, fixedU32 } from "../../src/dataplane/shim.ts";
import { Prng } from "../prng.ts";
import { type Ends, ipFrame, reversed, TCP, text, udp } from "./frames.ts";
import { testShim } from "./machine.ts";
import { type Pair, type PairOptions, play, type Side, WEB_TO_DB } from "./pair.ts";
import { mendIpv4, TcpTalk } from "./rare-frames.ts";

/** Where the ABS header of a frame on carrier `ip` over IPv4 begins. */
export const ABS = 34;
export const DATA = 0x15;
export const HANDSHAKE = 0x14;
export const REJECT = 0x16;

/** A copy of the frame, changed; an IPv4 header's checksum is mended. */
export function changed(frame: Uint8Array, change: (copy: Uint8Array) => void): Uint8Array {
  const copy = frame.slice();
  change(copy);
  return copy[12] === 8 && copy.length >= 34 && copy[14] === 0x45 ? mendIpv4(copy) : copy;
}

/** The frames that `side` sends while `act` runs; the other side gets none of them. */
export function withheld(pair: Pair, side: Side, act: () => void): Uint8Array[] {
  const kept: Uint8Array[] = [];
  const before = pair.carry;
  pair.carry = (frame, from) => {
    if (from !== side) return before(frame, from);
    kept.push(frame);
    return [];
  };
  act();
  pair.carry = before;
  return kept;
}

/** All that `side` has sent so far. */
export function sentBy(pair: Pair, side: Side): Uint8Array[] {
  return pair.carried.filter(({ from }) => from === side).map(({ frame }) => frame);
}

export function dataOf(frames: readonly Uint8Array[]): Uint8Array[] {
  return frames.filter((frame) => frame[23] === 253 && frame[ABS] === DATA);
}

export function handshakesOf(frames: readonly Uint8Array[], kind: number): Uint8Array[] {
  return frames.filter((frame) => frame[ABS] === HANDSHAKE && frame[ABS + 1] === kind);
}

/** Puts frames on the wire to `side`; what its kernel gets of it. */
export function inject(pair: Pair, side: Side, ...frames: readonly Uint8Array[]): Uint8Array[] {
  const wire = side === "web" ? pair.webWire : pair.dbWire;
  const kernel = side === "web" ? pair.webKernel : pair.dbKernel;
  const arrived: Uint8Array[] = [];
  for (let at = 0; at < frames.length; at += 500) {
    wire.send(...frames.slice(at, at + 500));
    pair.run(1000);
    arrived.push(...kernel.receive());
  }
  pair.run(10_000);
  arrived.push(...kernel.receive());
  return arrived;
}

/**
 * Web's agent is compromised: it seals `frame` under the session of (db, tag), whatever its own
 * policy says. Returns what db's kernel gets.
 */
export function force(pair: Pair, frame: Uint8Array, tag: number, role = 0): Uint8Array[] {
  const { symbols } = testShim();
  const { plane } = pair.web;
  const handle = fixedU32(1);
  const offset = fixedU32(1);
  symbols.abs_alloc_burst(addressOf(handle), addressOf(offset), 1);
  const start = offset[0] ?? 0;
  testShim().poolView().bytes.set(frame, start);
  const packet = new ParsedPacket();
  parsePacket(plane.memory, start, start + frame.length, packet);
  const pairIndex = plane.pairOf(packet, false);
  const binding = plane.bindings.of(0, tag, role);
  const peerWord = (pairIndex << 16) | 1;
  const { verdict } = plane.egress;
  verdict.sendUnder(handle[0] ?? 0, start, frame.length, packet, 0, binding, peerWord);
  plane.outside.flush();
  pair.run(20_000);
  return pair.dbKernel.receive();
}

/** Buffers, flows, held packets and sessions, which no stranger may fill. */
export function occupancy(pair: Pair, side: Side) {
  const { plane, driver } = pair[side];
  return {
    flows: plane.flows.count,
    held: plane.holds.count,
    fragments: plane.fragmentsIn.heldCount,
    sessions: driver.installed.size,
  };
}

const DB_TO_WEB = reversed(WEB_TO_DB);
const PUSH = TCP.push | TCP.ack;
export const SECOND = 1_000_000;
export const seed = Number(process.env["SEED"] ?? crypto.getRandomValues(new Uint32Array(1))[0]);
export const prng = new Prng(seed);

export function question(i: number, ends: Ends = WEB_TO_DB): Uint8Array {
  return udp(ends, 4000, 6379, text(`APP1 question ${i}`));
}

export function answer(i: number): Uint8Array {
  return udp(DB_TO_WEB, 6379, 4000, text(`answer ${i}`));
}

/** A session in use, and a TCP connection of app1. */
export function begin(pair: Pair): TcpTalk {
  expect(pair.webSends(question(0))).toEqual([question(0)]);
  const talk = new TcpTalk(WEB_TO_DB, DB_TO_WEB, 40_000);
  pair.webSends(talk.out(TCP.syn));
  pair.dbSends(talk.in(TCP.syn | TCP.ack));
  const hello = [talk.out(TCP.ack), talk.out(PUSH, text("APP1 hello"))];
  expect(pair.webSends(...hello)).toEqual(hello);
  return talk;
}

/** Both directions still pass, at once and under the sessions there were. */
export function expectAlive(pair: Pair, talk?: TcpTalk): void {
  const i = prng.below(1e9);
  expect(pair.webSends(question(i))).toEqual([question(i)]);
  expect(pair.dbSends(answer(i))).toEqual([answer(i)]);
  if (talk === undefined) return;
  const more = talk.out(PUSH, text("more"));
  expect(pair.webSends(more)).toEqual([more]);
  const back = talk.in(PUSH, text("back"));
  expect(pair.dbSends(back)).toEqual([back]);
}

export function randomBytes(count: number): Uint8Array {
  return Uint8Array.from({ length: count }, () => prng.below(256));
}

export function abs(body: Uint8Array, ends: Ends = WEB_TO_DB): Uint8Array {
  return ipFrame(ends, 253, body);
}

export function slots(pair: Pair): string {
  const of = (side: "web" | "db") =>
    [...pair[side].driver.installed.values()].map(({ receiverIndex }) => receiverIndex);
  return JSON.stringify([of("web"), of("db")]);
}

/** What db does when web, with valid keys, claims what it must not: db's frames and reasons. */
export function claim(edit: NonNullable<PairOptions["edit"]>): {
  answers: string[];
  reasons: unknown[];
} {
  let answers: string[] = [];
  let reasons: unknown[] = [];
  play({ edit }, (pair) => {
    const talk = new TcpTalk(WEB_TO_DB, DB_TO_WEB, 40_000);
    pair.webSends(talk.out(TCP.syn));
    pair.webSends(udp(WEB_TO_DB, 4000, 6379, text("APP2 mine")));
    pair.run(6 * SECOND);
    expect(pair.dbKernel.receive().filter((frame) => frame[23] === 17)).toEqual([]);
    const web = pair.web.driver.installed;
    expect([...web.values()].every(({ tag }) => tag === 0)).toBe(true);
    const answered = pair.carried.filter(({ from }) => from === "db");
    answers = answered.map(({ frame }) => `${frame[ABS]} ${frame[ABS + 1]} ${frame.length}`);
    reasons = pair.db.eventsOf("handshake-refused").map(({ reason }) => reason);
    reasons = reasons.filter((reason) => reason !== "cookie-required"); // of the tenant session
  });
  return { answers, reasons };
}

export const claimApp2: NonNullable<PairOptions["edit"]> = (web) => {
  web.node["tags"] = ["app1", "app2"];
  const contents = [{ offset: 0, depth: 4, expr: "APP2" }];
  web.signatures[0] = { ...web.signatures[0], app_name: "app2", contents };
};
