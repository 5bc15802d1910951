/**
 * A block on a state: the next state, or why not. docs/ledger.md "Validity"; rule 1 of design
 * "Agreement" but for what is not the chain's: the master's signature on the CANDIDATE, its binding
 * to earlier attempts and the clock belong to the validator, quorum and seal to seal-check.ts.
 * Pure: the same state, core and body give the same answer to everyone.
 */
import type { EpochSeconds } from "../units.ts";
import { applyRecord } from "./apply-records.ts";
import {
  type BlockBody,
  type BlockCore,
  BODY_BYTES_MAX,
  CONTRACTS_MAX,
  CORE_VERSION,
  RECORDS_MAX,
} from "./block.ts";
import { blockHashOf } from "./block-core.ts";
import { type Refusal, refuse } from "./block-fault.ts";
import { type ChainState, nextHeight, paramsAt, type TipSeal } from "./chain-state.ts";
import { nextSeed } from "./choosing.ts";
import { type ContractEntry, decodeContract, dummyScId, encodeDummy } from "./contract-entry.ts";
import type { LedgerCrypto } from "./crypto-interface.ts";
import { type ChainId, type Height, NO_HASH, type NodeId, type Term } from "./ledger-units.ts";
import { leafBytes, paddedSize, rootOf } from "./merkle.ts";
import { NextState } from "./next-state.ts";
import { decodeRecord } from "./record-schema.ts";
import { recordId } from "./record-types.ts";
import { scdEntry } from "./scd-tree.ts";
import { membershipRoot, tnlRoot } from "./state-roots.ts";

/** What a body makes of a state. */
type AppliedBody = Pick<
  ChainState,
  "scd" | "scdChanges" | "members" | "tnl" | "params" | "masters"
> &
  Pick<
    BlockCore,
    "merkleRoot" | "scCount" | "scReal" | "recordsRoot" | "scdRoot" | "tnlRoot" | "membershipRoot"
  >;

/**
 * The state after a block, which no quorum has sealed yet (`seal` is undefined), or the refusal.
 */
export function applyBlock(
  state: ChainState,
  core: BlockCore,
  body: BlockBody,
  crypto: LedgerCrypto,
): ChainState | Refusal {
  const misfit = coreFault(state, core);
  if (misfit !== undefined) return misfit;
  const applied = applyBody(state, core, body, crypto);
  if ("fault" in applied) return applied;
  const wrong = rootFault(core, applied);
  if (wrong !== undefined) return wrong;
  return nextState(state, core, applied);
}

export type BlockPlan = {
  readonly term: Term;
  readonly timestamp: EpochSeconds;
  readonly body: BlockBody;
};
export type DraftedBlock = { readonly core: BlockCore; readonly next: ChainState };

/** The master's side: the core over a body, on a sealed tip. */
export function draftBlock(
  state: ChainState,
  plan: BlockPlan,
  crypto: LedgerCrypto,
): DraftedBlock | Refusal {
  const { seal } = state;
  if (seal === undefined) return refuse("parent-quorum", "the tip is not sealed");
  const height = nextHeight(state);
  const words = { height, term: plan.term, timestamp: plan.timestamp };
  const applied = applyBody(state, words, plan.body, crypto);
  if ("fault" in applied) return applied;
  const { merkleRoot, scCount, scReal, recordsRoot, scdRoot, tnlRoot, membershipRoot } = applied;
  const core: BlockCore = {
    version: CORE_VERSION,
    chainId: state.chainId,
    ...words,
    previousBlockHash: state.blockHash,
    parentAttempt: seal.attempt,
    parentView: seal.view,
    parentBeta: seal.beta,
    ...{ merkleRoot, scCount, scReal, recordsRoot, scdRoot, tnlRoot, membershipRoot },
  };
  const misfit = coreFault(state, core);
  if (misfit !== undefined) return misfit;
  const next = nextState(state, core, applied);
  return "fault" in next ? next : { core, next };
}

/** The same chain with its tip sealed by this quorum. */
export function withSeal(state: ChainState, seal: TipSeal): ChainState {
  return { ...state, seal };
}

