/**
 * Child of no-allocation.test.ts: two whole data planes, their wire between them, no main thread.
 * Packets go from one kernel to the other, known flows and new ones, refused ones and fragments;
 * everything here is made before the marks, as in a worker.
 */
import { addressOf, fixedU32 } from "../../src/dataplane/shim.ts";
import { measure, measureControl } from "../no-gc.ts";
import { ABS, dataOf } from "./attack-kit.ts";
import { type Ends, reversed, TCP, tcp, text, udp } from "./frames.ts";
import { type FarEnd, type Machine, testShim } from "./machine.ts";
import { Pair, WEB_TO_DB, WEB_TO_DB6 } from "./pair.ts";
import { echo, fragmentsOf } from "./rare-frames.ts";

const BURST = 64;
const PACKETS = 1_000_000;
const PUSH = TCP.push | TCP.ack;
const STRANGER: Ends = { ...WEB_TO_DB, from: Uint8Array.of(192, 0, 2, 1) };

const { symbols } = testShim();
const pool = testShim().poolView();
const handle = fixedU32(BURST);
const offset = fixedU32(BURST);
const length = fixedU32(BURST);
const handlePointer = addressOf(handle);
const offsetPointer = addressOf(offset);
const lengthPointer = addressOf(length);

const pair = new Pair({ refuse: "reject", protection: "integrity" });
let turns = 0;

/** Sends a burst of `frames`, one after the other and round again, with the source port varied. */
function send(port: number, frames: readonly Uint8Array[], portAt: number, variety: number): void {
  const count = symbols.abs_alloc_burst(handlePointer, offsetPointer, BURST);
  for (let i = 0; i < count; i++) {
    const frame = frames[i % frames.length] as Uint8Array;
    pool.bytes.set(frame, offset[i]);
    length[i] = frame.length;
    turns++;
    if (variety > 0) {
      pool.memory.setUint16(offset[i] + portAt, 1024 + (turns % variety), false);
    }
  }
  const sent = symbols.abs_tx_burst(port, 0, handlePointer, offsetPointer, lengthPointer, count);
  if (sent < count) symbols.abs_free_burst(handlePointer + 4 * sent, count - sent);
}

/** From one wire to the other. */
function carry(from: number, to: number): void {
  for (;;) {
    const count = symbols.abs_rx_burst(from, 0, handlePointer, offsetPointer, lengthPointer, BURST);
    if (count <= 0) return;
    const sent = symbols.abs_tx_burst(to, 0, handlePointer, offsetPointer, lengthPointer, count);
    if (sent < count) symbols.abs_free_burst(handlePointer + 4 * sent, count - sent);
  }
}

let arrived = 0;

function drain(port: number): void {
  for (;;) {
    const count = symbols.abs_rx_burst(port, 0, handlePointer, offsetPointer, lengthPointer, BURST);
    if (count <= 0) return;
    arrived += count;
    symbols.abs_free_burst(handlePointer, count);
  }
}

/** What a worker does in one turn of its loop, and what it tells the main thread is thrown away. */
function turn(machine: Machine, us: number): void {
  const { plane } = machine;
  plane.nowUs += us;
  plane.nowSeconds = Math.floor(plane.nowUs / 1e6);
  plane.wallSeconds = 1_700_000_000 + plane.nowSeconds;
  while (plane.egress.poll() + machine.ingress.poll() > 0);
  plane.keepTimes();
  const { punts } = machine.link;
  for (let at = punts.peek(); at >= 0; at = punts.peek()) punts.release();
}

/** One burst from web's kernel to db's, and what db answers on the way. */
function round(us: number): void {
  turn(pair.web, us);
  carry(pair.webWire.port, pair.dbWire.port);
  turn(pair.db, us);
  carry(pair.dbWire.port, pair.webWire.port);
  turn(pair.web, 0);
  drain(pair.dbKernel.port);
  drain(pair.webKernel.port);
}

function rounds(
  end: FarEnd,
  frames: readonly Uint8Array[],
  packets: number,
  us: number,
  variety = 0,
): void {
  for (let sent = 0; sent < packets; sent += BURST) {
    send(end.port, frames, 34, variety);
    round(us);
  }
}

// Sessions and flows, made by the whole agents.
const known4 = udp(WEB_TO_DB, 4000, 6379, text("APP1 question"));
const known6 = udp(WEB_TO_DB6, 4000, 6379, text("APP1 question"));
const syn = tcp(WEB_TO_DB, 40_000, 6379, { flags: TCP.syn, sequence: 1 });
const segment = tcp(WEB_TO_DB, 40_000, 6379, {
  flags: PUSH,
  sequence: 2,
  acknowledgement: 1,
  payload: text("APP1 question"),
});
const back4 = udp(reversed(WEB_TO_DB), 6379, 4000, text("an answer"));
for (const frame of [known4, known6, syn, segment]) {
  if (pair.webSends(frame).length !== 1) throw new Error("the flows were not made");
}
if (pair.dbSends(back4).length !== 1) throw new Error("no answer came back");
const sealed = dataOf(pair.carried.map(({ frame }) => frame));
pair.carried.length = 0;

