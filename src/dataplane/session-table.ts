/**
 * Sessions of one agent as columns over shared memory: the worker reads them for every packet, the
 * main thread reads their activity. docs/wire.md "Session, tag, role", "DATA".
 * Hot path. Capacity is fixed: slots are given out by src/session, so the table is never full here.
 * Times are monotonic microseconds. Keys are numbers in the shim's table, never bytes.
 *
 * A receiver index is random generation bits << 12 | slot; one compare tells a live one.
 */
import { assert } from "../errors.ts";

export const SESSION_SLOT_BITS = 12;
export const SESSION_CAPACITY_MAX = 1 << SESSION_SLOT_BITS;
export const SESSION_LANES = 16;
const SLOT_MASK = SESSION_CAPACITY_MAX - 1;

/** States. */
export const SESSION_FREE = 0;
/** The responder's until the first valid DATA: receives, must not send. */
export const SESSION_UNCONFIRMED = 1;
export const SESSION_LIVE = 2;
/** Replaced: receives, no longer sends. */
export const SESSION_RETIRING = 3;

const WORD_COLUMNS = 14;
const DOUBLE_COLUMNS = 4;
const PROOF_WORDS = 4;
const HEADER_BYTES = 64;

/** Bytes of shared memory for a table. */
export function sessionTableBytes(capacity: number = SESSION_CAPACITY_MAX): number {
  const doubles = capacity * (DOUBLE_COLUMNS + SESSION_LANES);
  const words = SESSION_CAPACITY_MAX + capacity * (WORD_COLUMNS + 2 * PROOF_WORDS);
  return HEADER_BYTES + 8 * doubles + 4 * words;
}

export class SessionTable {
  /**
   * Indexed by the slot bits of a receiver index; of a free slot it is a value nobody can ask for.
   */
  readonly receiverIndex: Uint32Array;
  readonly remoteIndex: Uint32Array;
  readonly state: Uint32Array;
  readonly peer: Uint32Array;
  /** Tag index; 0 is the zero tag of a tenant session. */
  readonly tag: Uint32Array;
  /** Our own role: 0 when our packets are of the application, 1 when they are replies. */
  readonly role: Uint32Array;
  readonly keyOut: Uint32Array;
  readonly keyIn: Uint32Array;
  /** 1 when the contract of that direction encrypts. */
  readonly confidentialOut: Uint32Array;
  readonly confidentialIn: Uint32Array;
  /** 1 when the contract of that direction is unauthenticated: a constant proof, no window. */
  readonly quickOut: Uint32Array;
  readonly quickIn: Uint32Array;
  /** In the order they were installed, from 1. */
  readonly order: Uint32Array;
  /** The same of those that the peer initiated; 0: we initiated. */
  readonly peersOrder: Uint32Array;
  /** Its first DATA proves that the peer started again: what has a smaller order ends; 0: not. */
  readonly endsBefore: Uint32Array;
  /** Constant proofs, four big-endian words a slot. */
  readonly quickProofOut: Uint32Array;
  readonly quickProofIn: Uint32Array;
  readonly lastSentUs: Float64Array;
  /** Packets with payload. */
  readonly lastReceivedUs: Float64Array;
  /** Any valid packet, empty ones too. */
  readonly lastHeardUs: Float64Array;
  /** Packets that passed all checks. */
  readonly received: Float64Array;
  /** The next counter of each lane: `slot * SESSION_LANES + lane`. */
  readonly counters: Float64Array;

