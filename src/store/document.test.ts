/** Documents: every complaint names its place, in YAML and in JSON. */
import { expect, test } from "bun:test";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AbsError } from "../errors.ts";
import { type DocumentNode, loadDocument, orList, parseDocument } from "./document.ts";

function refusal(action: () => unknown): AbsError {
  try {
    action();
  } catch (thrown) {
    if (thrown instanceof AbsError) return thrown;
    throw thrown;
  }
  throw new Error("nothing was refused");
}

function read(text: string): DocumentNode {
  return parseDocument(text, "a.yaml", "POLICY");
}

/** Reads every value, as the schemas do. */
function deepest(node: DocumentNode): unknown {
  return node.isList() ? node.list().map(deepest) : node.string();
}

const REFUSED: readonly { name: string; read: () => unknown; message: string; remedy?: string }[] =
  [
    {
      name: "an unknown key, with the likely one",
      read: () => read("a: 1\nactoin: 2").map(["a", "action"]),
      message: 'a.yaml:2:1: actoin: unknown key "actoin".',
      remedy: 'Did you mean "action"? Known here: a, action.',
    },
    {
      name: "an unknown key in JSON with tabs",
      read: () => read('{\n\t"a": 1,\n\t"b": 2\n}').map(["a"]),
      message: 'a.yaml:3:2: b: unknown key "b".',
    },
    {
      name: "a missing key",
      read: () => read("{}").map(["a"]).need("a"),
      message: 'a.yaml:1:1: the key "a" is missing.',
    },
    {
      name: "a duplicate key",
      read: () => read("a: 1\na: 2"),
      message: "a.yaml:2:1: Map keys must be unique",
    },
    { name: "broken YAML", read: () => read("a: [1, 2"), message: "a.yaml:1:9: " },
    {
      name: "an alias to nothing",
      read: () => read("a: *b").map(["a"]),
      message: 'a.yaml:1:4: a: there is no anchor "b".',
    },
    {
      name: "a list that holds itself",
      read: () => deepest(read("a: &b [*b]").map(["a"]).need("a")),
      message: "it is nested too deep.",
    },
    {
      name: "aliases of aliases, nine each, to the ninth power",
      read: () => {
        const levels = Array.from({ length: 9 }, (_, i) => `&a${i + 1} [${`*a${i},`.repeat(9)}]`);
        return deepest(read(`[&a0 x, ${levels.join(", ")}]`));
      },
      message: "aliases repeat too much.",
    },
    {
      name: "thousands of brackets",
      read: () => read("[".repeat(20_000)),
      message: "a.yaml:1:1: it cannot be read (Maximum call stack size exceeded",
    },
    {
      name: "levels that no document needs",
      read: () => read(`${"[".repeat(66)}${"]".repeat(66)}`),
      message: "a.yaml:1:1: it cannot be read (it is nested more than 64 levels deep",
    },
    {
      name: "a list for a map",
      read: () => read("[1]").map(["a"]),
      message: "expected a map, found a list",
    },
    {
      name: "nothing for a map",
      read: () => read("").map(["a"]),
      message: "expected a map, found nothing",
    },
    {
      name: "a map for a list",
      read: () => read("a: {}").map(["a"]).need("a").list(),
      message: "a.yaml:1:4: a: expected a list, found a map",
    },
    {
      name: "a boolean for text",
      read: () => read("a: true").map(["a"]).need("a").string(),
      message: "a: expected text, found the word true.",
    },
    {
      name: "text for a boolean",
      read: () => read("a: yes").map(["a"]).need("a").boolean(),
      message: 'a: expected true or false, found the text "yes".',
    },
    {
      name: "a fraction for a whole number",
      read: () => read("- 1.5").list()[0]?.integer(0, 9),
      message: "a.yaml:1:3: [0]: expected a whole number, found the number 1.5.",
    },
    {
      name: "a number out of range",
      read: () => read("- 10").list()[0]?.integer(0, 9),
      message: "[0]: 10 is out of range.",
      remedy: "Use a number from 0 to 9.",
    },
    {
      name: "another word",
      read: () => read("- maybe").list()[0]?.oneOf(["yes", "no"]),
      message: '[0]: "maybe" is not one of the words allowed here.',
      remedy: "Use yes or no.",
    },
  ];

test.each([...REFUSED])("refused: $name", ({ read: action, message, remedy }) => {
  const error = refusal(action);
  expect(error.code).toBe("POLICY_INVALID");
  expect(error.message).toContain(message);
  if (remedy !== undefined) expect(error.remedy).toBe(remedy);
});

test("values as they are written", () => {
  const map = read('a: 0012\nb: 12e4\nc: "7"\nd: "true"\ne: &x [1]\nf: *x').map([..."abcdef"]);
  expect(map.need("a").string()).toBe("0012");
  expect(map.need("b").string()).toBe("12e4");
  expect(map.need("c").integer(0, 9)).toBe(7);
  expect(map.need("d").boolean()).toBe(true);
  expect(map.need("f").list()[0]?.integer(0, 9)).toBe(1);
  expect(orList(["a"])).toBe("a");
  expect(orList(["a", "b", "c"])).toBe("a, b or c");
});

test("files: missing, not text, whole", () => {
  const folder = mkdtempSync(join(tmpdir(), "abs-document-"));
  const file = join(folder, "a.yaml");
  expect(refusal(() => loadDocument(file, "SIGNATURE")).code).toBe("SIGNATURE_UNREADABLE");
  writeFileSync(file, Uint8Array.of(0x61, 0x3a, 0xff));
  expect(refusal(() => loadDocument(file, "SIGNATURE")).message).toContain(file);
  writeFileSync(file, "a: 1");
  chmodSync(file, 0o600);
  expect(loadDocument(file, "SIGNATURE").keys()).toEqual(["a"]);
  rmSync(folder, { recursive: true });
});