/** What of a core is wrong before its body is looked at. */
function coreFault(state: ChainState, core: BlockCore): Refusal | undefined {
  const { seal } = state;
  if (core.version !== CORE_VERSION) return refuse("version", `version ${core.version}`);
  if (core.chainId !== state.chainId) return refuse("chain", `chain ${core.chainId}`);
  if (core.height !== nextHeight(state)) {
    return refuse("height", `height ${core.height} on ${state.height}`);
  }
  if (core.previousBlockHash !== state.blockHash) {
    return refuse("parent-hash", `${core.previousBlockHash}, the tip is ${state.blockHash}`);
  }
  if (core.term < state.core.term) {
    return refuse("term", `term ${core.term} after ${state.core.term}`);
  }
  if (core.timestamp < state.core.timestamp) {
    return refuse("time-order", `${core.timestamp} after ${state.core.timestamp}`);
  }
  const isParents =
    seal !== undefined &&
    core.parentAttempt === seal.attempt &&
    core.parentView === seal.view &&
    core.parentBeta === seal.beta;
  return isParents ? undefined : refuse("parent-quorum", "not the quorum that sealed the parent");
}

function rootFault(core: BlockCore, applied: AppliedBody): Refusal | undefined {
  if (core.scCount !== applied.scCount || core.scReal !== applied.scReal) {
    return refuse("sc-count", `${core.scReal} of ${core.scCount}`);
  }
  if (core.merkleRoot !== applied.merkleRoot) return refuse("merkleroot");
  if (core.recordsRoot !== applied.recordsRoot) return refuse("recordsroot");
  if (core.scdRoot !== applied.scdRoot) return refuse("scd-root");
  if (core.tnlRoot !== applied.tnlRoot) return refuse("tnl-root");
  if (core.membershipRoot !== applied.membershipRoot) return refuse("membership-root");
  return undefined;
}

type BodyPlace = {
  readonly height: Height;
  readonly term: Term;
  readonly timestamp: EpochSeconds;
};

function applyBody(
  state: ChainState,
  place: BodyPlace,
  body: BlockBody,
  crypto: LedgerCrypto,
): AppliedBody | Refusal {
  const size = sizeFault(body);
  if (size !== undefined) return size;
  const next = new NextState(state, place.height, place.timestamp, crypto);
  const wasEligible = next.eligible().length > 0;
  const refusal = applyRecords(next, body.records) ?? applyContracts(next, body.contracts);
  if (refusal !== undefined) return refusal;
  if (wasEligible && next.eligible().length === 0) {
    return refuse("last-member", "nobody would be left to agree");
  }
  const { members, tnl, params, masters, scdChanges } = next;
  const scd = state.scd.with(scdChanges);
  const isSameMembership =
    members === state.members && params === state.params && masters === state.masters;
  return {
    ...{ scd, scdChanges, members, tnl, params, masters },
    ...wordsOfLeaves(padded(state.chainId, place.height, next.contractLeaves), body),
    recordsRoot: rootOf(body.records.map(leafBytes)),
    scdRoot: scd === state.scd ? state.core.scdRoot : scd.root,
    tnlRoot: tnl === state.tnl ? state.core.tnlRoot : tnlRoot(next),
    membershipRoot: isSameMembership ? state.core.membershipRoot : membershipRoot(next),
  };
}

function sizeFault(body: BlockBody): Refusal | undefined {
  const { contracts, records } = body;
  if (contracts.length > CONTRACTS_MAX) return refuse("too-many", `${contracts.length} contracts`);
  if (records.length > RECORDS_MAX) return refuse("too-many", `${records.length} records`);
  let sizeBytes = 0;
  for (const bytes of contracts) sizeBytes += bytes.length;
  for (const bytes of records) sizeBytes += bytes.length;
  return sizeBytes > BODY_BYTES_MAX ? refuse("too-many", `${sizeBytes} bytes`) : undefined;
}

