/**
 * Flows that outlive their process: the records of a flow table in a mapped file, so that a killed
 * agent's successor goes on with the verdicts of allowed flows. docs/wire.md "HANDSHAKE": verdicts
 * live in a mapped file and are reused when 5-tuple and node agree. For flow-table.ts; not on the
 * hot path.
 *
 * The file is sparse: a header page, then FLOW_BYTES a record. It belongs on a tmpfs (/run): flows
 * do not outlive a boot, and write-back to a disk would stall the worker. The caller's digest
 * covers what the records' numbers mean (provisioning: peers, tags, rules) and the boot id; another
 * digest, and everything is dropped. A hostile or corrupt file costs the flows, with a reason,
 * never more: every field is checked, only `allowed` flows are kept, and each begins without a
 * binding.
 */
import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  ftruncateSync,
  openSync,
  writeSync,
} from "node:fs";
import { AbsError, assert } from "../errors.ts";
import * as record from "./flow-record.ts";
import { FlowTable } from "./flow-table.ts";

export const FLOW_FILE_HEADER_BYTES = 4096;
export const FLOW_DIGEST_BYTES = 32;
const MAGIC = 0x46534241; // "ABSF"
const VERSION = 1;
/** Words of the header. */
const H_MAGIC = 0;
const H_VERSION = 1;
const H_CAPACITY = 2;
const H_RECORD_BYTES = 3;
const H_DIGEST = 4;

type Key = [number, number, number, number, number, number, number, number, number, number];

/** What the records may name: every number is one more than the greatest. */
export interface FlowLimits {
  readonly peers: number;
  readonly pairs: number;
  readonly tags: number;
  readonly rules: number;
}

export interface FlowFileOptions {
  readonly path: string;
  readonly capacity: number;
  /** FLOW_DIGEST_BYTES over provisioning and boot id. */
  readonly digest: Uint8Array;
  readonly limits: FlowLimits;
  /** Seconds of the monotonic clock; a flow seen later than this is of another boot. */
  readonly nowSeconds: number;
}

export interface FlowFile {
  readonly flows: FlowTable;
  /** Allowed flows taken over. */
  readonly restored: number;
  /** Records that were in use and are not taken over. */
  readonly dropped: number;
  /** Why the file's content as a whole was ignored; empty when it was used, or when it had none. */
  readonly ignored: string;
}

/** Opens or makes the file, and a table over it with the flows that may go on. */
export function openFlowFile(options: FlowFileOptions): FlowFile {
  assert(options.digest.length === FLOW_DIGEST_BYTES, "a flow file's digest is 32 bytes");
  const sizeBytes = FLOW_FILE_HEADER_BYTES + options.capacity * record.FLOW_BYTES;
  const memory = mapFile(options.path, sizeBytes);
  const header = new Uint32Array(memory.buffer, memory.byteOffset, FLOW_FILE_HEADER_BYTES / 4);
  const isNew = header[H_MAGIC] === 0;
  const ignored = isNew ? "" : refuseHeader(header, options);
  const flows = new FlowTable(options.capacity, memory.subarray(FLOW_FILE_HEADER_BYTES, sizeBytes));
  const used = usedRecords(flows.words);
  const dropped = !isNew && ignored === "" ? restoreFlows(flows, used, options) : 0;
  const restored = flows.count;
  flows.words.fill(0, restored * record.FLOW_WORDS, used * record.FLOW_WORDS);
  writeHeader(header, options);
  return { flows, restored, dropped, ignored };
}

/** Writes another digest into a file in use: its numbers mean something else from now on. */
export function writeFlowDigest(path: string, digest: Uint8Array): void {
  assert(digest.length === FLOW_DIGEST_BYTES, "a flow file's digest is 32 bytes");
  const file = openSync(path, constants.O_WRONLY | constants.O_NOFOLLOW);
  try {
    writeSync(file, digest, 0, digest.length, 4 * H_DIGEST);
  } finally {
    closeSync(file);
  }
}

/** The records of a file that another thread has opened with openFlowFile(), for looking at. */
export function mapFlowRecords(path: string, capacity: number): Uint32Array {
  const sizeBytes = FLOW_FILE_HEADER_BYTES + capacity * record.FLOW_BYTES;
  const memory = Bun.mmap(path, { shared: true });
  assert(memory.length === sizeBytes, "the flow file is not of this capacity");
  return new Uint32Array(
    memory.buffer,
    memory.byteOffset + FLOW_FILE_HEADER_BYTES,
    capacity * record.FLOW_WORDS,
  );
}

/** Maps the file, made or cut to size: the size is fixed before, so no access can fault later. */
function mapFile(path: string, sizeBytes: number): Uint8Array {
  try {
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW;
    const file = openSync(path, flags, 0o600);
    try {
      const status = fstatSync(file);
      if (!status.isFile()) throw new Error("it is not a regular file");
      fchmodSync(file, 0o600);
      if (status.size !== sizeBytes) {
        ftruncateSync(file, 0); // another size is another capacity: nothing in it fits
        ftruncateSync(file, sizeBytes);
      }
    } finally {
      closeSync(file);
    }
    const memory = Bun.mmap(path, { shared: true });
    if (memory.length !== sizeBytes) throw new Error("its size changed while it was opened");
    return memory;
  } catch (cause) {
    throw new AbsError(
      "FLOW_FILE",
      `The flow file ${path} cannot be used: ${String(cause)}.`,
      "Give the agent a state folder of its own on a tmpfs, or remove the file.",
      cause,
    );
  }
}

