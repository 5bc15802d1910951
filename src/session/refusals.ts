/**
 * Why a handshake message was not acted on. Each reason has a counter (sessions.ts) and a test row.
 * docs/wire.md "HANDSHAKE": nothing is answered to a refused message but, where stated, a cookie.
 */
import type { PeerIndex } from "../units.ts";
import { WIRE_FAULTS, type WireFault } from "../wire/header.ts";

export const REFUSALS = [
  ...WIRE_FAULTS,
  /** mac1 is not under our static key: not for us, or forged. */
  "mac1",
  /** Under load, or the first of its key since our start: a cookie was asked for. */
  "cookie-required",
  /** As above, and cookie replies are at their rate limit: nothing was sent. */
  "cookie-limit",
  /** Under load, the source address has used up its share. */
  "source-limit",
  /** The SC-ID or generation is not one we hold, or its overlap is over. */
  "contract-unknown",
  /** The contract is inactive or expired. */
  "contract-inactive",
  /** Policy, or the rule on unauthenticated contracts, does not allow this contract here. */
  "contract-refused",
  /** We have no contract to answer with. */
  "contract-none",
  /** A sealed part does not open: forged, altered, another key, or a low-order point. */
  "forged",
  "static-unknown",
  "tenant",
  /** Tag unknown, or not one the sender may claim: the two are treated alike. */
  "tag",
  /** A response that changes tag or role. */
  "binding",
  /** Role 1 without an allowed flow of that tag. */
  "role",
  "token",
  /** The stamp is not greater than the last of this key, role and tag: replayed or late. */
  "stamp",
  "sessions-full",
  /** A response or cookie reply to an index that waits for none. */
  "unexpected",
  /** A cookie reply that does not open. */
  "cookie-forged",
  /** A response to an attempt that was sent too many wrong ones. */
  "answer-limit",
] as const;

export type Refusal = WireFault | (typeof REFUSALS)[number];

/** A refused message, with its sender as far as that is proven or at least plausible. */
export type Refused = { readonly reason: Refusal; readonly peer: PeerIndex | undefined };

export function refused(reason: Refusal, peer?: PeerIndex): Refused {
  return { reason, peer };
}
