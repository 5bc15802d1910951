/**
 * Flows: both directions of a 5-tuple (and VLAN), with state and verdict. design/agent.md "Egress"
 * 3-4. Hot path. Memory is fixed: an index of u32 slots (12 hash bits, flow number + 1) at most
 * half full, probed linearly, and one 64-byte line a flow; a lookup misses the cache twice at
 * worst. Times are whole seconds of the monotonic clock.
 *
 * When full, an insert makes room by throwing out one flow that flow-age.ts chooses; when it finds
 * none that may go, the insert is refused (-1).
 *
 * The record words may lie in a mapped file (flow-file.ts). Verdicts are the callers' business.
 */
import { assert } from "../errors.ts";
import { FlowAge } from "./flow-age.ts";
import { FlowHash } from "./flow-hash.ts";
import {
  F_BINDING,
  F_LINK,
  F_LOCAL0,
  F_LOCAL1,
  F_LOCAL2,
  F_LOCAL3,
  F_PEER,
  F_PORTS,
  F_PROTOCOL,
  F_REMOTE0,
  F_REMOTE1,
  F_REMOTE2,
  F_REMOTE3,
  F_SEEN,
  F_STATE,
  F_TAG_RULE,
  FLOW_BYTES,
  FLOW_ESTABLISHING,
  FLOW_FREE,
  FLOW_GONE,
  FLOW_IPV6,
  FLOW_TIMEOUTS,
  FLOW_WORDS,
} from "./flow-record.ts";

export * from "./flow-record.ts";

/** 20 bits of an index slot hold the flow number + 1. */
export const FLOW_CAPACITY_MAX = 0xfffff - 1;
/** Greatest burst of prefetch(), and of flows that one expireSome() removes. */
export const FLOW_BURST = 64;
const FLOW_NUMBER = 0xfffff;

export class FlowTable {
  readonly capacity: number;
  /** FLOW_WORDS words a flow; flow `i` starts at word `i * FLOW_WORDS`. */
  readonly words: Uint32Array;
  readonly hash: FlowHash;
  /** Flows in use. */
  count = 0;
  /** State and peer word of the flow that the last insert threw out; FLOW_FREE when none. */
  evictedState = FLOW_FREE;
  evictedPeer = 0;
  /** Flows thrown out, and inserts refused, since the start. */
  evictions = 0;
  refusals = 0;
  /**
   * Flows that the last expireSome() removed; their words keep the last values but for the state.
   */
  readonly removed = new Uint32Array(FLOW_BURST);
  /** F_STATE of each of them before. */
  readonly removedState = new Uint32Array(FLOW_BURST);

  /** What prefetch() found for each key: a flow whose hash is alike, or -1. */
  readonly hints = new Int32Array(FLOW_BURST);
  /** Written by prefetch(), so that its reads are not optimised away. */
  prefetched = 0;

  // Read by flow-keys.ts and plain-egress.ts, which look up whole bursts; written here only.
  readonly signed: Int32Array;
  readonly slots: Int32Array;
  readonly shift: number;
  readonly mask: number;
  private readonly age: FlowAge;
  private firstFree = 0;
  /** Flows from here on were never used: their memory is untouched. */
  private unused = 0;
  private sweep = 0;

  /**
   * @param capacity flows, 1 to FLOW_CAPACITY_MAX
   * @param records memory for `capacity` records, zeroed or restored, at a multiple of 64 bytes
   * @param slots zeroed memory for the index: flowIndexBytes(capacity)
   */
  constructor(
    capacity: number,
    records: Uint8Array = new Uint8Array(capacity * FLOW_BYTES),
    slots: Uint8Array = new Uint8Array(flowIndexBytes(capacity)),
    hash: FlowHash = new FlowHash(),
    timeouts: typeof FLOW_TIMEOUTS = FLOW_TIMEOUTS,
  ) {
    assert(capacity >= 1 && capacity <= FLOW_CAPACITY_MAX, "flow capacity out of range");
    assert(records.byteLength >= capacity * FLOW_BYTES, "too little memory for the flows");
    assert(slots.byteLength >= flowIndexBytes(capacity), "too little memory for the flow index");
    this.capacity = capacity;
    this.hash = hash;
    this.words = new Uint32Array(records.buffer, records.byteOffset, capacity * FLOW_WORDS);
    this.signed = new Int32Array(records.buffer, records.byteOffset, capacity * FLOW_WORDS);
    const slotCount = flowIndexBytes(capacity) / 4;
    this.slots = new Int32Array(slots.buffer, slots.byteOffset, slotCount);
    this.mask = slotCount - 1;
    this.shift = Math.clz32(this.mask);
    this.age = new FlowAge(this.words, capacity, timeouts);
  }

