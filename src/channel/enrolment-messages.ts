/**
 * Messages of an enrolment. docs/manager-channel.md "Enrolment". Field names on the wire are those
 * of the identity certificate.
 */
import type { JsonObject } from "../chain/canonical-json.ts";
import {
  decodeSignedCertificate,
  encodeSignedCertificate,
  type SignedCertificate,
} from "../chain/identity-certificate.ts";
import type { JsonFields } from "../chain/json-fields.ts";
import type { Signature } from "../chain/ledger-units.ts";
import { NAME_CHARACTERS_MAX } from "./message-reading.ts";
import type { Challenge, KeyProofs, PublicKeys } from "./possession.ts";

/** Of what comes from who is hardly known yet. */
export const ENROLMENT_BODY_BYTES_MAX = 64 * 1024;
export const PROTOCOL_VERSION = 1;

const ADDRESSES_MAX = 16;
const MAC_CHARACTERS = 17;
const CAPABILITIES_MAX = 32;
const VCPU_MAX = 4096;
const RAM_MIB_MAX = 64 * 1024 * 1024;
const CARRIERS = ["ip", "udp"] as const;
const VRF_PROOF_BYTES = 80;
const CERTIFICATE_BYTES_MAX = 4096;

/** The machine of a new agent. */
export type AgentMachine = {
  /** Ascending. */
  readonly addresses: readonly string[];
  /** Of the interfaces that have them, as far as it knows; lower case, ascending. */
  readonly macs: readonly string[];
  readonly carrier: (typeof CARRIERS)[number];
  readonly peerPort: number;
  readonly vcpu: number;
  readonly ramMib: number;
  /** What its program can; ascending. */
  readonly capabilities: readonly string[];
};

export type EnrolmentRequest = { readonly keys: PublicKeys; readonly machine: AgentMachine };

/** Without proofs: what they are over. */
export function requestJson({ keys, machine }: EnrolmentRequest): JsonObject {
  return {
    v: PROTOCOL_VERSION,
    ...{ ledger_pub: keys.ledgerPub, session_pub: keys.sessionPub },
    ...{ ssh_pub: keys.sshPub, vrf_pub: keys.vrfPub },
    ...{ addresses: machine.addresses, macs: machine.macs },
    ...{ carrier: machine.carrier, peer_port: machine.peerPort },
    ...{ vcpu: machine.vcpu, ram_mib: machine.ramMib, capabilities: machine.capabilities },
  };
}

export function provenRequestJson(request: JsonObject, proofs: KeyProofs): JsonObject {
  const { ledger, vrf, session, ssh } = proofs;
  const hex = {
    ledger: ledger.toHex(),
    vrf: vrf.toHex(),
    session: session.toHex(),
    ssh: ssh.toHex(),
  };
  return { request, proofs: hex };
}

export function readProvenRequest(fields: JsonFields): {
  readonly request: EnrolmentRequest;
  readonly proofs: KeyProofs;
} {
  const part = fields.object("request");
  const request = readRequest(part);
  fields.close(part);
  const given = fields.object("proofs");
  const proofs: KeyProofs = {
    ledger: given.signature("ledger"),
    vrf: Uint8Array.fromHex(given.hex("vrf", VRF_PROOF_BYTES)),
    session: Uint8Array.fromHex(given.hex("session", 32)),
    ssh: Uint8Array.fromHex(given.hex("ssh", 64)),
  };
  fields.close(given);
  return { request, proofs };
}

function readRequest(fields: JsonFields): EnrolmentRequest {
  fields.integer("v", PROTOCOL_VERSION, PROTOCOL_VERSION);
  return {
    keys: {
      ledgerPub: fields.publicKey("ledger_pub"),
      sessionPub: fields.hex("session_pub", 32),
      sshPub: fields.hex("ssh_pub", 32),
      vrfPub: fields.vrfKey("vrf_pub"),
    },
    machine: {
      addresses: fields.sortedTexts("addresses", ADDRESSES_MAX, NAME_CHARACTERS_MAX),
      macs: fields.sortedTexts("macs", ADDRESSES_MAX, MAC_CHARACTERS),
      carrier: fields.oneOf("carrier", CARRIERS),
      peerPort: fields.integer("peer_port", 1, 65_535),
      vcpu: fields.integer("vcpu", 1, VCPU_MAX),
      ramMib: fields.integer("ram_mib", 1, RAM_MIB_MAX),
      capabilities: fields.sortedTexts("capabilities", CAPABILITIES_MAX, NAME_CHARACTERS_MAX),
    },
  };
}

export function readBegin(fields: JsonFields): number {
  return fields.integer("v", 1, 0xffff);
}

export function challengeJson({ nonce, sessionPub }: Challenge): JsonObject {
  return { nonce, session_pub: sessionPub };
}

export function readChallenge(fields: JsonFields): Challenge {
  return { nonce: fields.hex("nonce", 32), sessionPub: fields.hex("session_pub", 32) };
}

export function readPossession(fields: JsonFields): Signature {
  return fields.signature("possession");
}

/** What the manager issues: of an enrolment, and of a renewal. */
export function issuedJson(signed: SignedCertificate): JsonObject {
  return { signed: encodeSignedCertificate(signed).toHex() };
}

export function readIssued(fields: JsonFields): SignedCertificate {
  const read = decodeSignedCertificate(fields.bytes("signed", CERTIFICATE_BYTES_MAX));
  if ("signed" in read) return read.signed;
  fields.complain("signed", read.complaint);
  return undefined as never;
}