const known = [known4, segment, known6, known4];
const fresh = [udp(WEB_TO_DB, 1, 6379, text("APP1 new flow"))];
const begin = [
  tcp(WEB_TO_DB, 1, 6379, { flags: TCP.syn, sequence: 1 }),
  tcp(WEB_TO_DB, 1, 6379, { flags: PUSH, sequence: 2, payload: text("AP") }),
  tcp(WEB_TO_DB, 1, 6379, { flags: PUSH, sequence: 4, payload: text("P1 hello") }),
  tcp(WEB_TO_DB, 1, 6379, { flags: TCP.fin | TCP.ack, sequence: 12 }),
];
const refusedOut = [
  udp(WEB_TO_DB, 1, 6379, text("NOPE")),
  udp(WEB_TO_DB, 1, 8080, text("APP1")),
  tcp(WEB_TO_DB, 1, 22, { flags: TCP.syn }),
  echo(WEB_TO_DB, false, 1, text("x")),
  udp({ ...WEB_TO_DB, from: Uint8Array.of(10, 0, 0, 9) }, 1, 6379, text("APP1")),
  known4.slice(0, 30),
];
const [one] = sealed as [Uint8Array];
const forgedProof = one.slice();
forgedProof.set([0, 0, 0, 0x70, 0, 0, 0, 0], ABS + 8);
const strangeIndex = one.slice();
strangeIndex.fill(0x33, ABS + 4, ABS + 8);
const junkHandshake = one.slice(0, 34 + 64);
const refusedIn = [
  one,
  forgedProof,
  strangeIndex,
  junkHandshake,
  known4,
  udp(STRANGER, 1, 1, text("x")),
];
const parts = fragmentsOf(udp(WEB_TO_DB, 4000, 6379, new Uint8Array(3000).fill(65)), 7, 1200);

/** Fragments under a new identification each time, in order and turned round. */
function fragmentRounds(packets: number): void {
  for (let sent = 0; sent < packets; sent += BURST) {
    const count = symbols.abs_alloc_burst(handlePointer, offsetPointer, 60);
    for (let i = 0; i < count; i++) {
      const group = Math.floor(i / 3);
      const frame = parts[(group & 1) === 0 ? i % 3 : 2 - (i % 3)] as Uint8Array;
      pool.bytes.set(frame, offset[i]);
      length[i] = frame.length;
      if (i % 3 === 0) turns++;
      pool.memory.setUint16(offset[i] + 18, turns & 0xffff, false);
    }
    const port = pair.webKernel.port;
    const done = symbols.abs_tx_burst(port, 0, handlePointer, offsetPointer, lengthPointer, count);
    if (done < count) symbols.abs_free_burst(handlePointer + 4 * done, count - done);
    round(100_000);
  }
}

const phases: { name: string; run: (packets: number) => void; packets: number; all: boolean }[] = [
  {
    name: "known flows, web to db",
    run: (packets) => rounds(pair.webKernel, known, packets, 10),
    packets: PACKETS,
    all: true,
  },
  {
    name: "known flows, db to web",
    run: (packets) => rounds(pair.dbKernel, [back4], packets, 10),
    packets: PACKETS,
    all: true,
  },
  {
    name: "new datagram flows",
    run: (packets) => rounds(pair.webKernel, fresh, packets, 200_000, 60_000),
    packets: PACKETS / 4,
    all: true,
  },
  {
    name: "new TCP flows, first payload in parts",
    run: (packets) => rounds(pair.webKernel, begin, packets, 200_000, 15_000),
    packets: PACKETS / 4,
    all: false,
  },
  {
    name: "refused by the own agent or the other",
    run: (packets) => rounds(pair.webKernel, refusedOut, packets, 200_000, 60_000),
    packets: PACKETS / 4,
    all: false,
  },
  {
    name: "forged, replayed, bare and strange packets",
    run: (packets) => rounds(pair.dbWire, refusedIn, packets, 10_000),
    packets: PACKETS / 4,
    all: false,
  },
  { name: "fragments", run: fragmentRounds, packets: PACKETS / 4, all: false },
];

phases[0]?.run(PACKETS); // the common paths are compiled once for all
for (const { name, run, packets, all } of phases) {
  run(150_000); // and those of the phase
  const before = arrived;
  measure(name, () => run(packets));
  if (all && arrived - before < packets) throw new Error(`${name}: ${arrived - before} arrived`);
}
measureControl();
