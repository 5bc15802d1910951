/**
 * One participant after another on the same disk. A journal that breaks while it is used is opened
 * anew, which repairs it (store-journal.ts); a full disk is waited for; a block that the disk lacks
 * is caught up with first, and then the participant begins as after a restart. Whatever was in
 * memory was not promised: each beginning is one from the disk, as after a crash.
 */
import { dirname } from "node:path";
import type { ChainState } from "../chain/chain-state.ts";
import { chainConflict } from "../chain/checkpoint.ts";
import type { LedgerCrypto } from "../chain/crypto-interface.ts";
import type { KeyRing } from "../chain/key-ring.ts";
import { masterId } from "../chain/ledger-node.ts";
import type { CandidateSequence, NodeId } from "../chain/ledger-units.ts";
import type { Master } from "../chain/master-state.ts";
import type { LedgerMessage, MasterTermMessage } from "../chain/message-types.ts";
import { createMaster, createValidator, type Participant } from "../chain/participant.ts";
import type { Checkpoint, Output } from "../chain/step-types.ts";
import { AbsError, messageOf } from "../errors.ts";
import { freeBytes } from "../store/free-bytes.ts";
import {
  type JournalCondition,
  type OpenedJournal,
  type OpenJournal,
  SOUND,
} from "./ledger-journal.ts";
import { epochNow, LedgerRunner } from "./ledger-runner.ts";
import type { NodeEvents } from "./node-events.ts";
import { storeFault } from "./store-errors.ts";

/** A disk without room is looked at again after so long. */
const ROOM_PAUSE_MS = 5000;
/** Free bytes with which it goes on: with less it could open its store, and write no block. */
const ROOM_BYTES = 1 << 20;

export type LifeOptions = {
  readonly role: "validator" | "master";
  readonly keys: KeyRing;
  readonly genesis: ChainState;
  readonly crypto: LedgerCrypto;
  readonly file: string;
  /** Now: whether these keys have signed before. */
  readonly hasRun: () => boolean;
  readonly openJournal: OpenJournal;
  /** Of a new term's master. */
  readonly masterTerm: MasterTermMessage | undefined;
  readonly checkpoint: Checkpoint | undefined;
  readonly checkPeriodMs: number;
  readonly events: NodeEvents;
  readonly send: (to: readonly NodeId[], message: LedgerMessage) => void;
  readonly onBlock: (output: Extract<Output, { kind: "block" }>) => void;
  /** Another participant has begun, perhaps at another height. */
  readonly onBeginning: () => void;
  readonly onFailure: (thrown: unknown) => void;
};

type Waiting = Pick<Master, "contracts" | "records">;

export class NodeLife {
  runner: LedgerRunner;
  /** Why it does nothing at present. */
  pausedBy: string | undefined;
  #opened: OpenedJournal;
  #pause: ReturnType<typeof setTimeout> | undefined;
  readonly #check: ReturnType<typeof setInterval> | undefined;
  /** What a master was given for its next blocks. */
  #waiting: Waiting = { contracts: [], records: [] };
  #isOver = false;

  /** @throws AbsError what is wrong with the disk */
  constructor(readonly options: LifeOptions) {
    [this.#opened, this.runner] = this.#open();
    // A validator's check is part of the protocol (digest-check.ts); a master's is its own affair.
    if (options.role === "master") {
      this.#check = setInterval(() => void this.#checkMaster(), options.checkPeriodMs);
    }
  }

  get isRepairing(): boolean {
    return this.#condition.lacks !== undefined;
  }

  start(): void {
    this.runner.start();
  }

  stop(): void {
    this.#isOver = true;
    clearTimeout(this.#pause);
    clearInterval(this.#check);
    this.runner.close();
    this.#opened.journal.close();
  }

  get #condition(): JournalCondition {
    return this.#opened.condition ?? SOUND;
  }

  #open(): [OpenedJournal, LedgerRunner] {
    const { file, genesis, crypto, hasRun, openJournal, events } = this.options;
    const wasRun = hasRun();
    const opened = openJournal({ file, genesis, crypto, hasRun: wasRun });
    const { findings } = opened.condition ?? SOUND;
    for (const detail of findings) events.write("ledger-damage", { detail });
    const participant = this.#participantOf(opened);
    const why = historyError(this.options.checkpoint, opened) ?? reignError(participant);
    if (why !== undefined) {
      opened.journal.close();
      throw why;
    }
    const runner = new LedgerRunner(participant, {
      journal: opened.journal,
      send: this.options.send,
      onReport: (code, detail) => events.writeLimited(`ledger-${code}`, detail),
      onBlock: (output) => this.#onBlock(output),
      onFailure: (thrown) => this.#onFailure(thrown),
      onBroken: (detail) => this.#onBroken(detail),
    });
    return [opened, runner];
  }

  #participantOf({ journal, contents, condition = SOUND }: OpenedJournal): Participant {
    const { keys, crypto, role, checkPeriodMs, checkpoint, masterTerm } = this.options;
    const common = { keys, crypto, history: journal.history, checkpoint };
    const onlyCatchesUp = condition.lacks !== undefined;
    const config = { ...common, ...contents };
    // Who only catches up has no part in the agreement, be it the master.
    if (role === "validator" || onlyCatchesUp) {
      return createValidator({ ...config, wasWiped: false, checkPeriodMs, onlyCatchesUp });
    }
    // Sequences count from 0 by one a second at most: today's time is above all of them.
    const { mayHaveForgotten } = condition;
    const firstSequence = mayHaveForgotten ? epochNow() : 0;
    return createMaster({
      ...{ ...config, masterTerm, mayHaveForgotten },
      firstSequence: firstSequence as number as CandidateSequence,
    });
  }

