/**
 * Plays one scenario: the product's own steps, one clock, one seed. design/ledger.md "Simulator":
 * agreement, validity and durable votes are checked at every step, progress once faults stop.
 * Nothing here sleeps, nothing reads a clock or a random number that the seed does not give.
 */
import type { Height, NodeId } from "../chain/ledger-units.ts";
import { decodeMessage, encodeMessage, type MessageRead } from "../chain/message-codec.ts";
import type { CommitMessage, LedgerMessage } from "../chain/message-types.ts";
import type { Output, TimerName } from "../chain/step-types.ts";
import { messageOf } from "../errors.ts";
import { ActiveFaults } from "./active-faults.ts";
import { Actor, type Surroundings } from "./actor.ts";
import { ChainChecks } from "./chain-checks.ts";
import type { DiskOutput } from "./disk.ts";
import { EventQueue } from "./event-queue.ts";
import { FAULTS_END_MS, type Fault, type FaultKind, type Participant } from "./fault.ts";
import { JustificationChecks } from "./justification-checks.ts";
import { Liar } from "./liar.ts";
import type { Frame, LieKind } from "./lie.ts";
import { Network } from "./network.ts";
import { Prng } from "./prng.ts";
import { proposalsOf } from "./proposals.ts";
import type { Scenario } from "./scenario.ts";
import { count, type SeedResult } from "./tally.ts";
import { Trace } from "./trace.ts";
import { VoteChecks } from "./vote-checks.ts";
import { World } from "./world.ts";

/** Between two proposals to the master. */
const PROPOSE_MS = 1250;
/** After the faults the next block is due within this: a run of lying leaders and time-outs. */
const PROGRESS_MS = 240_000;
const DEADLINE_MS = FAULTS_END_MS + 3 * PROGRESS_MS;
const SYNC_MS = 1;
/** No timer of a validator may be longer (rule 5), and none of the others needs to be. */
const TIMER_MAX_MS = 16_000;
const AMNESIA_MS = 1700;
/** A run that makes more events than any good one stands still in a circle. */
const EVENTS_MAX = 1_500_000;

export function playScenario(scenario: Scenario): SeedResult {
  return new Simulation(scenario, undefined).run();
}

/** The same run with every step told. */
export function traceScenario(scenario: Scenario): { result: SeedResult; lines: string[] } {
  const trace = new Trace(scenario.nodes);
  const result = new Simulation(scenario, trace).run();
  return { result, lines: trace.lines };
}

class Simulation implements Surroundings {
  nowMs = 0;
  private readonly world: World;
  private readonly events = new EventQueue<() => void>();
  private readonly network: Network;
  private readonly actors: Actor[] = [];
  private readonly active: ActiveFaults;
  private readonly liars = new Map<Actor, Liar>();
  private readonly places = new Map<NodeId, Actor[]>();
  private readonly twinPrng: Prng;
  private readonly tornPrng: Prng;
  private readonly votes = new VoteChecks();
  private readonly justifications = new JustificationChecks();
  private readonly chain: ChainChecks;
  private readonly proposed = new Set<string>();
  /** What honest participants repeat is encoded, decoded and looked at once. */
  private readonly read = new WeakMap<LedgerMessage, MessageRead>();
  private readonly looked = new WeakSet<LedgerMessage>();
  private readonly faults: Partial<Record<FaultKind, number>> = {};
  private readonly lies: Partial<Record<LieKind, number>> = {};
  private readonly rounds = new Set<string>();
  private readonly attempts = new Set<string>();
  private messages = 0;
  private violation: string | undefined;
  private lastSealedMs = 0;

  constructor(
    private readonly scenario: Scenario,
    private readonly trace: Trace | undefined,
  ) {
    const { seed, faults } = scenario;
    this.world = new World(scenario);
    this.active = new ActiveFaults(faults);
    this.twinPrng = Prng.of(seed, 2);
    this.tornPrng = Prng.of(seed, 3);
    this.network = new Network(seed, faults, (kind) => count(this.faults, kind));
    this.chain = new ChainChecks(
      this.world.genesis,
      this.world.crypto,
      (nodeId) => this.places.get(nodeId)?.[0]?.isHonest ?? false,
      (contract) => this.isMasterLying || this.proposed.has(contract.toHex()),
    );
    this.makeActors();
  }

