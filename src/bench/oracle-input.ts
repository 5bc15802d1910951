/**
 * What `abs-oracle apply` reads: tables and packets as rows of 32-bit words, least significant byte
 * first. bench/oracle_apply.c has the layout. The decoder is the TypeScript side of the comparison,
 * which reads the very same bytes.
 */
import { FLOW_WORDS } from "../dataplane/flow-table.ts";
import { AbsError } from "../errors.ts";
import type { PairRow, SessionRow } from "./bench-plane.ts";

const MAGIC = 0x4f534241;
const HEAD_WORDS = 10;
const SESSION_WORDS = 20;
const PAIR_WORDS = 16;

export interface OracleInput {
  readonly direction: "egress" | "ingress";
  readonly carrierProtocol: number;
  readonly lane: number;
  readonly sessions: readonly SessionRow[];
  /** Row number of the session that each binding sends under. */
  readonly bindings: readonly number[];
  /** MTU by peer. */
  readonly peers: readonly number[];
  readonly pairs: readonly PairRow[];
  /** Records of FLOW_WORDS words; F_BINDING counts the bindings above from 1. */
  readonly flows: readonly Uint32Array[];
  readonly packets: readonly Uint8Array[];
}

export function encodeOracleInput(input: OracleInput): Uint8Array {
  const parts: Uint8Array[] = [];
  const words = (...values: number[]) => parts.push(bytesOf(Uint32Array.from(values)));
  words(MAGIC, input.direction === "ingress" ? 1 : 0, input.carrierProtocol, input.lane);
  words(input.sessions.length, input.bindings.length, input.peers.length);
  words(input.pairs.length, input.flows.length, input.packets.length);
  for (const row of input.sessions) {
    words(row.slot, row.receiverIndex, row.state, row.peer, row.tag, row.role, row.remoteIndex);
    words(row.keyOut, row.keyIn, row.confidentialOut, row.confidentialIn, row.counter);
    parts.push(row.keyOutBytes, row.keyInBytes);
  }
  for (const row of input.bindings) words((input.sessions[row]?.slot ?? 0) + 1);
  words(...input.peers);
  for (const pair of input.pairs) {
    words(pair.version, pair.peer, ...pair.local, ...pair.remote, ...pair.hashOut, ...pair.hashIn);
  }
  for (const flow of input.flows) parts.push(bytesOf(flow));
  for (const packet of input.packets) {
    words(packet.length);
    parts.push(packet, new Uint8Array((4 - (packet.length % 4)) % 4));
  }
  return new Uint8Array(Buffer.concat(parts)); // a Buffer's slice() would be a view
}

export function decodeOracleInput(bytes: Uint8Array): OracleInput {
  const reader = new WordReader(bytes);
  const head = reader.take(HEAD_WORDS);
  if (head[0] !== MAGIC) throw new AbsError("BENCH_INPUT", "This is no input of abs-oracle.");
  const sessions = repeat(head[4], () => sessionOf(reader));
  const slots = sessions.map((row) => row.slot);
  return {
    direction: head[1] === 1 ? "ingress" : "egress",
    carrierProtocol: head[2],
    lane: head[3],
    sessions,
    bindings: repeat(head[5], () => slots.indexOf(reader.take(1)[0] - 1)),
    peers: [...reader.take(head[6])],
    pairs: repeat(head[7], () => pairOf(reader)),
    flows: repeat(head[8], () => reader.take(FLOW_WORDS)),
    packets: repeat(head[9], () => reader.takeBytes(reader.take(1)[0])),
  };
}

function sessionOf(reader: WordReader): SessionRow {
  const words = reader.take(SESSION_WORDS);
  const keys = bytesOf(words.slice(12));
  return {
    slot: words[0],
    receiverIndex: words[1],
    state: words[2],
    peer: words[3],
    tag: words[4],
    role: words[5],
    remoteIndex: words[6],
    keyOut: words[7],
    keyIn: words[8],
    confidentialOut: words[9],
    confidentialIn: words[10],
    counter: words[11],
    keyOutBytes: keys.slice(0, 16),
    keyInBytes: keys.slice(16),
  };
}

function pairOf(reader: WordReader): PairRow {
  const words = [...reader.take(PAIR_WORDS)];
  return {
    version: words[0] === 6 ? 6 : 4,
    peer: words[1],
    local: words.slice(2, 6),
    remote: words.slice(6, 10),
    hashOut: words.slice(10, 13),
    hashIn: words.slice(13),
  };
}

/** A packet as a row: length, then the frame padded to whole words. */
export function encodePacket(packet: Uint8Array): Uint8Array {
  const row = new Uint8Array(4 + Math.ceil(packet.length / 4) * 4);
  new DataView(row.buffer).setUint32(0, packet.length, true);
  row.set(packet, 4);
  return row;
}

class WordReader {
  #next = 0;

  constructor(readonly bytes: Uint8Array) {}

  take(count: number): Uint32Array {
    return new Uint32Array(this.takeBytes(4 * count).buffer);
  }

  /** A copy of the next `count` bytes; what pads them to words is skipped. */
  takeBytes(count: number): Uint8Array {
    const bytes = this.bytes.slice(this.#next, this.#next + count);
    if (bytes.length < count) throw new AbsError("BENCH_INPUT", "The input ends early.");
    this.#next += Math.ceil(count / 4) * 4;
    return bytes;
  }
}

function bytesOf(words: Uint32Array): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
}

function repeat<T>(count: number, make: () => T): T[] {
  const all: T[] = [];
  for (let i = 0; i < count; i++) all.push(make());
  return all;
}