  /** Hash of a key; for IPv4 (FLOW_IPV6 clear in `protocol`) the last six words are ignored. */
  hashOf(
    local3: number,
    remote3: number,
    ports: number,
    protocol: number,
    local0: number,
    local1: number,
    local2: number,
    remote0: number,
    remote1: number,
    remote2: number,
  ): number {
    if ((protocol & FLOW_IPV6) === 0) return this.hash.of4(local3, remote3, ports, protocol);
    return this.hash.of6(
      local3,
      remote3,
      ports,
      protocol,
      local0,
      local1,
      local2,
      remote0,
      remote1,
      remote2,
    );
  }

  /**
   * Brings the lines of up to FLOW_BURST keys into the cache and fills `hints`; call it before the
   * burst's findHinted()s. The misses of a burst overlap only while no branch depends on them,
   * hence three loops (measured at 1,000,000 flows: 30 ns a lookup, 65 with find() alone).
   */
  prefetch(hashes: Int32Array, count: number): void {
    const slots = this.slots;
    const signed = this.signed;
    const hints = this.hints;
    const shift = this.shift;
    const mask = this.mask;
    for (let i = 0; i < count; i++) hints[i] = slots[hashes[i] >>> shift];
    for (let i = 0; i < count; i++) {
      const mark = hashes[i] << 20;
      let slot = hashes[i] >>> shift;
      let entry = hints[i];
      // Ends at an empty slot, and at least half of all slots are.
      while (entry !== 0 && (entry ^ mark) >>> 20 !== 0) {
        slot = (slot + 1) & mask;
        entry = slots[slot];
      }
      hints[i] = (entry & FLOW_NUMBER) - 1;
    }
    let sum = 0;
    for (let i = 0; i < count; i++) {
      const flow = hints[i];
      if (flow >= 0) sum ^= signed[flow * FLOW_WORDS];
    }
    this.prefetched = sum;
  }

  /**
   * As prefetch(), for one key; the returned number must be used, or the reads are optimised away.
   */
  touch(hash: number): number {
    const flow = (this.slots[hash >>> this.shift] & FLOW_NUMBER) - 1;
    return flow < 0 ? 0 : this.signed[flow * FLOW_WORDS];
  }

  /** Flows from here on were never used. */
  get used(): number {
    return this.unused;
  }

  /** The flow of an IPv4 key, or -1. */
  find(hash: number, local3: number, remote3: number, ports: number, protocol: number): number {
    const slots = this.slots;
    const mask = this.mask;
    const mark = hash << 20;
    let slot = hash >>> this.shift;
    for (let probe = 0; probe <= mask; probe++) {
      const entry = slots[slot];
      if (entry === 0) return -1;
      if ((entry ^ mark) >>> 20 === 0) {
        const flow = (entry & FLOW_NUMBER) - 1;
        if (this.isKey(flow, local3, remote3, ports, protocol)) return flow;
      }
      slot = (slot + 1) & mask;
    }
    return -1;
  }

  /** As find(), looking first at `hint`, one of `hints` after prefetch(). */
  findHinted(
    hint: number,
    hash: number,
    local3: number,
    remote3: number,
    ports: number,
    protocol: number,
  ): number {
    if (hint >= 0 && this.isKey(hint, local3, remote3, ports, protocol)) return hint;
    return this.find(hash, local3, remote3, ports, protocol);
  }

