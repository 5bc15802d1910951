/**
 * Ed25519 keys in OpenSSH's forms: the blob of the protocol (RFC 8709 §4), the line of
 * authorized_keys, the SHA256 fingerprint, and the private key file (PROTOCOL.key of OpenSSH), so
 * that `ssh -i` takes a key that we wrote. No other kind of key exists for us.
 */
import { createHash } from "node:crypto";
import { ed25519PublicKey } from "./ed25519.ts";

export const SSH_KEY_TYPE = "ssh-ed25519";
export const SSH_SEED_BYTES = 32;
const PUBLIC_BYTES = 32;
const BLOB_BYTES = 4 + SSH_KEY_TYPE.length + 4 + PUBLIC_BYTES;
const LINE_CHARACTERS_MAX = 1024;
/** Cipher blocks of `none`. */
const PADDING_BLOCK_BYTES = 8;
const PEM_COLUMNS = 70;
/** Behind magic, cipher, kdf, its options, count, blob, length, two numbers, blob and length. */
const SEED_OFFSET = 15 + 8 + 8 + 4 + 4 + (4 + BLOB_BYTES) + 4 + 8 + BLOB_BYTES + 4;

/** A public key as an administrator gives it. */
export type PublicLine = { readonly publicKey: Uint8Array; readonly comment: string };

export function sshPublicKey(seed: Uint8Array): Uint8Array {
  return ed25519PublicKey(seed);
}

/** What the protocol carries: the type's name and the key, each behind its length. */
export function blobOfKey(publicKey: Uint8Array): Uint8Array {
  return new Uint8Array(Buffer.concat([sshString(SSH_KEY_TYPE), sshString(publicKey)]));
}

/** The key of a blob; undefined for another kind of key, or none at all. */
export function keyOfBlob(blob: Uint8Array): Uint8Array | undefined {
  if (blob.length !== BLOB_BYTES) return undefined;
  const publicKey = blob.slice(BLOB_BYTES - PUBLIC_BYTES);
  return Buffer.compare(blobOfKey(publicKey), blob) === 0 ? publicKey : undefined;
}

/** As `ssh-keygen -l` prints it: `SHA256:` and 43 characters. */
export function fingerprintOf(publicKey: Uint8Array): string {
  const digest = createHash("sha256").update(blobOfKey(publicKey)).digest("base64");
  return `SHA256:${digest.replace(/=+$/, "")}`;
}

export function publicLineOf(publicKey: Uint8Array, comment: string): string {
  const blob = Buffer.from(blobOfKey(publicKey)).toString("base64");
  return `${SSH_KEY_TYPE} ${blob} ${comment}`.trim();
}

/** A line of a `.pub` file; undefined when it is no Ed25519 key. Options before it are refused. */
export function parsePublicLine(line: string): PublicLine | undefined {
  if (line.length > LINE_CHARACTERS_MAX) return undefined;
  const match = /^ssh-ed25519 +([A-Za-z0-9+/]+={0,2})(?: +([\x20-\x7e]*))?$/.exec(line.trim());
  if (match === null) return undefined;
  const publicKey = keyOfBlob(new Uint8Array(Buffer.from(match[1] ?? "", "base64")));
  return publicKey && { publicKey, comment: (match[2] ?? "").trim() };
}

/** The private key as OpenSSH keeps it, without a passphrase: the file's mode must guard it. */
export function privateKeyText(seed: Uint8Array, comment: string): string {
  const publicKey = sshPublicKey(seed);
  const blob = blobOfKey(publicKey);
  // Two equal numbers show a reader that it deciphered right; without a cipher any will do.
  const check = Buffer.alloc(8, 0x61);
  const secret = Buffer.concat([
    ...[check, blob, sshString(Buffer.concat([seed, publicKey])), sshString(comment)],
  ]);
  const missing = -secret.length & (PADDING_BLOCK_BYTES - 1);
  const padding = Buffer.from(Array.from({ length: missing }, (_, i) => i + 1));
  const whole = Buffer.concat([
    ...[Buffer.from("openssh-key-v1\0"), sshString("none"), sshString("none"), sshString("")],
    ...[Buffer.from([0, 0, 0, 1]), sshString(blob), sshString(Buffer.concat([secret, padding]))],
  ]);
  const lines = whole.toString("base64").match(new RegExp(`.{1,${PEM_COLUMNS}}`, "g")) ?? [];
  const name = "OPENSSH PRIVATE KEY";
  return [`-----BEGIN ${name}-----`, ...lines, `-----END ${name}-----`, ""].join("\n");
}

/** The seed of such a file, ours or ssh-keygen's; undefined: another kind, or with a passphrase. */
export function seedOfPrivateKey(text: string): Uint8Array | undefined {
  const body = /-----BEGIN OPENSSH PRIVATE KEY-----([\s\S]*)-----END/.exec(text)?.[1] ?? "";
  const bytes = new Uint8Array(Buffer.from(body, "base64"));
  const seed = bytes.slice(SEED_OFFSET, SEED_OFFSET + SSH_SEED_BYTES);
  if (seed.length !== SSH_SEED_BYTES) return undefined;
  // Everything in front has a fixed length; another kind of file has other bytes here.
  const publicKey = bytes.subarray(SEED_OFFSET + SSH_SEED_BYTES, SEED_OFFSET + 2 * SSH_SEED_BYTES);
  return Buffer.compare(sshPublicKey(seed), publicKey) === 0 ? seed : undefined;
}

function sshString(value: string | Uint8Array): Buffer {
  const bytes = Buffer.from(value as string);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}
