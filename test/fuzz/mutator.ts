/**
 * Structure-aware inputs for the packet fuzzer: a valid seed, up to three of its header fields
 * changed, perhaps cut short (with the length fields following or not) or padded.
 * Packets lie in one pool behind one long-lived DataView, as in the data plane, with rubbish
 * before and after them. Makes no garbage: resident growth is one of the things measured.
 */
import { oracleIp } from "./packet-oracle.ts";
import type { Prng } from "./prng.ts";
import type { Seed } from "./seeds.ts";

const STRIDE_BYTES = 1_024;
const WORK_AREAS = 16;
const MARGIN_BYTES = 64;

// Protocols, extension headers, EtherTypes, option kinds, ND types: what fields compare with.
const NOTABLE = [
  0, 1, 2, 3, 4, 5, 6, 7, 8, 17, 34, 43, 44, 51, 58, 59, 60, 128, 131, 133, 135, 136, 137, 253, 254,
  255, 0x45, 0x46, 0x4f, 0x60, 0x0800, 0x0806, 0x8100, 0x88a8, 0x9100, 0x86dd, 0x2000, 0x1fff,
  0x3ffe, 0x8000, 0xfff8, 0xffff,
];

export class Mutator {
  readonly pool: Uint8Array;
  readonly memory: DataView;
  /** The packet now: [start, end) of the pool, and which seed it comes from. */
  start = 0;
  end = 0;
  seedIndex = 0;

  readonly #prng: Prng;
  readonly #seeds: readonly Seed[];
  readonly #length: Uint32Array;
  readonly #ipStart: Uint32Array;
  /** Fields of each seed as offset << 2 | size in bytes (1 or 2). */
  readonly #fields: readonly Uint32Array[];
  readonly #firstSeed = WORK_AREAS * STRIDE_BYTES;

  constructor(prng: Prng, seeds: readonly Seed[]) {
    this.#prng = prng;
    this.#seeds = seeds;
    this.pool = new Uint8Array((WORK_AREAS + seeds.length + 1) * STRIDE_BYTES);
    this.memory = new DataView(this.pool.buffer);
    this.#length = Uint32Array.from(seeds, (seed) => seed.bytes.length);
    this.#ipStart = Uint32Array.from(seeds, (seed) => seed.ipStart);
    this.#fields = seeds.map(fieldsOf);
    for (let i = 0; i < this.#firstSeed; i++) this.pool[i] = prng.below(256);
    seeds.forEach((seed, i) => {
      this.pool.set(seed.bytes, this.#firstSeed + i * STRIDE_BYTES);
    });
  }

  /** Makes the next packet. */
  next(): void {
    const prng = this.#prng;
    const seed = prng.below(this.#seeds.length);
    const from = this.#firstSeed + seed * STRIDE_BYTES;
    const length = this.#length[seed];
    const word = prng.next();
    this.seedIndex = seed;
    this.start = (word & (WORK_AREAS - 1)) * STRIDE_BYTES + MARGIN_BYTES + ((word >>> 4) & 15);
    this.end = this.start + length;
    this.pool.copyWithin(this.start, from, from + length);
    const changes = (word >>> 8) & 3;
    const fields = this.#fields[seed];
    for (let i = 0; i < changes; i++) this.#changeField(fields[prng.below(fields.length)]);
    const shape = (word >>> 10) & 15;
    if (shape === 0) this.end = this.start + prng.below(length + 1);
    else if (shape <= 2) this.#cutWithLengths(seed, prng.below(length + 1));
    else if (shape === 3) this.end += prng.below(33);
  }

  /** Changes the rubbish around the packet; nothing may depend on it. Its own inverse. */
  flipSurroundings(): void {
    for (let i = 1; i <= MARGIN_BYTES; i++) {
      this.pool[this.start - i] ^= 0xa5;
      this.pool[this.end + i - 1] ^= 0xa5;
    }
  }

  nameOfSeed(): string {
    return this.#seeds[this.seedIndex].name;
  }

  #changeField(field: number): void {
    const prng = this.#prng;
    const at = this.start + (field >>> 2);
    const wide = (field & 3) === 2;
    const old = wide ? this.memory.getUint16(at, false) : this.memory.getUint8(at);
    const choice = prng.below(8);
    let value = prng.next();
    if (choice === 0) value = old + 1;
    else if (choice === 1) value = old - 1;
    else if (choice === 2) value = old ^ (1 << (value & 15));
    else if (choice <= 5) value = NOTABLE[prng.below(NOTABLE.length)];
    if (wide) this.memory.setUint16(at, value & 0xffff, false);
    else this.memory.setUint8(at, value & 0xff);
  }

  /** Cuts the packet to `length` bytes and lets the IP header say so, if there is one left. */
  #cutWithLengths(seed: number, length: number): void {
    this.end = this.start + length;
    const ip = this.start + this.#ipStart[seed];
    if (this.end - ip < 20) return;
    const version = this.memory.getUint8(ip) >>> 4;
    if (version === 4) this.memory.setUint16(ip + 2, this.end - ip, false);
    if (version === 6 && this.end - ip >= 40) {
      this.memory.setUint16(ip + 4, this.end - ip - 40, false);
    }
  }
}

/** The header fields of a seed: those of the link, then of whatever the oracle found in it. */
function fieldsOf(seed: Seed): Uint32Array {
  const fields: number[] = [];
  const bytes = (from: number, to: number): void => {
    for (let at = from; at < to; at++) fields.push((at << 2) | 1);
  };
  const words = (...offsets: number[]): void => {
    for (const at of offsets) fields.push((at << 2) | 2);
  };
  const size = seed.bytes.length;
  for (let at = 6; at < seed.ipStart; at += 2) words(at);
  const ip = seed.ipStart;
  const version = seed.bytes[ip] >>> 4;
  if (version !== 4 && version !== 6) {
    for (let at = ip; at + 2 <= size; at += 2) words(at);
    return Uint32Array.from(fields);
  }
  const fixedBytes = version === 4 ? 20 : 40;
  if (version === 4) words(ip + 2, ip + 4, ip + 6, ip + 12, ip + 14, ip + 16, ip + 18);
  else for (let at = ip + 8; at < ip + 40; at += 8) words(at);
  if (version === 4) bytes(ip, ip + 1);
  else words(ip + 4);
  if (version === 4) bytes(ip + 8, ip + 10);
  else bytes(ip + 6, ip + 8);
  bytes(ip, ip + 1);
  const { code, packet } = oracleIp(seed.bytes.subarray(ip));
  const payload = code === 0 ? ip + packet.payloadStart : size;
  // Options, extension headers and the transport header byte by byte; a few bytes of payload.
  bytes(ip + fixedBytes, Math.min(payload + 12, size));
  if (code === 0 && packet.transportStart > 0) {
    const transport = ip + packet.transportStart;
    if (transport + 8 <= size) words(transport, transport + 2, transport + 4);
    if (packet.transportProtocol === 6)
      for (let i = 0; i < 4; i++) bytes(transport + 12, transport + 14);
  }
  return Uint32Array.from(fields);
}
