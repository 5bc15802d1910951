/**
 * Counters of one worker in shared memory: the worker adds, the main thread reads. Doubles, exact
 * to 2^53 (STYLE: 83 days of bytes at 10 Gbit/s), read without locks: an aligned double is never
 * torn on the machines we run on. Drops have one counter a reason and direction.
 */
import { assert } from "../errors.ts";
import { DROP_CODES, DROP_NAMES } from "./drop-reasons.ts";

export class Counters {
  /** By code of drop-reasons.ts. */
  readonly dropsIn: Float64Array;
  readonly dropsOut: Float64Array;
  /** By position in `names`. */
  readonly values: Float64Array;

  /**
   * @param names of the counters that are not drops; both threads give the same
   * @param buffer zeroed, or that of the other thread
   */
  constructor(
    readonly names: readonly string[] = [],
    readonly buffer: SharedArrayBuffer = new SharedArrayBuffer(countersBytes(names.length)),
  ) {
    assert(buffer.byteLength >= countersBytes(names.length), "too little memory for the counters");
    this.dropsIn = new Float64Array(buffer, 0, DROP_CODES);
    this.dropsOut = new Float64Array(buffer, 8 * DROP_CODES, DROP_CODES);
    this.values = new Float64Array(buffer, 16 * DROP_CODES, names.length);
  }

  /** Position of a counter, for the constructor of whoever adds to it. */
  index(name: string): number {
    const index = this.names.indexOf(name);
    assert(index >= 0, "no such counter");
    return index;
  }

  /** All that is not zero by name: drops as `in:name` and `out:name`. Control plane. */
  read(): Map<string, number> {
    const all = new Map<string, number>();
    for (let i = 0; i < this.names.length; i++) all.set(this.names[i], this.values[i]);
    for (let code = 0; code < DROP_CODES; code++) {
      if (this.dropsIn[code] !== 0) all.set("in:".concat(nameOf(code)), this.dropsIn[code]);
      if (this.dropsOut[code] !== 0) all.set("out:".concat(nameOf(code)), this.dropsOut[code]);
    }
    return all;
  }
}

/** Bytes of shared memory for `count` counters and the drops. */
export function countersBytes(count: number): number {
  return 8 * (2 * DROP_CODES + count);
}

function nameOf(code: number): string {
  return DROP_NAMES[code] === "" ? "code-".concat(String(code)) : DROP_NAMES[code];
}
