/**
 * Lies of a master: two candidates of one sequence, a time stamp changed after the votes, and
 * blocks that break a rule but are signed and hashed as if they did not.
 */
import { contractLeaves, draftBlock } from "../chain/apply-block.ts";
import type { BlockBody, BlockCore } from "../chain/block.ts";
import type { ChainState } from "../chain/chain-state.ts";
import { encodeDummy } from "../chain/contract-entry.ts";
import type { LedgerCrypto } from "../chain/crypto-interface.ts";
import type { CandidateSequence, Height } from "../chain/ledger-units.ts";
import { leafBytes, rootOf } from "../chain/merkle.ts";
import type { CandidateMessage } from "../chain/message-types.ts";
import { encodeRecord } from "../chain/record-schema.ts";
import { stakeOf } from "../chain/stake.ts";
import type { EpochSeconds } from "../units.ts";
import { type Frame, framesOf, type LiarView, type LieTold, type Speech, split } from "./lie.ts";
import { resigned } from "./lies-of-votes.ts";
import { contractOf } from "./world.ts";

export type MasterView = LiarView & {
  /** The chain below a candidate, where the simulation knows it. */
  readonly tipBelow: (height: Height) => ChainState | undefined;
  readonly crypto: LedgerCrypto;
};

type Made = Pick<CandidateMessage, "core" | "body">;

/** Everything but `core` and `body` as it was, signed again. */
function candidate(liar: MasterView, message: CandidateMessage, made: Made): CandidateMessage {
  return resigned(liar, { ...message, ...made });
}

/** Another block that is as good: another contract, and other roots. */
function another(liar: MasterView, { core }: CandidateMessage): Made | undefined {
  const tip = liar.tipBelow(core.height);
  if (tip === undefined) return undefined;
  const body: BlockBody = { contracts: [contractOf(liar.prng)], records: [] };
  const plan = { term: core.term, timestamp: core.timestamp, body };
  const drafted = draftBlock(tip, plan, liar.crypto);
  return "fault" in drafted ? undefined : { core: drafted.core, body };
}

/** One candidate to some, another to the rest, both to a few. */
export function equivocatingMaster(liar: MasterView, { message, to }: Speech): LieTold {
  if (message.kind !== "CANDIDATE" || message.attempt > 0) return undefined;
  const made = another(liar, message);
  if (made === undefined) return undefined;
  const other = candidate(liar, message, made);
  const shuffled = liar.prng.some(to, to.length);
  const half = liar.prng.between(0, shuffled.length);
  const overlap = liar.prng.below(shuffled.length + 1);
  const frames: Frame[] = split(
    shuffled.slice(0, half + overlap),
    shuffled.length,
    message,
    undefined,
  );
  return [...frames, ...split(shuffled.slice(half), shuffled.length, other, undefined)];
}

/** The honest candidate first; once votes are under way, the same with another time stamp. */
export function changedTimeStamp(liar: MasterView, speech: Speech): LieTold {
  const { message } = speech;
  if (message.kind !== "CANDIDATE") return undefined;
  const timestamp = (message.core.timestamp + liar.prng.between(1, 20)) as EpochSeconds;
  const core: BlockCore = { ...message.core, timestamp };
  // Under the same sequence a contradiction; under the next one allowed: two hashes to choose of.
  const sequence = (message.sequence + liar.prng.below(2)) as CandidateSequence;
  const later = candidate(liar, { ...message, sequence }, { core, body: message.body });
  return [...framesOf(speech), ...framesOf({ ...speech, message: later })];
}

export function wrongDummy(liar: MasterView, speech: Speech): LieTold {
  const { message } = speech;
  if (message.kind !== "CANDIDATE") return undefined;
  const { core, body } = message;
  const leaves = contractLeaves(core.chainId, core.height, body.contracts);
  if (leaves.length === body.contracts.length) return undefined;
  const index = liar.prng.between(leaves.length, leaves.length + 5);
  leaves[leaves.length - 1] = leafBytes(encodeDummy(core.chainId, core.height, index));
  const forged = { ...core, merkleRoot: rootOf(leaves) };
  return framesOf({ ...speech, message: candidate(liar, message, { core: forged, body }) });
}

/** CVE-2012-2459: careless trees give a list whose end is repeated the same root. */
export function duplicateLeaf(liar: MasterView, speech: Speech): LieTold {
  const { message } = speech;
  const last = message.kind === "CANDIDATE" ? message.body.contracts.at(-1) : undefined;
  if (message.kind !== "CANDIDATE" || last === undefined) return undefined;
  const body = { ...message.body, contracts: [...message.body.contracts, last] };
  const leaves = contractLeaves(message.core.chainId, message.core.height, body.contracts);
  const honest = liar.prng.oneIn(2) ? message.core.merkleRoot : rootOf(leaves);
  const scReal = body.contracts.length;
  const core = { ...message.core, merkleRoot: honest, scCount: leaves.length, scReal };
  return framesOf({ ...speech, message: candidate(liar, message, { core, body }) });
}

/** A weight that vcpu, memory and score do not give. */
export function inflatedStake(liar: MasterView, speech: Speech): LieTold {
  const { message } = speech;
  if (message.kind !== "CANDIDATE") return undefined;
  const [nodeId] = liar.prng.some(liar.nodeIds, 1);
  if (nodeId === undefined) return undefined;
  const stake = { ...stakeOf({ nodeId, vcpu: 1, ramMib: 1024, securityScore: 1 }), weight: 100 };
  const records = [encodeRecord({ kind: "TNL", set: [stake], remove: [] })];
  const body = { ...message.body, records };
  const core = { ...message.core, recordsRoot: rootOf(records.map(leafBytes)) };
  return framesOf({ ...speech, message: candidate(liar, message, { core, body }) });
}