  #onBlock(output: Extract<Output, { kind: "block" }>): void {
    this.options.onBlock(output);
    const { lacks } = this.#condition;
    if (lacks === undefined || output.next.height < lacks) return;
    this.options.events.write("ledger-repaired", { detail: `block ${lacks} was fetched again` });
    this.#laterAgain(0);
  }

  /** Its disk may be what is wrong: then what was saved last is lost, and nobody was told of it. */
  #closeJournal(): void {
    try {
      this.#opened.journal.close();
    } catch {
      // Why it fails is told when it is opened.
    }
  }

  #onBroken(detail: string): boolean {
    // It is known, and being fetched.
    if (this.isRepairing) return false;
    this.options.events.write("ledger-damage", { detail });
    this.#laterAgain(0);
    return true;
  }

  #onFailure(thrown: unknown): void {
    const fault = storeFault(thrown);
    if (fault === "damaged") {
      this.options.events.write("ledger-damage", { detail: messageOf(thrown) });
      return this.#laterAgain(0);
    }
    if (fault !== "full") return this.options.onFailure(thrown);
    if (this.pausedBy === undefined) {
      this.pausedBy = `the disk takes nothing: ${messageOf(thrown)}`;
      this.options.events.write("ledger-paused", { detail: this.pausedBy });
    }
    this.#laterAgain(ROOM_PAUSE_MS);
  }

  /** What is wrong on its disk is repaired as at a start. */
  async #checkMaster(): Promise<void> {
    const { runner } = this;
    if (this.pausedBy !== undefined || runner.participant.kind !== "master") return;
    try {
      const found = await this.#opened.journal.recompute();
      if (found === undefined || this.#isOver || runner !== this.runner) return;
      const { height, scdRoot, damaged, broken } = found;
      const { chain } = runner.participant;
      const isRight = height !== chain.height || scdRoot === chain.core.scdRoot;
      if (isRight && damaged.length === 0 && broken === undefined) return;
      const detail = broken ?? `height ${height}: ${scdRoot} on the disk, blocks ${damaged}`;
      this.options.events.write("ledger-damage", { detail });
      this.#laterAgain(0);
    } catch (thrown) {
      if (!this.#isOver && runner === this.runner) this.#onFailure(thrown);
    }
  }

  /** After the step at hand: nothing that it still does is lost, and nothing more begins. */
  #laterAgain(afterMs: number): void {
    clearTimeout(this.#pause);
    this.#pause = setTimeout(() => this.#again(), afterMs);
  }

  #again(): void {
    if (this.#isOver) return;
    if (this.pausedBy !== undefined && freeBytes(dirname(this.options.file)) < ROOM_BYTES) {
      return this.#laterAgain(ROOM_PAUSE_MS);
    }
    const { participant } = this.runner;
    if (participant.kind === "master") this.#waiting = participant;
    this.runner.close();
    this.#closeJournal();
    try {
      [this.#opened, this.runner] = this.#open();
      if (this.pausedBy !== undefined) this.options.events.write("ledger-resumed", {});
      this.pausedBy = undefined;
      this.options.onBeginning();
      this.runner.start();
      if (this.runner.participant.kind !== "master") return;
      const { contracts, records } = this.#waiting;
      this.runner.take({ kind: "propose", contracts, records });
    } catch (thrown) {
      this.#onFailure(thrown);
    }
  }
}

/** The chain on its disk is another history than the one vouched for. */
function historyError(
  checkpoint: Checkpoint | undefined,
  { journal, contents }: OpenedJournal,
): AbsError | undefined {
  const conflict = chainConflict(checkpoint, contents.chain, journal.history);
  if (conflict === undefined) return undefined;
  return new AbsError(
    "CHECKPOINT_CONFLICT",
    `The chain on this disk is another history than the one vouched for: ${conflict}.`,
    "Ask the manager which is right; if the disk is wrong, move scd.sqlite aside and start again.",
  );
}

/** The chain on its disk has another master's term. */
function reignError(participant: Participant): AbsError | undefined {
  const { kind, nodeId, term } = participant;
  if (kind === "validator" || masterId(participant) === nodeId) return undefined;
  return new AbsError(
    "MASTER_SUPERSEDED",
    `Term ${term} is the reign of another master, ${masterId(participant)}.`,
    "Run the new master from its own folder; this one's keys seal nothing any more.",
  );
}
