/** Child of no-gc.test.ts: every per-packet method of the tables, millions of times. */
import { AddressPairs } from "../src/dataplane/address-pairs.ts";
import { AddressTable } from "../src/dataplane/address-table.ts";
import { BindingTable } from "../src/dataplane/binding-table.ts";
import { Counters } from "../src/dataplane/counters.ts";
import { F_SEEN, F_STATE, FLOW_IPV6, FLOW_WORDS, FlowTable } from "../src/dataplane/flow-table.ts";
import { HalfOpen } from "../src/dataplane/half-open.ts";
import { HoldQueue } from "../src/dataplane/hold-queue.ts";
import { newRing, RecordRing } from "../src/dataplane/record-ring.ts";
import { ReplayWindow } from "../src/dataplane/replay-window.ts";
import { SESSION_LANES, SESSION_LIVE, SessionTable } from "../src/dataplane/session-table.ts";
import { TimerWheel } from "../src/dataplane/timer-wheel.ts";
import { TokenBuckets } from "../src/dataplane/token-bucket.ts";
import { measure, measureControl } from "./no-gc.ts";

const TURNS = 1_000_000;

let sink = 0;

/** Flows come, are found, expire and are thrown out; ports go round so that all of it happens. */
function flowLoop(table: FlowTable): (turns: number) => void {
  const hashes = new Int32Array(64);
  return (turns) => {
    for (let turn = 0; turn < turns; turn++) {
      const now = turn >>> 10;
      // Doubles on purpose: addresses and ports above 2^31 are not small integers.
      const remote = 0xf0000000 + (turn & 0xff);
      const ports = ((turn & 0xffff) << 16) >>> 0;
      const hash = table.hashOf(0x0a000001, remote, ports, 6, 0, 0, 0, 0, 0, 0);
      const hash6 = table.hashOf(1, remote, ports, 6 | FLOW_IPV6, 0xfe800000, 2, 3, 4, 5, 6);
      hashes[turn & 63] = hash;
      if ((turn & 63) === 63) table.prefetch(hashes, 64);
      sink += table.touch(hash);
      let flow = table.findHinted(table.hints[turn & 63], hash, 0x0a000001, remote, ports, 6);
      if (flow < 0) flow = table.insert(hash, 0x0a000001, remote, ports, 6, now);
      if (flow >= 0) {
        const at = flow * FLOW_WORDS;
        table.words[at + F_SEEN] = now;
        table.words[at + F_STATE] = (turn % 7) | 0xffff0000;
        if (turn % 5 === 0) table.remove(flow);
      }
      flow = table.findHinted6(
        -1,
        hash6,
        1,
        remote,
        ports,
        6 | FLOW_IPV6,
        0xfe800000,
        2,
        3,
        4,
        5,
        6,
      );
      if (flow < 0) {
        table.insert6(hash6, 1, remote, ports, 6 | FLOW_IPV6, 0xfe800000, 2, 3, 4, 5, 6, now);
      }
      if ((turn & 15) === 0) sink += table.expireSome(now, 32);
    }
  };
}

function sessionLoop(): (turns: number) => void {
  const sessions = new SessionTable();
  const windows = new ReplayWindow(64);
  const counters = new Counters(["forwarded"]);
  const memory = new DataView(new ArrayBuffer(64));
  for (let slot = 0; slot < 64; slot++) sessions.open(0xfffff000 + slot, SESSION_LIVE, 0);
  return (turns) => {
    for (let turn = 0; turn < turns; turn++) {
      const slot = sessions.find(0xfffff000 + (turn & 127));
      if (slot < 0) {
        counters.dropsIn[76]++;
        continue;
      }
      const lane = turn & 15;
      const counter = sessions.counters[slot * SESSION_LANES + lane]++ + 2 ** 40;
      if (windows.check(slot, lane, counter) === 0) sink += windows.mark(slot, lane, counter);
      sink += windows.mark(slot, lane, counter - (turn % 5000));
      sessions.writeQuickProof(memory, 8, slot);
      if (sessions.isQuickProof(memory, 8, slot)) counters.values[0]++;
      sessions.lastReceivedUs[slot] = turn + 0.5;
      if ((turn & 0xffff) === 5) {
        sessions.close(slot);
        sessions.open(0xfffff000 + slot, SESSION_LIVE, turn);
        windows.clear(slot);
      }
    }
  };
}

