/**
 * All that follows from a chain up to its tip, as one immutable value: what a new block is judged
 * by and what it changes. docs/ledger.md "State". A function of genesis file and blocks alone;
 * states share what did not change. apply-block.ts makes the next one, genesis-block.ts the first.
 */
import type { BlockCore } from "./block.ts";
import type { Committee } from "./certificate.ts";
import { drawCommittee } from "./choosing.ts";
import type { Genesis, LedgerParams } from "./genesis.ts";
import type {
  Attempt,
  BlockHash,
  ChainId,
  Hash,
  Height,
  NodeId,
  PublicKey,
  Term,
  View,
  VrfBeta,
} from "./ledger-units.ts";
import { keysAt, type Member, type MemberKeys, type Stake } from "./member.ts";
import type { ScdChange, ScdTree } from "./scd-tree.ts";

/** What holds from a height on, until the next version does. */
export type Version<T> = { readonly from: Height; readonly value: T };

export type MasterReign = {
  readonly term: Term;
  readonly masterPub: PublicKey;
  /** Evidence against this key is on the chain. */
  readonly isProvenLiar: boolean;
};

/** What the next core repeats of the tip's seal, and the committee that sealed it. */
export type TipSeal = {
  readonly attempt: Attempt;
  readonly view: View;
  readonly beta: VrfBeta;
  readonly committee: Committee;
};

export type ChainState = {
  readonly genesis: Genesis;
  readonly chainId: ChainId;
  readonly core: BlockCore;
  readonly blockHash: BlockHash;
  readonly height: Height;
  /** Undefined while the tip is a candidate that was only tried. */
  readonly seal: TipSeal | undefined;
  /** Of height + 1. */
  readonly seed: Hash;
  readonly scd: ScdTree;
  /** What the tip made of the SCD below it. */
  readonly scdChanges: readonly ScdChange[];
  readonly members: ReadonlyMap<NodeId, Member>;
  /** Ascending by `from`, each list by node id. The last is the list that tnl_root is of. */
  readonly tnl: readonly Version<readonly Stake[]>[];
  readonly params: readonly Version<{ readonly seq: number; readonly params: LedgerParams }>[];
  /** Ascending by term. */
  readonly masters: readonly MasterReign[];
  /** Sits last below this height. */
  readonly coolingUntil: ReadonlyMap<NodeId, Height>;
};

export function versionAt<T>(versions: readonly Version<T>[], height: Height): T | undefined {
  return versions.findLast((version) => version.from <= height)?.value;
}

export function newest<T>(versions: readonly Version<T>[]): T | undefined {
  return versions.at(-1)?.value;
}

/** Versions that still matter from `height` on, and the new one. */
export function withVersion<T>(
  versions: readonly Version<T>[],
  height: Height,
  version: Version<T>,
): Version<T>[] {
  const held = versions.findLastIndex(({ from }) => from <= height);
  const kept = versions.slice(Math.max(0, held));
  return [...kept.filter(({ from }) => from !== version.from), version];
}

export function nextHeight(state: ChainState): Height {
  return (state.height + 1) as Height;
}

export function paramsAt(state: ChainState, height: Height): LedgerParams {
  return versionAt(state.params, height)?.params ?? state.genesis.file.params;
}

export function memberKeysAt(
  state: ChainState,
  nodeId: NodeId,
  height: Height,
): MemberKeys | undefined {
  const member = state.members.get(nodeId);
  return member === undefined ? undefined : keysAt(member, height);
}

/** Whom the draw of a height chooses among: on the TNL, and a member there. By node id. */
export function eligibleAt(state: ChainState, height: Height): Stake[] {
  const stakes = versionAt(state.tnl, height) ?? [];
  return stakes.filter(({ nodeId }) => memberKeysAt(state, nodeId, height) !== undefined);
}

const drawn = new WeakMap<ChainState, Committee[]>();

/**
 * C(height + 1, attempt), without regard to a FORCED_REDRAW. Empty while no member is effective:
 * then the master's seal alone suffices.
 */
export function committeeOf(state: ChainState, attempt: Attempt): Committee {
  const known = drawn.get(state) ?? [];
  drawn.set(state, known);
  const before = known[attempt];
  if (before !== undefined) return before;
  const height = nextHeight(state);
  const committee = drawCommittee({
    eligible: eligibleAt(state, height),
    seed: state.seed,
    attempt,
    committeeMax: paramsAt(state, height).committeeMax,
    isCooling: (nodeId) => (state.coolingUntil.get(nodeId) ?? 0) > height,
  });
  // Attempts come one after another: a wild number is drawn, not remembered.
  if (attempt < 64) known[attempt] = committee;
  return committee;
}

export function masterOf(state: ChainState, term: Term): MasterReign | undefined {
  return state.masters.find((reign) => reign.term === term);
}

/** The newest term that a block of the chain has recorded. */
export function recordedTerm(state: ChainState): Term {
  return state.masters.at(-1)?.term ?? (1 as Term);
}

/** Whether a change waits for its height: the master goes on with blocks of records until then. */
export function isChangePending(state: ChainState): boolean {
  const next = nextHeight(state);
  const waits = ({ from }: { readonly from: Height }): boolean => from > next;
  if (state.tnl.some(waits) || state.params.some(waits)) return true;
  for (const { keys, revokedFrom } of state.members.values()) {
    if (keys.some(waits) || (revokedFrom !== undefined && revokedFrom > next)) return true;
  }
  return false;
}
