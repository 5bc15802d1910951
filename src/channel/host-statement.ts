/**
 * The manager's word for its SSH host key. docs/manager-channel.md "Host key". A line before SSH
 * begins, signed by the manager's own key, which every agent and every token knows: so a host key
 * can be rotated, and who was away for years, or holds an old token, still knows the manager.
 */
import { ascii, fromHex, toHex } from "../bytes.ts";
import { canonicalJson } from "../chain/canonical-json.ts";
import type { Signer } from "../chain/crypto-interface.ts";
import type { PublicKey, Signature, SigningHash } from "../chain/ledger-units.ts";
import { taggedBytes } from "../chain/sha256.ts";
import { createLedgerCrypto } from "../node/ledger-crypto.ts";

const TAG = ascii("abs/host-key\0");
const LINE = /^abs-host-key ([0-9]{1,10}) ([0-9a-f]{128})\r?$/m;
/** Lines of a server that is no manager of ours may be long. */
const GREETING_CHARACTERS_MAX = 4096;

export type HostKeyWords = {
  /** Of the manager: its public secp256k1 key, hexadecimal. */
  readonly managerKey: string;
  /** UNIX seconds when it was drawn, so that an older one is known; of the first 0. */
  readonly seq: number;
  /** Ed25519, 32 bytes. */
  readonly hostPub: Uint8Array;
};

function statementHash({ managerKey, seq, hostPub }: HostKeyWords): SigningHash {
  const words = { manager: managerKey, seq, ssh_pub: toHex(hostPub) };
  return taggedBytes(TAG, canonicalJson(words)) as SigningHash;
}

/** The line; without its end. */
export function hostStatement(signer: Signer, words: Omit<HostKeyWords, "managerKey">): string {
  const hash = statementHash({ ...words, managerKey: signer.publicKey });
  return `abs-host-key ${words.seq} ${toHex(signer.sign(hash))}`;
}

/**
 * Which host key of the manager this is, by its own word; undefined: it is none.
 * @param greeting all lines that came before SSH's own, of anybody
 */
export function vouchedSeq(
  greeting: string,
  { managerKey, hostPub }: { readonly managerKey: Uint8Array; readonly hostPub: Uint8Array },
): number | undefined {
  const [, count, hex] = LINE.exec(greeting.slice(0, GREETING_CHARACTERS_MAX)) ?? [];
  const signature = fromHex(hex ?? "");
  if (count === undefined || signature === undefined) return undefined;
  const seq = Number(count);
  const publicKey = toHex(managerKey) as PublicKey;
  const hash = statementHash({ managerKey: publicKey, seq, hostPub });
  const check = { hash, signature: signature as Signature, publicKey };
  return createLedgerCrypto().signatures.verify(check) ? seq : undefined;
}
