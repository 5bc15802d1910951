/**
 * Signing messages and checking who signed them. docs/ledger.md "Signatures": ECDSA over the
 * SHA-256 of header and body. Which key an id has at a height is the caller's knowledge
 * (member.ts).
 */
import type { SignatureCheck, Signer } from "./crypto-interface.ts";
import type { NodeId, PublicKey, SigningHash } from "./ledger-units.ts";
import { signedPart } from "./message-codec.ts";
import type { Draft, SignedMessage } from "./message-types.ts";
import { bytesOf, sha256 } from "./sha256.ts";

/** node_id: from a node's first ledger key; likewise for master and recovery keys. */
export function nodeIdOf(publicKey: PublicKey): NodeId {
  return sha256(bytesOf(publicKey)).toHex().slice(0, 32) as NodeId;
}

export function signingHash(message: SignedMessage | Draft): SigningHash {
  return sha256(signedPart(message)) as SigningHash;
}

/** The message with its owner's signature. */
export function signMessage<M extends SignedMessage>(signer: Signer, draft: Draft<M>): M {
  const signature = signer.sign(signingHash(draft as Draft));
  return { ...draft, signature } as unknown as M;
}

/** What to give a Verifier for a message said to be by the owner of this key. */
export function checkOf(message: SignedMessage, publicKey: PublicKey): SignatureCheck {
  return { hash: signingHash(message), signature: message.signature, publicKey };
}
