/**
 * From an IPv4 or IPv6 address to a number (peer index, address index, …). design/agent.md "Egress"
 * 2. Hot path. Fixed memory; when full, set4() and set6() return false. The table is emptied and
 * filled again when the list behind it changes. Addresses are big-endian words.
 */
import { assert } from "../errors.ts";
import { FlowHash } from "./flow-hash.ts";

const KEY_WORDS = 4;
const IPV4 = 4;
const IPV6 = 6;

export class AddressTable {
  count = 0;
  private readonly keys: Int32Array;
  private readonly version: Uint8Array;
  private readonly values: Int32Array;
  private readonly slots: Int32Array;
  private readonly mask: number;
  private readonly hash = new FlowHash();

  /** @param capacity addresses */
  constructor(readonly capacity: number) {
    assert(capacity >= 1, "address capacity out of range");
    this.keys = new Int32Array(capacity * KEY_WORDS);
    this.version = new Uint8Array(capacity);
    this.values = new Int32Array(capacity);
    this.slots = new Int32Array(2 ** Math.ceil(Math.log2(2 * capacity)));
    this.mask = this.slots.length - 1;
  }

  /** The value of an IPv4 address, or -1. */
  find4(word: number): number {
    const row = this.row(IPV4, 0, 0, 0, word);
    return row < 0 ? -1 : this.values[row];
  }

  /** The value of an IPv6 address, or -1. */
  find6(word0: number, word1: number, word2: number, word3: number): number {
    const row = this.row(IPV6, word0, word1, word2, word3);
    return row < 0 ? -1 : this.values[row];
  }

  /** Sets the value (0 or more) of an IPv4 address; false when the table is full. */
  set4(word: number, value: number): boolean {
    return this.set(IPV4, 0, 0, 0, word, value);
  }

  /** As set4(), for an IPv6 address. */
  set6(word0: number, word1: number, word2: number, word3: number, value: number): boolean {
    return this.set(IPV6, word0, word1, word2, word3, value);
  }

  clear(): void {
    this.slots.fill(0);
    this.count = 0;
  }

  /**
   * Replaces the content by `count` rows: four words an address, its IP version, its value. False,
   * with the rows that fitted, when there are more addresses than the capacity.
   */
  load(words: Uint32Array, versions: Uint8Array, values: Int32Array, count: number): boolean {
    this.clear();
    for (let i = 0; i < count; i++) {
      const at = i * KEY_WORDS;
      const version = versions[i];
      if (!this.set(version, words[at], words[at + 1], words[at + 2], words[at + 3], values[i])) {
        return false;
      }
    }
    return true;
  }

  private row(version: number, word0: number, word1: number, word2: number, word3: number): number {
    let slot = this.hash.of6(word3, version, 0, 0, word0, word1, word2, 0, 0, 0) & this.mask;
    for (let probe = 0; probe <= this.mask; probe++) {
      const row = this.slots[slot] - 1;
      if (row < 0) return -1;
      const at = row * KEY_WORDS;
      const difference =
        (this.keys[at] ^ word0) |
        (this.keys[at + 1] ^ word1) |
        (this.keys[at + 2] ^ word2) |
        (this.keys[at + 3] ^ word3) |
        (this.version[row] ^ version);
      if (difference === 0) return row;
      slot = (slot + 1) & this.mask;
    }
    return -1;
  }

  private set(
    version: number,
    word0: number,
    word1: number,
    word2: number,
    word3: number,
    value: number,
  ): boolean {
    const known = this.row(version, word0, word1, word2, word3);
    if (known >= 0) {
      this.values[known] = value;
      return true;
    }
    if (this.count === this.capacity) return false;
    const row = this.count++;
    const at = row * KEY_WORDS;
    this.keys[at] = word0;
    this.keys[at + 1] = word1;
    this.keys[at + 2] = word2;
    this.keys[at + 3] = word3;
    this.version[row] = version;
    this.values[row] = value;
    let slot = this.hash.of6(word3, version, 0, 0, word0, word1, word2, 0, 0, 0) & this.mask;
    for (let probe = 0; probe <= this.mask && this.slots[slot] !== 0; probe++) {
      slot = (slot + 1) & this.mask;
    }
    this.slots[slot] = row + 1;
    return true;
  }
}
