/**
 * The rules of blocks (src/chain/block-rules.ts) with a memory: up to twenty nodes of a simulation
 * judge the same block on the same state, and the answer is a function of both. Equal arguments
 * give the very same state, so that what else is kept by state is shared as well. One a simulation.
 */
import type { BlockBody, BlockCore, SealProof } from "../chain/block.ts";
import { blockHashOf } from "../chain/block-core.ts";
import type { Refusal } from "../chain/block-fault.ts";
import { BLOCK_RULES, type BlockRules } from "../chain/block-rules.ts";
import { ByteWriter } from "../chain/byte-codec.ts";
import type { ChainState, TipSeal } from "../chain/chain-state.ts";
import type { LedgerCrypto } from "../chain/crypto-interface.ts";
import type { BlockHash } from "../chain/ledger-units.ts";
import { writeSealProof } from "../chain/message-parts.ts";

type Applied = { readonly body: BlockBody; readonly next: ChainState | Refusal };

type Checked = { readonly below: ChainState; readonly seal: TipSeal | Refusal };

export class RememberedRules implements BlockRules {
  /** By the state below and the hash of the core; bodies may be altered. */
  private readonly applied = new WeakMap<ChainState, Map<BlockHash, Applied[]>>();
  /** By the state after the block and the proof's bytes. */
  private readonly seals = new WeakMap<ChainState, Map<string, Checked>>();
  private readonly proofs = new WeakMap<SealProof, string>();
  /** Sealed in each way that came up, by the state that was sealed. */
  private readonly sealed = new WeakMap<ChainState, ChainState[]>();
  private readonly unsealed = new WeakMap<ChainState, ChainState>();

  readonly applyBlock = (
    state: ChainState,
    core: BlockCore,
    body: BlockBody,
    crypto: LedgerCrypto,
  ): ChainState | Refusal => {
    const known = listIn(mapIn(this.applied, state), blockHashOf(core));
    const same = known.find((one) => isSameBody(one.body, body));
    if (same !== undefined) return same.next;
    const next = BLOCK_RULES.applyBlock(state, core, body, crypto);
    known.push({ body, next });
    return next;
  };

  readonly checkSeal = (
    state: ChainState,
    next: ChainState,
    proof: SealProof,
    crypto: LedgerCrypto,
  ): TipSeal | Refusal => {
    const known = mapIn(this.seals, next);
    const key = this.keyOf(proof);
    const before = known.get(key);
    if (before?.below === state) return before.seal;
    const seal = BLOCK_RULES.checkSeal(state, next, proof, crypto);
    known.set(key, { below: state, seal });
    return seal;
  };

  readonly withSeal = (state: ChainState, seal: TipSeal): ChainState => {
    const bare = this.unsealed.get(state) ?? state;
    const known = this.sealed.get(bare) ?? [];
    this.sealed.set(bare, known);
    const same = known.find((one) => one.seal !== undefined && isSameSeal(one.seal, seal));
    if (same !== undefined) return same;
    const next = BLOCK_RULES.withSeal(bare, seal);
    known.push(next);
    this.unsealed.set(next, bare);
    return next;
  };

  private keyOf(proof: SealProof): string {
    const known = this.proofs.get(proof);
    if (known !== undefined) return known;
    const writer = new ByteWriter();
    writeSealProof(writer, proof);
    const key = writer.finish().toHex();
    this.proofs.set(proof, key);
    return key;
  }
}

function mapIn<Value>(
  maps: WeakMap<ChainState, Map<string, Value>>,
  state: ChainState,
): Map<string, Value> {
  const known = maps.get(state) ?? new Map<string, Value>();
  maps.set(state, known);
  return known;
}

function listIn<Value>(lists: Map<string, Value[]>, key: string): Value[] {
  const known = lists.get(key) ?? [];
  lists.set(key, known);
  return known;
}

function isSameBody(one: BlockBody, other: BlockBody): boolean {
  if (one === other) return true;
  return areSame(one.contracts, other.contracts) && areSame(one.records, other.records);
}

function areSame(one: readonly Uint8Array[], other: readonly Uint8Array[]): boolean {
  if (one.length !== other.length) return false;
  return one.every((bytes, i) => Buffer.compare(bytes, other[i] ?? bytes.subarray(1)) === 0);
}

function isSameSeal(one: TipSeal, other: TipSeal): boolean {
  const isSamePlace = one.attempt === other.attempt && one.view === other.view;
  if (!isSamePlace || one.beta !== other.beta) return false;
  return one.committee.join() === other.committee.join();
}