function addressLoop(): (turns: number) => void {
  const pairs = new AddressPairs(1000);
  const addresses = new AddressTable(1000);
  const bindings = new BindingTable(1000);
  for (let i = 0; i < 300; i++) {
    pairs.add4(0xf0000000, 0xf0000000 + i, i);
    pairs.add6(0xf0000000, 0xf0000000 + i, 1, 2, 3, 4, 5, 6, i);
    addresses.set4(0xf0000000 + i, i);
    addresses.set6(1, 2, 3, 0xf0000000 + i, i);
  }
  return (turns) => {
    for (let turn = 0; turn < turns; turn++) {
      const word = 0xf0000000 + (turn & 511);
      sink += pairs.find4(0xf0000000, word) + pairs.find6(0xf0000000, word, 1, 2, 3, 4, 5, 6);
      sink += addresses.find4(word) + addresses.find6(1, 2, 3, word);
      sink += bindings.of(turn & 31, turn & 7, turn & 1);
    }
  };
}

function waitingLoop(): (turns: number) => void {
  const holds = new HoldQueue(512, 64, 16, 100);
  const wheel = new TimerWheel(512, 1000, 0);
  const buckets = new TokenBuckets(64, 1000, 10);
  const halfOpen = new HalfOpen(16, 10);
  return (turns) => {
    for (let turn = 0; turn < turns; turn++) {
      const now = turn * 100.5;
      if (buckets.take(turn & 63, now)) sink++;
      if (halfOpen.enter(turn & 31)) sink++;
      if (turn % 3 === 0) halfOpen.leave(turn & 31);
      sink += holds.put(turn & 63, turn & 15, turn, 0xf0000000, 60, turn, now);
      if (turn % 3 === 0 && holds.takeOne((turn * 7) & 63)) sink += holds.handle;
      while (holds.expireOne(now)) sink += holds.offset;
      const timer = wheel.set(now + (turn & 0xffff), turn & 7, turn);
      if (turn % 4 === 0) wheel.cancel(timer);
      const fired = wheel.advance(now);
      for (let i = 0; i < fired; i++) sink += wheel.firedId[i];
    }
  };
}

function ringLoop(): (turns: number) => void {
  const buffer = newRing(4096);
  const writer = new RecordRing(buffer);
  const reader = new RecordRing(buffer);
  return (turns) => {
    for (let turn = 0; turn < turns; turn++) {
      const at = writer.begin(turn & 15, 20 + (turn & 127));
      if (at >= 0) {
        writer.memory.setUint32(at, turn, true);
        writer.commit();
      }
      if ((turn & 1) === 0) writer.ring();
      const found = reader.peek();
      if (found < 0) continue;
      sink += reader.memory.getUint32(found, true);
      reader.release();
    }
  };
}

const loops: readonly (readonly [string, (turns: number) => void])[] = [
  ["flow table, never full", flowLoop(new FlowTable(200_000))],
  ["flow table, always full", flowLoop(new FlowTable(500))],
  ["sessions, windows, counters", sessionLoop()],
  ["addresses and bindings", addressLoop()],
  ["hold queue, timers, limits", waitingLoop()],
  ["record ring", ringLoop()],
];
for (const [, loop] of loops) loop(TURNS / 4);
for (const [name, loop] of loops) {
  Bun.gc(true);
  measure(name, () => loop(TURNS));
}
measureControl();
if (!Number.isFinite(sink)) throw new Error("the loops computed nothing");