  /** The flow of an IPv6 key, or -1. */
  find6(
    hash: number,
    local3: number,
    remote3: number,
    ports: number,
    protocol: number,
    local0: number,
    local1: number,
    local2: number,
    remote0: number,
    remote1: number,
    remote2: number,
  ): number {
    const slots = this.slots;
    const mask = this.mask;
    const mark = hash << 20;
    let slot = hash >>> this.shift;
    for (let probe = 0; probe <= mask; probe++) {
      const entry = slots[slot];
      if (entry === 0) return -1;
      if ((entry ^ mark) >>> 20 === 0) {
        const flow = (entry & FLOW_NUMBER) - 1;
        if (
          this.isKey(flow, local3, remote3, ports, protocol) &&
          this.isKey6(flow, local0, local1, local2, remote0, remote1, remote2)
        ) {
          return flow;
        }
      }
      slot = (slot + 1) & mask;
    }
    return -1;
  }

  /** As find6(), looking first at `hint`. */
  findHinted6(
    hint: number,
    hash: number,
    local3: number,
    remote3: number,
    ports: number,
    protocol: number,
    local0: number,
    local1: number,
    local2: number,
    remote0: number,
    remote1: number,
    remote2: number,
  ): number {
    if (
      hint >= 0 &&
      this.isKey(hint, local3, remote3, ports, protocol) &&
      this.isKey6(hint, local0, local1, local2, remote0, remote1, remote2)
    ) {
      return hint;
    }
    return this.find6(
      hash,
      local3,
      remote3,
      ports,
      protocol,
      local0,
      local1,
      local2,
      remote0,
      remote1,
      remote2,
    );
  }

  /**
   * A new flow in state ESTABLISHING for an IPv4 key that find() did not know, or -1 when the table
   * is full and nothing may go. The other words are 0.
   */
  insert(
    hash: number,
    local3: number,
    remote3: number,
    ports: number,
    protocol: number,
    nowSeconds: number,
  ): number {
    return this.insert6(hash, local3, remote3, ports, protocol, 0, 0, 0, 0, 0, 0, nowSeconds);
  }

  /** As insert(), for an IPv6 key. */
  insert6(
    hash: number,
    local3: number,
    remote3: number,
    ports: number,
    protocol: number,
    local0: number,
    local1: number,
    local2: number,
    remote0: number,
    remote1: number,
    remote2: number,
    nowSeconds: number,
  ): number {
    const flow = this.takeFree(nowSeconds);
    if (flow < 0) return -1;
    const signed = this.signed;
    const at = flow * FLOW_WORDS;
    signed[at + F_REMOTE3] = remote3;
    signed[at + F_LOCAL3] = local3;
    signed[at + F_PORTS] = ports;
    signed[at + F_PROTOCOL] = protocol;
    signed[at + F_REMOTE0] = remote0;
    signed[at + F_REMOTE1] = remote1;
    signed[at + F_REMOTE2] = remote2;
    signed[at + F_LOCAL0] = local0;
    signed[at + F_LOCAL1] = local1;
    signed[at + F_LOCAL2] = local2;
    signed[at + F_BINDING] = 0;
    signed[at + F_TAG_RULE] = 0;
    signed[at + F_PEER] = 0;
    signed[at + F_SEEN] = nowSeconds;
    signed[at + F_STATE] = FLOW_ESTABLISHING;
    this.enter(flow, hash);
    return flow;
  }

  /** Forgets a flow; its words keep their values but for state, link and FLOW_GONE. */
  remove(flow: number): void {
    const at = flow * FLOW_WORDS;
    // Not the state: whoever writes 0 there must not make the flow unreachable.
    if (flow >= this.unused || (this.signed[at + F_PROTOCOL] & FLOW_GONE) !== 0) return;
    this.leave(flow);
    this.signed[at + F_STATE] = FLOW_FREE;
    this.signed[at + F_PROTOCOL] |= FLOW_GONE;
    this.signed[at + F_LINK] = this.firstFree;
    this.firstFree = flow + 1;
  }

  /**
   * Looks at the next `steps` flows and removes those past their timeout, at most FLOW_BURST of
   * them. Returns how many; `removed` names them.
   */
  expireSome(nowSeconds: number, steps: number): number {
    const end = this.unused;
    let found = 0;
    for (let step = 0; step < steps && step < end && found < FLOW_BURST; step++) {
      if (this.sweep >= end) this.sweep = 0;
      const flow = this.sweep++;
      const state = this.signed[flow * FLOW_WORDS + F_STATE];
      const isFree = (this.signed[flow * FLOW_WORDS + F_PROTOCOL] & FLOW_GONE) !== 0;
      if (isFree || !this.age.isExpired(flow, nowSeconds)) continue;
      this.removed[found] = flow;
      this.removedState[found] = state;
      found++;
      this.remove(flow);
    }
    return found;
  }

