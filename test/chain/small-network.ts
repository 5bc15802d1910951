/**
 * A small network in memory for tests of the steps: n validators and a master, a clock that only
 * moves from event to event, disks that keep what was written. Messages take one millisecond and go
 * through the codec, as in the product. What a test wants lost or changed it says by `tamper`.
 */
import type { Block, SealProof } from "../../src/chain/block.ts";
import { blockHashOf } from "../../src/chain/block-core.ts";
import type { ChainState } from "../../src/chain/chain-state.ts";
import { type ContractEntry, encodeContract } from "../../src/chain/contract-entry.ts";
import type { NodeKeys } from "../../src/chain/crypto-interface.ts";
import type { GenesisMember } from "../../src/chain/genesis.ts";
import { KeyRing } from "../../src/chain/key-ring.ts";
import type { BlockHash, Hash, Height, NodeId } from "../../src/chain/ledger-units.ts";
import { decodeMessage, encodeMessage } from "../../src/chain/message-codec.ts";
import { nodeIdOf } from "../../src/chain/message-signing.ts";
import type {
  ForcedRedrawMessage,
  LedgerMessage,
  MasterTermMessage,
} from "../../src/chain/message-types.ts";
import {
  createMaster,
  createValidator,
  type Participant,
  step,
} from "../../src/chain/participant.ts";
import { hashOf } from "../../src/chain/sha256.ts";
import type {
  BlockHistory,
  Checkpoint,
  Instant,
  LogEntry,
  Output,
  StepEvent,
  TimerName,
} from "../../src/chain/step-types.ts";
import type { EpochSeconds } from "../../src/units.ts";
import { ChainBuilder, type KeyMaker, START } from "./chain-builder.ts";

const LATENCY_MS = 1;

/** What survives a crash. */
class Disk implements BlockHistory {
  readonly blocks = new Map<Height, Block>();
  readonly states = new Map<Height, ChainState>();
  log: LogEntry[] = [];

  at(height: Height): Block | undefined {
    return this.blocks.get(height);
  }

  find(blockHash: BlockHash): Block | undefined {
    return [...this.blocks.values()].find(({ core }) => blockHashOf(core) === blockHash);
  }
}

type Due = {
  readonly ms: number;
  readonly order: number;
  readonly to: NodeId;
  readonly event: StepEventBody;
  /** Of the life that set the timer: a crash ends it. */
  readonly life: number;
};
type StepEventBody = StepEvent extends infer E
  ? E extends StepEvent
    ? Omit<E, "at">
    : never
  : never;

class Seat {
  participant: Participant | undefined;
  disk = new Disk();
  life = 0;
  readonly timers = new Map<TimerName, number>();
  readonly reports: string[] = [];
  clockOffset = 0;
  written = 0;
  /** Of a node whose keys are rotated: more than one set. */
  readonly ring: KeyRing;
  /** What its disk gives when the SCD is recomputed, where that is not what it should be. */
  found: { scdRoot?: Hash; damaged?: readonly Height[] } = {};

  constructor(
    readonly keys: NodeKeys,
    readonly isMaster: boolean,
    readonly masterTerm: MasterTermMessage | undefined = undefined,
  ) {
    this.ring = KeyRing.of(keys);
  }
}

/** What happens to a message on its way: undefined loses it. */
export type Tamper = (
  from: NodeId,
  to: NodeId,
  message: LedgerMessage,
) => LedgerMessage | undefined;

export class SmallNetwork {
  readonly builder: ChainBuilder;
  readonly seats = new Map<NodeId, Seat>();
  readonly master: NodeId;
  readonly members: readonly NodeId[];
  tamper: Tamper = (_from, _to, message) => message;
  /** What those who start from now on have been told by an enrolment. */
  checkpoint: Checkpoint | undefined;
  nowMs = 0;
  sent: { from: NodeId; to: NodeId; message: LedgerMessage }[] = [];
  private due: Due[] = [];
  private order = 0;

