/**
 * Lies about votes and leadership: two votes where one is allowed, leaders that are silent, choosy
 * or two-faced, proofs and committees of their own making.
 */
import { committeeHash } from "../chain/certificate-codec.ts";
import type { VrfProof } from "../chain/ledger-units.ts";
import { justificationHash } from "../chain/message-parts.ts";
import { signMessage } from "../chain/message-signing.ts";
import type {
  CommitMessage,
  PrePrepareMessage,
  PrepareMessage,
  SignedMessage,
} from "../chain/message-types.ts";
import { type Frame, framesOf, type LiarView, type LieTold, type Speech, split } from "./lie.ts";

/** Signs changed words again: liars lie with their own keys. */
export function resigned<M extends SignedMessage>(liar: LiarView, message: M): M {
  return signMessage<M>(liar.keys.signer, message as never);
}

/** Another hash to some or to all. */
function secondVote(liar: LiarView, speech: Speech, vote: PrepareMessage | CommitMessage): Frame[] {
  const other = resigned(liar, { ...vote, blockHash: liar.otherHash(vote.blockHash) });
  if (liar.prng.oneIn(2)) return [...framesOf(speech), ...framesOf({ ...speech, message: other })];
  return split(liar.prng.some(speech.to, speech.to.length), speech.to.length >> 1, vote, other);
}

export function doublePrepare(liar: LiarView, speech: Speech): LieTold {
  const { message } = speech;
  return message.kind === "PREPARE" ? secondVote(liar, speech, message) : undefined;
}

export function doubleCommit(liar: LiarView, speech: Speech): LieTold {
  const { message } = speech;
  return message.kind === "COMMIT" ? secondVote(liar, speech, message) : undefined;
}

export function equivocatingLeader(liar: LiarView, speech: Speech): LieTold {
  const { message } = speech;
  if (message.kind !== "PRE_PREPARE") return undefined;
  const other = resigned(liar, { ...message, blockHash: liar.otherHash(message.blockHash) });
  const shuffled = liar.prng.some(speech.to, speech.to.length);
  const half = liar.prng.between(1, Math.max(1, shuffled.length - 1));
  const overlap = liar.prng.below(3);
  return [
    ...split(shuffled.slice(0, half + overlap), shuffled.length, message, undefined),
    ...split(shuffled.slice(half), shuffled.length, other, undefined),
  ];
}

/** In a later view: another hash than the ROUND_CHANGEs bind, or too few of them. */
export function unjustifiedLeader(liar: LiarView, speech: Speech): LieTold {
  const { message } = speech;
  if (message.kind !== "PRE_PREPARE" || message.view === 0) return undefined;
  const isShort = liar.prng.oneIn(2);
  const justification = isShort ? message.justification.slice(1) : message.justification;
  const forged: PrePrepareMessage = {
    ...message,
    justification,
    justificationHash: justificationHash(justification),
    blockHash: liar.otherHash(message.blockHash),
  };
  return framesOf({ ...speech, message: resigned(liar, forged) });
}

export function silentLeader(_: LiarView, { message }: Speech): LieTold {
  return message.kind === "PRE_PREPARE" ? [] : undefined;
}

/** Speaks to so many only; itself is one of them. */
export function selectiveLeader(countOf: (liar: LiarView) => number) {
  return (liar: LiarView, { message, to }: Speech): LieTold => {
    if (message.kind !== "PRE_PREPARE") return undefined;
    return split(liar.prng.some(to, to.length), countOf(liar) - 1, message, undefined);
  };
}

/**
 * As many prepare as must, and lock; without this member's COMMITs they hardly decide. The next
 * leader has to carry their hash on.
 */
export function lockWithoutCommit(liar: LiarView, { message, to }: Speech): LieTold {
  if (message.kind === "COMMIT") return [];
  if (message.kind !== "PRE_PREPARE") return undefined;
  return split(liar.prng.some(to, to.length), liar.quorum - 1, message, undefined);
}

export function withheldResult(_: LiarView, { message }: Speech): LieTold {
  return message.kind === "RESULT" ? [] : undefined;
}

export function vrfForgery(liar: LiarView, speech: Speech): LieTold {
  const { message } = speech;
  if (message.kind !== "PRE_PREPARE" && message.kind !== "RESULT") return undefined;
  const vrfProof = message.vrfProof.slice() as VrfProof;
  const at = liar.prng.below(vrfProof.length);
  vrfProof[at] = (vrfProof[at] ?? 0) ^ liar.prng.between(1, 255);
  const forged = { ...message, vrfProof };
  return framesOf({ ...speech, message: resigned<typeof message>(liar, forged) });
}

/** Itself first, so that it would lead for longer; or with a seat left out. */
export function wrongCommittee(liar: LiarView, speech: Speech): LieTold {
  const { message } = speech;
  if (message.kind !== "PRE_PREPARE") return undefined;
  const others = message.committee.filter((nodeId) => nodeId !== liar.nodeId);
  const committee = liar.prng.oneIn(2)
    ? [liar.nodeId, ...liar.prng.some(others, others.length)]
    : message.committee.slice(0, -1);
  const forged: PrePrepareMessage = {
    ...message,
    committee,
    committeeHash: committeeHash(committee),
  };
  return framesOf({ ...speech, message: resigned(liar, forged) });
}
