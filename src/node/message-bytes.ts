/**
 * The bytes of messages that hold a whole block, kept beside them: a CANDIDATE is sent to many and
 * logged, a SEAL is forwarded as it came, and a message has one encoding only (message-codec.ts).
 */
import { encodeMessage } from "../chain/message-codec.ts";
import type { LedgerMessage } from "../chain/message-types.ts";

const known = new WeakMap<LedgerMessage, Uint8Array>();

/** Not to be altered. */
export function bytesOfMessage(message: LedgerMessage): Uint8Array {
  const before = known.get(message);
  if (before !== undefined) return before;
  const bytes = encodeMessage(message);
  keepBytes(message, bytes);
  return bytes;
}

/** @param bytes what the message was read from; nobody alters them afterwards */
export function keepBytes(message: LedgerMessage, bytes: Uint8Array): void {
  if (message.kind === "CANDIDATE" || message.kind === "SEAL") known.set(message, bytes);
}
