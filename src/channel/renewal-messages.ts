/**
 * Messages of a renewal: an agent gets new keys of the kinds that the manager asks for, and a new
 * identity certificate over them and the others. docs/manager-channel.md "Renewal". The ledger key
 * that is in use signs the offer, and each new key proves itself over everything that it is good
 * for.
 */
import { ascii, equalBytes, fromHex, toHex } from "../bytes.ts";
import { canonicalJson, type JsonObject } from "../chain/canonical-json.ts";
import type { LedgerCrypto, NodeKeys, Signer } from "../chain/crypto-interface.ts";
import { certificateHash, type IdentityCertificate } from "../chain/identity-certificate.ts";
import type { JsonFields } from "../chain/json-fields.ts";
import type { PublicKey, Signature, SigningHash, VrfProof } from "../chain/ledger-units.ts";
import { rotationHash } from "../chain/registration.ts";
import { taggedBytes } from "../chain/sha256.ts";
import type { KeyPair } from "../session/x25519.ts";
import { ed25519Sign, ed25519Verify } from "../ssh/ed25519.ts";
import { sshPublicKey } from "../ssh/ssh-keys.ts";
import { type PublicKeys, sharedProof } from "./possession.ts";

/** `ledger`: the VRF key goes with it. */
export const KEY_KINDS = ["ledger", "session", "ssh"] as const;
export type KeyKind = (typeof KEY_KINDS)[number];

const TAG = {
  offer: ascii("abs/renew\0"),
  by: ascii("abs/renew/by\0"),
  ledger: ascii("abs/renew/ledger\0"),
  vrf: ascii("abs/renew/vrf\0"),
  session: ascii("abs/renew/session\0"),
  ssh: ascii("abs/renew/ssh\0"),
};
const KEY_BYTES = 32;
const SIGNATURE_BYTES = 64;
const VRF_PROOF_BYTES = 80;

/** What the manager asks for. */
export type RenewalWish = {
  readonly kinds: readonly KeyKind[];
  /** With a session key: the manager's X25519 key that it proves itself to, hexadecimal. */
  readonly challenge?: string | undefined;
};

export function renewJson({ kinds, challenge }: RenewalWish): JsonObject {
  const isSession = kinds.includes("session") && challenge !== undefined;
  return { kinds: [...kinds].sort(), ...(isSession ? { session_pub: challenge } : {}) };
}

export function readRenew(fields: JsonFields): RenewalWish {
  const kinds = readKinds(fields);
  if (!kinds.includes("session")) return { kinds };
  return { kinds, challenge: fields.hex("session_pub", KEY_BYTES) };
}

/** At least one. */
function readKinds(fields: JsonFields): readonly KeyKind[] {
  const kinds = fields.sortedTexts("kinds", KEY_KINDS.length, 16);
  const isKnown = kinds.every((kind) => (KEY_KINDS as readonly string[]).includes(kind));
  if (kinds.length === 0 || !isKnown)
    fields.complain("kinds", `must be of ${KEY_KINDS.join(", ")}`);
  return kinds as readonly KeyKind[];
}

/** What the agent holds of the keys that come next. */
export type NextKeys = {
  readonly ledger?: NodeKeys;
  readonly session?: KeyPair;
  readonly sshSeed?: Uint8Array;
};

/** New public keys, hexadecimal: those of the kinds that were asked for. */
export type OfferedKeys = Partial<PublicKeys>;

export type KeyOffer = {
  readonly keys: OfferedKeys;
  readonly proofs: {
    readonly ledger?: Signature;
    readonly vrf?: VrfProof;
    readonly session?: Uint8Array;
    readonly ssh?: Uint8Array;
  };
  /** The present ledger key's. */
  readonly signature: Signature;
};

/** Whom an offer is for, and from, and of RenewalWish; hexadecimal. */
export type OfferWords = {
  readonly managerKey: string;
  readonly nodeId: string;
  readonly challenge?: string | undefined;
};

function keysJson({ ledgerPub, vrfPub, sessionPub, sshPub }: OfferedKeys): JsonObject {
  return {
    ...(ledgerPub === undefined ? {} : { ledger_pub: ledgerPub }),
    ...(sessionPub === undefined ? {} : { session_pub: sessionPub }),
    ...(sshPub === undefined ? {} : { ssh_pub: sshPub }),
    ...(vrfPub === undefined ? {} : { vrf_pub: vrfPub }),
  };
}

function offerHash({ managerKey, nodeId, challenge }: OfferWords, keys: OfferedKeys): Uint8Array {
  const words = {
    ...{ manager: managerKey, node_id: nodeId, keys: keysJson(keys) },
    ...(keys.sessionPub === undefined ? {} : { session_pub: challenge ?? "" }),
  };
  return taggedBytes(TAG.offer, canonicalJson(words));
}

const signed = (tag: Uint8Array, hash: Uint8Array) => taggedBytes(tag, hash) as SigningHash;

/** @param by the ledger key in use */
export function offerJson(
  { ledger, session, sshSeed }: NextKeys,
  words: OfferWords,
  by: Signer,
): JsonObject {
  const keys: OfferedKeys = {
    ...(ledger && { ledgerPub: ledger.signer.publicKey, vrfPub: ledger.vrf.publicKey }),
    ...(session && { sessionPub: toHex(session.publicKey) }),
    ...(sshSeed && { sshPub: sshPublicKey(sshSeed).toHex() }),
  };
  const hash = offerHash(words, keys);
  const proofs = {
    ...(ledger && {
      ledger: ledger.signer.sign(signed(TAG.ledger, hash)).toHex(),
      vrf: ledger.vrf.prove(taggedBytes(TAG.vrf, hash)).toHex(),
    }),
    ...(session && { session: sessionProof(session, words.challenge, hash).toHex() }),
    ...(sshSeed && { ssh: ed25519Sign(sshSeed, taggedBytes(TAG.ssh, hash)).toHex() }),
  };
  return { keys: keysJson(keys), proofs, signature: by.sign(signed(TAG.by, hash)).toHex() };
}

