/**
 * Cost of the data plane's tables, in ns an operation: `bun bench/tables.ts`. Bursts of 64, as the
 * loop makes them. Each case runs in a process of its own, since the compiler specialises a loop to
 * the tables it has seen; the median of TURNS turns is printed. Times are of this machine: trust
 * ratios.
 */
import { cpus } from "node:os";
import { FlowTable } from "../src/dataplane/flow-table.ts";
import { newRing, RecordRing } from "../src/dataplane/record-ring.ts";
import { ReplayWindow } from "../src/dataplane/replay-window.ts";
import { SESSION_LIVE, SessionTable } from "../src/dataplane/session-table.ts";

const BURST = 64;
const BURSTS = 30_000;
const TURNS = 7;
const CAPACITY = 1_000_000;
const STREAM = 1 << 20;
const LOCAL = 0x0a000001;
const TCP = 6;

let sink = 0;

/** Median ns of one of `operations` of `body`, warm. */
function medianNs(operations: number, body: () => void): number {
  body();
  body();
  const turns = new Float64Array(TURNS);
  for (let turn = 0; turn < TURNS; turn++) {
    const start = Bun.nanoseconds();
    body();
    turns[turn] = (Bun.nanoseconds() - start) / operations;
  }
  return turns.sort()[TURNS >> 1];
}

/** Keys of `count` flows in random order, repeated to fill the stream: what packets would bring. */
function keyStream(count: number): { remotes: Uint32Array; ports: Uint32Array } {
  const order = new Uint32Array(count).map((_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const other = Math.floor(Math.random() * (i + 1));
    [order[i], order[other]] = [order[other], order[i]];
  }
  const remotes = new Uint32Array(STREAM);
  const ports = new Uint32Array(STREAM);
  for (let i = 0; i < STREAM; i++) {
    const flow = order[i % count];
    remotes[i] = 0x0a000002 + (flow % 250);
    ports[i] = (((1024 + Math.floor(flow / 250)) << 16) | 443) >>> 0;
  }
  return { remotes, ports };
}

/** @param prefetched two passes before the comparisons, or each lookup by itself */
function lookups(count: number, prefetched: boolean): number {
  const table = new FlowTable(CAPACITY);
  const { remotes, ports } = keyStream(count);
  const hashes = new Int32Array(BURST);
  for (let i = 0; i < STREAM && table.count < count; i++) {
    const hash = table.hash.of4(LOCAL, remotes[i], ports[i], TCP);
    if (table.find(hash, LOCAL, remotes[i], ports[i], TCP) >= 0) continue;
    table.insert(hash, LOCAL, remotes[i], ports[i], TCP, 1);
  }
  let hits = 0;
  const ns = medianNs(BURST * BURSTS, () => {
    for (let burst = 0; burst < BURSTS; burst++) {
      const from = (burst * BURST) & (STREAM - 1);
      for (let i = 0; i < BURST; i++) {
        hashes[i] = table.hash.of4(LOCAL, remotes[from + i], ports[from + i], TCP);
      }
      if (prefetched) table.prefetch(hashes, BURST);
      for (let i = 0; i < BURST; i++) {
        const hint = prefetched ? table.hints[i] : -1;
        const remote = remotes[from + i];
        if (table.findHinted(hint, hashes[i], LOCAL, remote, ports[from + i], TCP) >= 0) hits++;
      }
    }
  });
  if (hits !== (TURNS + 2) * BURST * BURSTS) throw new Error("a flow was not found");
  return ns;
}

/** A new flow and the end of another, in a table that holds `count`. */
function turnover(count: number): number {
  const table = new FlowTable(CAPACITY);
  const flows = new Int32Array(count);
  let next = 0;
  const add = (): number => {
    const number = next++;
    const hash = table.hash.of4(LOCAL, number, 443, TCP);
    return table.insert(hash, LOCAL, number, 443, TCP, 1);
  };
  for (let i = 0; i < count; i++) flows[i] = add();
  let at = 0;
  return medianNs(500_000, () => {
    for (let i = 0; i < 500_000; i++) {
      at = (at + 7919) % count;
      table.remove(flows[at]);
      flows[at] = add();
    }
  });
}

/** Session by index, window checked and marked, counters in order on one lane from `first` on. */
function receive(count: number, first: number): number {
  const sessions = new SessionTable();
  const windows = new ReplayWindow(sessions.capacity);
  const indexes = new Uint32Array(count);
  const counters = new Float64Array(count).fill(first);
  for (let slot = 0; slot < count; slot++) {
    indexes[slot] = ((Math.floor(Math.random() * 2 ** 20) << 12) | slot) >>> 0 || 1;
    sessions.open(indexes[slot], SESSION_LIVE, 0);
  }
  let row = 0;
  return medianNs(BURST * BURSTS, () => {
    for (let i = 0; i < BURST * BURSTS; i++) {
      row = (row + 2897) % count;
      const slot = sessions.find(indexes[row]);
      const counter = counters[row]++;
      if (slot < 0 || windows.check(slot, 0, counter) !== 0) continue;
      sink += windows.mark(slot, 0, counter);
    }
  });
}

function ringRecords(): number {
  const buffer = newRing(1 << 20);
  const writer = new RecordRing(buffer);
  const reader = new RecordRing(buffer);
  return medianNs(1_000_000, () => {
    for (let i = 0; i < 1_000_000; i++) {
      const at = writer.begin(1, 64);
      if (at >= 0) {
        writer.memory.setUint32(at, i, true);
        writer.commit();
      }
      const found = reader.peek();
      if (found < 0) continue;
      sink += reader.memory.getUint32(found, true);
      reader.release();
    }
  });
}

const COUNTS = [100, 10_000, 100_000, 1_000_000];
const CASES = new Map<string, () => number>([
  ...COUNTS.map(
    (count) => [`flow lookup, prefetched, ${count}`, () => lookups(count, true)] as const,
  ),
  ...COUNTS.map(
    (count) => [`flow lookup, one by one, ${count}`, () => lookups(count, false)] as const,
  ),
  ["flow removed and inserted, 10000", () => turnover(10_000)],
  ["flow removed and inserted, 900000", () => turnover(900_000)],
  ["session and window, 1 session", () => receive(1, 0)],
  ["session and window, 1 session, counters from 2^40", () => receive(1, 2 ** 40)],
  ["session and window, 4096 sessions", () => receive(4096, 0)],
  ["record written and read", ringRecords],
]);

const only = CASES.get(process.argv[2] ?? "");
if (only !== undefined) {
  process.stdout.write(String(only()));
  if (Number.isNaN(sink)) throw new Error("nothing was computed");
} else {
  console.log(`${cpus()[0]?.model}, Bun ${Bun.version}, ns an operation, median of ${TURNS}`);
  for (const name of CASES.keys()) {
    const child = Bun.spawnSync([process.execPath, import.meta.path, name]);
    console.log(`${Number(child.stdout.toString()).toFixed(1).padStart(8)}  ${name}`);
  }
}
