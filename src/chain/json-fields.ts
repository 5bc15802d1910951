/**
 * Reading the fields of a canonical JSON object of the ledger: each with its type, none unknown,
 * none missing. docs/ledger.md "JSON that is hashed". The first complaint is kept and zeros are
 * given after it, so that a schema reads like its table and asks once at the end. Never throws.
 */
import { isList, isObject, type JsonObject, type JsonValue } from "./canonical-json.ts";
import type { Hash, NodeId, PublicKey, ScId, Signature, VrfPublicKey } from "./ledger-units.ts";
import { NO_HASH, SIGNATURE_BYTES } from "./ledger-units.ts";
import { bytesOf } from "./sha256.ts";

const UUID_V4 = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

export class JsonFields {
  /** What is wrong first, as `lifetime.keyregen: a whole number from 0 …`. */
  complaint: string | undefined;
  private readonly fields: JsonObject;
  private readonly left: Set<string>;

  constructor(
    value: JsonValue | undefined,
    private readonly path = "",
  ) {
    this.fields = isObject(value) ? value : {};
    this.left = new Set(Object.keys(this.fields));
    if (!isObject(value)) this.complain("", "must be an object");
  }

  has(name: string): boolean {
    return this.left.has(name);
  }

  isText(name: string, text: string): boolean {
    return this.left.has(name) && this.fields[name] === text;
  }

  /** As it is, for a reader of its own; undefined: it is not there. */
  value(name: string): JsonValue | undefined {
    return this.take(name);
  }

  integer(name: string, min: number, max: number): number {
    const value = this.take(name);
    const isWhole = typeof value === "number" && Number.isSafeInteger(value);
    if (isWhole && value >= min && value <= max) return value;
    this.complain(name, `must be a whole number from ${min} to ${max}`);
    return min;
  }

  boolean(name: string): boolean {
    const value = this.take(name);
    if (typeof value === "boolean") return value;
    this.complain(name, "must be true or false");
    return false;
  }

  /** true or false, also as Fig. 6 prints them: in quotes. */
  paperBoolean(name: string): boolean {
    const value = this.take(name);
    if (value === true || value === "true") return true;
    if (value !== false && value !== "false") this.complain(name, "must be true or false");
    return false;
  }

  text(name: string, charactersMax: number): string {
    const value = this.take(name);
    if (typeof value === "string" && value.length > 0 && value.length <= charactersMax)
      return value;
    this.complain(name, `must be text of 1 to ${charactersMax} characters`);
    return "";
  }

  oneOf<T extends string>(name: string, words: readonly T[]): T {
    const value = this.take(name);
    const found = words.find((word) => word === value);
    if (found === undefined) this.complain(name, `must be one of ${words.join(", ")}`);
    return found ?? (words[0] as T);
  }

  list(name: string, countMax: number): readonly JsonValue[] {
    const value = this.take(name);
    if (value !== undefined && isList(value) && value.length <= countMax) return value;
    this.complain(name, `must be a list of at most ${countMax}`);
    return [];
  }

  /** Texts in ascending order, none twice: one list has one form. */
  sortedTexts(name: string, countMax: number, charactersMax: number): string[] {
    const items = this.list(name, countMax);
    const texts = items.filter((item): item is string => typeof item === "string");
    const isSorted = texts.every((text, i) => i === 0 || (texts[i - 1] ?? "") < text);
    const areShort = texts.every((text) => text.length > 0 && text.length <= charactersMax);
    if (texts.length !== items.length || !isSorted || !areShort) {
      this.complain(name, `must be texts of 1 to ${charactersMax} characters in ascending order`);
    }
    return texts;
  }

  object(name: string): JsonFields {
    return new JsonFields(this.take(name), this.pathOf(name));
  }

  /** Takes over the complaints of a part that was read whole. */
  close(part: JsonFields): void {
    part.end();
    this.complaint ??= part.complaint;
  }

  hash(name: string): Hash {
    return this.hex(name, 32) as Hash;
  }

  nodeId(name: string): NodeId {
    return this.hex(name, 16) as NodeId;
  }

  publicKey(name: string): PublicKey {
    return this.hex(name, 33) as PublicKey;
  }

  vrfKey(name: string): VrfPublicKey {
    return this.hex(name, 32) as VrfPublicKey;
  }

  signature(name: string): Signature {
    return bytesOf(this.hex(name, SIGNATURE_BYTES)) as Signature;
  }

  /** Exactly `sizeBytes` in lower case. */
  hex(name: string, sizeBytes: number): string {
    const value = this.take(name);
    if (typeof value === "string" && value.length === 2 * sizeBytes && isHex(value)) return value;
    this.complain(name, `must be ${2 * sizeBytes} lower-case hex digits`);
    return "0".repeat(2 * sizeBytes);
  }

  /** Up to `bytesMax` in lower case. */
  bytes(name: string, bytesMax: number): Uint8Array {
    const value = this.take(name);
    const isBytes = typeof value === "string" && value.length % 2 === 0 && isHex(value);
    if (isBytes && value.length <= 2 * bytesMax) return bytesOf(value);
    this.complain(name, `must be at most ${bytesMax} bytes in lower-case hex digits`);
    return new Uint8Array(0);
  }

  scId(name: string): ScId {
    const value = this.take(name);
    if (typeof value === "string" && UUID_V4.test(value)) return value as ScId;
    this.complain(name, "must be a lower-case UUID of version 4");
    return NO_HASH as string as ScId;
  }

  /** What was not asked for is unknown. */
  end(): void {
    const [unknown] = this.left;
    if (unknown !== undefined) this.complain(unknown, "is no field of this");
  }

  complain(name: string, what: string): void {
    this.complaint ??= `${this.pathOf(name)} ${what}`.trim();
  }

  private take(name: string): JsonValue | undefined {
    if (!this.left.delete(name)) return undefined;
    return this.fields[name];
  }

  private pathOf(name: string): string {
    const shown = name.slice(0, 64);
    return this.path === "" || shown === "" ? this.path + shown : `${this.path}.${shown}`;
  }
}

function isHex(text: string): boolean {
  return /^[0-9a-f]*$/.test(text);
}
