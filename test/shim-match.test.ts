/**
 * Sets of contents and scanning with them, seen from TypeScript: c/match_set_shim.c and
 * c/match_shim.c. What a whole matcher makes of them is held to an oracle in matcher.test.ts.
 */
import { expect, test } from "bun:test";
import { fixedU32, openShim } from "../src/dataplane/shim.ts";
import { BURST_MAX, DATABASE_MAX, SHIM_ERROR } from "../src/dataplane/shim-symbols.ts";

const shim = openShim();
const { symbols } = shim;

/** What an entry of abs_match_compile says (c/match_internal.h). */
const ENTRY = { scan: 1, test: 2, testWhole: 3, testBytes: 4 } as const;

/** One entry; without `kind` a pattern to scan for, whose text ends with a NUL. */
interface Entry {
  readonly kind?: number;
  readonly id: number;
  readonly flags?: number;
  readonly low?: number;
  readonly high?: number;
  readonly text: string;
}

/** Entries as abs_match_compile() takes them. */
function blob(entries: readonly Entry[]): Uint8Array {
  const parts = entries.map(({ kind = ENTRY.scan, id, flags = 0, low = 0, ...rest }) => {
    const { high = 0xffff_ffff } = rest;
    const text = Buffer.from(rest.text + (kind === ENTRY.testBytes ? "" : "\0"), "latin1");
    const words = Uint32Array.of(kind, id, flags, low, high, text.length);
    return Buffer.concat([new Uint8Array(words.buffer), text]);
  });
  return Buffer.concat(parts);
}

function thrownBy(action: () => void): { code?: string; message?: string } {
  try {
    action();
  } catch (error) {
    return error as { code?: string; message?: string };
  }
  return {};
}

const DOTALL = 2; // HS_FLAG_DOTALL
const MATCH_MAX = 16;
const match = fixedU32(3 * MATCH_MAX);
const offset = fixedU32(BURST_MAX);
const length = fixedU32(BURST_MAX);

function scan(database: number, texts: readonly string[], max = MATCH_MAX): number[][] | number {
  const base = Buffer.from(texts.join(""), "latin1");
  let at = 0;
  for (const [i, text] of texts.entries()) {
    offset[i] = at;
    length[i] = text.length;
    at += text.length;
  }
  const count = texts.length;
  const found = symbols.abs_match_burst(database, base, offset, length, count, match, max);
  if (found < 0) return found;
  return Array.from({ length: found }, (_, i) => [...match.subarray(3 * i, 3 * i + 3)]);
}

test("tells text, content and end of a match, and only inside the text", () => {
  const set = blob([
    { id: 0, flags: DOTALL, text: "GET /app1/" },
    { id: 1, flags: DOTALL, text: "^\\x2a[0-9]\\r\\n" },
    { id: 2, flags: DOTALL, text: "\\x00\\xff" },
  ]);
  const database = shim.compileExpressions(set, 3);
  expect(scan(database, ["x"])).toBe(SHIM_ERROR.state); // not prepared in this thread
  shim.prepareDatabase(database);
  const texts = ["..GET /app1/", "*3\r\nGET /app1/ ", "GET /app1", "\x00\xff", "*3"];
  expect(scan(database, texts)).toEqual([
    [0, 0, 12],
    [1, 1, 4],
    [1, 0, 14],
    [3, 2, 2],
  ]);
  shim.releaseDatabase(database);
  expect(scan(database, texts)).toBe(SHIM_ERROR.argument);
});

test("a content counts once a text, and only where its match may end", () => {
  const set = blob([
    { id: 0, text: "a" },
    { id: 1, low: 3, high: 4, text: "a" },
  ]);
  const database = shim.compileExpressions(set, 2);
  shim.prepareDatabase(database);
  const found = scan(database, ["aaaaaa", "aa", "baaaa"]);
  expect([...(found as number[][])].sort()).toEqual([
    [0, 0, 1],
    [0, 1, 3],
    [1, 0, 1],
    [2, 0, 2],
    [2, 1, 3],
  ]);
  shim.releaseDatabase(database);
});

test("stops when the matches are full", () => {
  const database = shim.compileExpressions(blob([{ id: 0, text: "a" }]), 1);
  shim.prepareDatabase(database);
  expect(scan(database, ["aa", "a", "a"], 2)).toEqual([
    [0, 0, 1],
    [1, 0, 1],
  ]);
  shim.releaseDatabase(database);
});

const TESTS = [
  { kind: ENTRY.testBytes, low: 2, high: 6, pattern: "ab", text: "xxabxxxx", found: 1 },
  { kind: ENTRY.testBytes, low: 3, high: 6, pattern: "ab", text: "xxabxxab", found: 0 },
  { kind: ENTRY.testBytes, low: 9, high: 12, pattern: "ab", text: "xxabxxab", found: 0 },
  { kind: ENTRY.test, low: 2, high: 6, pattern: "a.*b", text: "xxaxxbxx", found: 1 },
  { kind: ENTRY.test, low: 2, high: 5, pattern: "a.*b", text: "xxaxxbxx", found: 0 },
  { kind: ENTRY.testWhole, low: 0, high: 3, pattern: "b\\b", text: "ab bc", found: 1 },
  { kind: ENTRY.testWhole, low: 0, high: 1, pattern: "b\\b", text: "ab bc", found: 0 },
];

