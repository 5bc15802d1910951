/**
 * What a FORCED_REDRAW would say, from the answers to a survey: docs/ledger.md "Recovery". The
 * operator sees it before the recovery key signs it. Committee: who answered, in the order of the
 * draw. Hash: the highest certificate among the answers; what nobody reachable holds cannot be
 * carried on, which is why redraw-safety.ts counts the answers.
 */
import type { PreparedCertificate } from "./certificate.ts";
import { committeeOf, memberKeysAt, paramsAt } from "./chain-state.ts";
import type { Signer } from "./crypto-interface.ts";
import { headerOf, openHeight } from "./ledger-node.ts";
import type { Attempt, NodeId, Signature, View } from "./ledger-units.ts";
import { carriedOf } from "./master-recovery.ts";
import type { Master } from "./master-state.ts";
import { nextSurvey } from "./master-survey.ts";
import { nodeIdOf, signingHash, signMessage } from "./message-signing.ts";
import type { Draft, ForcedRedrawMessage, QcStateMessage } from "./message-types.ts";
import { committeeToName, redrawDangers } from "./redraw-safety.ts";
import { redrawFault } from "./seal-check.ts";

export type RedrawPlan = {
  readonly words: Draft<ForcedRedrawMessage>;
  /** Of the committee that the draw gives: who answered, and who did not. */
  readonly answered: readonly NodeId[];
  readonly silent: readonly NodeId[];
  /** What could happen; a master makes no such redraw unless it is told that they were read. */
  readonly dangers: readonly string[];
  /** Attempts of the height that this master knows a FORCED_REDRAW of. */
  readonly redrawn: readonly Attempt[];
  /** Somebody knows of an attempt as high: the next survey has a higher number. */
  readonly isBehind: boolean;
};

/**
 * `wanted`: the committee that the operator names; undefined: whoever answered. Where nobody was
 * asked to wait the plan is what it would be if those who answered did.
 */
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
  if (able.length === 0) return { refusal: "no member has answered" };
  const silent = drawn.filter((nodeId) => !there.has(nodeId));
  const committee = wanted ?? committeeToName(master, able, silent, committeeMax);
  if (committee.length > committeeMax) {
    return { refusal: `a committee has at most ${committeeMax}: name fewer` };
  }
  if (new Set(committee).size !== committee.length) return { refusal: "a node is named twice" };
  const stranger = committee.find((nodeId) => !memberKeysAt(chain, nodeId, height));
  if (stranger !== undefined) return { refusal: `${stranger} is no member at height ${height}` };
  const attempt = survey?.number ?? nextSurvey(master);
  const carried: PreparedCertificate | undefined = carriedOf(answers);
  const place = headerOf(master, { attempt, view: 0 as View });
  return {
    words: { kind: "FORCED_REDRAW", ...place, ...partsOf(committee, carried) },
    answered: drawn.filter((nodeId) => there.has(nodeId)),
    silent,
    dangers: redrawDangers(master, { attempt, committee }, voicesOf(answers, survey?.number)),
    redrawn: [...master.redraws.keys()],
    isBehind: answers.some((answer) => isAhead(answer, attempt)),
  };
}

function voicesOf(answers: readonly QcStateMessage[], number: Attempt | undefined) {
  const isVoice = ({ remembers, isPromised }: QcStateMessage): boolean =>
    remembers && (number === undefined || isPromised);
  return new Map(answers.filter(isVoice).map((answer) => [answer.signer, answer]));
}

/** Of whoever knows a redraw or survey as high, which is another master's. */
function isAhead({ attempt, frozen, isPromised }: QcStateMessage, number: Attempt): boolean {
  return attempt >= number || frozen > number || (frozen === number && !isPromised);
}

/** Why a master makes no such FORCED_REDRAW; undefined: it does. */
export function redrawComplaint(
  master: Master,
  redraw: ForcedRedrawMessage,
  mayFork: boolean,
): string | undefined {
  const { attempt, committee, carriedHash, term } = redraw;
  if (attempt <= master.attempt) return `attempt ${master.attempt} is open already`;
  const { chain, masterPub, crypto, survey } = master;
  const fault = redrawFault(chain, redraw, masterPub, crypto);
  if (fault !== undefined) return `${fault.fault} ${fault.detail}`;
  if (term !== master.term) return "it is of another term";
  if (survey?.number !== attempt) return "its survey is over: ask again";
  const plan = planRedraw(master, committee);
  if ("refusal" in plan) return plan.refusal;
  if (plan.words.carriedHash !== carriedHash) return "answers have come since: ask again";
  return mayFork || plan.dangers.length === 0 ? undefined : plan.dangers.join(" ");
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
