/**
 * Fuzz of the signature loader down to Hyperscan: altered signatures are refused with place, reason
 * and remedy, or they are read, compile, and judge payloads; nothing else, and none takes long.
 * Bounded by time: SIGNATURE_FUZZ_MS in the environment makes it longer.
 */
import { ptr } from "bun:ffi";
import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { openShim } from "../../src/dataplane/shim.ts";
import { compileSignatures } from "../../src/dpi/compile.ts";
import { contentTest } from "../../src/dpi/content-expression.ts";
import { Matcher } from "../../src/dpi/matcher.ts";
import { parseSignatures } from "../../src/dpi/schema.ts";
import type { SignatureContent } from "../../src/dpi/signature.ts";
import { AbsError } from "../../src/errors.ts";
import { mutatedDocument, slip, type Tree } from "../fuzz/document-mutator.ts";
import { Prng, seedOfRun } from "../fuzz/prng.ts";
import { anyFlow } from "./flows.ts";

const FUZZ_MS = Number(process.env["SIGNATURE_FUZZ_MS"] ?? 5000);
/** Of one document, compiling included. */
const LIMIT_MS = 3000;
const FOLDER = join(import.meta.dir, "../../signatures");
const seed = seedOfRun();
const shim = openShim();

const seeds = readdirSync(FOLDER).map((name) => readFileSync(join(FOLDER, name), "utf8"));
const payload = Uint8Array.from({ length: 1500 }, (_, i) => (i * 7) & 0xff);

/** Hyperscan's reason against the content's test. */
function refusalOf(content: SignatureContent): string | undefined {
  if (content.expression.kind === "bytes") return undefined;
  const { text, flags } = contentTest(content);
  return shim.refusalOf(Buffer.from(text.subarray(0, -1)).toString("latin1"), flags);
}

/** What becomes of a document: the code of its refusal, or "used". */
function load(text: string): string {
  let compiled: ReturnType<typeof compileSignatures>;
  try {
    compiled = compileSignatures(parseSignatures(text, "fuzz.json"), () => 1);
  } catch (error) {
    if (!(error instanceof AbsError)) throw error;
    expect(error.message).toContain("fuzz.json");
    expect(error.remedy).not.toBe("");
    return error.code;
  }
  const { snapshot, expressions } = compiled;
  if (expressions.count === 0) return "empty";
  const refusal = compiled.contents.map(refusalOf).find((reason) => reason !== undefined);
  if (refusal !== undefined) {
    // What only Hyperscan refuses, `abs sig lint` tells by the same question.
    expect(refusal).not.toBe("");
    return "EXPRESSION_REFUSED";
  }
  const database = shim.compileExpressions(expressions.blob, expressions.count);
  shim.prepareDatabase(database);
  const matcher = new Matcher(snapshot, database, shim.symbols);
  for (const bytes of [0, 1, 40, payload.length]) {
    for (const final of [0, 1]) matcher.match(anyFlow({}), Number(ptr(payload)), bytes, final);
  }
  expect(matcher.failures).toBe(0);
  shim.releaseDatabase(database);
  return "used";
}

function altered(prng: Prng): string {
  const text = seeds[prng.below(seeds.length)] ?? "[]";
  if (prng.below(3) === 0) return mutatedDocument(prng, JSON.parse(text) as Tree);
  // Expressions alone, so that most documents stay whole.
  return text.replace(/"expr": "((?:[^"\\]|\\.)*)"/g, (_, expr: string) => {
    const word = JSON.parse(`"${expr}"`) as string;
    return `"expr": ${JSON.stringify(prng.below(2) === 0 ? slip(prng, word) : word)}`;
  });
}

test(
  `altered signatures are refused in words or work (SEED=${seed})`,
  () => {
    const prng = new Prng(seed);
    const outcomes = new Map<string, number>();
    const end = performance.now() + FUZZ_MS;
    let slowest = 0;
    for (let i = 0; i < 50 || performance.now() < end; i++) {
      const text = altered(prng);
      const begin = performance.now();
      const outcome = load(text);
      slowest = Math.max(slowest, performance.now() - begin);
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    }
    expect(slowest).toBeLessThan(LIMIT_MS);
    const known = ["used", "empty", "SIGNATURE_INVALID", "EXPRESSION_REFUSED"];
    expect([...outcomes.keys()].filter((outcome) => !known.includes(outcome))).toEqual([]);
    expect(outcomes.get("used") ?? 0).toBeGreaterThan(0);
    expect(outcomes.get("SIGNATURE_INVALID") ?? 0).toBeGreaterThan(0);
  },
  FUZZ_MS + 60_000,
);
