/**
 * Agreement and validity, judged from outside after every step: one hash a height, sealed or only
 * decided; every sealed block valid on the chain below it and agreed by more than two thirds of a
 * committee, counted here by the definition and not by the product's function.
 */
import { applyBlock, withSeal } from "../chain/apply-block.ts";
import type { Block, BlockCore } from "../chain/block.ts";
import { encodeCore } from "../chain/block-core.ts";
import { type ChainState, committeeOf, memberKeysAt } from "../chain/chain-state.ts";
import type { LedgerCrypto } from "../chain/crypto-interface.ts";
import type { Attempt, BlockHash, Height, NodeId, PublicKey } from "../chain/ledger-units.ts";
import { checkOf } from "../chain/message-signing.ts";
import type { CommitMessage } from "../chain/message-types.ts";
import { checkSeal } from "../chain/seal-check.ts";
import { sha256 } from "../chain/sha256.ts";
import type { OwnVote } from "../chain/step-types.ts";

type Sealed = {
  readonly blockHash: BlockHash;
  /**
   * The state after it, by attempt and view of the quorum: a master whose SEAL nobody got is
   * replaced by one who seals the same hash with votes of another view, and a child names those.
   */
  readonly states: Map<string, ChainState>;
};

/** What really was said and done, as the simulation knows it. */
export type Truth = {
  isHonest(nodeId: NodeId): boolean;
  /** Contracts that somebody proposed: no other may be in a block. */
  isProposed(contract: Uint8Array): boolean;
  /** Keys that the genesis or the recovery key gave the office. */
  isMaster(publicKey: PublicKey): boolean;
  /** The committee that the recovery key named; undefined: it did not. */
  committeeAt(height: Height, attempt: Attempt): readonly NodeId[] | undefined;
};

export class ChainChecks {
  /** By height; 0 is genesis. */
  private readonly chain: Sealed[];
  /** Who committed to which hash, by height, attempt, view and hash. */
  private readonly commits = new Map<string, Set<NodeId>>();
  private readonly decided = new Map<Height, BlockHash>();

  constructor(
    genesis: ChainState,
    private readonly crypto: LedgerCrypto,
    private readonly truth: Truth,
  ) {
    this.chain = [{ blockHash: genesis.blockHash, states: new Map([["", genesis]]) }];
  }

  get height(): number {
    return this.chain.length - 1;
  }

  stateAt(height: number): ChainState | undefined {
    return this.chain[height]?.states.values().next().value;
  }

  /** A block that an honest node stored; what is wrong with that, or undefined. */
  checkSealed(block: Block, next: ChainState): string | undefined {
    const { height, blockHash } = next;
    const known = this.chain[height];
    if (known !== undefined) {
      if (known.blockHash !== blockHash) return `two sealed hashes at height ${height} (agreement)`;
      const first = this.stateAt(height);
      if (next.scd.root !== first?.scd.root) return `another SCD at height ${height}`;
      if (known.states.has(quorumPlace(block))) return undefined;
    }
    const below = this.chain[height - 1];
    if (below === undefined) return `height ${height} was stored before ${height - 1} was sealed`;
    const faults = [...below.states.values()].map((state) => this.checkOn(block, next, state));
    return faults.includes(undefined) ? undefined : faults[0];
  }

  private checkOn(block: Block, next: ChainState, below: ChainState): string | undefined {
    const place = `the block of height ${block.core.height}`;
    const applied = applyBlock(below, block.core, block.body, this.crypto);
    if ("fault" in applied) return `${place} is not valid: ${applied.fault} ${applied.detail}`;
    const seal = checkSeal(below, applied, block.proof, this.crypto);
    if ("fault" in seal) return `${place} is not sealed: ${seal.fault} ${seal.detail}`;
    const { bitmap } = block.proof.quorum;
    const votes = bitmap.toString(2).replaceAll("0", "").length;
    const members = seal.committee.length;
    if (3 * votes <= 2 * members) return `${place} has ${votes} votes of ${members} (quorum)`;
    if (hashOfCore(block.core) !== next.blockHash) return `${place} has another block hash`;
    if (!block.body.contracts.every((contract) => this.truth.isProposed(contract))) {
      return `${place} has a contract of nobody's`;
    }
    const usurped = this.checkRecovery(block, applied);
    if (usurped !== undefined) return `${place} ${usurped}`;
    const innocent = [...applied.members.values()].find(
      ({ nodeId, revokedFrom }) => revokedFrom !== undefined && this.truth.isHonest(nodeId),
    );
    if (innocent !== undefined) return `${place} revokes ${innocent.nodeId}, which is honest`;
    const other = this.decided.get(applied.height);
    if (other !== undefined && other !== applied.blockHash) {
      return `height ${applied.height}: sealed is not what was decided (agreement)`;
    }
    const { height, blockHash } = applied;
    this.chain[height] ??= { blockHash, states: new Map() };
    this.chain[height].states.set(quorumPlace(block), withSeal(applied, seal));
    return undefined;
  }

  /** Only the recovery key makes masters and names committees. */
  private checkRecovery({ proof, core }: Block, applied: ChainState): string | undefined {
    const keys = applied.masters.map(({ masterPub }) => masterPub);
    if (proof.masterTerm !== undefined) keys.push(proof.masterTerm.masterPub);
    const usurper = keys.find((key) => !this.truth.isMaster(key));
    if (usurper !== undefined) return `has a master ${usurper} whom nobody appointed`;
    const { redraw } = proof;
    if (redraw === undefined) return undefined;
    const named = this.truth.committeeAt(core.height, redraw.attempt);
    return named?.join() === redraw.committee.join() ? undefined : "has a redraw of nobody's";
  }

  /** An honest member signs with the keys that the chain names at the height, and no others. */
  checkKey(vote: OwnVote): string | undefined {
    const below = this.stateAt(vote.height - 1);
    const keys = below === undefined ? undefined : memberKeysAt(below, vote.signer, vote.height);
    if (below === undefined || vote.chainId !== below.chainId) return undefined;
    if (keys !== undefined && this.crypto.signatures.verify(checkOf(vote, keys.ledgerPub))) {
      return undefined;
    }
    return `${vote.kind} of height ${vote.height} by a key of ${vote.signer} that does not count`;
  }

  /** A COMMIT that left its signer, honest or not. */
  checkCommit(commit: CommitMessage): string | undefined {
    const { height, term, attempt, view, blockHash, signer } = commit;
    const below = this.stateAt(height - 1);
    if (below === undefined || commit.chainId !== below.chainId) return undefined;
    const committee = this.truth.committeeAt(height, attempt) ?? committeeOf(below, attempt);
    if (!committee.includes(signer)) return undefined;
    const key = `${height} ${term} ${attempt} ${view} ${blockHash}`;
    const signers = this.commits.get(key) ?? new Set();
    this.commits.set(key, signers.add(signer));
    if (3 * signers.size <= 2 * committee.length) return undefined;
    const other = this.decided.get(height) ?? this.chain[height]?.blockHash ?? blockHash;
    if (other !== blockHash) return `two decided hashes at height ${height} (agreement)`;
    this.decided.set(height, blockHash);
    return undefined;
  }
}

function quorumPlace({ proof }: Block): string {
  return `${proof.quorum.attempt} ${proof.quorum.view}`;
}

/** Nothing but the core, by the definition (design/ledger.md "Block"). */
function hashOfCore(core: BlockCore): BlockHash {
  const tag = new TextEncoder().encode("abs/blk\0");
  return sha256(Buffer.concat([tag, encodeCore(core)])).toHex() as BlockHash;
}
