/**
 * What a first payload costs with 100, 1,000 and 10,000 signatures: random byte strings and regular
 * expressions at random offsets and depths, judged by the agent's own matcher. Times are of a whole
 * Matcher.match(): the call, the scan, and what is made of the reports; nanoseconds a payload,
 * median of turns in which the sizes alternate.
 */
import { ptr } from "bun:ffi";
import type { Shim } from "../dataplane/shim.ts";
import { compileSignatures } from "../dpi/compile.ts";
import { type FlowNumbers, Matcher } from "../dpi/matcher.ts";
import { parseSignatures } from "../dpi/schema.ts";

export const MATCH_COUNTS = [100, 1000, 10_000] as const;
/** The second share is only reported beside the first. */
const REGEX_SHARES = [0.1, 0.4] as const;
const OFFSET_MAX = 32;
const WINDOW_MAX = 64;
const BYTES_MIN = 4;
const BYTES_MAX = 32;
/** Timed payloads of one turn. */
const PAYLOADS_A_TURN = 1_000_000;

export interface MatchSet {
  readonly signatures: number;
  readonly regex_share: number;
  readonly ns: number;
  readonly turns_ns: readonly number[];
  readonly compile_seconds: number;
  readonly database_bytes: number;
  /** Payloads of a turn that some signature matched. */
  readonly matched: number;
}

export interface MatchBenchResult {
  /** 90 % byte strings, 10 % regular expressions; by number of signatures. */
  readonly match_ns: Readonly<Record<string, number>>;
  /** Of 10,000 against 100 signatures. */
  readonly match_ratio: number;
  readonly sets: readonly MatchSet[];
  readonly payloads: number;
}

interface Prepared {
  readonly matcher: Matcher;
  readonly database: number;
  readonly set: Omit<MatchSet, "ns" | "turns_ns" | "matched">;
  readonly turnsNs: number[];
  matched: number;
}

/** Payloads in one piece of memory, as the agent's lie in its pool. */
interface Texts {
  readonly memory: Uint8Array;
  readonly offsets: readonly number[];
  readonly lengths: readonly number[];
}

export function benchMatching(
  shim: Shim,
  payloads: readonly Uint8Array[],
  turns: number,
  progress: (words: string) => void,
): MatchBenchResult {
  const texts = joined(payloads);
  const sets = REGEX_SHARES.flatMap((share) => {
    const prepared = MATCH_COUNTS.map((count) => prepare(shim, count, share, progress));
    for (const one of prepared) timeTurn(one, texts); // compiled by the JIT, caches filled
    for (let turn = 0; turn < turns; turn++) {
      for (const one of prepared) one.turnsNs.push(timeTurn(one, texts));
    }
    for (const { database } of prepared) shim.releaseDatabase(database);
    return prepared.map(({ set, turnsNs, matched }) => ({
      ...set,
      ns: medianOf(turnsNs),
      turns_ns: turnsNs,
      matched,
    }));
  });
  const first = sets.filter(({ regex_share }) => regex_share === REGEX_SHARES[0]);
  const match_ns = Object.fromEntries(first.map(({ signatures, ns }) => [signatures, ns]));
  const ratio = (match_ns[MATCH_COUNTS[2]] ?? 0) / (match_ns[MATCH_COUNTS[0]] ?? 1);
  return { match_ns, match_ratio: ratio, sets, payloads: payloads.length };
}

function prepare(
  shim: Shim,
  count: number,
  share: number,
  progress: (words: string) => void,
): Prepared {
  progress(`compiling ${count} signatures, ${100 * share} % regular expressions`);
  const signatures = parseSignatures(JSON.stringify(randomSignatures(count, share)), "bench.json");
  const before = performance.now();
  const { snapshot, expressions } = compileSignatures(signatures, () => 1);
  const database = shim.compileExpressions(expressions.blob, expressions.count);
  const compile_seconds = (performance.now() - before) / 1000;
  shim.prepareDatabase(database);
  const database_bytes = shim.saveExpressions(database).length;
  const matcher = new Matcher(snapshot, database, shim.symbols);
  const set = { signatures: count, regex_share: share, compile_seconds, database_bytes };
  return { matcher, database, set, turnsNs: [], matched: 0 };
}

