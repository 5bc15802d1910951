/**
 * Writing and reading fixed-width big-endian fields; docs/ledger.md "Messages". The reader never
 * throws and never allocates for a length it has not checked: after the first fault it gives zeros,
 * and the caller asks `fault` once at the end.
 */
import type {
  BlockHash,
  Hash,
  NodeId,
  PublicKey,
  Signature,
  VrfBeta,
  VrfProof,
} from "./ledger-units.ts";
import { SIGNATURE_BYTES, VRF_PROOF_BYTES } from "./ledger-units.ts";
import { bytesOf } from "./sha256.ts";

export const CODEC_FAULTS = [
  "size",
  "length",
  "prefix",
  "type",
  "number",
  "flag",
  "count",
  "bitmap",
  "version",
  "binding",
  "trailing",
] as const;
export type CodecFault = (typeof CODEC_FAULTS)[number];

const FIRST_BYTES = 512;

/** Bytes are set one by one: a DataView on a small array makes it a slow one. */
export class ByteWriter {
  private bytes: Uint8Array;
  private end = 0;

  /** @param sizeBytes what is expected: more makes it grow */
  constructor(sizeBytes = FIRST_BYTES) {
    this.bytes = new Uint8Array(sizeBytes);
  }

  u8(value: number): void {
    const at = this.room(1);
    this.bytes[at] = value;
  }

  u16(value: number): void {
    const at = this.room(2);
    this.bytes[at] = value >>> 8;
    this.bytes[at + 1] = value;
  }

  u32(value: number): void {
    const at = this.room(4);
    this.bytes[at] = value >>> 24;
    this.bytes[at + 1] = value >>> 16;
    this.bytes[at + 2] = value >>> 8;
    this.bytes[at + 3] = value;
  }

  /** A safe integer in 8 bytes. */
  u64(value: number): void {
    this.u32(Math.floor(value / 2 ** 32));
    this.u32(value % 2 ** 32);
  }

  raw(bytes: Uint8Array): void {
    const at = this.room(bytes.length);
    this.bytes.set(bytes, at);
  }

  hex(text: string): void {
    this.raw(bytesOf(text));
  }

  /** Length in 4 bytes, then the bytes. */
  sized(bytes: Uint8Array): void {
    this.u32(bytes.length);
    this.raw(bytes);
  }

  flag(value: boolean): void {
    this.u8(value ? 1 : 0);
  }

  /** Once: the writer is over. */
  finish(): Uint8Array {
    return this.end === this.bytes.length ? this.bytes : this.bytes.slice(0, this.end);
  }

  /** Call before `bytes` is read: they may be others after. */
  private room(sizeBytes: number): number {
    const start = this.end;
    this.end += sizeBytes;
    if (this.end > this.bytes.length) {
      const grown = new Uint8Array(Math.max(this.end, 2 * start));
      grown.set(this.bytes.subarray(0, start));
      this.bytes = grown;
    }
    return start;
  }
}

export class ByteReader {
  fault: CodecFault | undefined;
  private at = 0;

  constructor(private readonly bytes: Uint8Array) {}

  get offset(): number {
    return this.at;
  }

  get left(): number {
    return this.bytes.length - this.at;
  }

  u8(): number {
    return this.has(1) ? this.next() : 0;
  }

  u16(): number {
    return this.has(2) ? this.next() * 2 ** 8 + this.next() : 0;
  }

  u32(): number {
    if (!this.has(4)) return 0;
    const high = this.next() * 2 ** 8 + this.next();
    return high * 2 ** 16 + this.next() * 2 ** 8 + this.next();
  }

  u64(): number {
    const value = this.u32() * 2 ** 32 + this.u32();
    if (Number.isSafeInteger(value)) return value;
    this.fail("number");
    return 0;
  }

  flag(): boolean {
    const value = this.u8();
    if (value > 1) this.fail("flag");
    return value === 1;
  }

  /** A copy, or zeros after a fault. `sizeBytes` is a constant of the format. */
  raw(sizeBytes: number): Uint8Array {
    if (!this.has(sizeBytes)) return new Uint8Array(sizeBytes);
    this.at += sizeBytes;
    return this.bytes.slice(this.at - sizeBytes, this.at);
  }

  hex(sizeBytes: number): string {
    return this.raw(sizeBytes).toHex();
  }

  /** What sized() wrote, at most `bytesMax` of it. */
  sized(bytesMax: number): Uint8Array {
    const sizeBytes = this.u32();
    if (sizeBytes > bytesMax) this.fail("length");
    return this.fault === undefined && this.has(sizeBytes)
      ? this.raw(sizeBytes)
      : new Uint8Array(0);
  }

  /** A list whose count stands in 2 bytes; stops at the first fault. */
  list<T>(countMax: number, read: () => T): T[] {
    const count = this.u16();
    if (count > countMax) this.fail("count");
    const items: T[] = [];
    for (let i = 0; i < count && this.fault === undefined; i++) items.push(read());
    return items;
  }

  hash(): Hash {
    return this.hex(32) as Hash;
  }

  blockHash(): BlockHash {
    return this.hex(32) as BlockHash;
  }

  nodeId(): NodeId {
    return this.hex(16) as NodeId;
  }

  publicKey(): PublicKey {
    return this.hex(33) as PublicKey;
  }

  beta(): VrfBeta {
    return this.hex(64) as VrfBeta;
  }

  signature(): Signature {
    return this.raw(SIGNATURE_BYTES) as Signature;
  }

  vrfProof(): VrfProof {
    return this.raw(VRF_PROOF_BYTES) as VrfProof;
  }

  /** Bytes past the last field are a fault. */
  end(): void {
    if (this.left !== 0) this.fail("trailing");
  }

  /** The first fault counts. */
  fail(fault: CodecFault): void {
    this.fault ??= fault;
  }

  /** On entry there is one. */
  private next(): number {
    return this.bytes[this.at++] ?? 0;
  }

  private has(sizeBytes: number): boolean {
    if (this.fault === undefined && sizeBytes <= this.left) return true;
    this.fail("length");
    return false;
  }
}

/** A list with its count in 2 bytes. */
export function writeList<T>(
  writer: ByteWriter,
  items: readonly T[],
  write: (item: T) => void,
): void {
  writer.u16(items.length);
  for (const item of items) write(item);
}
