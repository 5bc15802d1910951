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

/** Keys of a ledger's members, masters among them; then it begins anew. */
const IDS_MAX = 4096;
const ids = new Map<PublicKey, NodeId>();

/** node_id: from a node's first ledger key; likewise for master and recovery keys. */
export function nodeIdOf(publicKey: PublicKey): NodeId {
  const known = ids.get(publicKey);
  if (known !== undefined) return known;
  const nodeId = sha256(bytesOf(publicKey)).toHex().slice(0, 32) as NodeId;
  if (ids.size >= IDS_MAX) ids.clear();
  ids.set(publicKey, nodeId);
  return nodeId;
}

export function signingHash(message: SignedMessage | Draft): SigningHash {
  return sha256(signedPart(message)) as SigningHash;
}

/** By message, which nobody changes once it is made: hashed once, however often it is checked. */
const hashes = new WeakMap<SignedMessage, SigningHash>();

function hashOf(message: SignedMessage): SigningHash {
  const known = hashes.get(message);
  if (known !== undefined) return known;
  const hash = signingHash(message);
  hashes.set(message, hash);
  return hash;
}

/** The message with its owner's signature. */
export function signMessage<M extends SignedMessage>(signer: Signer, draft: Draft<M>): M {
  const hash = signingHash(draft as Draft);
  return { ...draft, signature: signer.sign(hash) } as unknown as M;
}

/** What to give a Verifier for a message said to be by the owner of this key. */
export function checkOf(message: SignedMessage, publicKey: PublicKey): SignatureCheck {
  return { hash: hashOf(message), signature: message.signature, publicKey };
}