/** Nanoseconds a payload. */
function timeTurn(prepared: Prepared, { memory, offsets, lengths }: Texts): number {
  const { matcher } = prepared;
  const base = Number(ptr(memory));
  const numbers = anyFlow();
  const rounds = Math.max(1, Math.round(PAYLOADS_A_TURN / offsets.length));
  prepared.matched = 0;
  const before = Bun.nanoseconds();
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < offsets.length; i++) {
      if (matcher.match(numbers, base + offsets[i], lengths[i], 1) >= 0) prepared.matched++;
    }
  }
  return (Bun.nanoseconds() - before) / (rounds * offsets.length);
}

function joined(payloads: readonly Uint8Array[]): Texts {
  const lengths = payloads.map(({ length }) => length);
  const memory = new Uint8Array(new ArrayBuffer(lengths.reduce((sum, one) => sum + one, 1)));
  const offsets: number[] = [];
  let at = 0;
  for (const payload of payloads) {
    memory.set(payload, at);
    offsets.push(at);
    at += payload.length;
  }
  return { memory, offsets, lengths };
}

export function anyFlow(): FlowNumbers {
  return {
    ipVersion: 4,
    transportProtocol: 6,
    source0: 0,
    source1: 0,
    source2: 0,
    source3: 0x0a000001,
    sourcePort: 40_000,
    destination0: 0,
    destination1: 0,
    destination2: 0,
    destination3: 0x0a000002,
    destinationPort: 4000,
  };
}

/** The same signatures each time. */
function randomSignatures(count: number, regexShare: number): Record<string, unknown>[] {
  const below = random(count);
  return Array.from({ length: count }, (_, i) => {
    const isRegex = i % 10 < 10 * regexShare;
    const expr = isRegex ? randomRegex(below) : randomBytes(below);
    const offset = below(OFFSET_MAX + 1);
    const depth = offset + BYTES_MAX + below(WINDOW_MAX + 1);
    const names = { sig_id: `sig-${i}`, app_name: `app-${i}`, version: i, status: "enabled" };
    return { ...names, proto_type: "tcp", contents: [{ offset, depth, expr }] };
  });
}

/** A byte string: half of them text, half of them any bytes. */
function randomBytes(below: (limit: number) => number): string {
  const length = BYTES_MIN + below(BYTES_MAX - BYTES_MIN + 1);
  const isText = below(2) === 0;
  let text = "";
  for (let i = 0; i < length; i++) {
    const byte = isText ? 0x61 + below(26) : below(256);
    text += `\\x${byte.toString(16).padStart(2, "0")}`;
  }
  return text;
}

/** Words of three letters or more with a class, a choice, a gap or a repeat after the first. */
function randomRegex(below: (limit: number) => number): string {
  const word = (length: number) =>
    String.fromCharCode(...Array.from({ length }, () => 0x61 + below(26)));
  const middles = [
    () => `[0-9]{1,${2 + below(6)}}`,
    () => `(?:${word(2)}|${word(3)})`,
    () => `[^\\x0a]{0,${4 + below(8)}}`,
    () => "\\x0d?\\x0a",
    () => "[\\x80-\\xff]+",
  ];
  const middle = middles[below(middles.length)]?.() ?? "";
  const flag = below(4) === 0 ? "i" : "";
  return `/${word(3 + below(6))}${middle}${word(1 + below(5))}/${flag}`;
}

/** xorshift32: numbers below a limit, the same for the same seed. */
function random(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % limit;
  };
}

function medianOf(values: readonly number[]): number {
  const sorted = [...values].sort((left, right) => left - right);
  return sorted[sorted.length >>> 1] ?? 0;
}
