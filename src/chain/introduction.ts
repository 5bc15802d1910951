/**
 * What a node shows in the first payload of a peer channel: its signed certificate, and where it is
 * the master of a term that no block has recorded yet, the MASTER_TERM that makes it one.
 * docs/peer-channel.md "Connection". Canonical JSON. Who is let in is the role's to judge.
 */
import { canonicalJson, parseCanonical } from "./canonical-json.ts";
import {
  CERTIFICATE_BYTES_MAX,
  readSignedCertificate,
  type SignedCertificate,
  signedCertificateJson,
} from "./identity-certificate.ts";
import { JsonFields } from "./json-fields.ts";
import { decodeMessage, encodeMessage } from "./message-codec.ts";
import type { MasterTermMessage } from "./message-types.ts";

export type Introduction = {
  readonly signed: SignedCertificate;
  readonly masterTerm: MasterTermMessage | undefined;
};
export type IntroductionRead = Introduction | { readonly complaint: string };

/** Without a term the same bytes as the signed certificate's own. */
export function encodeIntroduction({ signed, masterTerm }: Introduction): Uint8Array {
  const term = masterTerm === undefined ? {} : { master_term: encodeMessage(masterTerm).toHex() };
  return canonicalJson({ ...signedCertificateJson(signed), ...term });
}

/** Any bytes give an introduction or a complaint. */
export function decodeIntroduction(bytes: Uint8Array): IntroductionRead {
  const json = parseCanonical(bytes, CERTIFICATE_BYTES_MAX);
  if ("fault" in json) return { complaint: json.fault };
  const fields = new JsonFields(json.value);
  const signed = readSignedCertificate(fields);
  let masterTerm: MasterTermMessage | undefined;
  if (fields.has("master_term")) {
    const read = decodeMessage(fields.bytes("master_term", CERTIFICATE_BYTES_MAX));
    if ("message" in read && read.message.kind === "MASTER_TERM") masterTerm = read.message;
    else fields.complain("master_term", "is no MASTER_TERM");
  }
  fields.end();
  return fields.complaint === undefined ? { signed, masterTerm } : { complaint: fields.complaint };
}