  run(): SeedResult {
    for (const actor of this.actors) this.later(0, () => actor.boot());
    for (const fault of this.scenario.faults) {
      this.later(fault.fromMs, () => this.begin(fault));
      this.later(fault.untilMs, () => this.end(fault));
    }
    this.later(1, () => this.propose(0));
    this.planAmnesia();
    try {
      this.turn();
    } catch (thrown) {
      this.fail(`a step threw: ${thrown instanceof Error ? thrown.stack : messageOf(thrown)}`);
    }
    return this.result();
  }

  private turn(): void {
    for (let events = 0; this.violation === undefined && !this.isDone(); events++) {
      const at = this.events.nextTime;
      if (events >= EVENTS_MAX) this.fail(`${EVENTS_MAX} events and no end`);
      else if (at > DEADLINE_MS || at > this.progressDueMs()) this.stall();
      if (at > DEADLINE_MS || this.violation !== undefined || this.stallReason !== undefined)
        return;
      this.nowMs = at;
      this.events.take()?.();
    }
  }

  private stallReason: string | undefined;

  private progressDueMs(): number {
    return Math.max(FAULTS_END_MS, this.lastSealedMs) + PROGRESS_MS;
  }

  /** No block, or no catching up, for too long: allowed only where the design says so. */
  private stall(): void {
    const reason = this.allowedStall();
    if (reason !== undefined) this.stallReason = reason;
    else this.fail(`no progress since ${Math.round(this.lastSealedMs)} ms, at ${this.heights()}`);
  }

  private allowedStall(): string | undefined {
    return this.isMasterLying ? "the master lies" : undefined;
  }

  /** Faults are over, enough blocks are sealed, one of them since then, and all have them. */
  private isDone(): boolean {
    if (this.nowMs < FAULTS_END_MS || this.lastSealedMs < FAULTS_END_MS) return false;
    if (this.chain.height < this.scenario.heights) return false;
    return this.actors.every((actor) => !actor.isHonest || this.isCaughtUp(actor));
  }

  private isCaughtUp({ disk }: Actor): boolean {
    return disk.chain.height >= this.chain.height - 1 && !disk.isRotten;
  }

  private heights(): string {
    return this.actors.map(({ disk }) => disk.chain.height).join(" ");
  }

  private result(): SeedResult {
    return {
      seed: this.scenario.seed,
      validators: this.scenario.validators,
      heights: this.chain.height,
      viewChanges: this.rounds.size,
      attempts: this.attempts.size,
      isReal: this.scenario.isReal,
      messages: this.messages,
      faults: this.faults,
      lies: this.lies,
      violation: this.violation,
      stall: this.stallReason,
    };
  }

  private fail(words: string): void {
    this.violation ??= words;
    this.trace?.note(this.nowMs, `VIOLATION ${words}`);
  }

  // ---- participants

  private get isMasterLying(): boolean {
    return this.scenario.lies.some(({ participant }) => this.isMaster(participant));
  }

  private isMaster(participant: Participant): boolean {
    return participant === this.scenario.nodes;
  }

  private makeActors(): void {
    const { nodes, lies } = this.scenario;
    for (let index = 0; index <= nodes; index++) this.addActor(index, index);
    const twins = lies.filter(({ kind }) => kind === "twins");
    for (const { participant } of twins) {
      count(this.lies, "twins");
      this.addActor(this.actors.length, participant);
    }
  }

  /** A twin has an index of its own and the keys of another. */
  private addActor(index: Participant, of: Participant): void {
    const { world, scenario } = this;
    const keys = this.isMaster(of) ? world.master : world.nodes[of];
    if (keys === undefined) return;
    const lies = scenario.lies.filter(({ participant }) => participant === of);
    const { crypto, rules, genesis } = world;
    const actor = new Actor(
      {
        ...{ index, keys, crypto, rules, genesis },
        isMaster: this.isMaster(of),
        isHonest: lies.length === 0,
        prng: Prng.of(scenario.seed, 4000 + index),
        masterTerm: undefined,
      },
      this,
    );
    this.actors.push(actor);
    this.places.set(actor.nodeId, [...(this.places.get(actor.nodeId) ?? []), actor]);
    if (lies.length === 0) return;
    const liar = new Liar(actor, lies, {
      ...{ seed: scenario.seed, validators: scenario.validators, nodeIds: world.nodeIds },
      tipBelow: (height: Height) => this.chain.stateAt(height - 1),
      count: (kind) => count(this.lies, kind),
    });
    this.liars.set(actor, liar);
  }

