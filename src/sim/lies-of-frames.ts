/**
 * Lies that need no knowledge of the protocol: messages of other heights, chains and terms sent
 * again, and frames that are no messages at all.
 */

import type { ChainId, Height, Term } from "../chain/ledger-units.ts";
import { encodeMessage, MESSAGE_BYTES_MAX } from "../chain/message-codec.ts";
import type { LedgerMessage, SignedMessage } from "../chain/message-types.ts";
import { type Frame, framesOf, type LiarView, type LieTold, type Speech } from "./lie.ts";
import { resigned } from "./lies-of-votes.ts";

function isVote(message: LedgerMessage): boolean {
  return message.kind === "PREPARE" || message.kind === "COMMIT" || message.kind === "ROUND_CHANGE";
}

/** Its vote, and one heard at an earlier height: as it was, or with the height of now. */
export function replayHeight(liar: LiarView, speech: Speech): LieTold {
  const { message } = speech;
  const old = liar.heard.filter((one) => one.height < message.height && isVote(one));
  if (!isVote(message) || old.length === 0) return undefined;
  const again = liar.prng.pick(old);
  const forged = liar.prng.oneIn(2) ? again : { ...again, height: message.height };
  return [...framesOf(speech), ...framesOf({ ...speech, message: forged })];
}

/** Own words signed for another place of the header. */
function displaced(
  liar: LiarView,
  speech: Speech,
  change: (message: SignedMessage) => Partial<SignedMessage>,
): LieTold {
  const { message } = speech;
  if (!("signature" in message) || !isVote(message)) return undefined;
  const moved = { ...message, ...change(message) } as SignedMessage;
  const signed = resigned(liar, moved);
  // Half of them with the words of now around that other signature.
  const told = liar.prng.oneIn(2) ? signed : { ...message, signature: signed.signature };
  const frames = framesOf({ ...speech, message: told });
  return liar.prng.oneIn(2) ? frames : [...framesOf(speech), ...frames];
}

export function replayChain(liar: LiarView, speech: Speech): LieTold {
  const otherChain = liar.prng.bytes(32).toHex() as ChainId;
  return displaced(liar, speech, () => ({ chainId: otherChain }));
}

export function replayTerm(liar: LiarView, speech: Speech): LieTold {
  return displaced(liar, speech, ({ term }) => ({ term: (term + 1) as Term }));
}

/** For heights to come: a validator must not keep without bound what it cannot check yet. */
export function farHeight(liar: LiarView, speech: Speech): LieTold {
  return displaced(liar, speech, ({ height }) => ({
    height: (height + liar.prng.between(1, 1e6)) as Height,
  }));
}

/** The message with bytes changed, cut or appended, or noise. */
export function fuzzedFrames(liar: LiarView, speech: Speech): LieTold {
  const bytes = encodeMessage(speech.message);
  const frames: Frame[] = framesOf(speech);
  for (const to of speech.to) frames.push({ to, content: mangled(liar, bytes) });
  return frames;
}

function mangled(liar: LiarView, bytes: Uint8Array): Uint8Array {
  const { prng } = liar;
  const copy = bytes.slice();
  switch (prng.below(4)) {
    case 0:
      for (let i = prng.between(1, 4); i > 0; i--) copy[prng.below(copy.length)] = prng.below(256);
      return copy;
    case 1:
      return copy.slice(0, prng.below(copy.length));
    case 2:
      return Buffer.concat([copy, prng.bytes(prng.between(1, 40))]);
    default:
      return prng.bytes(prng.below(200));
  }
}

/** One a run of frames: a megabyte each. */
export function oversizedFrames(liar: LiarView, speech: Speech): LieTold {
  if (!liar.prng.oneIn(10)) return undefined;
  const head = encodeMessage(speech.message);
  const huge = new Uint8Array(MESSAGE_BYTES_MAX + liar.prng.between(1, 4096));
  huge.set(head);
  const [to] = speech.to;
  return to === undefined ? undefined : [...framesOf(speech), { to, content: huge }];
}
