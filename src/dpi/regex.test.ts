/** Regular expressions of signatures: what is read, what is refused, what is known about them. */
import { expect, test } from "bun:test";
import { ByteSet } from "./byte-set.ts";
import { leadingSets, pinnedBytesOf, type Regex, toPcre, usesEnd, widthOf } from "./regex.ts";
import { parseRegex } from "./regex-parser.ts";

function read(pattern: string, flags = ""): Regex {
  const regex = parseRegex(pattern, flags);
  if ("reason" in regex) throw new Error(regex.reason);
  return regex;
}

const READ: readonly {
  pattern: string;
  flags?: string;
  pcre: string;
  width: readonly [number, number];
  pinned: number;
}[] = [
  { pattern: "abc", pcre: "abc", width: [3, 3], pinned: 3 },
  { pattern: "^GET ", pcre: "GET ", width: [4, 4], pinned: 4 },
  { pattern: "ab", flags: "i", pcre: "[\\x41\\x61][\\x42\\x62]", width: [2, 2], pinned: 2 },
  {
    pattern: "[^a]",
    flags: "i",
    pcre: "[\\x00-\\x40\\x42-\\x60\\x62-\\xff]",
    width: [1, 1],
    pinned: 0,
  },
  { pattern: ".", pcre: "[\\x00-\\x09\\x0b-\\xff]", width: [1, 1], pinned: 0 },
  { pattern: ".", flags: "s", pcre: ".", width: [1, 1], pinned: 0 },
  { pattern: "(a+)+", pcre: "(?:a+)+", width: [1, Infinity], pinned: 1 },
  { pattern: "(?:a?){3}b", pcre: "(?:a?){3}b", width: [1, 4], pinned: 1 },
  { pattern: "a|bc", pcre: "(?:a|bc)", width: [1, 2], pinned: 1 },
  { pattern: "a(?:b|)c", pcre: "a(?:b|)c", width: [2, 3], pinned: 2 },
  { pattern: "(ab)+x", pcre: "(?:ab)+x", width: [3, Infinity], pinned: 3 },
  { pattern: "(?<name>a){2,3}", pcre: "a{2,3}", width: [2, 3], pinned: 2 },
  { pattern: "a*?b", pcre: "a*b", width: [1, Infinity], pinned: 1 },
  { pattern: "\\d\\D\\w\\W\\s\\S", pcre: "", width: [6, 6], pinned: 0 },
  {
    pattern: "\\x00\\r\\n\\t\\0\\/\\.",
    pcre: "\\x00\\x0d\\x0a\\x09\\x00/\\x2e",
    width: [7, 7],
    pinned: 7,
  },
  { pattern: "[a-c\\d-]", pcre: "[\\x2d\\x30-\\x39\\x61-\\x63]", width: [1, 1], pinned: 0 },
  { pattern: "a$", pcre: "a\\z", width: [1, 1], pinned: 1 },
  { pattern: "\\bab", pcre: "\\bab", width: [2, 2], pinned: 2 },
];

test.each([...READ])("parseRegex: /$pattern/$flags", ({ pattern, flags, pcre, width, pinned }) => {
  const { root, anchored } = read(pattern, flags);
  if (pcre !== "") expect(toPcre(root)).toBe(pcre);
  const { min, max } = widthOf(root);
  expect([min, max]).toEqual([...width]);
  expect(pinnedBytesOf(root)).toBe(pinned);
  expect(anchored).toBe(pattern.startsWith("^"));
  expect(usesEnd(root)).toBe(/[$]|\\b/.test(pattern));
});

const REFUSED: readonly { pattern: string; flags?: string; reason: string }[] = [
  { pattern: "a(?=b)", reason: "look-around" },
  { pattern: "(?!a)b", reason: "look-around" },
  { pattern: "(?<=a)b", reason: "look-around" },
  { pattern: "(?>a)b", reason: "atomic" },
  { pattern: "(?i)a", reason: "inline flag" },
  { pattern: "(a)\\1", reason: "back-reference at character 4" },
  { pattern: "\\k<a>", reason: "back-reference" },
  { pattern: "(*FAIL)", reason: "PCRE verb" },
  { pattern: "a++", reason: "possessive" },
  { pattern: "a**", reason: "two repeats" },
  { pattern: "*a", reason: "a repeat of nothing at character 1" },
  { pattern: "a{3,2}", reason: "counts down" },
  { pattern: "a{40000}", reason: "out of range" },
  { pattern: "a{0}b", reason: "out of range" },
  { pattern: "a{x}", reason: "a { that begins no repeat" },
  { pattern: "a}", reason: "a bare }" },
  { pattern: "(a{1000}){1000}", reason: "unrolls to more than" },
  { pattern: "(a", reason: "a ( without its )" },
  { pattern: "a)", reason: "a ) without its (" },
  { pattern: "[a", reason: "a [ without its ]" },
  { pattern: "[]a]", reason: "an empty class" },
  { pattern: "[b-a]", reason: "counts down" },
  { pattern: "[[:alpha:]]", reason: "POSIX class" },
  { pattern: "[^\\x00-\\xff]", reason: "holds no byte" },
  { pattern: "a^b", reason: "a ^ that is not first at character 2" },
  { pattern: "^a|b", reason: "only some alternatives begin with ^" },
  { pattern: "a*", reason: "matches the empty text" },
  { pattern: "$", reason: "matches the empty text" },
  { pattern: "", reason: "matches the empty text" },
  { pattern: "\\q", reason: "the escape \\q" },
  { pattern: "\\x1", reason: "the escape \\x" },
  { pattern: "é", reason: "outside printable ASCII" },
  { pattern: "a", flags: "m", reason: "the flag m" },
  { pattern: "a", flags: "g", reason: '"g" is not a flag' },
  { pattern: "a", flags: "ii", reason: "repeated" },
  { pattern: `${"(".repeat(70)}a${")".repeat(70)}`, reason: "nested too deep" },
];

test.each([...REFUSED])(
  "refused: /$pattern/$flags ($reason)",
  ({ pattern, flags = "", reason }) => {
    const problem = parseRegex(pattern, flags);
    expect("reason" in problem ? problem.reason : "it was read").toContain(reason);
    expect("remedy" in problem ? problem.remedy : "").not.toBe("");
  },
);

test("leadingSets: as far as every match agrees on positions", () => {
  const keys = (pattern: string) => leadingSets(read(pattern).root, 8).map(({ key }) => key);
  const sets = (...values: (string | ByteSet)[]) =>
    values.map((value) =>
      typeof value === "string"
        ? ByteSet.of(...value.split("").map((s) => s.charCodeAt(0))).key
        : value.key,
    );
  expect(keys("^abc")).toEqual(sets("a", "b", "c"));
  expect(keys("^a[bc]+d")).toEqual(sets("a", "bc"));
  expect(keys("^(?:ab|cd)e")).toEqual(sets("ac", "bd", "e"));
  expect(keys("^(?:ab|c)e")).toEqual(sets("ac"));
  expect(keys("^a{3}b")).toEqual(sets("a", "a", "a", "b"));
  expect(keys("^a?b")).toEqual([]);
  expect(keys("^a{20}")).toHaveLength(8);
});
