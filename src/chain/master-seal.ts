/**
 * The master seals (paper §3.3.2): a RESULT with q COMMITs becomes a block. "sealed h = hash" is on
 * the disk before the SEAL exists anywhere else, and binds after a restart: a height has one
 * sealed hash. Then the block goes down the line (replication.ts).
 */
import type { Block, SealProof } from "./block.ts";
import { type CommittedCertificate, NO_QUORUM_NEEDED } from "./certificate.ts";
import { leaderBeta, quorumFault } from "./certificate-check.ts";
import { openHeight, plainHeader, report, send, sign, write } from "./ledger-node.ts";
import type { BlockHash, NodeId } from "./ledger-units.ts";
import { dropSealed, proposeNext, resetHeight } from "./master-candidate.ts";
import { committeeAt, type Draft, type Master } from "./master-state.ts";
import type { ResultMessage, SealMessage } from "./message-types.ts";
import { forward } from "./replication.ts";
import { contextOf } from "./round.ts";
import { proofOfSeal, sealWords } from "./seal-check.ts";
import { extendChain, judgeBlock } from "./sealing.ts";

export function onResult(master: Master, message: ResultMessage): void {
  if (message.height !== openHeight(master)) return;
  const { term, height, blockHash, quorum, vrfProof } = message;
  sealCommitted(master, { term, height, blockHash, quorum, vrfProof }, message.signer);
}

/** Seals what q have committed, once its body is here; `source` has it. */
export function sealCommitted(
  master: Master,
  certificate: CommittedCertificate,
  source: NodeId,
): boolean {
  const { blockHash, quorum, term, vrfProof } = certificate;
  if (certificate.height !== openHeight(master) || master.stoppedBy !== undefined) return false;
  if (master.sealedHash !== undefined && master.sealedHash !== blockHash) return false;
  const context = contextOf(master, committeeAt(master, quorum.attempt));
  if (context.committee.length === 0) return false;
  if (quorumFault(context, { term, blockHash }, quorum) !== undefined) return false;
  const { chainId } = master.chain;
  const { attempt, view } = quorum;
  const place = { chainId, height: certificate.height, attempt, view };
  if (leaderBeta(context, place, vrfProof) === undefined) return false;
  const draft = master.drafts.get(blockHash);
  if (draft === undefined) {
    askBody(master, blockHash, [source]);
    return true;
  }
  const redraw = master.redraws.get(attempt);
  seal(master, draft, { quorum, vrfProof, redraw });
  return true;
}

/** While no member is effective the master's seal alone suffices. */
export function sealBare(master: Master, draft: Draft): void {
  seal(master, draft, { quorum: NO_QUORUM_NEEDED, vrfProof: undefined, redraw: undefined });
}

function seal(
  master: Master,
  draft: Draft,
  words: Pick<SealProof, "quorum" | "vrfProof" | "redraw">,
): void {
  const isRecorded = draft.next.masters.some(({ term }) => term === master.term);
  const masterTerm = isRecorded ? undefined : master.masterTerm;
  const proof = { ...words, masterTerm, sealTerm: master.term };
  const unsigned = sealWords(draft.next, proof, master.masterPub);
  const message = sign<SealMessage>(master, { ...unsigned, body: draft.body });
  const block: Block = { core: draft.core, body: draft.body, proof: proofOfSeal(message) };
  const judged = judgeBlock(master, block, draft.next);
  if ("fault" in judged) {
    report(master, "refused", `own block ${draft.core.height}: ${judged.fault} ${judged.detail}`);
    return;
  }
  write(master, { kind: "sealed", height: message.height, blockHash: message.blockHash });
  forwardAfterWrite(master, message, () => extendChain(master, block, judged));
  dropSealed(master, block.body);
  resetHeight(master);
  proposeNext(master);
}

/** The line is that of the parent's members; the block is written before it leaves. */
function forwardAfterWrite(master: Master, message: SealMessage, extend: () => void): void {
  const before = master.outputs.length;
  forward(master, message);
  const sends = master.outputs.splice(before);
  extend();
  master.outputs.push(...sends);
}

export function askBody(master: Master, blockHash: BlockHash, to: readonly NodeId[]): void {
  master.wanted = blockHash;
  const header = plainHeader(master, openHeight(master));
  send(master, to, { kind: "BODY_REQ", ...header, blockHashes: [blockHash] });
}

/** A body that was asked for: now it can be offered or sealed. */
export function takeBody(master: Master, block: Pick<Block, "core" | "body">): Draft | undefined {
  const next = master.rules.applyBlock(master.chain, block.core, block.body, master.crypto);
  if ("fault" in next || next.blockHash !== master.wanted) return undefined;
  master.wanted = undefined;
  const draft = { core: block.core, body: block.body, next };
  master.drafts.set(next.blockHash, draft);
  return draft;
}