  /** Takes a flow that flow-file.ts has found valid into the index; `hash` is its key's. */
  restore(flow: number, hash: number): void {
    assert(flow === this.unused && flow < this.capacity, "flows are restored in order");
    this.unused++;
    this.enter(flow, hash);
  }

  private isKey(
    flow: number,
    local3: number,
    remote3: number,
    ports: number,
    protocol: number,
  ): boolean {
    const signed = this.signed;
    const at = flow * FLOW_WORDS;
    const difference =
      (signed[at + F_REMOTE3] ^ remote3) |
      (signed[at + F_LOCAL3] ^ local3) |
      (signed[at + F_PORTS] ^ ports) |
      (signed[at + F_PROTOCOL] ^ protocol);
    return difference === 0;
  }

  private isKey6(
    flow: number,
    local0: number,
    local1: number,
    local2: number,
    remote0: number,
    remote1: number,
    remote2: number,
  ): boolean {
    const signed = this.signed;
    const at = flow * FLOW_WORDS;
    const difference =
      (signed[at + F_REMOTE0] ^ remote0) |
      (signed[at + F_REMOTE1] ^ remote1) |
      (signed[at + F_REMOTE2] ^ remote2) |
      (signed[at + F_LOCAL0] ^ local0) |
      (signed[at + F_LOCAL1] ^ local1) |
      (signed[at + F_LOCAL2] ^ local2);
    return difference === 0;
  }

  private enter(flow: number, hash: number): void {
    const slots = this.slots;
    const mask = this.mask;
    let slot = hash >>> this.shift;
    // An empty slot exists: the index has at least twice as many slots as there are flows.
    for (let probe = 0; probe <= mask && slots[slot] !== 0; probe++) slot = (slot + 1) & mask;
    slots[slot] = (hash << 20) | (flow + 1);
    this.signed[flow * FLOW_WORDS + F_LINK] = hash;
    this.count++;
  }

  /** Takes a flow out of the index and moves later entries of the cluster up: no tombstones. */
  private leave(flow: number): void {
    const slots = this.slots;
    const signed = this.signed;
    const mask = this.mask;
    const shift = this.shift;
    let hole = signed[flow * FLOW_WORDS + F_LINK] >>> shift;
    for (let probe = 0; probe <= mask; probe++) {
      if ((slots[hole] & FLOW_NUMBER) === flow + 1) break;
      hole = (hole + 1) & mask;
    }
    let next = (hole + 1) & mask;
    for (let probe = 0; probe <= mask; probe++) {
      const entry = slots[next];
      if (entry === 0) break;
      const home = signed[((entry & FLOW_NUMBER) - 1) * FLOW_WORDS + F_LINK] >>> shift;
      // The entry may move to the hole only if the hole is not before its home slot.
      if (((next - home) & mask) >= ((next - hole) & mask)) {
        slots[hole] = entry;
        hole = next;
      }
      next = (next + 1) & mask;
    }
    slots[hole] = 0;
    this.count--;
  }

  private takeFree(nowSeconds: number): number {
    this.evictedState = FLOW_FREE;
    if (this.firstFree === 0 && this.unused === this.capacity) {
      const victim = this.age.chooseVictim(nowSeconds);
      if (victim < 0) {
        this.refusals++;
        return -1;
      }
      this.evictions++;
      this.evictedState = this.words[victim * FLOW_WORDS + F_STATE];
      this.evictedPeer = this.words[victim * FLOW_WORDS + F_PEER];
      this.remove(victim);
    }
    if (this.firstFree === 0) return this.unused++;
    const flow = this.firstFree - 1;
    this.firstFree = this.signed[flow * FLOW_WORDS + F_LINK];
    return flow;
  }
}

/** Bytes of the index: the power of two of u32 slots at or above twice the capacity. */
export function flowIndexBytes(capacity: number): number {
  return 4 * 2 ** Math.ceil(Math.log2(Math.max(2, 2 * capacity)));
}
