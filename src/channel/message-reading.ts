/**
 * Bodies of the manager channel's frames: canonical JSON, the fields of each message read with
 * their types. docs/manager-channel.md "Messages". Any bytes give a message or a complaint.
 */
import { canonicalJson, type JsonObject, parseCanonical } from "../chain/canonical-json.ts";
import { JsonFields } from "../chain/json-fields.ts";
import type { ManagerFrame } from "../wire/manager-frame.ts";

export type MessageRead<T> = { readonly message: T } | { readonly complaint: string };

/** Types of frames with flag ENROLMENT. */
export const ENROLMENT = {
  begin: 1,
  challenge: 2,
  request: 3,
  certificate: 4,
  possession: 5,
  welcome: 6,
  refused: 7,
} as const;

/** Types of frames with flag UPDATE. */
export const UPDATE = {
  fetch: 1,
  state: 2,
  applied: 3,
  changed: 4,
  violations: 5,
  flows: 6,
  refused: 7,
  renew: 8,
  offer: 9,
  issued: 10,
  agreed: 11,
} as const;

export const NAME_CHARACTERS_MAX = 64;

export function readMessage<T>(
  body: Uint8Array,
  bytesMax: number,
  read: (fields: JsonFields) => T,
): MessageRead<T> {
  const json = parseCanonical(body, bytesMax);
  if ("fault" in json) return { complaint: json.fault };
  const fields = new JsonFields(json.value);
  const message = read(fields);
  fields.end();
  return fields.complaint === undefined ? { message } : { complaint: fields.complaint };
}

export function frameOf(flag: number, type: number, value: JsonObject): ManagerFrame {
  return { flag, type, body: canonicalJson(value) };
}

/** Why the manager does not do it: for people, and a code for scripts. */
export type Refused = { readonly code: string; readonly what: string; readonly remedy: string };

export function readRefused(fields: JsonFields): Refused {
  return {
    code: fields.text("code", NAME_CHARACTERS_MAX),
    what: fields.text("what", 1024),
    remedy: fields.has("remedy") ? fields.text("remedy", 1024) : "",
  };
}

export function refusedJson({ code, what, remedy }: Refused): JsonObject {
  return remedy === "" ? { code, what } : { code, what, remedy };
}