test.each(TESTS)("a test of $kind in [$low, $high) of $text: $found", (row) => {
  const { kind, low, high, pattern, text, found } = row;
  const set = blob([{ kind, id: 0, low, high, text: pattern }]);
  const database = shim.compileExpressions(set, 1);
  shim.prepareDatabase(database);
  const bytes = Buffer.from(text);
  expect(symbols.abs_match_test(database, 0, bytes, bytes.length, 0)).toBe(found);
  expect(symbols.abs_match_test(database, 0, bytes, 0, 0)).toBe(0);
  if (kind !== ENTRY.testWhole) {
    expect(symbols.abs_match_test(database, 0, bytes, bytes.length, 6)).toBe(0);
  }
  expect(symbols.abs_match_test(database, 1, bytes, bytes.length, 0)).toBe(SHIM_ERROR.argument);
  shim.releaseDatabase(database);
});

const SAVED = blob([
  { kind: ENTRY.test, id: 0, low: 0, text: "a[bc]" },
  { id: 0, text: "a" },
  { kind: ENTRY.testBytes, id: 1, text: "d" },
  { id: 1, text: "d" },
]);

test("a saved set is the same set, and a damaged one is none", () => {
  const database = shim.compileExpressions(SAVED, 2);
  const saved = shim.saveExpressions(database);
  shim.releaseDatabase(database);
  const again = shim.loadExpressions(SAVED, 2, saved) as number;
  shim.prepareDatabase(again);
  expect(scan(again, ["xad"])).toEqual([
    [0, 0, 2],
    [0, 1, 3],
  ]);
  expect(symbols.abs_match_test(again, 0, Buffer.from("xac"), 3, 0)).toBe(1);
  expect(symbols.abs_match_test(again, 0, Buffer.from("xad"), 3, 0)).toBe(0);
  shim.releaseDatabase(again);
  for (const bytes of [0, 1, 3, 40, saved.length - 1]) {
    expect(shim.loadExpressions(SAVED, 2, saved.slice(0, bytes))).toBeUndefined();
  }
  expect(shim.loadExpressions(SAVED, 2, Buffer.concat([saved, saved]))).toBeUndefined();
  const other = saved.slice();
  other[40] ^= 1;
  expect(shim.loadExpressions(SAVED, 2, other)).toBeUndefined();
});

test("a database in an old place must be prepared anew", () => {
  const old = shim.compileExpressions(blob([{ id: 0, text: "a" }]), 1);
  shim.prepareDatabase(old);
  shim.releaseDatabase(old);
  const fresh = shim.compileExpressions(blob([{ id: 0, text: "b" }]), 1);
  expect(fresh).toBe(old);
  expect(scan(fresh, ["b"])).toBe(SHIM_ERROR.state);
  shim.prepareDatabase(fresh);
  expect(scan(fresh, ["ab"])).toEqual([[0, 0, 2]]);
  shim.releaseDatabase(fresh);
});

test("what Hyperscan cannot compile is refused with its id and reason", () => {
  const error = thrownBy(() =>
    shim.compileExpressions(
      blob([
        { id: 5, text: "fine" },
        { id: 77, text: "(a)\\1" },
      ]),
      78,
    ),
  );
  expect(error.code).toBe("EXPRESSION_REFUSED");
  expect(error.message).toContain("expression 77");
  expect(shim.refusalOf("(a)\\1", 0)).toMatch(/back-reference/i);
  expect(shim.refusalOf("abc", 0)).toBeUndefined();
});

const ONE = blob([{ id: 0, text: "abc" }]);
const broken = [
  { name: "no final NUL", bytes: ONE.subarray(0, ONE.length - 1), count: 1 },
  { name: "an id too high", bytes: blob([{ id: 1, text: "abc" }]), count: 1 },
  { name: "more patterns than contents", bytes: Buffer.concat([ONE, ONE]), count: 1 },
  { name: "an unknown kind", bytes: blob([{ kind: 5, id: 0, text: "abc" }]), count: 1 },
  { name: "no text", bytes: blob([{ kind: ENTRY.testBytes, id: 0, text: "" }]), count: 1 },
  {
    name: "two tests",
    bytes: blob([
      { kind: ENTRY.testBytes, id: 0, text: "a" },
      { kind: ENTRY.testBytes, id: 0, text: "b" },
    ]),
    count: 1,
  },
  { name: "half a head", bytes: new Uint8Array(7), count: 1 },
  { name: "none", bytes: new Uint8Array(0), count: 0 },
];
test.each(broken)("a broken blob is refused: $name", ({ bytes, count }) => {
  expect(thrownBy(() => shim.compileExpressions(bytes, count)).code).toBe("SHIM_ARGUMENT");
});

test("all places taken", () => {
  const taken = Array.from({ length: DATABASE_MAX }, () => shim.compileExpressions(ONE, 1));
  expect(thrownBy(() => shim.compileExpressions(ONE, 1)).code).toBe("SHIM_STATE");
  for (const database of taken) shim.releaseDatabase(database);
});
