/**
 * Plays one scenario: the product's own steps, one clock, one seed. design/ledger.md "Simulator":
 * agreement, validity and durable votes are checked at every step, progress once faults stop.
 * Nothing here sleeps, nothing reads a clock or a random number that the seed does not give.
 */
import type { NodeKeys } from "../chain/crypto-interface.ts";
import type { Hash, Height, NodeId } from "../chain/ledger-units.ts";
import type { Master } from "../chain/master-state.ts";
import type { ForcedRedrawMessage, MasterTermMessage } from "../chain/message-types.ts";
import type { Output, TimerName } from "../chain/step-types.ts";
import { messageOf } from "../errors.ts";
import { ActiveFaults } from "./active-faults.ts";
import { Actor, type Surroundings } from "./actor.ts";
import { ChainChecks } from "./chain-checks.ts";
import type { DiskOutput } from "./disk.ts";
import { EventQueue } from "./event-queue.ts";
import { FAULTS_END_MS, type Fault, type FaultKind, type Participant } from "./fault.ts";
import { KeyRotations } from "./key-rotations.ts";
import { Liar } from "./liar.ts";
import type { Lie, LieKind } from "./lie.ts";
import { Network } from "./network.ts";
import { HURRY_MS, type Office, Operator, type OperatorAct, WATCH_MS } from "./operator.ts";
import { Post, type PostOffice } from "./post.ts";
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
  const trace = new Trace();
  const result = new Simulation(scenario, trace).run();
  return { result, lines: trace.lines };
}

class Simulation implements Surroundings, PostOffice, Office {
  nowMs = 0;
  private readonly world: World;
  private readonly events = new EventQueue<() => void>();
  readonly network: Network;
  readonly actors: Actor[] = [];
  private readonly active: ActiveFaults;
  readonly eavesdroppers: Participant[] = [];
  private readonly liars = new Map<Actor, Liar>();
  private readonly places = new Map<NodeId, Actor[]>();
  private readonly twinPrng: Prng;
  private readonly tornPrng: Prng;
  readonly votes = new VoteChecks();
  readonly chain: ChainChecks;
  private readonly post = new Post(this);
  private readonly operator: Operator;
  private readonly rotations: KeyRotations;
  private readonly proposed = new Set<string>();
  private readonly faults: Partial<Record<FaultKind, number>> = {};
  private readonly lies: Partial<Record<LieKind, number>> = {};
  private readonly operatorActs: Partial<Record<OperatorAct, number>> = {};
  /** Who holds the office; the others who ever did are not followed any more. */
  private reigning: Actor | undefined;
  private violation: string | undefined;
  private isStalled = false;
  lastSealedMs = 0;

  constructor(
    private readonly scenario: Scenario,
    readonly trace: Trace | undefined,
  ) {
    const { seed, faults } = scenario;
    this.world = new World(scenario);
    this.active = new ActiveFaults(faults);
    this.twinPrng = Prng.of(seed, 2);
    this.tornPrng = Prng.of(seed, 3);
    this.network = new Network(seed, faults, (kind) => count(this.faults, kind));
    this.rotations = new KeyRotations(this.world, Prng.of(seed, 10));
    this.operator = new Operator(seed, this.world, this, faults);
    this.chain = new ChainChecks(this.world.genesis, this.world.crypto, {
      isHonest: (nodeId) => this.places.get(nodeId)?.[0]?.isHonest ?? false,
      isProposed: (contract) => this.hasMasterLied || this.proposed.has(contract.toHex()),
      isMaster: (publicKey) => this.operator.isMaster(publicKey),
      committeeAt: (height, attempt) => this.operator.committeeAt(height, attempt),
    });
    this.makeActors();
  }

