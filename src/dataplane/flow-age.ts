/**
 * When a flow is forgotten: by the timeout of its state, or to make room in a full table.
 * Hot path. For flow-table.ts; times are whole seconds of the monotonic clock.
 *
 * To make room, EVICT_STEPS flows behind a clock hand are looked at. The first that is refused,
 * closed or past its timeout goes; else the one longest idle of the lowest class: half open and
 * idle for 6 s, then other states idle for 10 s, then `allowed` idle for 10 s. Every class outlasts
 * the 5 s for which packets are held (docs/wire.md), so a flow thrown out holds none.
 */
import {
  F_PROTOCOL,
  F_SEEN,
  F_STATE,
  FLOW_ALLOWED,
  FLOW_ESTABLISHING,
  FLOW_FIN_BOTH,
  FLOW_IDENTIFYING,
  FLOW_OUTSIDE,
  FLOW_REFUSED,
  FLOW_RESET,
  FLOW_SERVER_FIRST,
  FLOW_STATES,
  type FLOW_TIMEOUTS,
  FLOW_WORDS,
} from "./flow-record.ts";

/** Flows looked at by one insert into a full table. */
export const EVICT_STEPS = 64;
const HALF_OPEN_IDLE_SECONDS = 6;
const IDLE_SECONDS = 10;
const TCP = 6;

/** Rows of the timeouts after those of the states. */
const ROW_NOT_TCP = FLOW_STATES;
const ROW_CLOSED = FLOW_STATES + 1;

const CLASS_HALF_OPEN = 1;
const CLASS_OTHER = 2;
const CLASS_ALLOWED = 3;
const CLASS_NONE = 4;

export class FlowAge {
  private readonly timeouts = new Uint32Array(FLOW_STATES + 2);
  private hand = 0;

  constructor(
    private readonly words: Uint32Array,
    private readonly capacity: number,
    timeouts: typeof FLOW_TIMEOUTS,
  ) {
    this.timeouts[FLOW_ESTABLISHING] = timeouts.establishing;
    this.timeouts[FLOW_SERVER_FIRST] = timeouts.serverFirst;
    this.timeouts[FLOW_IDENTIFYING] = timeouts.identifying;
    this.timeouts[FLOW_REFUSED] = timeouts.refused;
    this.timeouts[FLOW_ALLOWED] = timeouts.tcp;
    this.timeouts[FLOW_OUTSIDE] = timeouts.tcp;
    this.timeouts[ROW_NOT_TCP] = timeouts.other;
    this.timeouts[ROW_CLOSED] = timeouts.closed;
  }

  /** Whether a flow in use is past the timeout of its state; a state nobody knows always is. */
  isExpired(flow: number, nowSeconds: number): boolean {
    const at = flow * FLOW_WORDS;
    const word = this.words[at + F_STATE];
    const state = word & 0xff;
    let row = state < FLOW_STATES ? state : 0;
    if ((word & FLOW_RESET) !== 0 || (word & FLOW_FIN_BOTH) === FLOW_FIN_BOTH) {
      row = ROW_CLOSED;
    } else if (
      (state === FLOW_ALLOWED || state === FLOW_OUTSIDE) &&
      (this.words[at + F_PROTOCOL] & 0xff) !== TCP
    ) {
      row = ROW_NOT_TCP;
    }
    return ((nowSeconds - this.words[at + F_SEEN]) | 0) >= this.timeouts[row];
  }

  /** The flow to throw out, or -1. The table is full: every flow has a state. */
  chooseVictim(nowSeconds: number): number {
    let victim = -1;
    let victimClass = CLASS_NONE;
    let victimIdle = 0;
    for (let step = 0; step < EVICT_STEPS && step < this.capacity; step++) {
      if (this.hand >= this.capacity) this.hand = 0;
      const flow = this.hand++;
      const at = flow * FLOW_WORDS;
      const state = this.words[at + F_STATE] & 0xff;
      if (state === FLOW_REFUSED || this.isExpired(flow, nowSeconds)) return flow;
      const idle = (nowSeconds - this.words[at + F_SEEN]) | 0;
      const flowClass =
        state === FLOW_ESTABLISHING
          ? CLASS_HALF_OPEN
          : state === FLOW_ALLOWED
            ? CLASS_ALLOWED
            : CLASS_OTHER;
      if (idle < (flowClass === CLASS_HALF_OPEN ? HALF_OPEN_IDLE_SECONDS : IDLE_SECONDS)) continue;
      if (flowClass > victimClass || (flowClass === victimClass && idle <= victimIdle)) continue;
      victim = flow;
      victimClass = flowClass;
      victimIdle = idle;
    }
    return victim;
  }
}
