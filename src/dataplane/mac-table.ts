/**
 * Which MAC addresses belong to an IP address: the mapping service's view of the neighbours, and
 * this VM's own. Loaded whole (rarely, may allocate), asked once for an ARP or ND message.
 * Hot path. A row is ROW_WORDS words: address 0-3 (IPv4: 0, 0, 0, address), MAC bytes 0-1, MAC
 * bytes 2-5. An address may have several rows. A row whose MAC is 0 says the address exists but
 * its MAC is not known.
 */

export const ROW_WORDS = 6;

export const BINDING_UNKNOWN = 0;
export const BINDING_MATCHES = 1;
export const BINDING_CONTRADICTS = 2;

export class MacTable {
  #rows = new Uint32Array(0);
  // Open addressing, at most half full: row + 1, or 0.
  #byAddress = new Uint32Array(2);
  #byMac = new Uint32Array(2);
  #mask = 1;

  /** Set-up. Replaces all rows by the first `count` of `rows`, which are copied. */
  load(rows: Uint32Array, count: number): void {
    let slots = 2;
    while (slots < count * 2) slots *= 2;
    this.#mask = slots - 1;
    this.#rows = rows.slice(0, count * ROW_WORDS);
    this.#byAddress = new Uint32Array(slots);
    this.#byMac = new Uint32Array(slots);
    for (let row = 0; row < count; row++) {
      const at = row * ROW_WORDS;
      const address = hashOf(rows[at], rows[at + 1], rows[at + 2], rows[at + 3]);
      this.#insert(this.#byAddress, address, row);
      this.#insert(this.#byMac, hashOf(rows[at + 4], rows[at + 5], 0, 0), row);
    }
  }

  hasAddress(word0: number, word1: number, word2: number, word3: number): boolean {
    return this.check(word0, word1, word2, word3, 0, 0) !== BINDING_UNKNOWN;
  }

  hasMac(macHigh: number, macLow: number): boolean {
    let slot = hashOf(macHigh, macLow, 0, 0) & this.#mask;
    for (;;) {
      const row = this.#byMac[slot];
      if (row === 0) return false;
      const at = (row - 1) * ROW_WORDS;
      if (this.#rows[at + 4] === macHigh && this.#rows[at + 5] === macLow) return true;
      slot = (slot + 1) & this.#mask;
    }
  }

  /** Whether the address is bound to this MAC, to others only, or not known at all. */
  check(
    word0: number,
    word1: number,
    word2: number,
    word3: number,
    macHigh: number,
    macLow: number,
  ): number {
    let slot = hashOf(word0, word1, word2, word3) & this.#mask;
    let answer = BINDING_UNKNOWN;
    for (;;) {
      const row = this.#byAddress[slot];
      if (row === 0) return answer;
      const at = (row - 1) * ROW_WORDS;
      if (
        this.#rows[at + 3] === word3 &&
        this.#rows[at + 2] === word2 &&
        this.#rows[at + 1] === word1 &&
        this.#rows[at] === word0
      ) {
        const high = this.#rows[at + 4];
        const low = this.#rows[at + 5];
        if (high === macHigh && low === macLow) return BINDING_MATCHES;
        if (high === 0 && low === 0) return BINDING_MATCHES;
        answer = BINDING_CONTRADICTS;
      }
      slot = (slot + 1) & this.#mask;
    }
  }

  #insert(index: Uint32Array, hash: number, row: number): void {
    let slot = hash & this.#mask;
    while (index[slot] !== 0) slot = (slot + 1) & this.#mask;
    index[slot] = row + 1;
  }
}

function hashOf(word0: number, word1: number, word2: number, word3: number): number {
  let hash = Math.imul(word3 ^ Math.imul(word2, 0x85eb_ca6b), 0x9e37_79b1);
  hash ^= hash >>> 15;
  hash = Math.imul(hash ^ word1 ^ Math.imul(word0, 0xc2b2_ae35), 0x9e37_79b1);
  return (hash ^ (hash >>> 13)) >>> 0;
}
