/**
 * Before a master that just started proposes anything new, it repeats what its log holds and asks
 * the committee (QC_FETCH): what is committed is sealed, what is prepared is carried on, and the
 * attempt that f + 1 have reached is taken up. It waits for n - f answers, which is q: whatever was
 * decided, one honest member of them holds its certificate. A new term's master asks the same.
 */
import { certificateFault, higher } from "./attempts.ts";
import { askHeaders } from "./catch-up.ts";
import { faultsOf, type PreparedCertificate } from "./certificate.ts";
import { isSignedByMember, openHeight, setTimer } from "./ledger-node.ts";
import type { Attempt, Hash, NodeId } from "./ledger-units.ts";
import { openAttempt, openForced, openNext } from "./master-attempts.ts";
import { proposeNext, sendOffered } from "./master-candidate.ts";
import { sealCommitted } from "./master-seal.ts";
import { committeeAt, type Master, newestRedraw, presentCommittee } from "./master-state.ts";
import { askMembers } from "./master-survey.ts";
import type { QcStateMessage } from "./message-types.ts";

const ASK_AGAIN_MS = 1000;

/** Asks everybody: who sits in which committee is told by the answers. */
export function ask(master: Master, nonce: Hash): void {
  if (master.sealsAlone && presentCommittee(master).length === 0) {
    master.asking = undefined;
    return proposeNext(master);
  }
  master.asking ??= { nonce, answers: new Map() };
  askMembers(master, { purpose: "question", nonce: master.asking.nonce });
  setTimer(master, "master", ASK_AGAIN_MS);
}

export function onQcState(master: Master, from: NodeId, message: QcStateMessage): void {
  const askings = [master.asking, master.survey].filter((one) => one?.nonce === message.nonce);
  if (askings.length === 0 || from !== message.signer) return;
  if (message.sealedHeight > master.chain.height) {
    // It has blocks that this disk lost, or that another master sealed: with which keys it signs,
    // they may tell.
    return askHeaders(master, [from], openHeight(master), 64);
  }
  if (!isSignedByMember(master, message)) return;
  if (message.height !== openHeight(master)) return;
  const { prepared, committed } = message;
  if (prepared !== undefined) {
    if (certificateFault(master, prepared, master.redraws) !== undefined) return;
  }
  if (committed !== undefined && sealCommitted(master, committed, from)) {
    // Where its body is still missing it is asked for again by the timer.
    return;
  }
  for (const asking of askings) {
    // An older answer that comes late does not take back a promise.
    const known = asking?.answers.get(from);
    if (message.isPromised || known?.isPromised !== true) asking?.answers.set(from, message);
  }
  conclude(master);
}

/** Enough answers of the committee of the attempt that f + 1 of them have reached? */
function conclude(master: Master): void {
  const { asking } = master;
  if (asking === undefined) return;
  const attempt = attemptReached(master);
  const committee = committeeAt(master, attempt);
  if (committee.length === 0) return;
  const answers = committee.flatMap((nodeId) => asking.answers.get(nodeId) ?? []);
  if (answers.length < committee.length - faultsOf(committee.length)) return;
  master.asking = undefined;
  takeUp(master, attempt, carriedOf(answers));
}

function attemptReached(master: Master): Attempt {
  const { asking } = master;
  const committee = presentCommittee(master);
  const attempts = committee.flatMap((nodeId) => asking?.answers.get(nodeId)?.attempt ?? []);
  attempts.sort((one, other) => other - one);
  const reached = attempts[faultsOf(committee.length)] ?? master.attempt;
  return Math.max(reached, master.attempt) as Attempt;
}

/** The highest certificate of those that answered. */
export function carriedOf(answers: readonly QcStateMessage[]): PreparedCertificate | undefined {
  let carried: PreparedCertificate | undefined;
  for (const { prepared } of answers) carried = higher(carried, prepared);
  return carried;
}

/** Goes on where the committee is: with what is offered already, or what was prepared, or anew. */
function takeUp(master: Master, attempt: Attempt, carried: PreparedCertificate | undefined): void {
  if (master.offered?.attempt === attempt) return sendOffered(master);
  // One that was on the disk when this master crashed, and not in a CANDIDATE yet, too.
  const redraw = newestRedraw(master, attempt);
  if (redraw !== undefined) return openForced(master, redraw);
  if (attempt > 0) return openNext(master);
  if (carried === undefined) return proposeNext(master);
  openAttempt(master, attempt, [], { hash: carried.blockHash, certificate: carried });
}
