/**
 * Identity certificates: who a node is, and under which keys (design/manager.md). docs/ledger.md
 * "Identity certificates". Canonical JSON; its SHA-256 is what NODE_ADD, KEY_ROTATE and the genesis
 * file commit to, its issuer's signature travels beside it. Who may be let in by one is the
 * role's to judge; nothing here looks at a clock.
 */
import type { EpochSeconds } from "../units.ts";
import { canonicalJson, type JsonObject, parseCanonical } from "./canonical-json.ts";
import type { Signer, Verifier } from "./crypto-interface.ts";
import { JsonFields } from "./json-fields.ts";
import type {
  ChainId,
  Hash,
  NodeId,
  PublicKey,
  Signature,
  SigningHash,
  VrfPublicKey,
} from "./ledger-units.ts";
import { nodeIdOf } from "./message-signing.ts";
import { hashOf, TAG, taggedBytes } from "./sha256.ts";

export const NODE_ROLES = ["agent", "master", "validator"] as const;
/** With its signature: it fits the first message of a peer channel. */
export const CERTIFICATE_BYTES_MAX = 4096;

export type IdentityCertificate = {
  /** 64 zeros in those of the genesis file's members: the chain has no name yet. */
  readonly chainId: ChainId;
  readonly nodeId: NodeId;
  readonly tenant: string;
  /** Ascending. */
  readonly roles: readonly string[];
  readonly ledgerPub: PublicKey;
  /** X25519, hexadecimal: of sessions and of the peer channel. */
  readonly sessionPub: string;
  /** Ed25519, hexadecimal. */
  readonly sshPub: string;
  readonly vrfPub: VrfPublicKey;
  /** Where the node is reached; addresses or names. */
  readonly addresses: readonly string[];
  readonly applicationTags: readonly string[];
  readonly carrier: string;
  readonly peerPort: number;
  readonly seq: number;
  readonly notBefore: EpochSeconds;
  readonly notAfter: EpochSeconds;
  /** Id of the master's key that signs it. */
  readonly issuer: NodeId;
};

export type SignedCertificate = {
  readonly certificate: IdentityCertificate;
  readonly signature: Signature;
};
export type CertificateRead =
  | { readonly signed: SignedCertificate }
  | { readonly complaint: string };

const VERSION = 1;
const SECONDS_MAX = 2 ** 33;
const COUNT_MAX = 2 ** 32 - 1;
const NAME_CHARACTERS_MAX = 64;
const ITEMS_MAX = 16;
const PORT_MAX = 0xffff;
const CARRIERS = ["ip", "udp"] as const;

export function certificateJson(certificate: IdentityCertificate): JsonObject {
  return {
    v: VERSION,
    chain_id: certificate.chainId,
    node_id: certificate.nodeId,
    tenant: certificate.tenant,
    roles: certificate.roles,
    ledger_pub: certificate.ledgerPub,
    session_pub: certificate.sessionPub,
    ssh_pub: certificate.sshPub,
    vrf_pub: certificate.vrfPub,
    addresses: certificate.addresses,
    application_tags: certificate.applicationTags,
    carrier: certificate.carrier,
    peer_port: certificate.peerPort,
    seq: certificate.seq,
    not_before: certificate.notBefore,
    not_after: certificate.notAfter,
    issuer: certificate.issuer,
  };
}

/** What the ledger commits to. */
export function certificateHash(certificate: IdentityCertificate): Hash {
  return hashOf(canonicalJson(certificateJson(certificate)));
}

export function signCertificate(
  certificate: IdentityCertificate,
  issuer: Signer,
): SignedCertificate {
  return { certificate, signature: issuer.sign(issuedHash(certificate)) };
}

export function isIssuedBy(
  { certificate, signature }: SignedCertificate,
  publicKey: PublicKey,
  verifier: Verifier,
): boolean {
  if (certificate.issuer !== nodeIdOf(publicKey)) return false;
  return verifier.verify({ hash: issuedHash(certificate), signature, publicKey });
}

function issuedHash(certificate: IdentityCertificate): SigningHash {
  return taggedBytes(TAG.identity, canonicalJson(certificateJson(certificate))) as SigningHash;
}

export function signedCertificateJson({ certificate, signature }: SignedCertificate): JsonObject {
  return { certificate: certificateJson(certificate), signature: signature.toHex() };
}

export function encodeSignedCertificate(signed: SignedCertificate): Uint8Array {
  return canonicalJson(signedCertificateJson(signed));
}

/** Any bytes give a certificate or a complaint. */
export function decodeSignedCertificate(bytes: Uint8Array): CertificateRead {
  const json = parseCanonical(bytes, CERTIFICATE_BYTES_MAX);
  if ("fault" in json) return { complaint: json.fault };
  const fields = new JsonFields(json.value);
  const signed = readSignedCertificate(fields);
  fields.end();
  return fields.complaint === undefined ? { signed } : { complaint: fields.complaint };
}

/** The two fields of a signed certificate, among others perhaps. */
export function readSignedCertificate(fields: JsonFields): SignedCertificate {
  const part = fields.object("certificate");
  const certificate = readCertificate(part);
  fields.close(part);
  return { certificate, signature: fields.signature("signature") };
}

function readCertificate(fields: JsonFields): IdentityCertificate {
  fields.integer("v", VERSION, VERSION);
  return {
    chainId: fields.hash("chain_id") as string as ChainId,
    nodeId: fields.nodeId("node_id"),
    tenant: fields.text("tenant", NAME_CHARACTERS_MAX),
    roles: fields.sortedTexts("roles", NODE_ROLES.length, NAME_CHARACTERS_MAX),
    ledgerPub: fields.publicKey("ledger_pub"),
    sessionPub: fields.hex("session_pub", 32),
    sshPub: fields.hex("ssh_pub", 32),
    vrfPub: fields.vrfKey("vrf_pub"),
    addresses: fields.sortedTexts("addresses", ITEMS_MAX, NAME_CHARACTERS_MAX),
    applicationTags: fields.sortedTexts("application_tags", ITEMS_MAX, NAME_CHARACTERS_MAX),
    carrier: fields.oneOf("carrier", CARRIERS),
    peerPort: fields.integer("peer_port", 1, PORT_MAX),
    seq: fields.integer("seq", 0, COUNT_MAX),
    notBefore: fields.integer("not_before", 0, SECONDS_MAX) as EpochSeconds,
    notAfter: fields.integer("not_after", 0, SECONDS_MAX) as EpochSeconds,
    issuer: fields.nodeId("issuer"),
  };
}
