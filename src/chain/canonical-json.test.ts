import { describe, expect, test } from "bun:test";
import {
  canonicalText,
  JSON_DEPTH_MAX,
  type JsonValue,
  parseCanonical,
  parseJsonText,
} from "./canonical-json.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
/** Built from code points, so that this file holds no odd characters itself. */
const EURO = String.fromCodePoint(0x20ac);
const SMILEY = String.fromCodePoint(0x1f600);

describe("RFC 8785 within the subset", () => {
  test("strings of §3.2.2.2: only what must be escaped is", () => {
    const value = { string: `${EURO}$\u000f\nA'B"\\\\"/` };
    expect(canonicalText(value)).toBe(`{"string":"${EURO}$\\u000f\\nA'B\\"\\\\\\\\\\"/"}`);
  });

  test("the order of §3.2.3 is by UTF-16 code units", () => {
    const names = [EURO, "\r", String.fromCodePoint(0xfb33), "1", SMILEY, "\u0080", "\u00f6"];
    const value = Object.fromEntries(names.map((name, i) => [name, i]));
    const sorted = ["\r", "1", "\u0080", "\u00f6", EURO, SMILEY, String.fromCodePoint(0xfb33)];
    const text = sorted.map((name) => `${JSON.stringify(name)}:${names.indexOf(name)}`).join(",");
    expect(canonicalText(value)).toBe(`{${text}}`);
  });

  test("arrays.json and structures.json of its author, without floats and null", () => {
    const value: JsonValue = [56, { d: true, "10": 1, "1": [], a: { z: 0, b: [] } }];
    expect(canonicalText(value)).toBe('[56,{"1":[],"10":1,"a":{"b":[],"z":0},"d":true}]');
  });
});

const REFUSED = [
  { name: "a float", text: "1.5", canonical: "json-number", byHand: "json-number" },
  { name: "a whole float", text: "1.0", canonical: "json-not-canonical", byHand: "json-number" },
  { name: "an exponent", text: "1e3", canonical: "json-not-canonical", byHand: "json-number" },
  { name: "minus zero", text: "-0", canonical: "json-number", byHand: "json-number" },
  {
    name: "an unsafe integer",
    text: "9007199254740992",
    canonical: "json-number",
    byHand: "json-number",
  },
  { name: "null", text: '{"a":null}', canonical: "json-null", byHand: "json-null" },
  {
    name: "a duplicate key",
    text: '{"a":1,"a":1}',
    canonical: "json-not-canonical",
    byHand: "json-duplicate",
  },
  {
    name: "a lone surrogate",
    text: '"\\ud800"',
    canonical: "json-surrogate",
    byHand: "json-surrogate",
  },
  { name: "an open list", text: "[1", canonical: "json-syntax", byHand: "json-syntax" },
  { name: "two values", text: "1 2", canonical: "json-syntax", byHand: "json-syntax" },
  { name: "nothing", text: "", canonical: "json-syntax", byHand: "json-syntax" },
  { name: "a leading zero", text: "01", canonical: "json-syntax", byHand: "json-syntax" },
  { name: "a raw control", text: '"\u0001"', canonical: "json-syntax", byHand: "json-syntax" },
  {
    name: "a list one level too deep",
    text: "[".repeat(JSON_DEPTH_MAX + 1) + "]".repeat(JSON_DEPTH_MAX + 1),
    canonical: "json-depth",
    byHand: "json-depth",
  },
];

test.each(REFUSED)("both readers refuse $name", ({ text, canonical, byHand }) => {
  expect(parseCanonical(bytes(text)) as unknown).toEqual({ fault: canonical });
  expect(parseJsonText(bytes(text)) as unknown).toEqual({ fault: byHand });
});

test.each(['{ "a":1}', '{"b":1,"a":2}', '"\\u0041"', "[1, 2]", '{"a":1}\n'])(
  "%p is read by hand, but is not canonical",
  (text) => {
    expect(parseCanonical(bytes(text)) as unknown).toEqual({ fault: "json-not-canonical" });
    expect(parseJsonText(bytes(text))).toEqual({ value: JSON.parse(text) });
  },
);

test("bad UTF-8, size and a hundred thousand brackets are refused", () => {
  expect(parseCanonical(Uint8Array.of(0x22, 0xc0, 0x80, 0x22))).toEqual({ fault: "json-utf8" });
  expect(parseJsonText(Uint8Array.of(0x22, 0xff, 0x22))).toEqual({ fault: "json-utf8" });
  expect(parseCanonical(bytes('"abc"'), 4)).toEqual({ fault: "json-size" });
  const deep = bytes("[".repeat(100_000));
  expect("fault" in parseCanonical(deep) && "fault" in parseJsonText(deep)).toBe(true);
});

test("a key named __proto__ is a key like others", () => {
  const text = '{"__proto__":{"a":1}}';
  const read = parseJsonText(bytes(text));
  expect("value" in read && canonicalText(read.value)).toBe(text);
});

test("the deepest list that is allowed is read", () => {
  const text = "[".repeat(JSON_DEPTH_MAX) + "]".repeat(JSON_DEPTH_MAX);
  expect("value" in parseCanonical(bytes(text)) && "value" in parseJsonText(bytes(text))).toBe(
    true,
  );
});