  constructor(keys: KeyMaker, memberCount: number) {
    this.builder = new ChainBuilder(keys, memberCount);
    this.members = [...this.builder.nodes.keys()].sort();
    this.master = nodeIdOf(this.builder.master.signer.publicKey);
    for (const [nodeId, nodeKeys] of this.builder.nodes) {
      this.seats.set(nodeId, new Seat(nodeKeys, false));
    }
    this.seats.set(this.master, new Seat(this.builder.master, true));
    for (const nodeId of this.seats.keys()) this.start(nodeId);
  }

  get at(): Instant {
    return {
      ms: this.nowMs,
      epoch: (START + 1000 + Math.floor(this.nowMs / 1000)) as EpochSeconds,
    };
  }

  seat(nodeId: NodeId): Seat {
    const seat = this.seats.get(nodeId);
    if (seat === undefined) throw new Error(`no ${nodeId}`);
    return seat;
  }

  chainOf(nodeId: NodeId): ChainState {
    const { participant } = this.seat(nodeId);
    if (participant === undefined) throw new Error(`${nodeId} is down`);
    return participant.chain;
  }

  heights(): number[] {
    return [...this.seats.keys()]
      .filter((nodeId) => this.seat(nodeId).participant !== undefined)
      .map((nodeId) => this.chainOf(nodeId).height);
  }

  start(nodeId: NodeId, wasWiped = false): void {
    const seat = this.seat(nodeId);
    seat.life++;
    seat.timers.clear();
    const { disk, ring } = seat;
    const height = Math.max(0, ...disk.blocks.keys()) as Height;
    const genesis = this.builder.states[0] as ChainState;
    const config = {
      keys: ring,
      crypto: this.builder.crypto,
      chain: disk.states.get(height) ?? genesis,
      below: height === 0 ? undefined : (disk.states.get((height - 1) as Height) ?? genesis),
      tipProof: disk.blocks.get(height)?.proof as SealProof | undefined,
      history: disk,
      log: disk.log,
      checkpoint: this.checkpoint,
    };
    seat.participant = seat.isMaster
      ? createMaster({ ...config, masterTerm: seat.masterTerm, mayHaveForgotten: wasWiped })
      : createValidator({ ...config, wasWiped, checkPeriodMs: 30_000 });
    this.push(nodeId, { kind: "start" }, 0);
  }

  /** Another master, whose keys a MASTER_TERM makes one. It has no block yet. */
  addMaster(keys: NodeKeys, masterTerm: MasterTermMessage): NodeId {
    const nodeId = nodeIdOf(keys.signer.publicKey);
    this.seats.set(nodeId, new Seat(keys, true, masterTerm));
    this.start(nodeId);
    return nodeId;
  }

  /** A node that the chain does not know yet. */
  addNode(): GenesisMember & { readonly nodeId: NodeId } {
    const words = this.builder.member(this.seats.size);
    const nodeId = nodeIdOf(words.ledgerPub);
    this.seats.set(nodeId, new Seat(this.builder.keysOf(nodeId), false));
    this.start(nodeId);
    return { ...words, nodeId };
  }

  /** Its disk is that of an earlier height again, as from a backup. */
  putBack(nodeId: NodeId, height: Height): void {
    this.crash(nodeId);
    const { disk } = this.seat(nodeId);
    for (const later of [...disk.blocks.keys()].filter((other) => other > height)) {
      disk.blocks.delete(later);
      disk.states.delete(later);
    }
    disk.log = [];
    this.start(nodeId, true);
  }

  redraw(master: NodeId, redraw: ForcedRedrawMessage, mayFork = false): void {
    this.push(master, { kind: "redraw", redraw, mayFork }, 0);
  }

  crash(nodeId: NodeId): void {
    this.seat(nodeId).participant = undefined;
    this.seat(nodeId).life++;
  }

