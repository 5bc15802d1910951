/**
 * Lies about what only the recovery key may say: a MASTER_TERM or FORCED_REDRAW of a liar's own
 * making, or a real one for another place, term or key; and a master that claims a term that nobody
 * gave it.
 */
import { type ChainId, SIGNATURE_BYTES, type Signature, type Term } from "../chain/ledger-units.ts";
import { nodeIdOf } from "../chain/message-signing.ts";
import type {
  CandidateMessage,
  ForcedRedrawMessage,
  LedgerMessage,
  MasterTermMessage,
  MessageHeader,
} from "../chain/message-types.ts";
import { framesOf, type LiarView, type LieTold, type Speech } from "./lie.ts";
import type { MasterView } from "./lies-of-masters.ts";
import { resigned } from "./lies-of-votes.ts";

const NO_SIGNATURE = new Uint8Array(SIGNATURE_BYTES) as Signature;

/** With a vote: itself as master, or a real MASTER_TERM with something else in it. */
export function forgedTerm(liar: LiarView, speech: Speech): LieTold {
  const { message } = speech;
  if (message.kind !== "PREPARE" && message.kind !== "COMMIT") return undefined;
  const real = liar.heard.findLast((one): one is MasterTermMessage => one.kind === "MASTER_TERM");
  const term = real === undefined || liar.prng.oneIn(2) ? ownTerm(liar, message) : bent(liar, real);
  return [...framesOf(speech), ...framesOf({ ...speech, message: term })];
}

/** In the recovery key's name or its own, by the only key it has. */
function ownTerm(liar: LiarView, { term, chainId }: MessageHeader): MasterTermMessage {
  return resigned<MasterTermMessage>(liar, {
    kind: "MASTER_TERM",
    chainId,
    term: (term + liar.prng.between(1, 3)) as Term,
    ...{ height: 0 as never, attempt: 0 as never, view: 0 as never },
    signer: liar.prng.oneIn(2) ? nodeIdOf(liar.recoveryPub) : liar.nodeId,
    masterPub: liar.keys.signer.publicKey,
    signature: NO_SIGNATURE,
  });
}

/** Signed for something else; or as it was, which is no lie and must do no harm. */
function bent(liar: LiarView, real: MasterTermMessage): MasterTermMessage {
  switch (liar.prng.below(4)) {
    case 0:
      return { ...real, term: (real.term + 1) as Term };
    case 1:
      return { ...real, masterPub: liar.keys.signer.publicKey };
    case 2:
      return { ...real, chainId: liar.prng.bytes(32).toHex() as ChainId };
    default:
      return real;
  }
}

/** A term that no MASTER_TERM gave it: in the core, or around it as well. */
export function wrongTerm(liar: MasterView, speech: Speech): LieTold {
  const { message } = speech;
  if (message.kind !== "CANDIDATE") return undefined;
  const term = (message.core.term + liar.prng.between(1, 3)) as Term;
  const core = { ...message.core, term };
  const outer = liar.prng.oneIn(2) ? term : message.term;
  return framesOf({ ...speech, message: resigned(liar, { ...message, term: outer, core }) });
}

/** A committee of its choice, with everything but the recovery key's signature. */
export function forgedRedraw(liar: MasterView, speech: Speech): LieTold {
  const { message } = speech;
  if (message.kind !== "CANDIDATE") return undefined;
  const redraw = redrawOf(liar, message);
  const opened = resigned<CandidateMessage>(liar, {
    ...{ ...message, attempt: redraw.attempt },
    ...{ abandons: [], redraw },
  });
  const told: LedgerMessage[] = [redraw, opened];
  return [
    ...framesOf(speech),
    ...told.flatMap((forged) => framesOf({ ...speech, message: forged })),
  ];
}

function redrawOf(liar: MasterView, message: CandidateMessage): ForcedRedrawMessage {
  const { chainId, term, height, view } = message;
  const real = liar.heard.findLast((one) => one.kind === "FORCED_REDRAW");
  const signed = resigned<ForcedRedrawMessage>(liar, {
    kind: "FORCED_REDRAW",
    ...{ chainId, term, height, attempt: (message.attempt + 1) as never, view },
    signer: liar.nodeId,
    committee: liar.prng.some(liar.nodeIds, liar.prng.between(1, liar.nodeIds.length)),
    ...{ carriedHash: undefined, carried: undefined },
    recoverySignature: NO_SIGNATURE,
    signature: NO_SIGNATURE,
  });
  // That of an earlier redraw, its own, or none.
  const others = [real?.recoverySignature ?? NO_SIGNATURE, signed.signature, NO_SIGNATURE];
  return { ...signed, recoverySignature: liar.prng.pick(others) };
}
