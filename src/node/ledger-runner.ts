/**
 * Runs one participant of the ledger: real clock, timers, random numbers, disk and peers around the
 * pure step. Its duties are those of src/chain/step-types.ts: one event at a time, outputs in their
 * order, what is written is synced before what follows is sent, and a disk that fails ends it.
 */

import { toHex } from "../bytes.ts";
import type { Hash, NodeId } from "../chain/ledger-units.ts";
import type { LedgerMessage } from "../chain/message-types.ts";
import { type Participant, step } from "../chain/participant.ts";
import type { Instant, Output, ReportCode, StepEvent, TimerName } from "../chain/step-types.ts";
import { kernelRandom } from "../native/kernel-random.ts";
import type { EpochSeconds } from "../units.ts";
import { isSaved, type LedgerJournal, type SavedOutput } from "./ledger-journal.ts";

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
      this.close();
      this.options.onFailure(thrown);
    }
  }

  close(): void {
    this.#isOver = true;
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }

  /** Writes that follow each other are one transaction; a send waits for those before it. */
  #carryOut(outputs: readonly Output[]): void {
    let unsaved: SavedOutput[] = [];
    const save = (): void => {
      if (unsaved.length === 0) return;
      this.options.journal.save(unsaved);
      for (const output of unsaved) if (output.kind === "block") this.options.onBlock(output);
      unsaved = [];
    };
    for (const output of outputs) {
      if (isSaved(output)) {
        unsaved.push(output);
        continue;
      }
      if (output.kind === "send" || output.kind === "recompute") save();
      this.#perform(output);
    }
    save();
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
      case "recompute": {
        // Its answer is an event of its own, after this one.
        const { asker } = output;
        setTimeout(() => this.#recompute(asker), 0);
      }
    }
  }

  #recompute(asker: Extract<Output, { kind: "recompute" }>["asker"]): void {
    if (this.#isOver) return;
    try {
      const { broken, ...found } = this.options.journal.recompute();
      if (broken !== undefined && this.options.onBroken(broken)) return this.close();
      this.take({ kind: "recomputed", ...found, asker });
    } catch (thrown) {
      this.close();
      this.options.onFailure(thrown);
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
