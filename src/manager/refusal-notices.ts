/**
 * Refused log-ins and cut connections as events: so many a second, and of the others their number,
 * since whoever floods the manager must not also fill its disk.
 */
import type { AbsEvent } from "../observe/event-record.ts";
import type { SshRefusal } from "../ssh/ssh-login.ts";

const EVENTS_PER_SECOND_MAX = 20;
const SECOND_MS = 1000;

export class RefusalNotices {
  #fromMs = 0;
  #count = 0;
  #suppressed = 0;

  constructor(private readonly write: (event: AbsEvent) => void) {}

  add(refusal: SshRefusal, nowMs = performance.now()): void {
    if (nowMs - this.#fromMs >= SECOND_MS) {
      this.flush();
      this.#fromMs = nowMs;
      this.#count = 0;
    }
    if (++this.#count > EVENTS_PER_SECOND_MAX) {
      this.#suppressed++;
      return;
    }
    this.write({ event: "connection-refused", ...refusal });
  }

  /** What was suppressed until now, as one event. */
  flush(): void {
    if (this.#suppressed === 0) return;
    this.write({ event: "connections-refused", count: this.#suppressed });
    this.#suppressed = 0;
  }
}
