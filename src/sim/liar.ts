/**
 * A liar: what it remembers, and what it says instead of the honest words of its machine. Lies that
 * are conduct and not words (a twin, amnesia, keys that no longer count) are partly here: a member
 * whose key does not count any more votes on all it hears.
 */

import { blockHashOf } from "../chain/block-core.ts";
import { faultsOf, quorumOf } from "../chain/certificate.ts";
import type { ChainState } from "../chain/chain-state.ts";
import type { BlockHash, Height, NodeId } from "../chain/ledger-units.ts";
import { signMessage } from "../chain/message-signing.ts";
import type {
  CommitMessage,
  LedgerMessage,
  PrePrepareMessage,
  PrepareMessage,
} from "../chain/message-types.ts";
import type { Actor } from "./actor.ts";
import { type Frame, framesOf, isMasterLie, type Lie, type LieKind, type Speech } from "./lie.ts";
import type { MasterView } from "./lies-of-masters.ts";
import { Prng } from "./prng.ts";
import { LIVED_LIES, TOLD_BY_MASTERS, TOLD_BY_MEMBERS } from "./told-lies.ts";

const HEARD_MAX = 120;

export type LiarPlace = {
  readonly seed: number;
  readonly validators: number;
  readonly nodeIds: readonly NodeId[];
  readonly tipBelow: (height: Height) => ChainState | undefined;
  readonly count: (kind: LieKind) => void;
};

export class Liar {
  private readonly view: MasterView;
  private readonly heard: LedgerMessage[] = [];

  constructor(
    actor: Actor,
    readonly lies: readonly Lie[],
    private readonly place: LiarPlace,
  ) {
    const { keys, genesis, crypto, index } = actor.config;
    this.view = {
      chainId: genesis.chainId,
      nodeId: actor.nodeId,
      keys,
      recoveryPub: genesis.genesis.file.recoveryPub,
      crypto,
      prng: Prng.of(place.seed, 3000 + index),
      members: place.validators,
      quorum: quorumOf(place.validators),
      faults: faultsOf(place.validators),
      nodeIds: place.nodeIds,
      heard: this.heard,
      otherHash: (than) => this.otherHash(than),
      tipBelow: place.tipBelow,
    };
  }

  /** What it says instead: of its lies the first that has something to say, in random order. */
  tell(speech: Speech): readonly Frame[] {
    const { prng } = this.view;
    this.remember(speech.message);
    for (const { kind, share } of prng.some(this.lies, this.lies.length)) {
      if (!prng.chance(share)) continue;
      const told = this.tellOne(kind, speech);
      if (told === undefined) continue;
      this.place.count(kind);
      return told;
    }
    return framesOf(speech);
  }

  /** What it says, unasked, to a message that it heard. */
  hear(message: LedgerMessage, everybody: readonly number[]): readonly Frame[] {
    this.remember(message);
    if (message.kind !== "PRE_PREPARE") return [];
    const isKeyLie = ({ kind }: Lie) => kind === "revoked-key" || kind === "rotated-key";
    const lie = this.lies.find(isKeyLie);
    if (lie === undefined || this.countsAt(message.height)) return [];
    this.place.count(lie.kind);
    return this.votesOn(message).flatMap((vote) => framesOf({ message: vote, to: everybody }));
  }

  /** Whether its key is one that counts at a height. */
  private countsAt(height: Height): boolean {
    const state = this.view.tipBelow(height);
    const member = state?.members.get(this.view.nodeId);
    if (member === undefined) return true;
    if (member.revokedFrom !== undefined && height >= member.revokedFrom) return false;
    const keys = member.keys.findLast(({ from }) => from <= height);
    return keys === undefined || keys.ledgerPub === this.view.keys.signer.publicKey;
  }

  private votesOn(message: PrePrepareMessage): (PrepareMessage | CommitMessage)[] {
    const { chainId, term, height, attempt, view, blockHash } = message;
    const { signer } = this.view.keys;
    const words = { chainId, term, height, attempt, view, blockHash, signer: this.view.nodeId };
    return [
      signMessage<PrepareMessage>(signer, { kind: "PREPARE", ...words }),
      signMessage<CommitMessage>(signer, { kind: "COMMIT", ...words }),
    ];
  }

  private tellOne(kind: LieKind, speech: Speech): readonly Frame[] | undefined {
    if (isMasterLie(kind)) return TOLD_BY_MASTERS[kind](this.view, speech);
    if (isLived(kind)) return undefined;
    return TOLD_BY_MEMBERS[kind](this.view, speech);
  }

  private remember(message: LedgerMessage): void {
    this.heard.push(message);
    if (this.heard.length > HEARD_MAX) this.heard.shift();
  }

  /** One that the master proposed too where there is one: only such a hash could be decided. */
  private otherHash(than: BlockHash): BlockHash {
    const proposed = this.heard.flatMap((message) =>
      message.kind === "CANDIDATE" ? [blockHashOf(message.core)] : [],
    );
    const others = proposed.filter((hash) => hash !== than);
    const last = others.at(-1);
    if (last !== undefined && !this.view.prng.oneIn(4)) return last;
    return this.view.prng.bytes(32).toHex() as BlockHash;
  }
}

function isLived(kind: LieKind): kind is (typeof LIVED_LIES)[number] {
  return (LIVED_LIES as readonly LieKind[]).includes(kind);
}