  /**
   * @param capacity slots, 1 to SESSION_CAPACITY_MAX
   * @param buffer zeroed, or that of another thread's table of the same capacity, made before
   */
  constructor(
    readonly capacity: number = SESSION_CAPACITY_MAX,
    readonly buffer: SharedArrayBuffer = new SharedArrayBuffer(sessionTableBytes(capacity)),
  ) {
    assert(capacity >= 1 && capacity <= SESSION_CAPACITY_MAX, "session capacity out of range");
    assert(buffer.byteLength >= sessionTableBytes(capacity), "too little memory for the sessions");
    let offset = HEADER_BYTES;
    this.counters = new Float64Array(buffer, offset, capacity * SESSION_LANES);
    offset += 8 * capacity * SESSION_LANES;
    this.lastSentUs = new Float64Array(buffer, offset, capacity);
    this.lastReceivedUs = new Float64Array(buffer, offset + 8 * capacity, capacity);
    this.received = new Float64Array(buffer, offset + 16 * capacity, capacity);
    this.lastHeardUs = new Float64Array(buffer, offset + 24 * capacity, capacity);
    offset += 8 * capacity * DOUBLE_COLUMNS;
    this.receiverIndex = new Uint32Array(buffer, offset, SESSION_CAPACITY_MAX);
    offset += 4 * SESSION_CAPACITY_MAX;
    const column = 4 * capacity;
    this.remoteIndex = new Uint32Array(buffer, offset, capacity);
    this.state = new Uint32Array(buffer, offset + column, capacity);
    this.peer = new Uint32Array(buffer, offset + 2 * column, capacity);
    this.tag = new Uint32Array(buffer, offset + 3 * column, capacity);
    this.role = new Uint32Array(buffer, offset + 4 * column, capacity);
    this.keyOut = new Uint32Array(buffer, offset + 5 * column, capacity);
    this.keyIn = new Uint32Array(buffer, offset + 6 * column, capacity);
    this.confidentialOut = new Uint32Array(buffer, offset + 7 * column, capacity);
    this.confidentialIn = new Uint32Array(buffer, offset + 8 * column, capacity);
    this.quickOut = new Uint32Array(buffer, offset + 9 * column, capacity);
    this.quickIn = new Uint32Array(buffer, offset + 10 * column, capacity);
    this.peersOrder = new Uint32Array(buffer, offset + 11 * column, capacity);
    this.order = new Uint32Array(buffer, offset + 12 * column, capacity);
    this.endsBefore = new Uint32Array(buffer, offset + 13 * column, capacity);
    offset += WORD_COLUMNS * column;
    this.quickProofOut = new Uint32Array(buffer, offset, capacity * PROOF_WORDS);
    this.quickProofIn = new Uint32Array(
      buffer,
      offset + column * PROOF_WORDS,
      capacity * PROOF_WORDS,
    );
    const header = new Int32Array(buffer, 0, 1);
    if (Atomics.compareExchange(header, 0, 0, 1) !== 0) return;
    for (let slot = 0; slot < SESSION_CAPACITY_MAX; slot++) this.receiverIndex[slot] = slot ^ 1;
  }

  /** The slot of a receiver index off the wire, or -1. */
  find(receiverIndex: number): number {
    const slot = receiverIndex & SLOT_MASK;
    return this.receiverIndex[slot] === receiverIndex ? slot : -1;
  }

  /**
   * Makes the slot named by `receiverIndex` a session, all counters 0; the caller then fills the
   * other columns. Returns the slot, or -1 when the index is 0, beyond the capacity, or its slot in
   * use.
   */
  open(receiverIndex: number, state: number, nowUs: number): number {
    const slot = receiverIndex & SLOT_MASK;
    if (receiverIndex === 0 || slot >= this.capacity) return -1;
    if (this.state[slot] !== SESSION_FREE) return -1;
    const lanes = slot * SESSION_LANES;
    for (let lane = 0; lane < SESSION_LANES; lane++) this.counters[lanes + lane] = 0;
    this.lastSentUs[slot] = nowUs;
    this.lastReceivedUs[slot] = nowUs;
    this.lastHeardUs[slot] = nowUs;
    this.received[slot] = 0;
    this.quickOut[slot] = 0;
    this.quickIn[slot] = 0;
    this.peersOrder[slot] = 0;
    this.order[slot] = 0;
    this.endsBefore[slot] = 0;
    this.receiverIndex[slot] = receiverIndex;
    this.state[slot] = state;
    return slot;
  }

  /** Ends a session; its index is unknown from now on. */
  close(slot: number): void {
    this.state[slot] = SESSION_FREE;
    this.receiverIndex[slot] = slot ^ 1;
  }

  /** Packets sent under the session, all lanes together. */
  sent(slot: number): number {
    let sum = 0;
    const lanes = slot * SESSION_LANES;
    for (let lane = 0; lane < SESSION_LANES; lane++) sum += this.counters[lanes + lane];
    return sum;
  }

  /** Takes the constant proofs of an unauthenticated contract, 16 bytes each, from `memory`. */
  setQuickProofs(slot: number, memory: DataView, outOffset: number, inOffset: number): void {
    const at = slot * PROOF_WORDS;
    for (let i = 0; i < PROOF_WORDS; i++) {
      this.quickProofOut[at + i] = memory.getUint32(outOffset + 4 * i, false);
      this.quickProofIn[at + i] = memory.getUint32(inOffset + 4 * i, false);
    }
  }

  /** Writes the constant proof of packets sent. */
  writeQuickProof(memory: DataView, offset: number, slot: number): void {
    const at = slot * PROOF_WORDS;
    const proof = this.quickProofOut;
    memory.setUint32(offset, proof[at], false);
    memory.setUint32(offset + 4, proof[at + 1], false);
    memory.setUint32(offset + 8, proof[at + 2], false);
    memory.setUint32(offset + 12, proof[at + 3], false);
  }

  /** Whether the 16 bytes at `offset` are the peer's constant proof; in constant time. */
  isQuickProof(memory: DataView, offset: number, slot: number): boolean {
    const at = slot * PROOF_WORDS;
    const proof = this.quickProofIn;
    const difference =
      (memory.getUint32(offset, false) ^ proof[at]) |
      (memory.getUint32(offset + 4, false) ^ proof[at + 1]) |
      (memory.getUint32(offset + 8, false) ^ proof[at + 2]) |
      (memory.getUint32(offset + 12, false) ^ proof[at + 3]);
    return difference === 0;
  }
}
