/** The flow table against a Map, its index's clusters, and what it does when it is full. */
import { expect, test } from "bun:test";
import { Prng, seed } from "../../test/prng.ts";
import { EVICT_STEPS } from "./flow-age.ts";
import { FlowHash } from "./flow-hash.ts";
import {
  F_BINDING,
  F_LINK,
  F_PEER,
  F_PORTS,
  F_PROTOCOL,
  F_SEEN,
  F_STATE,
  FLOW_ALLOWED,
  FLOW_BYTES,
  FLOW_CAPACITY_MAX,
  FLOW_ESTABLISHING,
  FLOW_FIN_LOCAL,
  FLOW_FIN_REMOTE,
  FLOW_FREE,
  FLOW_IDENTIFYING,
  FLOW_IPV6,
  FLOW_OUTSIDE,
  FLOW_REFUSED,
  FLOW_RESET,
  FLOW_SERVER_FIRST,
  FLOW_TIMEOUTS,
  FLOW_WORDS,
  FlowTable,
  flowIndexBytes,
} from "./flow-table.ts";

const LOCAL = 0x0a000001;
const TCP = 6;
const UDP = 17;

/** A key as ten words: local3, remote3, ports, protocol, local0-2, remote0-2. */
type Key = readonly [
  number,
  number,
  number,
  number,
  number,
  number,
  number,
  number,
  number,
  number,
];

function keyOf(random: Prng, spread: number): Key {
  const ports = ((random.below(spread) << 16) | random.below(4)) >>> 0;
  const vlan = random.oneIn(4) ? random.below(0x1000) << 16 : 0;
  const protocol = (random.oneIn(2) ? TCP : UDP) | vlan;
  const remote = 0xfffffff0 + random.below(8);
  if (random.oneIn(2)) return [LOCAL, remote, ports, protocol, 0, 0, 0, 0, 0, 0];
  const high = 0x80000000 + random.below(3);
  return [
    LOCAL,
    remote,
    ports,
    protocol | FLOW_IPV6,
    high,
    1,
    2,
    high,
    random.below(3),
    0xfe800000,
  ];
}

function hashOf(table: FlowTable, key: Key): number {
  return table.hashOf(...key);
}

function find(table: FlowTable, key: Key): number {
  const hash = hashOf(table, key);
  if ((key[3] & FLOW_IPV6) !== 0) return table.find6(hash, ...key);
  return table.find(hash, key[0], key[1], key[2], key[3]);
}

function findHinted(table: FlowTable, key: Key, hint: number): number {
  const hash = hashOf(table, key);
  if ((key[3] & FLOW_IPV6) !== 0) return table.findHinted6(hint, hash, ...key);
  return table.findHinted(hint, hash, key[0], key[1], key[2], key[3]);
}

function insert(table: FlowTable, key: Key, now = 0): number {
  const hash = hashOf(table, key);
  if ((key[3] & FLOW_IPV6) !== 0) return table.insert6(hash, ...key, now);
  return table.insert(hash, key[0], key[1], key[2], key[3], now);
}

function v4(number: number): Key {
  return [LOCAL, 0x0a000002, number, TCP, 0, 0, 0, 0, 0, 0];
}

function stateOf(table: FlowTable, flow: number): number {
  return table.words[flow * FLOW_WORDS + F_STATE] & 0xff;
}

/** Sets state and last seen. */
function put(table: FlowTable, flow: number, state: number, seen: number): void {
  table.words[flow * FLOW_WORDS + F_STATE] = state;
  table.words[flow * FLOW_WORDS + F_SEEN] = seen;
}

/** A hash that sends everything to few slots, the last ones, so that clusters wrap around. */
class CrowdedHash extends FlowHash {
  override of4(local3: number, remote3: number, ports: number, protocol: number): number {
    return super.of4(local3, remote3, ports, protocol) | 0xff800000;
  }
}

for (const crowded of [false, true]) {
  test(`flow table agrees with a Map, crowded ${crowded} (SEED=${seed})`, () => {
    const random = new Prng(seed);
    const capacity = 500;
    const table = crowded
      ? new FlowTable(capacity, undefined, undefined, new CrowdedHash())
      : new FlowTable(capacity);
    const oracle = new Map<string, number>();
    const hashes = new Int32Array(1);
    for (let turn = 0; turn < 60_000; turn++) {
      const key = keyOf(random, 60);
      const name = key.join();
      const known = oracle.get(name) ?? -1;
      expect(find(table, key)).toBe(known);
      hashes[0] = hashOf(table, key);
      table.prefetch(hashes, 1);
      expect(findHinted(table, key, table.hints[0])).toBe(known);
      // A hint of another key must not matter.
      expect(findHinted(table, key, random.below(capacity))).toBe(known);
      table.touch(hashes[0]);
      if (known >= 0 && random.oneIn(2)) {
        table.remove(known);
        table.remove(known); // a second time changes nothing
        oracle.delete(name);
      } else if (known < 0 && oracle.size < capacity) {
        const flow = insert(table, key);
        expect(flow).toBeGreaterThanOrEqual(0);
        expect(stateOf(table, flow)).toBe(FLOW_ESTABLISHING);
        oracle.set(name, flow);
      }
      expect(table.count).toBe(oracle.size);
    }
    expect(new Set(oracle.values()).size).toBe(oracle.size);
  });
}

