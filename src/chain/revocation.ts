/**
 * A revocation by the master: a node that is let in by nobody from the moment this is heard, while
 * its NODE_REVOKE is still on the way into a block. docs/peer-channel.md "Revocations"; design
 * manager.md. Canonical JSON with the master's signature beside it. Committees are not its affair.
 */
import type { EpochSeconds } from "../units.ts";
import { canonicalJson, type JsonObject, parseCanonical } from "./canonical-json.ts";
import type { Signer, Verifier } from "./crypto-interface.ts";
import { JsonFields } from "./json-fields.ts";
import type { ChainId, NodeId, PublicKey, Signature, SigningHash } from "./ledger-units.ts";
import { nodeIdOf } from "./message-signing.ts";
import { TAG, taggedBytes } from "./sha256.ts";

export type Revocation = {
  readonly chainId: ChainId;
  readonly nodeId: NodeId;
  readonly reason: string;
  readonly at: EpochSeconds;
  /** Id of the master's key that signs it. */
  readonly issuer: NodeId;
};
export type SignedRevocation = { readonly revocation: Revocation; readonly signature: Signature };
export type RevocationsRead =
  | { readonly revocations: readonly SignedRevocation[] }
  | { readonly complaint: string };

const VERSION = 1;
const SECONDS_MAX = 2 ** 33;
export const REASON_CHARACTERS_MAX = 200;
/** Of one frame, and of one file: each is below 600 bytes. */
export const REVOCATIONS_MAX = 1024;

function revocationJson({ chainId, nodeId, reason, at, issuer }: Revocation): JsonObject {
  return { v: VERSION, chain_id: chainId, node_id: nodeId, reason, at, issuer };
}

function revocationHash(revocation: Revocation): SigningHash {
  return taggedBytes(TAG.revocation, canonicalJson(revocationJson(revocation))) as SigningHash;
}

export function signRevocation(
  master: Signer,
  words: Omit<Revocation, "issuer">,
): SignedRevocation {
  const revocation = { ...words, issuer: nodeIdOf(master.publicKey) };
  return { revocation, signature: master.sign(revocationHash(revocation)) };
}

/** Whether this master's key signed it. */
export function isRevocationBy(
  { revocation, signature }: SignedRevocation,
  publicKey: PublicKey,
  verifier: Verifier,
): boolean {
  if (revocation.issuer !== nodeIdOf(publicKey)) return false;
  return verifier.verify({ hash: revocationHash(revocation), signature, publicKey });
}

export function encodeRevocations(revocations: readonly SignedRevocation[]): Uint8Array {
  return canonicalJson({
    revocations: revocations.map(({ revocation, signature }) => ({
      revocation: revocationJson(revocation),
      signature: signature.toHex(),
    })),
  });
}

/** Any bytes give revocations or a complaint; signatures are read, not checked. */
export function decodeRevocations(bytes: Uint8Array): RevocationsRead {
  const json = parseCanonical(bytes);
  if ("fault" in json) return { complaint: json.fault };
  const fields = new JsonFields(json.value);
  const revocations = fields.list("revocations", REVOCATIONS_MAX).map((line, i) => {
    const part = new JsonFields(line, `revocations[${i}]`);
    const words = part.object("revocation");
    const revocation = readRevocation(words);
    part.close(words);
    const signature = part.signature("signature");
    fields.close(part);
    return { revocation, signature };
  });
  fields.end();
  return fields.complaint === undefined ? { revocations } : { complaint: fields.complaint };
}

function readRevocation(fields: JsonFields): Revocation {
  fields.integer("v", VERSION, VERSION);
  return {
    chainId: fields.hash("chain_id") as string as ChainId,
    nodeId: fields.nodeId("node_id"),
    reason: fields.text("reason", REASON_CHARACTERS_MAX),
    at: fields.integer("at", 0, SECONDS_MAX) as EpochSeconds,
    issuer: fields.nodeId("issuer"),
  };
}