function applyRecords(next: NextState, records: readonly Uint8Array[]): Refusal | undefined {
  let last = "";
  for (const bytes of records) {
    const read = decodeRecord(bytes);
    if ("complaint" in read) return refuse("record-schema", read.complaint);
    const id = recordId(read.record);
    if (id <= last) return refuse("record-order", `${id} after ${last}`);
    last = id;
    const refusal = applyRecord(next, read.record);
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}

function applyContracts(next: NextState, contracts: readonly Uint8Array[]): Refusal | undefined {
  const { before } = next;
  const seen = new Set<string>();
  for (let i = contracts.length; i < paddedSize(contracts.length); i++) {
    seen.add(dummyScId(before.chainId, next.height, i));
  }
  for (const bytes of contracts) {
    const read = decodeContract(bytes);
    if ("complaint" in read) return refuse("contract-schema", read.complaint);
    const { contract } = read;
    const { scId } = contract;
    const why = newContractFault(contract, next.timestamp);
    if (why !== undefined) return refuse("contract-rule", `${scId}: ${why}`);
    if (seen.has(scId) || before.scd.isUsed(scId)) return refuse("contract-duplicate", scId);
    seen.add(scId);
    const entry = scdEntry(scId, bytes);
    next.scdChanges.push({ id: scId, entry });
    next.contractLeaves.push(entry.leaf);
  }
  return undefined;
}

/** Rules for a contract that enters the SCD; the schema has been checked. */
export function newContractFault(
  contract: ContractEntry,
  timestamp: EpochSeconds,
): string | undefined {
  if (contract.active === "expired") return "it is expired";
  if (contract.seq !== 0) return "seq of a new contract is 0";
  if (contract.generation < 1 || contract.secretCommitment === NO_HASH) return "it has no secret";
  if (contract.scLifetime <= timestamp) return "its sc-lifetime is over";
  if (contract.keyregen > contract.scLifetime) return "keyregen is past sc-lifetime";
  return undefined;
}

/** Leaves of merkleroot: contracts in the order of the body, then dummies. */
export function contractLeaves(
  chainId: ChainId,
  height: Height,
  contracts: readonly Uint8Array[],
): Uint8Array[] {
  return padded(chainId, height, contracts.map(leafBytes));
}

/** The contracts' leaves, with those of the dummies. */
function padded(chainId: ChainId, height: Height, leaves: Uint8Array[]): Uint8Array[] {
  const size = paddedSize(leaves.length);
  for (let i = leaves.length; i < size; i++) {
    leaves.push(leafBytes(encodeDummy(chainId, height, i)));
  }
  return leaves;
}

export function contractWords(
  chainId: ChainId,
  height: Height,
  contracts: readonly Uint8Array[],
): ContractWords {
  return wordsOfLeaves(contractLeaves(chainId, height, contracts), { contracts });
}

type ContractWords = Pick<BlockCore, "merkleRoot" | "scCount" | "scReal">;

function wordsOfLeaves(
  leaves: readonly Uint8Array[],
  { contracts }: Pick<BlockBody, "contracts">,
): ContractWords {
  return { merkleRoot: rootOf(leaves), scCount: leaves.length, scReal: contracts.length };
}

function nextState(state: ChainState, core: BlockCore, applied: AppliedBody): ChainState | Refusal {
  const { scd, scdChanges, members, tnl, params, masters } = applied;
  if (!masters.some((reign) => reign.term === core.term)) {
    return refuse("term", `term ${core.term} has no master on the chain`);
  }
  return {
    genesis: state.genesis,
    chainId: state.chainId,
    core,
    blockHash: blockHashOf(core),
    height: core.height,
    seal: undefined,
    seed: nextSeed(state.seed, core.parentBeta),
    ...{ scd, scdChanges, members, tnl, params, masters },
    coolingUntil: coolingAfter(state, core),
  };
}

/** Leaders of the parent's attempt whose views passed sit last for some blocks. */
function coolingAfter(state: ChainState, core: BlockCore): ReadonlyMap<NodeId, Height> {
  const next = core.height + 1;
  const committee = state.seal?.committee ?? [];
  const passed = committee.slice(0, Math.min(core.parentView, committee.length));
  const isPast = [...state.coolingUntil.values()].some((until) => until <= next);
  if (passed.length === 0 && !isPast) return state.coolingUntil;
  const kept = [...state.coolingUntil].filter(([, until]) => until > next);
  const { coolDownBlocks } = paramsAt(state, core.height);
  const until = (next + coolDownBlocks) as Height;
  return new Map([...kept, ...passed.map((nodeId) => [nodeId, until] as const)]);
}
