/**
 * Values in what the manager answers, each a JSON Schema. docs/api.md "Answers". One file of this
 * folder has the answers of one file of commands: the commands return them, the description of the
 * API shows them, the console reads them. An object may have more fields in a later version.
 */
import { type Static, type TSchema, Type } from "typebox";

/** From the year 10000 on with a sign and six digits (ECMA-262 §21.4.1.32.1). */
const MOMENT = "(\\+\\d\\d)?\\d{4}-\\d\\d-\\d\\dT[\\d:.]+Z";

/** Of a point in time: `2026-11-23T16:24:10.000Z`, or `otherwise` where there is none. */
export function moment(description: string, otherwise = "-") {
  return Type.String({ description, pattern: `^(${otherwise}|${MOMENT})$` });
}

export function said(description: string) {
  return Type.String({ description });
}

export function list<T extends TSchema>(items: T, description: string) {
  return Type.Unsafe<readonly Static<T>[]>({ type: "array", items, description });
}

/** Left out where there is none. */
export function maybeSaid(description: string) {
  return Type.Optional(Type.Unsafe<string | undefined>({ type: "string", description }));
}

export function texts(description: string) {
  return list(Type.String(), description);
}

export function count(description: string) {
  return Type.Integer({ minimum: 0, description });
}

export function flag(description: string) {
  return Type.Boolean({ description });
}

/** One of these words. */
export function word<const T extends readonly string[]>(values: T, description: string) {
  return Type.Unsafe<T[number]>({ type: "string", enum: values, description });
}

/** Bytes in hexadecimal. */
export function hex(description: string) {
  return Type.String({ description, pattern: "^([0-9a-f]{2})*$" });
}

export const tenantName = said("name of the tenant");
export const nodeId = Type.String({ description: "node id", pattern: "^[0-9a-f]{32}$" });
export const adminRole = word(["viewer", "operator", "administrator"], "each may more than before");

/** Of an SSH key, as `ssh-keygen -l` shows it. */
export function fingerprint(description: string) {
  return Type.String({ description, pattern: "^SHA256:[A-Za-z0-9+/]{43}$" });
}
