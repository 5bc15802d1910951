/** Plain JSON read directly is what the YAML parser makes of it, places included. */
import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { isMap, isScalar, isSeq, LineCounter, parseDocument } from "yaml";
import { jsonNodes } from "./json-nodes.ts";

const SIGNATURES = join(import.meta.dir, "../../signatures");

/** Everything that documents look at. */
function shapeOf(node: unknown, lines: LineCounter): unknown {
  if (isMap(node)) {
    const place = lines.linePos(node.range?.[0] ?? -1);
    const items = node.items.map(({ key, value }) => [shapeOf(key, lines), shapeOf(value, lines)]);
    return { place, items };
  }
  if (isSeq(node)) {
    const place = lines.linePos(node.range?.[0] ?? -1);
    return { place, list: node.items.map((item) => shapeOf(item, lines)) };
  }
  if (!isScalar(node)) return node;
  const source = typeof node.value === "number" ? node.source : undefined;
  return { place: lines.linePos(node.range?.[0] ?? -1), value: node.value, source };
}

function byYaml(text: string): unknown {
  const lines = new LineCounter();
  const { contents, errors } = parseDocument(text, { lineCounter: lines, strict: true });
  expect(errors).toEqual([]);
  return shapeOf(contents, lines);
}

const TEXTS = [
  '{"a": 1, "b": [true, false, null, -0.5e3, "x"]}',
  '{\n\t"a" : [ ],\r\n\t"b": { } }\n',
  '["\\u00e9\\n\\"\\\\/", "é", "#", "- a: b", "0x1f"]',
  "[0, 12, 1.50, 120000000000000000000]",
  ...readdirSync(SIGNATURES).map((name) => readFileSync(join(SIGNATURES, name), "utf8")),
];

test(`${TEXTS.length} documents are read alike`, () => {
  for (const text of TEXTS) {
    const lines = new LineCounter();
    const node = jsonNodes(text, lines);
    expect(node).toBeDefined();
    expect(shapeOf(node, lines)).toEqual(byYaml(text));
  }
});

const others = [
  "",
  "a: 1",
  '"text"',
  "{a: 1}",
  "['x']",
  '{"a": 1,}',
  "[1,]",
  "[1 2]",
  '{"a" 1}',
  '{"a": 1, "a": 2}',
  '{"a": 01}',
  "[+1]",
  "[.5]",
  "[1.]",
  '["\\x41"]',
  '["tab\there"]',
  '["open]',
  "[truely]",
  "[1] # note",
  "[1] [2]",
  '{"a": ',
  "[",
  "[".repeat(100_000),
  `${"[".repeat(40)}${"]".repeat(40)}`,
];

test.each(others)("left to the YAML parser: %p", (text) => {
  expect(jsonNodes(text, new LineCounter())).toBeUndefined();
});