/** An X25519 key cannot sign: it shows that it shares a secret with the manager's key. */
function sessionProof(own: KeyPair, other: string | undefined, hash: Uint8Array): Uint8Array {
  const shared = own.agree(bytesOf(other ?? ""));
  return shared === undefined ? new Uint8Array(KEY_BYTES) : sharedProof(TAG.session, shared, hash);
}

export function readOffer(fields: JsonFields): KeyOffer {
  const keys = fields.object("keys");
  const proofs = fields.object("proofs");
  const hasLedger = keys.has("ledger_pub");
  const hasSession = keys.has("session_pub");
  const hasSsh = keys.has("ssh_pub");
  const offer: KeyOffer = {
    keys: {
      ...(hasLedger && { ledgerPub: keys.publicKey("ledger_pub"), vrfPub: keys.vrfKey("vrf_pub") }),
      ...(hasSession && { sessionPub: keys.hex("session_pub", KEY_BYTES) }),
      ...(hasSsh && { sshPub: keys.hex("ssh_pub", KEY_BYTES) }),
    },
    proofs: {
      ...(hasLedger && {
        ledger: proofs.signature("ledger"),
        vrf: bytesOf(proofs.hex("vrf", VRF_PROOF_BYTES)) as VrfProof,
      }),
      ...(hasSession && { session: bytesOf(proofs.hex("session", KEY_BYTES)) }),
      ...(hasSsh && { ssh: bytesOf(proofs.hex("ssh", SIGNATURE_BYTES)) }),
    },
    signature: fields.signature("signature"),
  };
  fields.close(keys);
  fields.close(proofs);
  return offer;
}

/** Whether it has keys of these kinds, and of no others. */
export function isOfKinds({ keys }: KeyOffer, kinds: readonly KeyKind[]): boolean {
  const offered = { ledger: keys.ledgerPub, session: keys.sessionPub, ssh: keys.sshPub };
  return KEY_KINDS.every((kind) => (offered[kind] !== undefined) === kinds.includes(kind));
}

/** The first key that does not prove itself, or undefined. */
export function unprovenOffer(
  { keys, proofs, signature }: KeyOffer,
  words: OfferWords & {
    /** In use now. */
    readonly ledgerPub: PublicKey;
    /** Its public half is what the challenge was. */
    readonly challengeKey: KeyPair;
  },
  { signatures, vrf }: LedgerCrypto,
): "present ledger" | "ledger" | "vrf" | "session" | "ssh" | undefined {
  const hash = offerHash(words, keys);
  const isBy = (tag: Uint8Array, by: PublicKey, proof: Signature | undefined): boolean =>
    proof !== undefined &&
    signatures.verify({ hash: signed(tag, hash), signature: proof, publicKey: by });
  if (!isBy(TAG.by, words.ledgerPub, signature)) return "present ledger";
  const { ledgerPub, vrfPub, sessionPub, sshPub } = keys;
  if (ledgerPub !== undefined) {
    const isKey = signatures.isPublicKey(ledgerPub);
    if (!isKey || !isBy(TAG.ledger, ledgerPub, proofs.ledger)) return "ledger";
  }
  if (vrfPub !== undefined) {
    const { vrf: proof } = proofs;
    const alpha = taggedBytes(TAG.vrf, hash);
    if (proof === undefined || vrf.verify(vrfPub, alpha, proof) === undefined) return "vrf";
  }
  if (sessionPub !== undefined) {
    const { session: proof = new Uint8Array(0) } = proofs;
    const isShared = words.challengeKey.agree(bytesOf(sessionPub)) !== undefined;
    const right = sessionProof(words.challengeKey, sessionPub, hash);
    if (!isShared || !equalBytes(right, proof)) return "session";
  }
  if (sshPub === undefined) return undefined;
  const { ssh = new Uint8Array(0) } = proofs;
  return ed25519Verify(bytesOf(sshPub), taggedBytes(TAG.ssh, hash), ssh) ? undefined : "ssh";
}

/** What the ledger keys sign for KEY_ROTATE: the renewed certificate, and the keys in it. */
export function renewalHash(certificate: IdentityCertificate): SigningHash {
  const { chainId, nodeId, seq } = certificate;
  const words = { ...certificate, certificate: certificateHash(certificate) };
  return rotationHash(chainId, nodeId, seq, words);
}

/** Of KEY_ROTATE: by the ledger key before it, and by the one in the certificate. */
export type Agreement = { readonly oldSignature: Signature; readonly newSignature: Signature };

export function agreedJson(certificate: IdentityCertificate, before: Signer, after: Signer) {
  const hash = renewalHash(certificate);
  return {
    old_signature: before.sign(hash).toHex(),
    new_signature: after.sign(hash).toHex(),
  };
}

export function readAgreed(fields: JsonFields): Agreement {
  return {
    oldSignature: fields.signature("old_signature"),
    newSignature: fields.signature("new_signature"),
  };
}

function bytesOf(hex: string): Uint8Array {
  return fromHex(hex) ?? new Uint8Array(0);
}
