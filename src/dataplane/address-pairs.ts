/**
 * Pairs (own address, peer's address), each with the peer it names and the address hashes that
 * proofs cover. docs/wire.md "DATA": source and destination must be in the list of the session's
 * node. Hot path. Fixed memory; when full, add4() and add6() return -1. A pair keeps its index for
 * ever, so that flows may name it; pairs that are no more belong to nobody (peer -1). Addresses are
 * big-endian words; the hashes are computed by the caller.
 */
import { assert } from "../errors.ts";
import { FlowHash } from "./flow-hash.ts";

export const PAIR_NOBODY = -1;
export const PAIR_CAPACITY_MAX = 0xffff;

const KEY_WORDS = 8;
const HASH_WORDS = 3;
const IPV4 = 4;
const IPV6 = 6;

export class AddressPairs {
  count = 0;
  /** Peer index of a pair, or PAIR_NOBODY. */
  readonly peer: Int32Array;
  /** Address hash of packets from the own to the peer's address: three big-endian words a pair. */
  readonly hashOut: Uint32Array;
  /** And of packets the other way. */
  readonly hashIn: Uint32Array;

  /** Local words 0 to 3, remote words 0 to 3. */
  readonly keys: Int32Array;
  readonly version: Uint8Array;
  private readonly slots: Int32Array;
  private readonly mask: number;
  private readonly hash = new FlowHash();

  constructor(readonly capacity: number) {
    assert(capacity >= 1 && capacity <= PAIR_CAPACITY_MAX, "address pair capacity out of range");
    this.peer = new Int32Array(capacity);
    this.hashOut = new Uint32Array(capacity * HASH_WORDS);
    this.hashIn = new Uint32Array(capacity * HASH_WORDS);
    this.keys = new Int32Array(capacity * KEY_WORDS);
    this.version = new Uint8Array(capacity);
    this.slots = new Int32Array(2 ** Math.ceil(Math.log2(2 * capacity)));
    this.mask = this.slots.length - 1;
  }

  /**
   * Whether `pair` is that of two IPv4 addresses: cheaper than find4() where a guess is at hand.
   */
  is4(pair: number, local3: number, remote3: number): boolean {
    const at = pair * KEY_WORDS;
    return (
      ((this.keys[at + 3] ^ local3) |
        (this.keys[at + 7] ^ remote3) |
        (this.version[pair] ^ IPV4)) ===
      0
    );
  }

  /** The pair of two IPv4 addresses, or -1. */
  find4(local3: number, remote3: number): number {
    let slot = this.hash.of4(local3, remote3, 0, IPV4) & this.mask;
    for (let probe = 0; probe <= this.mask; probe++) {
      const pair = this.slots[slot] - 1;
      if (pair < 0) return -1;
      const at = pair * KEY_WORDS;
      const difference =
        (this.keys[at + 3] ^ local3) | (this.keys[at + 7] ^ remote3) | (this.version[pair] ^ IPV4);
      if (difference === 0) return pair;
      slot = (slot + 1) & this.mask;
    }
    return -1;
  }

  /** The pair of two IPv6 addresses, or -1. */
  find6(
    local3: number,
    remote3: number,
    local0: number,
    local1: number,
    local2: number,
    remote0: number,
    remote1: number,
    remote2: number,
  ): number {
    const hash = this.hash.of6(
      local3,
      remote3,
      0,
      IPV6,
      local0,
      local1,
      local2,
      remote0,
      remote1,
      remote2,
    );
    let slot = hash & this.mask;
    for (let probe = 0; probe <= this.mask; probe++) {
      const pair = this.slots[slot] - 1;
      if (pair < 0) return -1;
      const at = pair * KEY_WORDS;
      const keys = this.keys;
      const difference =
        (keys[at + 3] ^ local3) |
        (keys[at + 7] ^ remote3) |
        (keys[at] ^ local0) |
        (keys[at + 1] ^ local1) |
        (keys[at + 2] ^ local2) |
        (keys[at + 4] ^ remote0) |
        (keys[at + 5] ^ remote1) |
        (keys[at + 6] ^ remote2) |
        (this.version[pair] ^ IPV6);
      if (difference === 0) return pair;
      slot = (slot + 1) & this.mask;
    }
    return -1;
  }

  /**
   * The pair of two IPv4 addresses from now on named `peer`; a known pair keeps its index and
   * hashes.
   */
  add4(local3: number, remote3: number, peer: number): number {
    const known = this.find4(local3, remote3);
    if (known >= 0) {
      this.peer[known] = peer;
      return known;
    }
    const hash = this.hash.of4(local3, remote3, 0, IPV4);
    return this.append(hash, IPV4, peer, local3, remote3, 0, 0, 0, 0, 0, 0);
  }

  /** As add4(), for IPv6 addresses. */
  add6(
    local3: number,
    remote3: number,
    local0: number,
    local1: number,
    local2: number,
    remote0: number,
    remote1: number,
    remote2: number,
    peer: number,
  ): number {
    const known = this.find6(local3, remote3, local0, local1, local2, remote0, remote1, remote2);
    if (known >= 0) {
      this.peer[known] = peer;
      return known;
    }
    const hash = this.hash.of6(
      local3,
      remote3,
      0,
      IPV6,
      local0,
      local1,
      local2,
      remote0,
      remote1,
      remote2,
    );
    return this.append(
      hash,
      IPV6,
      peer,
      local3,
      remote3,
      local0,
      local1,
      local2,
      remote0,
      remote1,
      remote2,
    );
  }

  /** Sets both hashes of a pair; three words each, as the proof covers them. */
  setHashes(
    pair: number,
    out0: number,
    out1: number,
    out2: number,
    in0: number,
    in1: number,
    in2: number,
  ): void {
    const at = pair * HASH_WORDS;
    this.hashOut[at] = out0;
    this.hashOut[at + 1] = out1;
    this.hashOut[at + 2] = out2;
    this.hashIn[at] = in0;
    this.hashIn[at + 1] = in1;
    this.hashIn[at + 2] = in2;
  }

  /** Makes every pair nobody's, before a new list of peers is added; indexes stay. */
  disownAll(): void {
    for (let pair = 0; pair < this.count; pair++) this.peer[pair] = PAIR_NOBODY;
  }

  private append(
    hash: number,
    version: number,
    peer: number,
    local3: number,
    remote3: number,
    local0: number,
    local1: number,
    local2: number,
    remote0: number,
    remote1: number,
    remote2: number,
  ): number {
    if (this.count === this.capacity) return -1;
    const pair = this.count++;
    const at = pair * KEY_WORDS;
    this.keys[at] = local0;
    this.keys[at + 1] = local1;
    this.keys[at + 2] = local2;
    this.keys[at + 3] = local3;
    this.keys[at + 4] = remote0;
    this.keys[at + 5] = remote1;
    this.keys[at + 6] = remote2;
    this.keys[at + 7] = remote3;
    this.version[pair] = version;
    this.peer[pair] = peer;
    let slot = hash & this.mask;
    for (let probe = 0; probe <= this.mask && this.slots[slot] !== 0; probe++) {
      slot = (slot + 1) & this.mask;
    }
    this.slots[slot] = pair + 1;
    return pair;
  }
}
