/** Which function tells which lie. Lies that are no change of words are in simulation.ts. */

import type { LieKind, LieTold, MasterLie, Speech, Tell } from "./lie.ts";
import {
  bitmapDuplicates,
  bitmapStrangers,
  forgedCertificate,
  highS,
  lyingRoundChange,
  staleCertificate,
  tooFewSignatures,
} from "./lies-of-certificates.ts";
import {
  farHeight,
  fuzzedFrames,
  oversizedFrames,
  replayChain,
  replayHeight,
  replayTerm,
} from "./lies-of-frames.ts";
import type { MasterView } from "./lies-of-masters.ts";
import {
  changedTimeStamp,
  duplicateLeaf,
  equivocatingMaster,
  inflatedStake,
  wrongDummy,
} from "./lies-of-masters.ts";
import { lineAlter, lineDrop, lyingDigest } from "./lies-of-peers.ts";
import { forgedRedraw, forgedTerm, wrongTerm } from "./lies-of-terms.ts";
import {
  doubleCommit,
  doublePrepare,
  equivocatingLeader,
  lockWithoutCommit,
  selectiveLeader,
  silentLeader,
  unjustifiedLeader,
  vrfForgery,
  withheldResult,
  wrongCommittee,
} from "./lies-of-votes.ts";

/** Lies of conduct, not of words: simulation.ts lives them. */
export const LIVED_LIES = ["amnesia", "twins", "revoked-key", "rotated-key"] as const;
type LivedLie = (typeof LIVED_LIES)[number];

export const TOLD_BY_MEMBERS: Readonly<Record<Exclude<LieKind, MasterLie | LivedLie>, Tell>> = {
  "equivocating-leader": equivocatingLeader,
  "unjustified-leader": unjustifiedLeader,
  "double-prepare": doublePrepare,
  "double-commit": doubleCommit,
  "silent-leader": silentLeader,
  "selective-leader-f": selectiveLeader(({ faults }) => faults),
  "selective-leader-f+1": selectiveLeader(({ faults }) => faults + 1),
  "selective-leader-q-1": selectiveLeader(({ quorum }) => quorum - 1),
  "withheld-result": withheldResult,
  "forged-certificate": forgedCertificate,
  "stale-certificate": staleCertificate,
  "lying-round-change": lyingRoundChange,
  "vrf-forgery": vrfForgery,
  "wrong-committee": wrongCommittee,
  "high-s": highS,
  "replay-height": replayHeight,
  "replay-chain": replayChain,
  "replay-term": replayTerm,
  "far-height": farHeight,
  "bitmap-strangers": bitmapStrangers,
  "bitmap-duplicates": bitmapDuplicates,
  "q-1-signatures": tooFewSignatures,
  "fuzzed-frames": fuzzedFrames,
  "oversized-frames": oversizedFrames,
  "lying-digest": lyingDigest,
  "line-drop": lineDrop,
  "line-alter": lineAlter,
  "forged-term": forgedTerm,
  "lock-without-commit": lockWithoutCommit,
};

export const TOLD_BY_MASTERS: Readonly<
  Record<MasterLie, (liar: MasterView, speech: Speech) => LieTold>
> = {
  "equivocating-master": equivocatingMaster,
  "master-time-stamp": changedTimeStamp,
  "wrong-dummy": wrongDummy,
  "duplicate-leaf": duplicateLeaf,
  "inflated-stake": inflatedStake,
  "wrong-term": wrongTerm,
  "forged-redraw": forgedRedraw,
};