  /** Where a message to a node id arrives: at one twin, at the other, or at both. */
  private listeners(nodeId: NodeId): readonly Actor[] {
    const actors = this.places.get(nodeId) ?? [];
    if (actors.length < 2 || this.twinPrng.oneIn(3)) return actors;
    return [this.twinPrng.pick(actors)];
  }

  /** A liar forgets its votes and says that it has not. */
  private planAmnesia(): void {
    for (const [actor, liar] of this.liars) {
      const lie = liar.lies.find(({ kind }) => kind === "amnesia");
      if (lie === undefined) continue;
      const forget = () => {
        if (actor.isUp) {
          actor.crash(undefined);
          actor.disk.log = [];
          actor.boot();
          count(this.lies, "amnesia");
        }
        this.later(AMNESIA_MS / lie.share, forget);
      };
      this.later(AMNESIA_MS, forget);
    }
  }

  private propose(index: number): void {
    const master = this.actors[this.scenario.nodes];
    const proposal = proposalsOf(this.scenario, this.world, index);
    for (const contract of proposal.contracts) this.proposed.add(contract.toHex());
    master?.take({ kind: "propose", ...proposal });
    this.later(PROPOSE_MS, () => this.propose(index + 1));
  }

  // ---- faults

  private hit(fault: Fault): Actor[] {
    return this.actors.filter(({ index }) => fault.participants.includes(index));
  }

  private begin(fault: Fault): void {
    this.trace?.note(this.nowMs, `fault ${fault.kind} begins`);
    for (const actor of this.hit(fault)) {
      const { kind } = fault;
      switch (kind) {
        case "crash":
        case "torn-crash":
        case "master-crash":
        case "disk-lost":
          this.takeDown(actor, fault.untilMs, kind === "torn-crash");
          if (kind === "disk-lost") actor.wipe();
          break;
        case "pause":
          actor.isPaused = true;
          break;
        case "snapshot":
          actor.take({ kind: "observe", reason: "simulated snapshot" });
          break;
        case "disk-rot":
          actor.disk.isRotten = true;
          break;
        default:
          continue;
      }
      count(this.faults, kind);
    }
  }

  private end(fault: Fault): void {
    this.trace?.note(this.nowMs, `fault ${fault.kind} ends`);
    for (const actor of this.hit(fault)) {
      if (fault.kind === "pause") actor.resume();
      if (!actor.isUp && actor.downUntilMs <= this.nowMs) actor.boot();
    }
  }

  private takeDown(actor: Actor, untilMs: number, isTorn: boolean): void {
    actor.crash(isTorn ? this.tornPrng : undefined);
    actor.downUntilMs = Math.max(actor.downUntilMs, untilMs);
  }

  // ---- what actors ask for

  clockOffsetMs({ index }: Actor): number {
    const skew = this.active.find("clock-skew", index, this.nowMs);
    if (skew !== undefined) count(this.faults, "clock-skew");
    const jump = this.active.find("clock-jump", index, this.nowMs);
    if (jump === undefined) return skew?.ms ?? 0;
    count(this.faults, "clock-jump");
    const isForth = this.nowMs < (jump.fromMs + jump.untilMs) / 2;
    return (skew?.ms ?? 0) + (isForth ? jump.ms : -jump.ms);
  }

  syncMs({ index }: Actor): number | undefined {
    if (this.active.find("disk-full", index, this.nowMs) !== undefined) return undefined;
    const slow = this.active.find("disk-slow", index, this.nowMs);
    if (slow !== undefined) count(this.faults, "disk-slow");
    return slow?.ms ?? SYNC_MS;
  }

  diskFailed(actor: Actor): void {
    count(this.faults, "disk-full");
    const full = this.active.find("disk-full", actor.index, this.nowMs);
    this.takeDown(actor, full?.untilMs ?? this.nowMs, false);
  }

  later(ms: number, act: () => void): void {
    this.events.add(this.nowMs + ms, act);
  }

  timerSet(actor: Actor, timer: TimerName, afterMs: number): void {
    if (actor.isHonest && afterMs > TIMER_MAX_MS)
      this.fail(`timer ${timer} of ${afterMs} ms (rule 5)`);
    if (actor.isHonest && timer === "view" && !actor.disk.hasCandidate) {
      this.fail(`node ${actor.index} starts its timer without a candidate (rule 1)`);
    }
  }