test("every word of a key counts, and IPv4 and IPv6 are told apart", () => {
  const table = new FlowTable(8);
  const key: Key = [LOCAL, 2, 3, TCP | FLOW_IPV6, 4, 5, 6, 7, 8, 9];
  const hash = hashOf(table, key);
  const flow = table.insert6(hash, ...key, 0);
  expect(table.find6(hash, ...key)).toBe(flow);
  for (let word = 0; word < key.length; word++) {
    const other = key.slice();
    other[word] ^= 0x80000000;
    // The same hash on purpose: the comparison must tell.
    expect(table.find6(hash, ...(other as unknown as Key))).toBe(-1);
  }
  expect(table.find(hash, LOCAL, 2, 3, TCP)).toBe(-1);
  table.remove(flow);
  expect(table.find6(hash, ...key)).toBe(-1);
  expect(table.findHinted6(flow, hash, ...key)).toBe(-1);
});

test("a new flow in a used record starts with zeroed words", () => {
  const table = new FlowTable(1);
  const flow = insert(table, v4(1), 7);
  table.words.fill(0xffffffff, flow * FLOW_WORDS + F_BINDING, flow * FLOW_WORDS + F_SEEN);
  table.remove(flow);
  const again = insert(table, v4(2), 9);
  expect(again).toBe(flow);
  const words = table.words.slice(again * FLOW_WORDS, (again + 1) * FLOW_WORDS);
  expect([...words.slice(F_BINDING, F_PEER + 1)]).toEqual([0, 0, 0]);
  expect(words[F_SEEN]).toBe(9);
  expect(words[F_PORTS]).toBe(2);
  expect(words[F_PROTOCOL]).toBe(TCP);
});

const TIMEOUT_CASES = [
  {
    name: "establishing",
    state: FLOW_ESTABLISHING,
    protocol: TCP,
    seconds: FLOW_TIMEOUTS.establishing,
  },
  {
    name: "server first",
    state: FLOW_SERVER_FIRST,
    protocol: TCP,
    seconds: FLOW_TIMEOUTS.serverFirst,
  },
  {
    name: "identifying",
    state: FLOW_IDENTIFYING,
    protocol: TCP,
    seconds: FLOW_TIMEOUTS.identifying,
  },
  { name: "refused", state: FLOW_REFUSED, protocol: TCP, seconds: FLOW_TIMEOUTS.refused },
  { name: "allowed TCP", state: FLOW_ALLOWED, protocol: TCP, seconds: FLOW_TIMEOUTS.tcp },
  { name: "allowed UDP", state: FLOW_ALLOWED, protocol: UDP, seconds: FLOW_TIMEOUTS.other },
  { name: "outside TCP", state: FLOW_OUTSIDE, protocol: TCP, seconds: FLOW_TIMEOUTS.tcp },
  { name: "outside UDP", state: FLOW_OUTSIDE, protocol: UDP, seconds: FLOW_TIMEOUTS.other },
  {
    name: "one FIN",
    state: FLOW_ALLOWED | FLOW_FIN_LOCAL,
    protocol: TCP,
    seconds: FLOW_TIMEOUTS.tcp,
  },
  {
    name: "both FIN",
    state: FLOW_ALLOWED | FLOW_FIN_LOCAL | FLOW_FIN_REMOTE,
    protocol: TCP,
    seconds: FLOW_TIMEOUTS.closed,
  },
  { name: "RST", state: FLOW_ALLOWED | FLOW_RESET, protocol: TCP, seconds: FLOW_TIMEOUTS.closed },
  { name: "unknown state", state: 200, protocol: TCP, seconds: 0 },
  { name: "state 0, written by mistake", state: FLOW_FREE, protocol: TCP, seconds: 0 },
];
test.each(TIMEOUT_CASES)("expireSome: $name", ({ state, protocol, seconds }) => {
  const table = new FlowTable(4);
  const key: Key = [LOCAL, 2, 3, protocol, 0, 0, 0, 0, 0, 0];
  const flow = insert(table, key, 100);
  put(table, flow, state, 100);
  if (seconds > 0) expect(table.expireSome(100 + seconds - 1, 4)).toBe(0);
  expect(table.expireSome(100 + seconds, 4)).toBe(1);
  expect(table.removed[0]).toBe(flow);
  expect(table.removedState[0]).toBe(state);
  expect(find(table, key)).toBe(-1);
  expect(table.count).toBe(0);
});

test("expireSome goes round in bounded steps and reaches every flow", () => {
  const table = new FlowTable(1000);
  for (let i = 0; i < 300; i++) insert(table, v4(i), 0);
  expect(table.expireSome(1000, 1000)).toBe(64);
  expect(table.expireSome(1000, 10)).toBe(10);
  let left = 300 - 74;
  for (let turn = 0; turn < 4; turn++) left -= table.expireSome(1000, 1000);
  expect(left).toBe(0);
  expect(table.count).toBe(0);
  for (let i = 0; i < 300; i++) insert(table, v4(i), 1000);
  expect(table.expireSome(1000, 1000)).toBe(0);
});

