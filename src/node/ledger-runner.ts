/**
 * Runs one participant of the ledger: real clock, timers, random numbers, disk and peers around the
 * pure step. Its duties are those of src/chain/step-types.ts: one event at a time, outputs in their
 * order, what is written is synced before what follows is sent, and a disk that fails ends it.
 */

import { toHex } from "../bytes.ts";
import type { Hash, NodeId } from "../chain/ledger-units.ts";
import type { LedgerMessage } from "../chain/message-types.ts";
import { type Participant, step } from "../chain/participant.ts";
import type {
  DigestAsker,
  Instant,
  Output,
  ReportCode,
  StepEvent,
  TimerName,
} from "../chain/step-types.ts";
import { kernelRandom } from "../native/kernel-random.ts";
import type { EpochSeconds } from "../units.ts";
import { isSaved, type LedgerJournal, type SavedOutput } from "./ledger-journal.ts";

/** How long a write that nothing is sent after waits for another to be synced with. */
const SYNC_MS = 10;
/** Peers that ask more often wait for nothing. */
const ASKERS_MAX = 64;

/** A step's event without its time, which the runner tells. */
export type TimelessEvent = StepEvent extends infer E
  ? E extends StepEvent
    ? Omit<E, "at">
    : never
  : never;

export type RunnerOptions = {
  readonly journal: LedgerJournal;
  readonly send: (to: readonly NodeId[], message: LedgerMessage) => void;
  readonly onReport: (code: ReportCode, detail: string) => void;
  /** The tip is new, and on the disk. */
  readonly onBlock: (output: Extract<Output, { kind: "block" }>) => void;
  /** The participant is over: what it had in memory was not promised. */
  readonly onFailure: (thrown: unknown) => void;
  /** The journal has to be opened anew, which repairs it: true where the participant is over. */
  readonly onBroken: (why: string) => boolean;
};

export class LedgerRunner {
  readonly #timers = new Map<TimerName, ReturnType<typeof setTimeout>>();
  #isOver = false;
  /** Written, and not on the disk yet. */
  #unsynced: SavedOutput[] = [];
  #syncing: ReturnType<typeof setTimeout> | undefined;
  /** Who waits for the SCD's root; undefined: the node itself. */
  #askers: (DigestAsker | undefined)[] = [];
  #isRecomputing = false;

  constructor(
    readonly participant: Participant,
    readonly options: RunnerOptions,
  ) {}

  start(): void {
    this.take({ kind: "start" });
  }

  take(event: TimelessEvent): void {
    if (this.#isOver) return;
    try {
      this.#carryOut(step(this.participant, { ...event, at: now() } as StepEvent));
    } catch (thrown) {
      this.#fail(thrown);
    }
  }

  /** What was written but not synced is the journal's to keep: nobody was told of it. */
  close(): void {
    this.#isOver = true;
    clearTimeout(this.#syncing);
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }

  /**
   * A send waits until all that was written before it is on the disk; what a step writes after it
   * goes along, so that a step costs one sync at most. What nothing is sent after waits for the
   * next step that sends, or a moment: it binds nobody before somebody hears of it.
   */
  #carryOut(outputs: readonly Output[]): void {
    const { journal } = this.options;
    let unsaved = outputs.filter(isSaved);
    const save = (): void => {
      if (unsaved.length === 0) return;
      journal.save(unsaved);
      this.#unsynced.push(...unsaved);
      unsaved = [];
    };
    let mustSync = this.#unsynced.length > 0;
    for (const output of outputs) {
      if (isSaved(output)) {
        mustSync = true;
        continue;
      }
      if (mustSync && (output.kind === "send" || output.kind === "recompute")) {
        save();
        this.#sync();
        mustSync = false;
      }
      this.#perform(output);
    }
    save();
    if (this.#unsynced.length > 0) this.#syncing ??= setTimeout(() => this.#syncLate(), SYNC_MS);
  }

  #sync(): void {
    clearTimeout(this.#syncing);
    this.#syncing = undefined;
    this.options.journal.sync();
    const synced = this.#unsynced;
    this.#unsynced = [];
    for (const output of synced) if (output.kind === "block") this.options.onBlock(output);
  }

  #syncLate(): void {
    this.#syncing = undefined;
    if (this.#isOver) return;
    try {
      this.#sync();
    } catch (thrown) {
      this.#fail(thrown);
    }
  }

  #fail(thrown: unknown): void {
    this.close();
    this.options.onFailure(thrown);
  }

  #perform(output: Exclude<Output, SavedOutput>): void {
    switch (output.kind) {
      case "send":
        return this.options.send(output.to, output.message);
      case "timer":
        return this.#setTimer(output.timer, output.afterMs);
      case "cancel":
        return this.#cancel(output.timer);
      case "report":
        return this.options.onReport(output.code, output.detail);
      case "recompute":
        if (this.#askers.length < ASKERS_MAX) this.#askers.push(output.asker);
        // Its answer is an event of its own, after this one.
        setTimeout(() => void this.#recompute(), 0);
    }
  }

  /** One at a time; who asks meanwhile is answered by the next. */
  async #recompute(): Promise<void> {
    if (this.#isRecomputing) return;
    this.#isRecomputing = true;
    try {
      while (this.#askers.length > 0 && !this.#isOver) {
        const askers = this.#askers;
        this.#askers = [];
        const found = await this.options.journal.recompute();
        if (found === undefined || this.#isOver) return;
        const { broken, ...root } = found;
        if (broken !== undefined && this.options.onBroken(broken)) return this.close();
        for (const asker of askers) this.take({ kind: "recomputed", ...root, asker });
      }
    } catch (thrown) {
      if (!this.#isOver) this.#fail(thrown);
    } finally {
      this.#isRecomputing = false;
    }
  }

  #setTimer(timer: TimerName, afterMs: number): void {
    this.#cancel(timer);
    const ringing = setTimeout(() => {
      this.#timers.delete(timer);
      this.take({ kind: "timer", timer, entropy: toHex(kernelRandom(32)) as Hash });
    }, afterMs);
    this.#timers.set(timer, ringing);
  }

  #cancel(timer: TimerName): void {
    clearTimeout(this.#timers.get(timer));
    this.#timers.delete(timer);
  }
}

export function now(): Instant {
  return { ms: performance.now(), epoch: epochNow() };
}

export function epochNow(): EpochSeconds {
  return Math.floor(Date.now() / 1000) as EpochSeconds;
}