  stored(actor: Actor, output: DiskOutput): void {
    if (output.kind === "write") {
      const wrong = this.votes.saved(actor.nodeId, output.entry);
      if (wrong !== undefined && actor.isHonest) this.fail(wrong);
      if (output.entry.kind === "stopped" && actor.isHonest) {
        this.fail(`node ${actor.index} stopped: ${output.entry.reason}`);
      }
    }
    if (output.kind !== "block") return;
    this.trace?.note(this.nowMs, `${this.trace.name(actor.index)} seals ${output.next.height}`);
    if (!actor.isHonest) return;
    const before = this.chain.height;
    const wrong = this.chain.checkSealed(output.block, output.next);
    if (wrong !== undefined) this.fail(wrong);
    if (this.chain.height > before) this.lastSealedMs = this.nowMs;
  }

  reported(actor: Actor, { code, detail }: Extract<Output, { kind: "report" }>): void {
    this.trace?.note(this.nowMs, `${this.trace.name(actor.index)} reports ${code} ${detail}`);
  }

  say(actor: Actor, { to, message }: Extract<Output, { kind: "send" }>): void {
    if (actor.isHonest && !this.looked.has(message)) {
      this.justifications.note(message);
      this.checkHonest(actor, message);
      this.looked.add(message);
    }
    if (actor.isHonest && message.kind === "COMMIT") this.checkCommit(message);
    if (message.kind === "ROUND_CHANGE" && actor.isHonest) {
      this.rounds.add(`${message.height} ${message.attempt} ${message.view}`);
    }
    if (message.kind === "CANDIDATE" && message.attempt > 0) {
      this.attempts.add(`${message.height} ${message.attempt}`);
    }
    const listeners = to.flatMap((nodeId) => this.listeners(nodeId).map(({ index }) => index));
    const speech = { message, to: listeners };
    const liar = this.liars.get(actor);
    if (liar === undefined) this.sendAll(actor, message, listeners);
    else this.sendFrames(actor, liar.tell(speech));
  }

  private checkHonest(actor: Actor, message: LedgerMessage): void {
    const wrong = this.votes.check(actor.nodeId, message) ?? this.justifications.check(message);
    if (wrong !== undefined) this.fail(wrong);
  }

  private checkCommit(message: CommitMessage): void {
    const wrong = this.chain.checkCommit(message);
    if (wrong !== undefined) this.fail(wrong);
  }

  private sendFrames(actor: Actor, frames: readonly Frame[]): void {
    const byContent = Map.groupBy(frames, ({ content }) => content);
    for (const [content, group] of byContent) {
      const isMessage = !(content instanceof Uint8Array);
      if (isMessage) this.justifications.note(content);
      if (isMessage && content.kind === "COMMIT" && content.signer === actor.nodeId) {
        this.checkCommit(content);
      }
      this.sendAll(
        actor,
        content,
        group.map(({ to }) => to),
      );
    }
  }

  /** One encoding and one decoding for all who hear it: both are pure. */
  private sendAll(
    actor: Actor,
    content: LedgerMessage | Uint8Array,
    to: readonly Participant[],
  ): void {
    const read = this.readOf(content);
    const said = content instanceof Uint8Array ? undefined : content;
    if (said !== undefined) this.trace?.message(this.nowMs, actor.index, to, said);
    if ("fault" in read) {
      if (said !== undefined && actor.isHonest)
        this.fail(`${said.kind} does not decode: ${read.fault}`);
      return;
    }
    for (const index of to) {
      const listener = this.actors[index];
      if (listener === undefined) continue;
      const delays = listener === actor ? [0] : this.network.delays(this.nowMs, actor.index, index);
      for (const ms of delays) {
        this.messages++;
        this.later(ms, () => this.deliver(actor, listener, read.message));
      }
    }
  }

  private readOf(content: LedgerMessage | Uint8Array): MessageRead {
    if (content instanceof Uint8Array) return decodeMessage(content);
    const known = this.read.get(content);
    if (known !== undefined) return known;
    const read = decodeMessage(encodeMessage(content));
    this.read.set(content, read);
    return read;
  }

  private deliver(from: Actor, to: Actor, message: LedgerMessage): void {
    if (!to.isUp) return;
    if (message.kind === "BODY_RESP") {
      for (const { core } of message.blocks) to.disk.bodyHeight = core.height;
    }
    const liar = this.liars.get(to);
    if (liar !== undefined) this.sendFrames(to, liar.hear(message, this.everybody()));
    to.take({ kind: "message", from: from.nodeId, message });
  }

  private everybody(): Participant[] {
    return this.actors.map(({ index }) => index);
  }
}