const VICTIM_CASES = [
  { name: "refused, although just seen", state: FLOW_REFUSED, idle: 0, goes: true },
  { name: "closed for long enough", state: FLOW_ALLOWED | FLOW_RESET, idle: 15, goes: true },
  { name: "state 0, written by mistake", state: FLOW_FREE, idle: 0, goes: true },
  { name: "half open, idle for 6 s", state: FLOW_ESTABLISHING, idle: 6, goes: true },
  { name: "half open, idle for 5 s", state: FLOW_ESTABLISHING, idle: 5, goes: false },
  { name: "identifying, idle for 10 s", state: FLOW_IDENTIFYING, idle: 10, goes: true },
  { name: "identifying, idle for 9 s", state: FLOW_IDENTIFYING, idle: 9, goes: false },
  { name: "outside, idle for 9 s", state: FLOW_OUTSIDE, idle: 9, goes: false },
  { name: "allowed, idle for 10 s", state: FLOW_ALLOWED, idle: 10, goes: true },
  { name: "allowed, idle for 9 s", state: FLOW_ALLOWED, idle: 9, goes: false },
];
test.each(VICTIM_CASES)("full table, insert throws out: $name", ({ state, idle, goes }) => {
  const table = new FlowTable(3);
  const now = 1000;
  for (let i = 0; i < 3; i++) put(table, insert(table, v4(i), now), FLOW_ALLOWED, now);
  put(table, 1, state, now - idle);
  table.words[FLOW_WORDS + F_PEER] = 77;
  const flow = insert(table, v4(9), now);
  expect(flow).toBe(goes ? 1 : -1);
  expect(table.evictedState).toBe(goes ? state : FLOW_FREE);
  expect(table.evictions).toBe(goes ? 1 : 0);
  expect(table.refusals).toBe(goes ? 0 : 1);
  if (goes) expect(table.evictedPeer).toBe(77);
  expect(find(table, v4(9))).toBe(flow);
  expect(find(table, v4(1))).toBe(goes ? -1 : 1);
  expect(table.count).toBe(3);
});

test("among idle flows the lowest class goes, then the longest idle", () => {
  const now = 1000;
  const table = new FlowTable(4);
  for (let i = 0; i < 4; i++) insert(table, v4(i), now);
  put(table, 0, FLOW_ALLOWED, now - 200);
  put(table, 1, FLOW_SERVER_FIRST, now - 20);
  put(table, 2, FLOW_ESTABLISHING, now - 7);
  put(table, 3, FLOW_ESTABLISHING, now - 8);
  const order = [];
  for (let i = 0; i < 4; i++) {
    const flow = insert(table, v4(10 + i), now);
    order.push(flow);
    put(table, flow, FLOW_ALLOWED, now);
  }
  expect(order).toEqual([3, 2, 1, 0]);
  expect(insert(table, v4(20), now)).toBe(-1);
});

test("an insert into a full table looks at EVICT_STEPS flows, then the next ones", () => {
  const now = 1000;
  const table = new FlowTable(3 * EVICT_STEPS);
  for (let i = 0; i < 3 * EVICT_STEPS; i++)
    put(table, insert(table, v4(i), now), FLOW_ALLOWED, now);
  put(table, 2 * EVICT_STEPS, FLOW_REFUSED, now);
  expect(insert(table, v4(-1), now)).toBe(-1);
  expect(insert(table, v4(-1), now)).toBe(-1);
  expect(insert(table, v4(-1), now)).toBe(2 * EVICT_STEPS);
});

test("the greatest capacity works, one more is refused", () => {
  expect(() => new FlowTable(FLOW_CAPACITY_MAX + 1)).toThrow("capacity");
  expect(() => new FlowTable(0)).toThrow("capacity");
  expect(() => new FlowTable(2, new Uint8Array(FLOW_BYTES))).toThrow("memory");
  expect(flowIndexBytes(1)).toBe(8);
  expect(flowIndexBytes(1_000_000)).toBe(4 * 2 ** 21);
  const one = new FlowTable(1);
  expect(insert(one, v4(1))).toBe(0);
  expect(insert(one, v4(2), 5)).toBe(-1);
  expect(find(one, v4(1))).toBe(0);
  const table = new FlowTable(FLOW_CAPACITY_MAX);
  const last = FLOW_CAPACITY_MAX - 1;
  for (let i = 0; i < FLOW_CAPACITY_MAX; i++) table.insert(hashOf(table, v4(i)), ...short(i), 1);
  expect(table.count).toBe(FLOW_CAPACITY_MAX);
  expect(find(table, v4(last))).toBe(last);
  expect(insert(table, v4(last + 1), 1)).toBe(-1);
  expect(table.words[last * FLOW_WORDS + F_LINK]).toBe(hashOf(table, v4(last)) >>> 0);
});

function short(number: number): [number, number, number, number] {
  const key = v4(number);
  return [key[0], key[1], key[2], key[3]];
}
