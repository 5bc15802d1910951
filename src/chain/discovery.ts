/**
 * DISCOVERY: a node tells its peers who it is and who else is there (paper §3.6, design manager.md
 * "Life of an agent"). docs/peer-channel.md "Discovery". Certificates prove themselves, so they may
 * be passed on; `mode` is the sender's own and is not.
 */
import { canonicalJson, parseCanonical } from "./canonical-json.ts";
import {
  readSignedCertificate,
  type SignedCertificate,
  signedCertificateJson,
} from "./identity-certificate.ts";
import { JsonFields } from "./json-fields.ts";

export const AGENT_MODES = ["full", "quick"] as const;
export type AgentMode = (typeof AGENT_MODES)[number];

export type Discovery = {
  readonly certificates: readonly SignedCertificate[];
  /** Absent: the sender has no data plane. */
  readonly mode?: AgentMode;
};

/** Of one frame: with the longest certificates they fit. */
export const DISCOVERED_MAX = 128;

export function encodeDiscovery({ certificates, mode }: Discovery): Uint8Array {
  return canonicalJson({
    certificates: certificates.map(signedCertificateJson),
    ...(mode === undefined ? {} : { mode }),
  });
}

/** Any bytes give a discovery or a complaint; signatures are read, not checked. */
export function decodeDiscovery(bytes: Uint8Array): Discovery | { readonly complaint: string } {
  const json = parseCanonical(bytes);
  if ("fault" in json) return { complaint: json.fault };
  const fields = new JsonFields(json.value);
  const certificates = fields.list("certificates", DISCOVERED_MAX).map((line, i) => {
    const part = new JsonFields(line, `certificates[${i}]`);
    const signed = readSignedCertificate(part);
    fields.close(part);
    return signed;
  });
  const mode = fields.has("mode") ? { mode: fields.oneOf("mode", AGENT_MODES) } : {};
  fields.end();
  return fields.complaint === undefined
    ? { certificates, ...mode }
    : { complaint: fields.complaint };
}
