/**
 * Notices that this machine may be a copy of itself: resumed from a snapshot, cloned, suspended.
 * docs/ledger.md "Return after a lost disk". A node that runs by itself asks each second; an agent
 * asks before every burst and tells its node (src/agent). What is noticed, and what cannot be, is
 * told in takeover/clone-detector.ts.
 */
import { messageOf } from "../errors.ts";
import { type Clocks, CloneWatch, GenerationListener } from "../takeover/clone-detector.ts";

const LOOK_MS = 1000;

export type CopyWatchOptions = {
  readonly onCopy: (reason: string) => void;
  /** Where the kernel's announcements cannot be heard the clocks are still looked at. */
  readonly onDeaf: (why: string) => void;
  /** Of a test; absent: the machine's. */
  readonly clocks?: Clocks;
};

export class CopyWatch {
  readonly #clocks: CloneWatch;
  readonly #generation: GenerationListener | undefined;
  readonly #looking: ReturnType<typeof setInterval>;

  constructor(readonly options: CopyWatchOptions) {
    this.#clocks = options.clocks === undefined ? new CloneWatch() : new CloneWatch(options.clocks);
    this.#generation = this.#listen();
    this.#looking = setInterval(() => this.look(), LOOK_MS);
  }

  look(): void {
    const isNew = this.#generation?.changed() === true;
    // Asked in any case: what the clocks tell once they do not tell again.
    const hasJumped = this.#clocks.hasChanged();
    if (isNew) this.options.onCopy("the kernel announced another VM generation id");
    else if (hasJumped) this.options.onCopy("real and boot time moved against each other");
  }

  close(): void {
    clearInterval(this.#looking);
    this.#generation?.close();
  }

  #listen(): GenerationListener | undefined {
    try {
      return new GenerationListener();
    } catch (cause) {
      this.options.onDeaf(messageOf(cause));
      return undefined;
    }
  }
}