function refuseHeader(header: Uint32Array, options: FlowFileOptions): string {
  if (header[H_MAGIC] !== MAGIC) return "its magic number is wrong";
  if (header[H_VERSION] !== VERSION) return `its version is ${header[H_VERSION]}`;
  if (header[H_CAPACITY] !== options.capacity) return `its capacity is ${header[H_CAPACITY]}`;
  if (header[H_RECORD_BYTES] !== record.FLOW_BYTES) return "its records have another size";
  const digest = digestWords(options.digest);
  for (let i = 0; i < digest.length; i++) {
    if (header[H_DIGEST + i] !== digest[i]) return "it is of another provisioning or boot";
  }
  return "";
}

function writeHeader(header: Uint32Array, options: FlowFileOptions): void {
  header.fill(0);
  header.set(digestWords(options.digest), H_DIGEST);
  header[H_VERSION] = VERSION;
  header[H_CAPACITY] = options.capacity;
  header[H_RECORD_BYTES] = record.FLOW_BYTES;
  header[H_MAGIC] = MAGIC;
}

function digestWords(digest: Uint8Array): Uint32Array {
  return new Uint32Array(digest.slice().buffer);
}

/**
 * Moves the flows that may go on to the front, in order, and into the index. A key that comes twice
 * is kept once. Returns how many records in use were not kept.
 */
function restoreFlows(table: FlowTable, used: number, options: FlowFileOptions): number {
  const words = table.words;
  let dropped = 0;
  for (let flow = 0; flow < used; flow++) {
    const at = flow * record.FLOW_WORDS;
    if (!isInUse(words, at)) continue;
    const key = keyOf(words, at);
    const hash = table.hashOf(...key);
    if (!isValid(words, at, options) || table.find6(hash, ...key) >= 0) {
      dropped++;
      continue;
    }
    const kept = table.count;
    words.copyWithin(kept * record.FLOW_WORDS, at, at + record.FLOW_WORDS);
    settle(words, kept * record.FLOW_WORDS);
    table.restore(kept, hash);
  }
  return dropped;
}

/**
 * Records before the untouched end of the file; reading it all would make every page of it
 * resident.
 */
function usedRecords(words: Uint32Array): number {
  const step = FLOW_FILE_HEADER_BYTES / 4;
  // The table uses records from the front on: a page of zeros is the end, as fresh pages are.
  for (let from = 0; from < words.length; from += step) {
    const end = Math.min(from + step, words.length);
    let bits = 0;
    for (let i = from; i < end; i++) bits |= words[i];
    if (bits === 0) return from / record.FLOW_WORDS;
  }
  return words.length / record.FLOW_WORDS;
}

function isInUse(words: Uint32Array, at: number): boolean {
  const isFree = (words[at + record.F_PROTOCOL] & record.FLOW_GONE) !== 0;
  return !isFree && words[at + record.F_STATE] !== record.FLOW_FREE;
}

/** Whether every field is one that this agent could have written, and the flow is one to keep. */
function isValid(words: Uint32Array, at: number, options: FlowFileOptions): boolean {
  const limits = options.limits;
  const state = words[at + record.F_STATE];
  const peerWord = words[at + record.F_PEER];
  const seen = words[at + record.F_SEEN];
  if ((state & 0xff) !== record.FLOW_ALLOWED) return false;
  if ((state & (record.FLOW_RESET | ~record.FLOW_STATE_BITS)) !== 0) return false;
  if ((state & record.FLOW_FIN_BOTH) === record.FLOW_FIN_BOTH) return false;
  if ((words[at + record.F_PROTOCOL] & ~record.FLOW_PROTOCOL_BITS) !== 0) return false;
  if ((peerWord & 0xffff) === 0 || (peerWord & 0xffff) > limits.peers) return false;
  if (peerWord >>> 16 >= limits.pairs) return false;
  if (words[at + record.F_TAG_RULE] >>> 16 >= limits.tags) return false;
  const rule = words[at + record.F_TAG_RULE] & 0xffff;
  if (rule >= limits.rules && rule !== record.FLOW_NO_RULE) return false;
  if (seen > options.nowSeconds) return false;
  if (options.nowSeconds - seen >= record.FLOW_TIMEOUTS.tcp) return false;
  if ((words[at + record.F_PROTOCOL] & record.FLOW_IPV6) !== 0) return true;
  let high = 0;
  for (let word = record.F_REMOTE0; word <= record.F_LOCAL2; word++) high |= words[at + word];
  return high === 0;
}

/** What only the process before could know is forgotten. */
function settle(words: Uint32Array, at: number): void {
  words[at + record.F_BINDING] = 0;
  words[at + record.F_STATE] &= record.FLOW_STATE_BITS & 0xffff;
  words[at + record.F_LINK] = 0;
}

/** The ten words that make a key, in the order of the table's methods. */
function keyOf(words: Uint32Array, at: number): Key {
  return [
    words[at + record.F_LOCAL3],
    words[at + record.F_REMOTE3],
    words[at + record.F_PORTS],
    words[at + record.F_PROTOCOL],
    words[at + record.F_LOCAL0],
    words[at + record.F_LOCAL1],
    words[at + record.F_LOCAL2],
    words[at + record.F_REMOTE0],
    words[at + record.F_REMOTE1],
    words[at + record.F_REMOTE2],
  ];
}
