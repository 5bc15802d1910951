/**
 * The main thread's end of one data-plane worker: starts it, sends commands, reads punts.
 * design/README.md "Threads of an agent process". Commands that find the ring full wait in order
 * here and go with the next turn: none is lost, since sessions depend on them.
 */
import { dlopen } from "bun:ffi";
import { closeSync, writeSync } from "node:fs";
import { COMMAND } from "../dataplane/control-records.ts";
import { Counters, countersBytes } from "../dataplane/counters.ts";
import { untilRecord } from "../dataplane/doorbell.ts";
import { newRing, RecordRing } from "../dataplane/record-ring.ts";
import { SessionTable, sessionTableBytes } from "../dataplane/session-table.ts";
import { packSnapshot } from "../dataplane/snapshot.ts";
import { AbsError } from "../errors.ts";
import { PairCensus } from "./pair-census.ts";
import type { SnapshotFields } from "./snapshot-fields.ts";
import { COUNTER_NAMES } from "./worker-plane.ts";
import {
  COMMAND_RING_BYTES,
  FRAME_RING_BYTES,
  PUNT_RING_BYTES,
  SNAPSHOT_AREA_BYTES,
  type WorkerReady,
  type WorkerSetup,
} from "./worker-setup.ts";

/** What the caller knows of a worker; the rest is made here. */
export type WorkerPlan = Omit<
  WorkerSetup,
  "commands" | "punts" | "frames" | "sessions" | "counters" | "snapshots" | "doorbell"
>;

const EFD_NONBLOCK = 0o4000;
const EFD_CLOEXEC = 0o2000000;
const STOP_WAIT_MS = 3_000;
/** A million flows are decided again meanwhile. */
const SYNC_WAIT_MS = 10_000;

/** What the session driver and the punt reader need of a worker; tests join them in one thread. */
export interface PlaneLink {
  readonly counters: Counters;
  readonly sessions: SessionTable;
  readonly punts: RecordRing;
  send(type: number, ...words: number[]): void;
  sendBytes(type: number, bytes: Uint8Array): void;
  synced(number: number): void;
}

/** Worker entry point: a file of the source tree, or of the compiled program's own file system. */
const WORKER = new URL("./worker.ts", import.meta.url);

export class WorkerLink implements PlaneLink {
  readonly counters: Counters;
  readonly sessions: SessionTable;
  readonly punts: RecordRing;
  /** Frames of the outside port, while somebody captures them. */
  readonly frames: RecordRing;
  readonly #commands: RecordRing;
  readonly #waiting: { type: number; bytes: Uint8Array }[] = [];
  readonly #snapshots: readonly [SharedArrayBuffer, SharedArrayBuffer];
  readonly #doorbell: number;
  readonly #ring = new Uint8Array(new BigUint64Array([1n]).buffer);
  readonly #worker: Worker;
  readonly #setup: WorkerSetup;
  readonly #pairs: PairCensus;
  #area = 0;
  #syncNumber = 0;
  #syncAnswers: Promise<void> = Promise.resolve();
  #onSync: ((number: number) => void) | undefined;
  #failed: ((error: AbsError) => void) | undefined;

