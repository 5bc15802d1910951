/**
 * Session slots and indices. An index is 20 random bits, so that it is not guessed, above 12 bits
 * of slot, so that the worker finds the session with one array read. docs/wire.md "Common header".
 * A closed slot rests before it is used again: its two keys in the shim must not be overwritten
 * while the worker may still seal under the session that was closed.
 */
import { assert } from "../errors.ts";
import type { Micros, SessionSlot } from "../units.ts";

export const SLOT_BITS = 12;
export const SLOTS_MAX = 1 << SLOT_BITS;
const SLOT_MASK = SLOTS_MAX - 1;

/** The slot that an index names; whether it is in use is another question. */
export function slotOf(index: number): SessionSlot {
  return (index & SLOT_MASK) as SessionSlot;
}

export class Slots {
  /** Free slots as a ring: the one that rested longest comes first. */
  private readonly free: Uint16Array;
  private readonly freeSince: Float64Array;
  private first = 0;
  private freeCount: number;

  constructor(
    private readonly capacity: number,
    private readonly rest: number,
    private readonly random: (sizeBytes: number) => Uint8Array,
  ) {
    assert(capacity > 0 && capacity <= SLOTS_MAX, "a slot fits in 12 bits");
    this.free = Uint16Array.from({ length: capacity }, (_, slot) => slot);
    this.freeSince = new Float64Array(capacity).fill(Number.NEGATIVE_INFINITY);
    this.freeCount = capacity;
  }

  /** A slot that has rested, or undefined. */
  take(now: Micros): SessionSlot | undefined {
    const slot = this.free[this.first];
    if (this.freeCount === 0 || slot === undefined) return undefined;
    if (now - (this.freeSince[slot] ?? 0) < this.rest) return undefined;
    this.first = (this.first + 1) % this.capacity;
    this.freeCount--;
    return slot as SessionSlot;
  }

  /** Gives a slot back. One that the data plane never saw needs no rest. */
  give(slot: SessionSlot, now: Micros, wasInstalled: boolean): void {
    assert(this.freeCount < this.capacity, "no slot is given back twice");
    this.freeSince[slot] = wasInstalled ? now : Number.NEGATIVE_INFINITY;
    if (wasInstalled) {
      this.free[(this.first + this.freeCount) % this.capacity] = slot;
    } else {
      this.first = (this.first + this.capacity - 1) % this.capacity;
      this.free[this.first] = slot;
    }
    this.freeCount++;
  }

  /** A fresh index for a slot; never 0, which stands for "no session". */
  newIndex(slot: SessionSlot): number {
    for (;;) {
      const [high = 0, middle = 0, low = 0] = this.random(3);
      const generation = ((high << 16) | (middle << 8) | low) & 0xfffff;
      if (generation !== 0) return ((generation << SLOT_BITS) | slot) >>> 0;
    }
  }
}
