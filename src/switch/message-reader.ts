/**
 * Puts OpenFlow messages together from a stream of bytes. A message is at most 65,535 bytes, since
 * its length has 16 bits; never more than one that is not whole is kept.
 */
import { HEADER_BYTES } from "./openflow-message.ts";

const FIRST_BYTES = 1024;

export class MessageReader {
  /** A length that cannot be: nothing after it can be read. */
  isBroken = false;
  #kept = new Uint8Array(FIRST_BYTES);
  #end = 0;

  /** Has `each` take every message that `chunk` completes, in order; it must not keep the bytes. */
  take(chunk: Uint8Array, each: (message: Uint8Array) => void): void {
    let offset = 0;
    while (offset < chunk.length && !this.isBroken) {
      const wanted = this.#end < HEADER_BYTES ? HEADER_BYTES : this.#length();
      const part = chunk.subarray(offset, offset + wanted - this.#end);
      this.#keep(part);
      offset += part.length;
      if (this.#end < HEADER_BYTES) return;
      const length = this.#length();
      if (length < HEADER_BYTES) this.isBroken = true;
      else if (this.#end === length) {
        this.#end = 0;
        each(this.#kept.subarray(0, length));
      }
    }
  }

  #length(): number {
    return ((this.#kept[2] ?? 0) << 8) | (this.#kept[3] ?? 0);
  }

  #keep(part: Uint8Array): void {
    const end = this.#end + part.length;
    if (end > this.#kept.length) {
      const larger = new Uint8Array(Math.max(end, 2 * this.#kept.length));
      larger.set(this.#kept.subarray(0, this.#end));
      this.#kept = larger;
    }
    this.#kept.set(part, this.#end);
    this.#end = end;
  }
}