  constructor(plan: WorkerPlan, snapshot: SnapshotFields) {
    this.#doorbell = eventDescriptor();
    this.#pairs = new PairCensus(plan.pairs);
    this.#snapshots = [
      new SharedArrayBuffer(SNAPSHOT_AREA_BYTES),
      new SharedArrayBuffer(SNAPSHOT_AREA_BYTES),
    ];
    this.#setup = {
      ...plan,
      descriptors: plan.descriptors.length === 0 ? [] : [...plan.descriptors, this.#doorbell],
      doorbell: this.#doorbell,
      commands: newRing(COMMAND_RING_BYTES),
      punts: newRing(PUNT_RING_BYTES),
      frames: newRing(FRAME_RING_BYTES),
      sessions: new SharedArrayBuffer(sessionTableBytes(plan.sessionCapacity)),
      counters: new SharedArrayBuffer(countersBytes(COUNTER_NAMES.length)),
      snapshots: this.#snapshots,
    };
    this.#commands = new RecordRing(this.#setup.commands);
    this.punts = new RecordRing(this.#setup.punts);
    this.frames = new RecordRing(this.#setup.frames);
    this.sessions = new SessionTable(plan.sessionCapacity, this.#setup.sessions);
    this.counters = new Counters(COUNTER_NAMES, this.#setup.counters);
    this.#write(this.pack(snapshot), 0);
    this.#worker = new Worker(WORKER.href);
  }

  /**
   * Starts the loop. Rejects with WORKER_FAILED and the worker's own reason.
   * @param onDeath called when the worker ends by itself later: the data plane is gone
   */
  async start(onDeath: (error: AbsError) => void): Promise<WorkerReady & { ready: true }> {
    this.#failed = onDeath;
    const answer = await new Promise<WorkerReady>((resolve, reject) => {
      this.#worker.onmessage = (message: MessageEvent<WorkerReady>) => resolve(message.data);
      this.#worker.onerror = (event) => reject(workerDied(event.message));
      this.#worker.postMessage(this.#setup);
    });
    this.#worker.onerror = (event) => this.#failed?.(workerDied(event.message));
    if (answer.ready) return answer;
    throw new AbsError(answer.code, answer.message, "");
  }

  /** Sends a command: little-endian words, or bytes as they are. */
  send(type: number, ...words: number[]): void {
    this.sendBytes(type, new Uint8Array(Uint32Array.from(words).buffer));
  }

  sendBytes(type: number, bytes: Uint8Array): void {
    this.#waiting.push({ type, bytes });
    this.flush();
  }

  /** Writes what waits, as far as there is room, and wakes the worker. */
  flush(): void {
    let written = 0;
    for (const { type, bytes } of this.#waiting) {
      const at = this.#commands.begin(type, bytes.length);
      if (at < 0) break;
      this.#commands.bytes.set(bytes, at);
      this.#commands.commit();
      written++;
    }
    if (written === 0) return;
    this.#waiting.splice(0, written);
    writeSync(this.#doorbell, this.#ring);
  }

  /** Resolves when the worker has punted something, or after `timeoutMs`. */
  untilPunt(timeoutMs: number): Promise<boolean> {
    return untilRecord(this.punts, timeoutMs);
  }

  /**
   * Brings a packed snapshot into use; resolves when the worker has taken it and decided on every
   * flow by it. `generation` is told back by a punt, between those before and after.
   */
  async load(packed: Uint8Array, generation: number): Promise<void> {
    const done = this.#syncAnswers.then(() => this.#loadNow(packed, generation));
    this.#syncAnswers = done.catch(() => undefined);
    await done;
  }

  /** Sends a command; resolves when it has been carried out. */
  async carryOut(type: number, bytes: Uint8Array): Promise<void> {
    const done = this.#syncAnswers.then(() => {
      this.sendBytes(type, bytes);
      return this.sync();
    });
    this.#syncAnswers = done.catch(() => undefined);
    await done;
  }

  /** Resolves when the worker has come by: it lives. Rejects when it does not within 10 s. */
  async alive(): Promise<void> {
    const done = this.#syncAnswers.then(() => this.sync());
    this.#syncAnswers = done.catch(() => undefined);
    await done;
  }

  async #loadNow(packed: Uint8Array, generation: number): Promise<void> {
    this.#area = 1 - this.#area;
    this.#write(packed, this.#area);
    this.send(COMMAND.snapshot, this.#area, generation);
    await this.sync();
  }

  /** Resolves when all commands sent so far have been carried out. */
  async sync(): Promise<void> {
    const number = ++this.#syncNumber;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const answered = new Promise<void>((resolve, reject) => {
      this.#onSync = (answer) => {
        if (answer >= number) resolve();
      };
      timer = setTimeout(() => reject(workerDied("it does not answer")), SYNC_WAIT_MS);
    });
    this.send(COMMAND.sync, number);
    try {
      await answered;
    } finally {
      clearTimeout(timer);
    }
  }

  /** The punt reader met the answer of sync(). */
  synced(number: number): void {
    this.#onSync?.(number);
  }

  /** Ends the loop and the thread. */
  async stop(): Promise<void> {
    this.#failed = undefined;
    const stopped = new Promise<void>((resolve) => {
      this.#worker.onmessage = () => resolve();
      setTimeout(resolve, STOP_WAIT_MS).unref();
    });
    this.send(COMMAND.stop);
    await stopped;
    this.#worker.terminate();
    closeSync(this.#doorbell);
  }

  #write(packed: Uint8Array, area: 0 | 1 | number): void {
    new Uint8Array(this.#snapshots[area === 0 ? 0 : 1]).set(packed);
  }

  /** A snapshot as load() takes it. Throws AbsError `SNAPSHOT_TOO_LARGE` or `PAIRS_FULL`. */
  pack(snapshot: SnapshotFields): Uint8Array {
    const packed = packSnapshot(snapshot);
    if (packed.length <= SNAPSHOT_AREA_BYTES) {
      this.#pairs.add(snapshot);
      return packed;
    }
    throw new AbsError(
      "SNAPSHOT_TOO_LARGE",
      `Policy, signatures and peers take ${packed.length} bytes; ${SNAPSHOT_AREA_BYTES} fit.`,
      "Join rules and signatures: ports, groups and addresses take lists and ranges.",
    );
  }
}

function eventDescriptor(): number {
  const libc = dlopen("libc.so.6", { eventfd: { args: ["u32", "i32"], returns: "i32" } }).symbols;
  const descriptor = libc.eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (descriptor >= 0) return descriptor;
  throw new AbsError("EVENTFD", "The kernel gave no event descriptor.", "Raise `ulimit -n`.");
}

function workerDied(why: string): AbsError {
  return new AbsError(
    "WORKER_FAILED",
    `The data plane's worker ended: ${why}`,
    "The agent stops as `onStop` says. Start it again and report what the events say.",
  );
}