  run(): SeedResult {
    for (const actor of this.actors) this.later(0, () => actor.boot());
    for (const fault of this.scenario.faults) {
      this.later(fault.fromMs, () => this.begin(fault));
      this.later(fault.untilMs, () => this.end(fault));
    }
    this.later(1, () => this.propose(0));
    this.later(WATCH_MS, () => this.watch());
    if (this.operator.isHasty) this.later(HURRY_MS, () => this.hurry());
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
      if (this.violation !== undefined) return;
      this.nowMs = at;
      this.events.take()?.();
    }
  }

  private progressDueMs(): number {
    return Math.max(FAULTS_END_MS, this.lastSealedMs) + PROGRESS_MS;
  }

  /** No block, or no catching up, for too long: operators are there, so nothing excuses it. */
  private stall(): void {
    this.isStalled = true;
    this.fail(`no progress since ${Math.round(this.lastSealedMs)} ms, at ${this.heights()}`);
  }

  /** Faults are over, enough blocks are sealed, one of them since then, and all have them. */
  private isDone(): boolean {
    if (this.nowMs < FAULTS_END_MS || this.lastSealedMs < FAULTS_END_MS) return false;
    if (this.chain.height < this.scenario.heights) return false;
    return this.actors.every((actor) => !this.isDue(actor) || this.isCaughtUp(actor));
  }

  /** Who has to have all blocks: liars and masters of the past need not. */
  private isDue(actor: Actor): boolean {
    return actor.isHonest && (!actor.isMaster || actor === this.reigning);
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
      viewChanges: this.post.rounds.size,
      attempts: this.post.attempts.size,
      isReal: this.scenario.isReal,
      messages: this.post.messages,
      faults: this.faults,
      lies: this.lies,
      operator: this.operatorActs,
      violation: this.violation,
      isStalled: this.isStalled,
    };
  }

  fail(words: string): void {
    this.violation ??= words;
    this.trace?.note(this.nowMs, `VIOLATION ${words}`);
  }

  // ---- participants

  private get hasMasterLied(): boolean {
    return this.scenario.lies.some(({ participant }) => this.isMaster(participant));
  }

  private isMaster(participant: Participant): boolean {
    return participant === this.scenario.nodes;
  }

  private makeActors(): void {
    const { nodes, lies } = this.scenario;
    const liesOf = (of: Participant) => lies.filter(({ participant }) => participant === of);
    for (const [index, keys] of this.world.nodes.entries()) {
      this.addActor(`node ${index}`, keys, liesOf(index), false);
    }
    this.reigning = this.addActor("master", this.world.master, liesOf(nodes), true);
    // A twin has an index of its own and the keys of another.
    for (const { participant } of lies.filter(({ kind }) => kind === "twins")) {
      const keys = this.world.nodes[participant];
      if (keys === undefined) continue;
      count(this.lies, "twins");
      this.addActor(`twin of ${participant}`, keys, liesOf(participant), false);
    }
  }

  private addActor(
    name: string,
    keys: NodeKeys,
    lies: readonly Lie[],
    isMaster: boolean,
    masterTerm?: MasterTermMessage,
  ): Actor {
    const { world, scenario } = this;
    const { crypto, rules, genesis } = world;
    const index = this.actors.length;
    const isHonest = lies.length === 0;
    const prng = Prng.of(scenario.seed, 4000 + index);
    const config = { index, keys, crypto, rules, genesis, isMaster, isHonest, prng, masterTerm };
    const actor = new Actor(config, this);
    this.actors.push(actor);
    this.trace?.call(index, name);
    this.places.set(actor.nodeId, [...(this.places.get(actor.nodeId) ?? []), actor]);
    if (!isHonest) this.addLiar(actor, lies);
    return actor;
  }

  private addLiar(actor: Actor, lies: readonly Lie[]): void {
    const { world, scenario } = this;
    const liar = new Liar(actor, lies, {
      ...{ seed: scenario.seed, validators: scenario.validators, nodeIds: world.nodeIds },
      tipBelow: (height: Height) => this.chain.stateAt(height - 1),
      count: (kind) => count(this.lies, kind),
    });
    this.liars.set(actor, liar);
    if (lies.some(({ kind }) => kind === "revoked-key")) this.eavesdroppers.push(actor.index);
  }

  liarOf(actor: Actor): Liar | undefined {
    return this.liars.get(actor);
  }

  /** Where a message to a node id arrives: at one twin, at the other, or at both. */
  listeners(nodeId: NodeId): readonly Actor[] {
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
    const proposal = proposalsOf(this.scenario, this.world, index);
    for (const contract of proposal.contracts) this.proposed.add(contract.toHex());
    const chain = this.master?.chain;
    const rotated = chain === undefined ? [] : this.rotations.records(chain);
    const records = [...proposal.records, ...rotated];
    this.reigning?.take({ kind: "propose", contracts: proposal.contracts, records });
    this.later(PROPOSE_MS, () => this.propose(index + 1));
  }

  // ---- the operator

  private watch(): void {
    this.operator.watch();
    this.later(WATCH_MS, () => this.watch());
  }

  private hurry(): void {
    this.operator.hurry();
    if (this.nowMs < FAULTS_END_MS) this.later(HURRY_MS, () => this.hurry());
  }

  get master(): Master | undefined {
    return this.reigning?.master;
  }

  get masterKeys(): NodeKeys {
    return this.reigning?.config.keys ?? this.world.master;
  }

  get isMasterLying(): boolean {
    return this.reigning?.isHonest === false;
  }

  ask(nonce: Hash, holdMs: number): void {
    this.reigning?.take({ kind: "survey", nonce, holdMs });
  }

  release(): void {
    this.reigning?.take({ kind: "release" });
  }

  redraw(redraw: ForcedRedrawMessage, mayFork: boolean): void {
    this.reigning?.take({ kind: "redraw", redraw, mayFork });
  }

  enthrone(keys: NodeKeys, masterTerm: MasterTermMessage): void {
    this.reigning = this.addActor(`heir of term ${masterTerm.term}`, keys, [], true, masterTerm);
    this.reigning.boot();
  }

  acted(act: OperatorAct): void {
    this.trace?.note(this.nowMs, `operator: ${act}`);
    count(this.operatorActs, act);
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
        case "needed-disk-lost":
          this.takeDown(actor, fault.untilMs, kind === "torn-crash");
          if (kind.endsWith("disk-lost")) actor.wipe();
          break;
        case "master-lost":
          this.takeDown(actor, Number.POSITIVE_INFINITY, false);
          break;
        case "master-returns":
          if (actor.isUp) continue;
          actor.downUntilMs = this.nowMs;
          actor.boot();
          break;
        case "pause":
          actor.isPaused = true;
          break;
        case "hasty-operator":
          break;
        case "key-rotation":
          if (actor.isHonest) this.rotations.begin(actor);
          continue;
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
    if (fault.kind === "master-lost") this.operator.appoint();
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
      if (output.entry.kind === "redraw" && actor.isMaster) {
        this.operator.noteRedraw(output.entry.message);
      }
      if (output.entry.kind === "stopped" && actor.isHonest) {
        this.fail(`node ${actor.index} stopped: ${output.entry.reason}`);
      }
    }
    if (output.kind !== "block") return;
    this.trace?.note(this.nowMs, `${this.trace.name(actor.index)} seals ${output.next.height}`);
    if (!actor.isHonest) return;
    if (this.rotations.sealed(actor, output.next)) count(this.faults, "key-rotation");
    const before = this.chain.height;
    const wrong = this.chain.checkSealed(output.block, output.next);
    if (wrong !== undefined) this.fail(wrong);
    if (this.chain.height > before) this.lastSealedMs = this.nowMs;
  }

  reported(actor: Actor, { code, detail }: Extract<Output, { kind: "report" }>): void {
    this.trace?.note(this.nowMs, `${this.trace.name(actor.index)} reports ${code} ${detail}`);
  }

  say(actor: Actor, { to, message }: Extract<Output, { kind: "send" }>): void {
    this.post.say(actor, to, message);
  }
}
