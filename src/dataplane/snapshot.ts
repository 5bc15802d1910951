/**
 * Typed arrays by name as one block of bytes, and back without copying: how a compiled policy, the
 * peer list and the like cross into a worker over shared memory. Control plane; not a wire format.
 *
 * Little-endian. Header: magic u32, field count u32, total bytes u32, checksum u32 (FNV-1a over all
 * the rest). Then a row a field: name offset u32, name bytes u16, kind u16, data offset u32, data
 * bytes u32; then the names, then the data, each field at a multiple of 8 bytes.
 */
import { AbsError } from "../errors.ts";

const MAGIC = 0x53534241; // "ABSS"
const HEADER_BYTES = 16;
const CHECKSUM_WORD = 3;
const ROW_BYTES = 16;
const ALIGNMENT = 8;
const FIELDS_MAX = 4096;

const KINDS = [
  Uint8Array,
  Int8Array,
  Uint16Array,
  Int16Array,
  Uint32Array,
  Int32Array,
  Float32Array,
  Float64Array,
] as const;

export type SnapshotArray =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | Float64Array;

export type SnapshotFields = Record<string, SnapshotArray>;

/** The fields as one block. */
export function packSnapshot(fields: SnapshotFields): Uint8Array {
  const names = Object.keys(fields);
  if (names.length > FIELDS_MAX) throw invalid("it has too many fields");
  const encoded = names.map((name) => new TextEncoder().encode(name));
  let size = HEADER_BYTES + names.length * ROW_BYTES;
  for (const name of encoded) size += name.length;
  const dataOffsets: number[] = [];
  for (const name of names) {
    size = align(size);
    dataOffsets.push(size);
    size += fields[name].byteLength;
  }
  const block = new Uint8Array(align(size));
  const memory = new DataView(block.buffer);
  let nameOffset = HEADER_BYTES + names.length * ROW_BYTES;
  for (let i = 0; i < names.length; i++) {
    const array = fields[names[i]];
    const row = HEADER_BYTES + i * ROW_BYTES;
    memory.setUint32(row, nameOffset, true);
    memory.setUint16(row + 4, encoded[i].length, true);
    memory.setUint16(row + 6, kindOf(array), true);
    memory.setUint32(row + 8, dataOffsets[i], true);
    memory.setUint32(row + 12, array.byteLength, true);
    block.set(encoded[i], nameOffset);
    block.set(new Uint8Array(array.buffer, array.byteOffset, array.byteLength), dataOffsets[i]);
    nameOffset += encoded[i].length;
  }
  memory.setUint32(0, MAGIC, true);
  memory.setUint32(4, names.length, true);
  memory.setUint32(8, block.length, true);
  memory.setUint32(12, checksum(block), true);
  return block;
}

/**
 * Views of the fields of a block that begins at `byteOffset` (a multiple of 8) of `buffer`. They
 * share its memory. Throws SNAPSHOT_INVALID for anything that packSnapshot() did not write.
 */
export function unpackSnapshot(buffer: ArrayBufferLike, byteOffset: number): SnapshotFields {
  const available = buffer.byteLength - byteOffset;
  if (!(byteOffset >= 0) || byteOffset % ALIGNMENT !== 0) throw invalid("it is not aligned");
  if (available < HEADER_BYTES) throw invalid("it has no whole header");
  const memory = new DataView(buffer, byteOffset);
  if (memory.getUint32(0, true) !== MAGIC) throw invalid("its magic number is wrong");
  const count = memory.getUint32(4, true);
  const size = memory.getUint32(8, true);
  if (size < HEADER_BYTES || size % ALIGNMENT !== 0) throw invalid(`${size} bytes are no size`);
  if (size > available) throw invalid(`it says ${size} bytes, there are ${available}`);
  if (count > FIELDS_MAX || HEADER_BYTES + count * ROW_BYTES > size) {
    throw invalid(`it cannot hold ${count} fields`);
  }
  const block = new Uint8Array(buffer, byteOffset, size);
  if (memory.getUint32(12, true) !== checksum(block)) throw invalid("its checksum is wrong");
  const fields: SnapshotFields = Object.create(null);
  for (let i = 0; i < count; i++) readField(memory, block, HEADER_BYTES + i * ROW_BYTES, fields);
  return fields;
}

function readField(memory: DataView, block: Uint8Array, row: number, fields: SnapshotFields): void {
  const nameOffset = memory.getUint32(row, true);
  const nameBytes = memory.getUint16(row + 4, true);
  const kind = KINDS[memory.getUint16(row + 6, true)];
  const offset = memory.getUint32(row + 8, true);
  const sizeBytes = memory.getUint32(row + 12, true);
  if (kind === undefined) throw invalid("a field is of an unknown kind");
  if (nameOffset + nameBytes > block.length) throw invalid("a field's name lies outside");
  if (offset % ALIGNMENT !== 0 || sizeBytes % kind.BYTES_PER_ELEMENT !== 0) {
    throw invalid("a field is not aligned");
  }
  if (offset + sizeBytes > block.length) throw invalid("a field lies outside");
  // A copy of the name: TextDecoder does not take shared memory.
  const name = new TextDecoder().decode(block.slice(nameOffset, nameOffset + nameBytes));
  fields[name] = new kind(
    memory.buffer as ArrayBuffer,
    block.byteOffset + offset,
    sizeBytes / kind.BYTES_PER_ELEMENT,
  );
}

function kindOf(array: SnapshotArray): number {
  const kind = KINDS.findIndex((each) => array instanceof each);
  if (kind < 0) throw invalid("a field is no typed array of a known kind");
  return kind;
}

function align(size: number): number {
  return Math.ceil(size / ALIGNMENT) * ALIGNMENT;
}

/** FNV-1a over all 32-bit words but the checksum: against mistakes, not against attackers. */
function checksum(block: Uint8Array): number {
  const words = new Uint32Array(block.buffer, block.byteOffset, block.length >>> 2);
  let hash = 0x811c9dc5;
  for (let i = 0; i < words.length; i++) {
    if (i !== CHECKSUM_WORD) hash = Math.imul(hash ^ words[i], 0x01000193);
  }
  return (hash ^ block.length) >>> 0;
}

function invalid(why: string): AbsError {
  return new AbsError("SNAPSHOT_INVALID", `The snapshot is not usable: ${why}.`);
}
