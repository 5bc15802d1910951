/**
 * Proof that a new agent holds the secret halves of its four keys. docs/manager-channel.md "Proofs
 * of possession". All are over one hash of everything that was said, with a word of their own in
 * front, so that no proof is good for another key, another manager, another try, or another
 * protocol. An X25519 key cannot sign: it shows the secret it shares with the manager's fresh key.
 */
import { createHmac } from "node:crypto";
import { ascii, equalBytes, fromHex, toHex } from "../bytes.ts";
import { canonicalJson, type JsonObject } from "../chain/canonical-json.ts";
import type { LedgerCrypto } from "../chain/crypto-interface.ts";
import type { PublicKey, Signature, SigningHash, VrfPublicKey } from "../chain/ledger-units.ts";
import { taggedBytes } from "../chain/sha256.ts";
import type { OwnKeys } from "../node/node-keys.ts";
import type { KeyPair } from "../session/x25519.ts";
import { ed25519Sign, ed25519Verify } from "../ssh/ed25519.ts";

const TAG = {
  enrolment: ascii("abs/enrol\0"),
  ledger: ascii("abs/enrol/ledger\0"),
  session: ascii("abs/enrol/session\0"),
  ssh: ascii("abs/enrol/ssh\0"),
  vrf: ascii("abs/enrol/vrf\0"),
};

/** What the manager asks, fresh each time; hexadecimal. */
export type Challenge = { readonly nonce: string; readonly sessionPub: string };

export type KeyProofs = {
  readonly ledger: Signature;
  readonly vrf: Uint8Array;
  readonly session: Uint8Array;
  readonly ssh: Uint8Array;
};

/** Whose public keys; hexadecimal. */
export type PublicKeys = {
  readonly ledgerPub: PublicKey;
  readonly sessionPub: string;
  readonly sshPub: string;
  readonly vrfPub: VrfPublicKey;
};

export function publicKeysOf(keys: OwnKeys): PublicKeys {
  return {
    ledgerPub: keys.ledger.signer.publicKey,
    sessionPub: Buffer.from(keys.session.publicKey).toString("hex"),
    sshPub: keys.sshPub,
    vrfPub: keys.ledger.vrf.publicKey,
  };
}

/** Everything that the proofs are about. */
export type Transcript = {
  readonly managerKey: PublicKey;
  readonly tokenPub: string;
  readonly challenge: Challenge;
  /** The request without its proofs. */
  readonly request: JsonObject;
};

function transcriptHash({ managerKey, tokenPub, challenge, request }: Transcript): Uint8Array {
  const { nonce, sessionPub } = challenge;
  const words = { manager: managerKey, token_pub: tokenPub, nonce, session_pub: sessionPub };
  return taggedBytes(TAG.enrolment, canonicalJson({ ...words, request }));
}

/** @returns undefined when the challenge's key is no key */
export function proveKeys(
  keys: OwnKeys,
  sshSeed: Uint8Array,
  transcript: Transcript,
): KeyProofs | undefined {
  const hash = transcriptHash(transcript);
  const shared = keys.session.agree(bytesOf(transcript.challenge.sessionPub));
  if (shared === undefined) return undefined;
  return {
    ledger: keys.ledger.signer.sign(taggedBytes(TAG.ledger, hash) as SigningHash),
    vrf: keys.ledger.vrf.prove(taggedBytes(TAG.vrf, hash)),
    session: sharedProof(TAG.session, shared, hash),
    ssh: ed25519Sign(sshSeed, taggedBytes(TAG.ssh, hash)),
  };
}

/** The first key that is not proven, or undefined when all are. */
export function unprovenKey(
  keys: PublicKeys,
  proofs: KeyProofs,
  transcript: Transcript,
  by: { readonly challengeKey: KeyPair; readonly crypto: LedgerCrypto },
): "ledger" | "vrf" | "session" | "ssh" | undefined {
  const hash = transcriptHash(transcript);
  const { signatures, vrf } = by.crypto;
  const ledgerCheck = {
    ...{ hash: taggedBytes(TAG.ledger, hash) as SigningHash, signature: proofs.ledger },
    publicKey: keys.ledgerPub,
  };
  if (!signatures.isPublicKey(keys.ledgerPub) || !signatures.verify(ledgerCheck)) return "ledger";
  const isVrf = vrf.verify(keys.vrfPub, taggedBytes(TAG.vrf, hash), proofs.vrf as never);
  if (isVrf === undefined) return "vrf";
  const shared = by.challengeKey.agree(bytesOf(keys.sessionPub));
  if (shared === undefined || !equalBytes(sharedProof(TAG.session, shared, hash), proofs.session)) {
    return "session";
  }
  const isSsh = ed25519Verify(bytesOf(keys.sshPub), taggedBytes(TAG.ssh, hash), proofs.ssh);
  return isSsh ? undefined : "ssh";
}

/** That whoever says this shares a secret of X25519 with the other side. */
export function sharedProof(tag: Uint8Array, shared: Uint8Array, hash: Uint8Array): Uint8Array {
  const key = taggedBytes(tag, shared);
  return new Uint8Array(createHmac("sha256", key).update(hash).digest());
}

/** A fresh key for one challenge. */
export function challengeOf(nonce: Uint8Array, key: KeyPair): Challenge {
  return { nonce: toHex(nonce), sessionPub: toHex(key.publicKey) };
}

function bytesOf(hex: string): Uint8Array {
  return fromHex(hex) ?? new Uint8Array(0);
}
