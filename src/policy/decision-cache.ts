/**
 * Recent answers of policy lookups. A question has a set of two places: a new answer takes the
 * first, what was there moves to the second, and what was there is gone. With one place each, one
 * in sixteen of 256 questions shared it with another and never found its answer. 2,048 sets of two
 * entries of 32 bytes. It belongs to one snapshot and is never cleared. Hot path.
 */

/** A power of two. */
const SETS = 2048;
/** Seven words of question, one of answer. */
const ENTRY_WORDS = 8;
const SET_WORDS = 2 * ENTRY_WORDS;
/** Set in every question, so that an entry never written answers none. */
const WRITTEN = 1 << 10;

export class DecisionCache {
  /** 1 when the question located last has its answer here. */
  isHit = 0;

  private readonly words = new Int32Array(SETS * SET_WORDS);
  private readonly question = new Int32Array(ENTRY_WORDS - 1);

  /** The entry of a question: of its answer if `isHit`, else the one for `fill`. */
  locate(
    direction: number,
    peer: number,
    address0: number,
    address1: number,
    address2: number,
    address3: number,
    ipVersion: number,
    tag: number,
    protocol: number,
    port: number,
  ): number {
    const question = this.question;
    question[0] = address0;
    question[1] = address1;
    question[2] = address2;
    question[3] = address3;
    const flags = protocol | (direction << 8) | (ipVersion === 6 ? 512 : 0) | WRITTEN;
    question[4] = (flags << 16) | port;
    question[5] = peer + 1;
    question[6] = tag + 1;
    let hash = Math.imul(address3 ^ Math.imul(address0 ^ address1, 0x9e3779b1), 0x85ebca6b);
    hash = Math.imul(hash ^ question[4] ^ (hash >>> 15) ^ address2, 0xc2b2ae35);
    hash = Math.imul(hash ^ question[5] ^ (question[6] << 16) ^ (hash >>> 13), 0x27d4eb2f);
    const first = ((hash ^ (hash >>> 16)) & (SETS - 1)) * SET_WORDS;
    this.isHit = 1;
    if (this.holds(first)) return first;
    if (this.holds(first + ENTRY_WORDS)) return first + ENTRY_WORDS;
    this.isHit = 0;
    return first;
  }

  valueAt(entry: number): number {
    return this.words[entry + ENTRY_WORDS - 1];
  }

  /** Stores the answer, of 31 bits, to the question located last, which was no hit. */
  fill(entry: number, value: number): void {
    const words = this.words;
    for (let i = entry; i < entry + ENTRY_WORDS; i++) words[i + ENTRY_WORDS] = words[i];
    for (let i = 0; i < ENTRY_WORDS - 1; i++) words[entry + i] = this.question[i];
    words[entry + ENTRY_WORDS - 1] = value;
  }

  private holds(entry: number): boolean {
    const words = this.words;
    const question = this.question;
    return (
      words[entry + 3] === question[3] &&
      words[entry + 4] === question[4] &&
      words[entry + 5] === question[5] &&
      words[entry + 6] === question[6] &&
      words[entry] === question[0] &&
      words[entry + 1] === question[1] &&
      words[entry + 2] === question[2]
    );
  }
}
