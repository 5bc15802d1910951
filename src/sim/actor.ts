/**
 * One participant of a simulation: the product's machine (a validator's or the master's) with a
 * disk, clocks, timers and a life that a crash ends. It does the runner's duties of step-types.ts:
 * one event at a time, outputs in order, nothing sent before what was written is synced.
 */
import type { BlockRules } from "../chain/block-rules.ts";
import type { ChainState } from "../chain/chain-state.ts";
import type { LedgerCrypto, NodeKeys } from "../chain/crypto-interface.ts";
import { KeyRing } from "../chain/key-ring.ts";
import type { Hash, NodeId } from "../chain/ledger-units.ts";
import type { Master } from "../chain/master-state.ts";
import type { MasterTermMessage } from "../chain/message-types.ts";
import {
  createMaster,
  createValidator,
  type Participant as Machine,
  step,
} from "../chain/participant.ts";
import type { Instant, Output, StepEvent, TimerName } from "../chain/step-types.ts";
import type { EpochSeconds } from "../units.ts";
import { Disk, type DiskOutput, isDiskOutput } from "./disk.ts";
import type { Participant } from "./fault.ts";
import type { Prng } from "./prng.ts";
import { START_SECONDS } from "./world.ts";

/** StepEvent without the instant, which the actor adds when it takes the event up. */
type WithoutInstant<E> = E extends StepEvent ? Omit<E, "at"> : never;
export type Happening = WithoutInstant<StepEvent>;

/** What an actor asks of the world it lives in. */
export interface Surroundings {
  readonly nowMs: number;
  clockOffsetMs(actor: Actor): number;
  /** How long a sync takes now; undefined: writes fail. */
  syncMs(actor: Actor): number | undefined;
  say(actor: Actor, output: Extract<Output, { kind: "send" }>): void;
  stored(actor: Actor, output: DiskOutput): void;
  reported(actor: Actor, output: Extract<Output, { kind: "report" }>): void;
  later(ms: number, act: () => void): void;
  diskFailed(actor: Actor): void;
  timerSet(actor: Actor, timer: TimerName, afterMs: number): void;
}

export type ActorConfig = {
  readonly index: Participant;
  readonly keys: NodeKeys;
  readonly crypto: LedgerCrypto;
  readonly rules: BlockRules;
  readonly genesis: ChainState;
  readonly isMaster: boolean;
  readonly isHonest: boolean;
  readonly prng: Prng;
  readonly masterTerm: MasterTermMessage | undefined;
};

/** Half a check period of the product, so that seeds of seconds have some. */
const CHECK_PERIOD_MS = 5000;

export class Actor {
  readonly index: Participant;
  readonly nodeId: NodeId;
  /** Outlives crashes, and a lost disk. */
  readonly ring: KeyRing;
  readonly disk: Disk;
  readonly isHonest: boolean;
  readonly isMaster: boolean;
  downUntilMs = 0;
  isPaused = false;
  private machine: Machine | undefined;
  /** Counts lives: what was planned in an earlier one does not happen. */
  private life = 0;
  private isBusy = false;
  private wasWiped = false;
  private readonly waiting: Happening[] = [];
  private readonly timers = new Map<TimerName, object>();

  constructor(
    readonly config: ActorConfig,
    private readonly around: Surroundings,
  ) {
    this.index = config.index;
    this.ring = KeyRing.of(config.keys);
    this.nodeId = this.ring.nodeId;
    this.disk = new Disk(config.genesis);
    this.isHonest = config.isHonest;
    this.isMaster = config.isMaster;
  }

  /** The machine of a master that is up. */
  get master(): Master | undefined {
    return this.machine?.kind === "master" ? this.machine : undefined;
  }

  get isUp(): boolean {
    return this.machine !== undefined;
  }

