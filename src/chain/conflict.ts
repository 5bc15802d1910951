/**
 * Two sealed blocks at one height (design "Spreading and checking": two valid quorums: EVIDENCE,
 * stop). What in the two seals contradicts itself under one key is evidence: the master's two
 * SEALs, and the COMMITs of whoever voted for both in one view. Quorums of different views or
 * attempts convict no voter, for each may have voted honestly. sealing.ts finds the conflict.
 */
import type { BlockCore, SealProof } from "./block.ts";
import { blockHashOf } from "./block-core.ts";
import { seatsOf } from "./certificate.ts";
import { type ChainState, masterOf } from "./chain-state.ts";
import type { LedgerNode } from "./ledger-node.ts";
import type { BlockHash, NodeId, PublicKey } from "./ledger-units.ts";
import type { CommitMessage, SealMessage, SignedMessage } from "./message-types.ts";
import { sealWords } from "./seal-check.ts";
import { accuse } from "./witness.ts";

/** A block that is sealed, by the committee that sealed it. */
export type Sealed = {
  readonly core: BlockCore;
  readonly proof: SealProof;
  readonly committee: readonly NodeId[];
};

/** Accuses whoever contradicts himself in two seals of one height; both were verified. */
export function accuseOfConflict(node: LedgerNode, one: Sealed, other: Sealed): void {
  for (const [first, second] of contradictions(node, one, other)) accuse(node, first, second);
}

function contradictions(
  node: LedgerNode,
  one: Sealed,
  other: Sealed,
): (readonly [SignedMessage, SignedMessage])[] {
  const pairs: (readonly [SignedMessage, SignedMessage])[] = [];
  const seals = [one, other].map((sealed) => sealOf(node, sealed));
  const [first, second] = seals;
  if (first !== undefined && second !== undefined && first.signer === second.signer) {
    pairs.push([first, second]);
  }
  const votes = new Map(commitsOf(node.chain, one).map((vote) => [vote.signer, vote]));
  for (const vote of commitsOf(node.chain, other)) {
    const before = votes.get(vote.signer);
    if (before !== undefined) pairs.push([before, vote]);
  }
  return pairs;
}

/** The SEAL that the master signed, without its attachment. */
function sealOf(node: LedgerNode, { core, proof }: Sealed): SealMessage | undefined {
  const masterPub = keyOfTerm(node, proof);
  if (masterPub === undefined) return undefined;
  const { chainId, height } = core;
  const block = { chainId, height, core, blockHash: blockHashOf(core) };
  return { ...sealWords(block, proof, masterPub), signature: proof.blockSignature };
}

function keyOfTerm(node: LedgerNode, { sealTerm, masterTerm }: SealProof): PublicKey | undefined {
  const known = sealTerm === node.term ? node.masterPub : masterTerm?.masterPub;
  return masterOf(node.chain, sealTerm)?.masterPub ?? known;
}

function commitsOf({ chainId }: ChainState, { core, proof, committee }: Sealed): CommitMessage[] {
  const { attempt, view, bitmap, signatures } = proof.quorum;
  const blockHash: BlockHash = blockHashOf(core);
  return seatsOf(bitmap).flatMap((seat, i) => {
    const [signer, signature] = [committee[seat], signatures[i]];
    if (signer === undefined || signature === undefined) return [];
    const { term, height } = core;
    const place = { chainId, term, height, attempt, view };
    return { kind: "COMMIT", ...place, signer, blockHash, signature };
  });
}
