/**
 * Lies about certificates and signatures: forged, stale or hidden certificates, quorums that are
 * too small or full of strangers, signatures in their second form, old keys.
 */

import { secp256k1 } from "@noble/curves/secp256k1.js";
import { type PreparedCertificate, type Quorum, seatsOf } from "../chain/certificate.ts";
import type { Signature, View } from "../chain/ledger-units.ts";
import type {
  AbandonMessage,
  LedgerMessage,
  ResultMessage,
  RoundChangeMessage,
} from "../chain/message-types.ts";
import { framesOf, type LiarView, type LieTold, type Speech } from "./lie.ts";
import { resigned } from "./lies-of-votes.ts";

const ORDER = secp256k1.Point.Fn.ORDER;

type Votes = { readonly bitmap: number; readonly signatures: readonly Signature[] };

function say(
  liar: LiarView,
  speech: Speech,
  message: RoundChangeMessage | AbandonMessage,
): LieTold {
  return framesOf({ ...speech, message: resigned(liar, message) });
}

/** The certificate of a ROUND_CHANGE or ABANDON replaced. */
function withCertificate(
  liar: LiarView,
  speech: Speech,
  change: (own: PreparedCertificate | undefined) => PreparedCertificate | undefined | "same",
): LieTold {
  const { message } = speech;
  if (message.kind === "ROUND_CHANGE") {
    const prepared = change(message.prepared);
    return prepared === "same" ? undefined : say(liar, speech, { ...message, prepared });
  }
  if (message.kind !== "ABANDON") return undefined;
  const highest = change(message.highest);
  return highest === "same" ? undefined : say(liar, speech, { ...message, highest });
}

/** Certificates in anything heard, oldest first. */
function certificatesHeard(liar: LiarView): PreparedCertificate[] {
  return liar.heard.flatMap((message: LedgerMessage) => {
    const found = message.kind === "ROUND_CHANGE" ? message.prepared : undefined;
    return found === undefined ? [] : [found];
  });
}

/** Real words, another hash, signatures of its own making. */
export function forgedCertificate(liar: LiarView, speech: Speech): LieTold {
  const { message } = speech;
  return withCertificate(liar, speech, (own) => {
    const base = own ?? certificatesHeard(liar).at(-1);
    if (base === undefined) return "same";
    const view = message.kind === "ROUND_CHANGE" ? message.view - 1 : base.view;
    return { ...base, view: view as View, blockHash: liar.otherHash(base.blockHash) };
  });
}

export function staleCertificate(liar: LiarView, speech: Speech): LieTold {
  return withCertificate(liar, speech, (own) => {
    const older = certificatesHeard(liar).filter((one) => own === undefined || one !== own);
    return older.length === 0 ? (own === undefined ? "same" : undefined) : liar.prng.pick(older);
  });
}

/** Hides what it prepared, or calls a view that nobody wants. */
export function lyingRoundChange(liar: LiarView, speech: Speech): LieTold {
  const { message } = speech;
  if (message.kind === "ROUND_CHANGE") {
    const view = message.view + liar.prng.pick([0, 0, 1, 7, 200]);
    return say(liar, speech, { ...message, view: view as View, prepared: undefined });
  }
  // Impatient too: with each PREPARE it asks for the next view.
  if (message.kind !== "PREPARE") return undefined;
  const { blockHash: _, signature: __, ...header } = message;
  const change = { ...header, kind: "ROUND_CHANGE", view: message.view + 1, prepared: undefined };
  const impatient = resigned(liar, change as unknown as RoundChangeMessage);
  return [...framesOf(speech), ...framesOf({ ...speech, message: impatient })];
}

function changedVotes<T extends Votes>(votes: T, change: (votes: Votes) => Votes): T {
  return { ...votes, ...change(votes) };
}

/** All votes in what a leader or a validator sends, changed. */
function withVotes(liar: LiarView, speech: Speech, change: (votes: Votes) => Votes): LieTold {
  const { message } = speech;
  if (message.kind === "RESULT") {
    const quorum: Quorum = changedVotes(message.quorum, change);
    const result: ResultMessage = resigned(liar, { ...message, quorum });
    return framesOf({ ...speech, message: result });
  }
  return withCertificate(liar, speech, (own) =>
    own === undefined ? "same" : changedVotes(own, change),
  );
}

export function tooFewSignatures(liar: LiarView, speech: Speech): LieTold {
  return withVotes(liar, speech, ({ bitmap, signatures }) => {
    const last = seatsOf(bitmap).at(-1) ?? 0;
    return { bitmap: bitmap & ~(1 << last), signatures: signatures.slice(0, -1) };
  });
}

/** Seats of nobody, or of members that did not vote, with signatures of those who did. */
export function bitmapStrangers(liar: LiarView, speech: Speech): LieTold {
  return withVotes(liar, speech, ({ bitmap, signatures }) => {
    const seats = seatsOf(bitmap);
    const last = seats.at(-1) ?? 0;
    const free = Array.from({ length: 20 }, (_, seat) => seat).filter((s) => s > last);
    if (free.length === 0) return { bitmap: 1, signatures: signatures.slice(0, 1) };
    return { bitmap: (bitmap & ~(1 << last)) | (1 << liar.prng.pick(free)), signatures };
  });
}

/** One vote twice, under its own seat and that of another. */
export function bitmapDuplicates(liar: LiarView, speech: Speech): LieTold {
  return withVotes(liar, speech, ({ bitmap, signatures }) => {
    const [first] = signatures;
    return first === undefined
      ? { bitmap, signatures }
      : { bitmap, signatures: signatures.map(() => first) };
  });
}

/** n - s for s: valid for a verifier that does not ask for low s, and another message to a hash. */
export function highS(_: LiarView, speech: Speech): LieTold {
  const { message } = speech;
  if (!("signature" in message)) return undefined;
  const signature = message.signature.slice() as Signature;
  const low = BigInt(`0x${signature.slice(32).toHex()}`);
  signature.set(Uint8Array.fromHex((ORDER - low).toString(16).padStart(64, "0")), 32);
  return framesOf({ ...speech, message: { ...message, signature } });
}
