/**
 * Expressions and payloads that make backtracking engines explode, judged by the matcher: times
 * must grow with the payload at most as it grows. Each expression is alone in its set, so that
 * nothing hides its cost; payloads are the ones that come closest to matching without doing so.
 */
import { ptr } from "bun:ffi";
import type { Shim } from "../dataplane/shim.ts";
import { compileSignatures } from "../dpi/compile.ts";
import { Matcher } from "../dpi/matcher.ts";
import { parseSignatures } from "../dpi/schema.ts";
import { anyFlow } from "./dpi-match.ts";

export interface HostileCase {
  readonly name: string;
  readonly expr: string;
  /** Repeated to the payload's length, after `head` and before `tail`. */
  readonly head?: string;
  readonly fill: string;
  readonly tail?: string;
}

/** Exponential or polynomial by backtracking, or wide when turned into states. */
export const HOSTILE: readonly HostileCase[] = [
  { name: "nested repeats", expr: "/^(a+)+$/", fill: "a", tail: "!" },
  { name: "nested stars", expr: "/^(?:a*)*b/", fill: "a" },
  { name: "alternatives that overlap", expr: "/^(?:a|aa)+$/", fill: "a", tail: "!" },
  { name: "alternatives in classes", expr: "/^(?:[ab]|[bc])*d/", fill: "b" },
  { name: "optional before required", expr: "/^(?:a?){25}a{25}!/", fill: "a" },
  { name: "gaps in a row", expr: "/a.*a.*a.*a.*a.*b/s", fill: "a" },
  { name: "gaps in classes", expr: "/\\w*\\d\\w*\\d\\w*!/", fill: "1" },
  { name: "counted gap", expr: "/a.{0,200}b.{0,200}c/s", fill: "ab" },
  { name: "counted classes", expr: "/[ab]{1,100}[bc]{1,100}d/", fill: "b" },
  { name: "mail address", expr: "/^(?:[a-z0-9]+[._-]?)+@[a-z]+\\./", fill: "a", tail: "!" },
  { name: "blank lines", expr: "/(?:\\s*\\n)+x/", fill: " \n" },
  { name: "header values", expr: "/(?:[^:]+:[^\\n]*\\n)+\\n\\n/", fill: "a:b\n", tail: "c" },
  { name: "a literal's near miss", expr: "aaaaaaaaaaaaaaab", fill: "a" },
  { name: "one byte everywhere", expr: "/a[^a]*z/", fill: "a" },
  { name: "word borders", expr: "/(?:\\ba\\b ?)+!/", fill: "a " },
];

export const HOSTILE_BYTES = [64, 1460, 65_535] as const;
const TIMED_NS = 20e6;

export interface HostileResult {
  readonly name: string;
  readonly expr: string;
  readonly compile_ms: number;
  /** Nanoseconds a payload, by its bytes. */
  readonly ns: Readonly<Record<string, number>>;
}

export function benchHostile(shim: Shim): HostileResult[] {
  return HOSTILE.map((hostile) => {
    const { name, expr } = hostile;
    const signature = {
      ...{ sig_id: "hostile", app_name: "hostile", version: 1, status: "enabled" },
      proto_type: "tcp",
      contents: [{ expr }],
    };
    const begin = performance.now();
    const read = parseSignatures(JSON.stringify(signature), "hostile");
    const { snapshot, expressions } = compileSignatures(read, () => 1);
    const database = shim.compileExpressions(expressions.blob, expressions.count);
    const compile_ms = performance.now() - begin;
    shim.prepareDatabase(database);
    const matcher = new Matcher(snapshot, database, shim.symbols);
    const ns = Object.fromEntries(
      HOSTILE_BYTES.map((bytes) => [bytes, timeOf(matcher, payloadOf(hostile, bytes))]),
    );
    shim.releaseDatabase(database);
    return { name, expr, compile_ms, ns };
  });
}

export function payloadOf(hostile: HostileCase, bytes: number): Uint8Array {
  const { head = "", fill, tail = "" } = hostile;
  const room = bytes - head.length - tail.length;
  const text = head + fill.repeat(Math.ceil(room / fill.length)).slice(0, room) + tail;
  return new Uint8Array(Buffer.from(text, "latin1"));
}

function timeOf(matcher: Matcher, payload: Uint8Array): number {
  const address = Number(ptr(payload));
  const numbers = anyFlow();
  const once = () => {
    const begin = Bun.nanoseconds();
    matcher.match(numbers, address, payload.length, 1);
    return Bun.nanoseconds() - begin;
  };
  once();
  const rounds = Math.max(3, Math.min(1000, Math.round(TIMED_NS / Math.max(1, once()))));
  const times = Array.from({ length: rounds }, once).sort((left, right) => left - right);
  return Math.round(times[times.length >>> 1] ?? 0);
}
