/**
 * The way of a message in a simulation: what an honest participant says is judged (vote-checks.ts,
 * justification-checks.ts, chain-checks.ts), a liar says something else (liar.ts), both are encoded
 * and decoded, and the network delivers, late, twice or never.
 */
import type { NodeId } from "../chain/ledger-units.ts";
import { decodeMessage, encodeMessage, type MessageRead } from "../chain/message-codec.ts";
import type { CommitMessage, LedgerMessage } from "../chain/message-types.ts";
import type { Actor } from "./actor.ts";
import type { ChainChecks } from "./chain-checks.ts";
import type { Participant } from "./fault.ts";
import { JustificationChecks } from "./justification-checks.ts";
import type { Liar } from "./liar.ts";
import type { Frame } from "./lie.ts";
import type { Network } from "./network.ts";
import type { Trace } from "./trace.ts";
import { isBinding, type VoteChecks } from "./vote-checks.ts";

/** What the post needs of the simulation around it. */
export interface PostOffice {
  readonly nowMs: number;
  readonly actors: readonly Actor[];
  readonly network: Network;
  readonly votes: VoteChecks;
  readonly chain: ChainChecks;
  readonly trace: Trace | undefined;
  /** Hear what is proposed though nobody tells them: members that were revoked and vote on. */
  readonly eavesdroppers: readonly Participant[];
  liarOf(actor: Actor): Liar | undefined;
  /** Where a message to a node id arrives. */
  listeners(nodeId: NodeId): readonly Actor[];
  later(ms: number, act: () => void): void;
  fail(words: string): void;
}

export class Post {
  messages = 0;
  /** Views above 0 that somebody honest asked for, and attempts that were opened. */
  readonly rounds = new Set<string>();
  readonly attempts = new Set<string>();
  private readonly justifications = new JustificationChecks();
  /** What honest participants repeat is encoded, decoded and looked at once. */
  private readonly read = new WeakMap<LedgerMessage, MessageRead>();
  private readonly looked = new WeakSet<LedgerMessage>();

  constructor(private readonly office: PostOffice) {}

  say(actor: Actor, to: readonly NodeId[], message: LedgerMessage): void {
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
    const listeners = to.flatMap((nodeId) =>
      this.office.listeners(nodeId).map(({ index }) => index),
    );
    if (message.kind === "PRE_PREPARE") {
      const { eavesdroppers } = this.office;
      listeners.push(...eavesdroppers.filter((index) => !listeners.includes(index)));
    }
    const liar = this.office.liarOf(actor);
    if (liar === undefined) this.sendAll(actor, message, listeners);
    else this.sendFrames(actor, liar.tell({ message, to: listeners }));
  }

  private checkHonest(actor: Actor, message: LedgerMessage): void {
    const wrong =
      this.office.votes.check(actor.nodeId, message) ??
      this.justifications.check(message) ??
      (isBinding(message) ? this.office.chain.checkKey(message) : undefined);
    if (wrong !== undefined) this.office.fail(wrong);
  }

  private checkCommit(message: CommitMessage): void {
    const wrong = this.office.chain.checkCommit(message);
    if (wrong !== undefined) this.office.fail(wrong);
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
    const { nowMs, actors, network, trace } = this.office;
    const read = this.readOf(content);
    const said = content instanceof Uint8Array ? undefined : content;
    if (said !== undefined) trace?.message(nowMs, actor.index, to, said);
    if ("fault" in read) {
      if (said !== undefined && actor.isHonest)
        this.office.fail(`${said.kind} does not decode: ${read.fault}`);
      return;
    }
    for (const index of to) {
      const listener = actors[index];
      if (listener === undefined) continue;
      const delays = listener === actor ? [0] : network.delays(nowMs, actor.index, index);
      for (const ms of delays) {
        this.messages++;
        this.office.later(ms, () => this.deliver(actor, listener, read.message));
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
    const liar = this.office.liarOf(to);
    if (liar !== undefined) {
      const everybody = this.office.actors.map(({ index }) => index);
      this.sendFrames(to, liar.hear(message, everybody));
    }
    to.take({ kind: "message", from: from.nodeId, message });
  }
}
