/**
 * The genesis file as JSON: docs/ledger.md "Genesis". What people write may have any order and
 * white space; what names the chain is its canonical form. Complaints name the field.
 */
import type { EpochSeconds } from "../units.ts";
import { canonicalJson, type JsonObject, parseJsonText } from "./canonical-json.ts";
import type { GenesisFile, GenesisMember } from "./genesis.ts";
import { JsonFields } from "./json-fields.ts";
import type { ChainId } from "./ledger-units.ts";
import { paramsJson, readParams } from "./record-schema.ts";
import { hashOf } from "./sha256.ts";
import { readResources } from "./stake.ts";

export type GenesisRead = { readonly file: GenesisFile } | { readonly complaint: string };

const SECONDS_MAX = 2 ** 33;
const TENANT_CHARACTERS_MAX = 64;
const MEMBERS_MAX = 10_000;

export function parseGenesis(bytes: Uint8Array): GenesisRead {
  const json = parseJsonText(bytes);
  if ("fault" in json) return { complaint: json.fault };
  const fields = new JsonFields(json.value);
  const file: GenesisFile = {
    tenant: fields.text("tenant", TENANT_CHARACTERS_MAX),
    timestamp: fields.integer("timestamp", 0, SECONDS_MAX) as EpochSeconds,
    masterPub: fields.publicKey("master_pub"),
    recoveryPub: fields.publicKey("recovery_pub"),
    params: readParams(fields, "params"),
    members: fields.list("members", MEMBERS_MAX).map((line, i) => {
      const part = new JsonFields(line, `members[${i}]`);
      const member = readMember(part);
      fields.close(part);
      return member;
    }),
  };
  fields.end();
  return fields.complaint === undefined ? { file } : { complaint: fields.complaint };
}

function readMember(fields: JsonFields): GenesisMember {
  return {
    ledgerPub: fields.publicKey("ledger_pub"),
    vrfPub: fields.vrfKey("vrf_pub"),
    certificate: fields.hash("certificate"),
    possession: fields.signature("possession"),
    ...readResources(fields),
  };
}

export function genesisJson(file: GenesisFile): JsonObject {
  return {
    tenant: file.tenant,
    timestamp: file.timestamp,
    master_pub: file.masterPub,
    recovery_pub: file.recoveryPub,
    params: paramsJson(file.params),
    members: file.members.map((member) => ({
      ledger_pub: member.ledgerPub,
      vrf_pub: member.vrfPub,
      certificate: member.certificate,
      possession: member.possession.toHex(),
      vcpu: member.vcpu,
      ram: member.ramMib,
      security_score: member.securityScore,
    })),
  };
}

/** The canonical file. */
export function encodeGenesis(file: GenesisFile): Uint8Array {
  return canonicalJson(genesisJson(file));
}

export function chainIdOf(file: GenesisFile): ChainId {
  return hashOf(encodeGenesis(file)) as string as ChainId;
}
