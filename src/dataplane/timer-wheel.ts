/**
 * Timers by the thousand, each a kind and an id, O(1) to set and to cancel (Varghese & Lauck, SOSP
 * '87, scheme 6: a hashed wheel, its lists unsorted). Times are monotonic microseconds.
 * Hot path. Fixed memory; when full, set() returns -1. advance() looks at every slot once at most,
 * however long the process slept, so its work is bounded by slots and capacity.
 * A timer fires at the first advance() at or after its time, up to one tick late, never early.
 */
import { assert } from "../errors.ts";

const NONE = -1;
const WHEEL_SLOTS = 1024;
const INDEX_BITS = 20;
export const TIMER_CAPACITY_MAX = 1 << INDEX_BITS;

export class TimerWheel {
  count = 0;
  /** What advance() found, in `fired` entries. */
  readonly firedKind: Uint32Array;
  readonly firedId: Uint32Array;

  private readonly kinds: Uint32Array;
  private readonly ids: Uint32Array;
  private readonly ticks: Float64Array;
  private readonly next: Int32Array;
  private readonly previous: Int32Array;
  /** Counts up each time an entry is freed, so that an old timer number cancels nothing. */
  private readonly generation: Uint32Array;
  private readonly slots: Int32Array;
  private free = NONE;
  private unused = 0;
  /** The tick whose slot advance() looks at next. */
  private current = 0;

  /**
   * @param capacity timers
   * @param tickUs resolution
   * @param startUs the time now
   * @param firedMax timers that one advance() gives out at most
   */
  constructor(
    readonly capacity: number,
    readonly tickUs: number,
    startUs: number,
    firedMax = 64,
  ) {
    assert(capacity >= 1 && capacity <= TIMER_CAPACITY_MAX, "timer capacity out of range");
    assert(tickUs > 0 && firedMax >= 1, "timer resolution out of range");
    this.firedKind = new Uint32Array(firedMax);
    this.firedId = new Uint32Array(firedMax);
    this.kinds = new Uint32Array(capacity);
    this.ids = new Uint32Array(capacity);
    this.ticks = new Float64Array(capacity);
    this.next = new Int32Array(capacity);
    this.previous = new Int32Array(capacity);
    this.generation = new Uint32Array(capacity);
    this.slots = new Int32Array(WHEEL_SLOTS).fill(NONE);
    this.current = Math.floor(startUs / tickUs);
  }

  /**
   * Sets a timer; a time in the past fires at the next advance(). Returns its number, or -1 when
   * full.
   */
  set(atUs: number, kind: number, id: number): number {
    let entry = this.free;
    if (entry !== NONE) this.free = this.next[entry];
    else if (this.unused < this.capacity) entry = this.unused++;
    else return -1;
    const tick = Math.max(Math.ceil(atUs / this.tickUs), this.current);
    this.kinds[entry] = kind;
    this.ids[entry] = id;
    this.ticks[entry] = tick;
    const slot = tick % WHEEL_SLOTS;
    const head = this.slots[slot];
    this.next[entry] = head;
    this.previous[entry] = NONE;
    if (head !== NONE) this.previous[head] = entry;
    this.slots[slot] = entry;
    this.count++;
    return this.generation[entry] * TIMER_CAPACITY_MAX + entry;
  }

  /** Cancels a timer that has not fired; false when it has, or was cancelled before. */
  cancel(timer: number): boolean {
    const entry = timer % TIMER_CAPACITY_MAX;
    if (!(entry >= 0 && entry < this.unused)) return false;
    if (this.generation[entry] !== Math.floor(timer / TIMER_CAPACITY_MAX)) return false;
    this.remove(entry);
    return true;
  }

  /**
   * Fires what is due. Returns how many are in firedKind and firedId; when that is all they hold,
   * there may be more, and the caller calls again. Timers of one tick fire in any order.
   */
  advance(nowUs: number): number {
    const target = Math.floor(nowUs / this.tickUs);
    // After a long sleep every slot once is enough: an entry tells its own tick.
    if (target - this.current >= WHEEL_SLOTS) this.current = target - WHEEL_SLOTS + 1;
    let fired = 0;
    while (this.current <= target) {
      let entry = this.slots[this.current % WHEEL_SLOTS];
      while (entry !== NONE) {
        const following = this.next[entry];
        if (this.ticks[entry] <= target) {
          if (fired === this.firedKind.length) return fired;
          this.firedKind[fired] = this.kinds[entry];
          this.firedId[fired] = this.ids[entry];
          fired++;
          this.remove(entry);
        }
        entry = following;
      }
      this.current++;
    }
    return fired;
  }

  private remove(entry: number): void {
    const before = this.previous[entry];
    const after = this.next[entry];
    if (before === NONE) this.slots[this.ticks[entry] % WHEEL_SLOTS] = after;
    else this.next[before] = after;
    if (after !== NONE) this.previous[after] = before;
    this.generation[entry]++;
    this.next[entry] = this.free;
    this.free = entry;
    this.count--;
  }
}