  boot(): void {
    const { crypto, rules, masterTerm } = this.config;
    const { disk, ring: keys } = this;
    this.life++;
    const config = {
      ...{ keys, crypto, rules, log: [...disk.log], history: disk, checkpoint: undefined },
      ...{ chain: disk.chain, below: disk.below, tipProof: disk.tipProof },
    };
    this.machine = this.isMaster
      ? createMaster({ ...config, masterTerm })
      : createValidator({
          ...config,
          wasWiped: this.wasWiped,
          checkPeriodMs: CHECK_PERIOD_MS,
        });
    this.take({ kind: "start" });
  }

  crash(torn: Prng | undefined): void {
    for (const kept of this.disk.crash(torn)) this.around.stored(this, kept);
    this.machine = undefined;
    this.life++;
    this.isBusy = false;
    this.waiting.length = 0;
    this.timers.clear();
  }

  /** After a crash. */
  wipe(): void {
    this.disk.wipe();
    this.wasWiped = true;
  }

  resume(): void {
    this.isPaused = false;
    this.takeWaiting();
  }

  /** An event from outside, now or as soon as the one at hand is done. */
  take(event: Happening): void {
    if (this.machine === undefined) return;
    if (this.isBusy || this.isPaused) {
      this.waiting.push(event);
      return;
    }
    this.isBusy = true;
    const outputs = step(this.machine, { ...event, at: this.instant() } as StepEvent);
    this.carryOut(outputs, 0);
  }

  private instant(): Instant {
    const wallMs = this.around.nowMs + this.around.clockOffsetMs(this);
    const epoch = (START_SECONDS + Math.floor(wallMs / 1000)) as EpochSeconds;
    return { ms: Math.floor(this.around.nowMs), epoch };
  }

  private takeWaiting(): void {
    while (!this.isBusy && !this.isPaused) {
      const next = this.waiting.shift();
      if (next === undefined) return;
      this.take(next);
    }
  }

  /** Outputs from `from` on; stops at a run of writes until they are synced. */
  private carryOut(outputs: readonly Output[], from: number): void {
    let at = from;
    for (; at < outputs.length; at++) {
      const output = outputs[at];
      if (output === undefined) break;
      if (isDiskOutput(output)) {
        this.save(outputs, at);
        return;
      }
      this.carryOutOne(output);
    }
    this.isBusy = false;
    this.takeWaiting();
  }

  private carryOutOne(output: Exclude<Output, DiskOutput>): void {
    switch (output.kind) {
      case "send":
        this.around.say(this, output);
        return;
      case "timer":
        this.setTimer(output.timer, output.afterMs);
        return;
      case "cancel":
        this.timers.delete(output.timer);
        return;
      case "recompute": {
        const { scdRoot, chain } = this.disk;
        const { asker } = output;
        this.waiting.push({
          kind: "recomputed",
          height: chain.height,
          scdRoot,
          damaged: [],
          asker,
        });
        return;
      }
      case "report":
        this.around.reported(this, output);
        return;
    }
  }

  private save(outputs: readonly Output[], from: number): void {
    const syncMs = this.around.syncMs(this);
    if (syncMs === undefined) {
      this.around.diskFailed(this);
      return;
    }
    const run: DiskOutput[] = [];
    let at = from;
    for (; at < outputs.length; at++) {
      const output = outputs[at];
      if (output === undefined || !isDiskOutput(output)) break;
      this.disk.write(output);
      run.push(output);
    }
    this.laterInThisLife(syncMs, () => {
      this.disk.sync();
      this.wasWiped = false;
      for (const output of run) this.around.stored(this, output);
      this.carryOut(outputs, at);
    });
  }

  private setTimer(timer: TimerName, afterMs: number): void {
    const token = {};
    this.timers.set(timer, token);
    this.around.timerSet(this, timer, afterMs);
    this.laterInThisLife(afterMs, () => {
      if (this.timers.get(timer) !== token) return;
      this.timers.delete(timer);
      this.take({ kind: "timer", timer, entropy: this.config.prng.bytes(32).toHex() as Hash });
    });
  }

  private laterInThisLife(ms: number, act: () => void): void {
    const life = this.life;
    this.around.later(ms, () => {
      if (this.life === life) act();
    });
  }
}