  wipe(nodeId: NodeId): void {
    this.crash(nodeId);
    this.seat(nodeId).disk = new Disk();
  }

  propose(...contracts: ContractEntry[]): void {
    this.proposeTo(this.master, contracts);
  }

  proposeTo(
    master: NodeId,
    contracts: readonly ContractEntry[],
    records: readonly Uint8Array[] = [],
  ): void {
    this.push(master, { kind: "propose", contracts: contracts.map(encodeContract), records }, 0);
  }

  push(to: NodeId, event: StepEventBody, afterMs: number): void {
    const { life } = this.seat(to);
    this.due.push({ ms: this.nowMs + afterMs, order: this.order++, to, event, life });
  }

  /** Until the condition holds, at most so long; true when it does. */
  run(forMs: number, until: () => boolean = () => false): boolean {
    const end = this.nowMs + forMs;
    while (!until()) {
      this.due.sort((one, other) => one.ms - other.ms || one.order - other.order);
      const [next] = this.due;
      if (next === undefined || next.ms > end) {
        this.nowMs = end;
        return until();
      }
      this.due.shift();
      this.nowMs = next.ms;
      this.deliver(next);
    }
    return true;
  }

  private deliver({ to, event, life, order }: Due): void {
    const seat = this.seat(to);
    const { participant } = seat;
    if (participant === undefined) return;
    if (event.kind === "timer") {
      if (life !== seat.life || seat.timers.get(event.timer) !== order) return;
      seat.timers.delete(event.timer);
    }
    if (event.kind === "start" && life !== seat.life) return;
    const { ms, epoch } = this.at;
    const at = { ms, epoch: (epoch + seat.clockOffset) as EpochSeconds };
    for (const output of step(participant, { ...event, at } as StepEvent)) {
      this.carryOut(to, seat, output);
    }
  }

  private carryOut(nodeId: NodeId, seat: Seat, output: Output): void {
    switch (output.kind) {
      case "write":
        seat.disk.log.push(output.entry);
        seat.written++;
        return;
      case "block":
        seat.disk.blocks.set(output.block.core.height, output.block);
        seat.disk.states.set(output.block.core.height, output.next);
        seat.written++;
        return;
      case "send":
        for (const to of output.to) this.post(nodeId, to, output.message);
        return;
      case "timer":
        seat.timers.set(output.timer, this.order);
        this.push(nodeId, this.timerEvent(output.timer), output.afterMs);
        return;
      case "cancel":
        seat.timers.delete(output.timer);
        return;
      case "report":
        seat.reports.push(`${output.code} ${output.detail}`);
        return;
      case "recompute": {
        const { chain } = seat.participant as Participant;
        this.push(
          nodeId,
          {
            kind: "recomputed",
            height: chain.height,
            scdRoot: seat.found.scdRoot ?? chain.scd.root,
            damaged: seat.found.damaged ?? [],
            asker: output.asker,
          },
          1,
        );
        return;
      }
      case "restore":
        seat.disk.blocks.set(output.block.core.height, output.block);
        seat.found.damaged = (seat.found.damaged ?? []).filter(
          (height) => height !== output.block.core.height,
        );
        seat.reports.push(output.kind);
        return;
      case "repair":
        delete seat.found.scdRoot;
        seat.reports.push(output.kind);
    }
  }

  private timerEvent(timer: TimerName): StepEventBody {
    const entropy = hashOf(new TextEncoder().encode(`${this.order}`)) as Hash;
    return { kind: "timer", timer, entropy };
  }

  private post(from: NodeId, to: NodeId, message: LedgerMessage): void {
    const changed = this.tamper(from, to, message);
    if (changed === undefined || !this.seats.has(to)) return;
    const read = decodeMessage(encodeMessage(changed));
    if ("fault" in read) throw new Error(`${changed.kind}: ${read.fault}`);
    this.sent.push({ from, to, message: changed });
    this.push(to, { kind: "message", from, message: read.message }, LATENCY_MS);
  }
}
