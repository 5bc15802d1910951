/**
 * Rule 7 from outside: no honest node votes in a view above 0 without a PRE_PREPARE that shows more
 * than two thirds of ROUND_CHANGEs to that view, and proposes the hash of the highest prepared
 * certificate among them, if there is one.
 */
import type { LedgerMessage, PrePrepareMessage, PrepareMessage } from "../chain/message-types.ts";

export class JustificationChecks {
  /** What was ever proposed, honestly or not, by place and hash: whether rule 7 allows it. */
  private readonly proposed = new Map<string, boolean>();

  /** Any PRE_PREPARE on its way. */
  note(message: LedgerMessage): void {
    if (message.kind !== "PRE_PREPARE" || message.view === 0) return;
    const key = keyOf(message);
    this.proposed.set(key, this.proposed.get(key) === true || isJustified(message));
  }

  /** What is wrong with an honest node's vote, or undefined. */
  check(message: LedgerMessage): string | undefined {
    if (message.kind !== "PREPARE" && message.kind !== "PRE_PREPARE") return undefined;
    if (message.view === 0 || this.proposed.get(keyOf(message)) === true) return undefined;
    const { kind, height, attempt, view, signer } = message;
    const place = `height ${height}, attempt ${attempt}, view ${view}`;
    return `${kind} of ${signer.slice(0, 8)} at ${place}: not justified (rule 7)`;
  }
}

function keyOf(message: PrePrepareMessage | PrepareMessage): string {
  const { height, attempt, view, blockHash } = message;
  return `${height} ${attempt} ${view} ${blockHash}`;
}

function isJustified(message: PrePrepareMessage): boolean {
  const { justification, committee, height, attempt, view, blockHash } = message;
  const fitting = justification.filter(
    (change) => change.height === height && change.attempt === attempt && change.view === view,
  );
  const signers = new Set(
    fitting.map(({ signer }) => signer).filter((signer) => committee.includes(signer)),
  );
  if (3 * signers.size <= 2 * committee.length) return false;
  const rank = (one: { attempt: number; view: number } | undefined) =>
    one === undefined ? -1 : one.attempt * 65_536 + one.view;
  const highest = fitting
    .map(({ prepared }) => prepared)
    .reduce((best, one) => (rank(one) > rank(best) ? one : best), undefined);
  return highest === undefined || highest.blockHash === blockHash;
}
