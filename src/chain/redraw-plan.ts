/**
 * What a FORCED_REDRAW would say, from the answers to a survey: docs/ledger.md "Recovery". The
 * operator sees it before the recovery key signs it. Committee: who answered, in the order of the
 * draw. Hash: the highest certificate among the answers; what nobody reachable holds cannot be
 * carried on, which is why few answers are a warning and not a detail.
 */
import type { PreparedCertificate } from "./certificate.ts";
import { committeeOf, memberKeysAt, paramsAt } from "./chain-state.ts";
import type { Signer } from "./crypto-interface.ts";
import { headerOf, openHeight } from "./ledger-node.ts";
import type { Attempt, NodeId, Signature, View } from "./ledger-units.ts";
import { carriedOf } from "./master-recovery.ts";
import type { Master } from "./master-state.ts";
import { nodeIdOf, signingHash, signMessage } from "./message-signing.ts";
import type { Draft, ForcedRedrawMessage } from "./message-types.ts";

export type RedrawPlan = {
  readonly words: Draft<ForcedRedrawMessage>;
  /** Of the committee that the draw gives: who answered, and who did not. */
  readonly answered: readonly NodeId[];
  readonly silent: readonly NodeId[];
};

/** `wanted`: the committee that the operator names; undefined: whoever answered. */
export function planRedraw(
  master: Master,
  wanted: readonly NodeId[] | undefined,
): RedrawPlan | { readonly refusal: string } {
  const { chain, stoppedBy, survey } = master;
  if (stoppedBy !== undefined) return { refusal: `this master has stopped: ${stoppedBy}` };
  const height = openHeight(master);
  const answers = [...(survey?.answers.values() ?? [])];
  const drawn = committeeOf(chain, 0 as Attempt);
  if (drawn.length === 0) return { refusal: `height ${height} needs no committee` };
  const there = new Set(answers.map(({ signer }) => signer));
  const answered = [...drawn, ...[...there].filter((nodeId) => !drawn.includes(nodeId)).sort()];
  const { committeeMax } = paramsAt(chain, height);
  const able = answered.filter((nodeId) => there.has(nodeId)).slice(0, committeeMax);
  const committee = wanted ?? able;
  if (committee.length === 0) return { refusal: "no member has answered" };
  if (new Set(committee).size !== committee.length) return { refusal: "a node is named twice" };
  const stranger = committee.find((nodeId) => !memberKeysAt(chain, nodeId, height));
  if (stranger !== undefined) return { refusal: `${stranger} is no member at height ${height}` };
  const attempts = [master.attempt, ...master.redraws.keys()];
  const attempt = 1 + Math.max(...attempts, ...answers.map((answer) => answer.attempt));
  const carried: PreparedCertificate | undefined = carriedOf(answers);
  const place = headerOf(master, { attempt: attempt as Attempt, view: 0 as View });
  return {
    words: { kind: "FORCED_REDRAW", ...place, ...partsOf(committee, carried) },
    answered: drawn.filter((nodeId) => there.has(nodeId)),
    silent: drawn.filter((nodeId) => !there.has(nodeId)),
  };
}

function partsOf(committee: readonly NodeId[], carried: PreparedCertificate | undefined) {
  const unsigned = new Uint8Array(64) as Signature;
  return { committee, carriedHash: carried?.blockHash, carried, recoverySignature: unsigned };
}

/** The recovery key's word: on the same text, under its own id. */
export function signForRecovery(recovery: Signer, words: Draft<ForcedRedrawMessage>): Signature {
  return recovery.sign(signingHash({ ...words, signer: nodeIdOf(recovery.publicKey) }));
}

/** The whole message, when both keys have signed. */
export function signRedraw(
  master: Signer,
  words: Draft<ForcedRedrawMessage>,
  recoverySignature: Signature,
): ForcedRedrawMessage {
  return signMessage<ForcedRedrawMessage>(master, { ...words, recoverySignature });
}
