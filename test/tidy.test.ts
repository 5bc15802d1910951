/**
 * Our taste, so that reviewers need not hold it: sizes, comments, directions of imports, dead
 * files, what may not stand on the hot path, and what may not be in the tree at all. Each message
 * says what to do. What is measured is the text; how is in tidy/source-code.ts.
 */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { findHotPathFaults } from "./tidy/hot-path.ts";
import { SourceCode } from "./tidy/source-code.ts";

const ROOT = join(import.meta.dir, "..");
const COLUMNS_MAX = 100;
const FILE_LINES_MAX = 500;
const FUNCTION_LINES_MAX = 60;
/** In test/: a scenario is told in one piece. */
const SCENARIO_LINES_MAX = 100;

/** Files over FILE_LINES_MAX, each with the reason why it is one file. */
const LONG_FILES: Readonly<Record<string, string>> = {};

/** Functions over FUNCTION_LINES_MAX, each with the reason, measured. */
const LONG_FUNCTIONS: Readonly<Record<string, string>> = {
  "src/dataplane/plain-egress.ts writeHeaders": "one pass, 10 ns a packet of the 22 here",
  "src/dataplane/plain-ingress.ts #admitKnown":
    "one pass; 18.5 ns a packet with calls in it, 18 so",
  "src/dataplane/plain-ingress.ts restore": "one pass; 23.5 ns a packet with calls in it, 21 so",
};

/** Entry points: nobody imports them. */
const ENTRIES = [
  "src/cli/main.ts",
  "src/agent/worker.ts",
  "src/agent/ledger-worker.ts",
  "src/console/main.tsx",
];

/** Files that the program does not use yet: what they wait for. */
const WAITING: Readonly<Record<string, string>> = {
  "src/bench/oracle-input.ts": "test/oracle runs abs-oracle with it",
  "src/channel/manager-link.ts": "abs agent follow",
  "src/ssh/cpu-features.ts": "tsconfig.json gives it to ssh2",
};

/** A test's title is one sentence, and stays on its line. */
const TITLE = /^\s*(test|describe)(\.each\(\w+\))?\([`"]/;

const SHARED = ["errors", "units", "bytes"];
const PARTS = (
  "dataplane session dpi capture policy takeover chain peer ssh switch " +
  "wire store observe native answers"
).split(" ");
/** Parts that other parts may import: codecs, what is stored, how native code is opened. */
const OPEN_PARTS = ["wire", "store", "native"];
/**
 * A role may drive one to its right, as a bench drives a lab, and a lab an agent. What the running
 * node of the ledger is, manager, validator and agent share: it is the role `node`; what manager
 * and agent say to each other is `channel`.
 */
const ROLES = "bench lab sim fleet manager validator agent channel node sig console".split(" ");
/** Processes of different machines: these never import each other. */
const APART = ["manager", "validator", "agent"];

function list(...patterns: readonly string[]): string[] {
  const found = patterns.flatMap((pattern) => [...new Bun.Glob(pattern).scanSync(ROOT)]);
  return found.sort();
}

const TYPESCRIPT = list("src/**/*.{ts,tsx}", "test/**/*.ts", "bench/**/*.ts");
const C = list("c/*.[ch]", "bench/*.[ch]", "test/c/*.c");
const CODE = [...TYPESCRIPT, ...C, ...list("scripts/*.sh"), "Makefile", ".ci/run"];
const DOCS = list("*.md", "docs/**/*", "examples/*", "signatures/*", "*.json");
const files = new Map(TYPESCRIPT.map((path) => [path, new SourceCode(path, read(path))]));

function read(path: string): string {
  return readFileSync(join(ROOT, path), "utf8");
}

function each(find: (file: SourceCode, path: string) => readonly string[]): string[] {
  return [...files].flatMap(([path, file]) => find(file, path));
}

function isTest(path: string): boolean {
  return path.endsWith(".test.ts");
}

/** Beside a file, or in test/. */
function inTests(path: string): boolean {
  return isTest(path) || path.startsWith("test/");
}

test("lines are at most 100 columns: break them where a reader would breathe", () => {
  const long = CODE.flatMap((path) =>
    read(path)
      .split("\n")
      .flatMap((line, i) =>
        [...line].length > COLUMNS_MAX && !TITLE.test(line) ? [`${path}:${i + 1}`] : [],
      ),
  );
  expect(long).toEqual([]);
});

test("files are at most 500 lines: a longer one is two things, give each a file", () => {
  const long = CODE.filter((path) => !(path in LONG_FILES)).flatMap((path) => {
    const count = read(path).split("\n").length - 1;
    return count > FILE_LINES_MAX ? [`${path}: ${count} lines`] : [];
  });
  expect(long).toEqual([]);
});

test("functions are at most 60 lines: name a step of it and take it out", () => {
  const long = each((file, path) =>
    file.functions().flatMap(({ name, from, to }) => {
      const count = to - from + 1;
      if (`${path} ${name}` in LONG_FUNCTIONS) return [];
      return count > (inTests(path) ? SCENARIO_LINES_MAX : FUNCTION_LINES_MAX)
        ? [`${path}:${from + 1} ${name}(): ${count} lines`]
        : [];
    }),
  );
  expect(long).toEqual([]);
});

test("a file begins with a comment that says what it is for, and leaves to others", () => {
  const bare = each((file, path) =>
    isTest(path) || path.endsWith(".d.ts") || file.moduleComment().length > 40 ? [] : [path],
  );
  const bareC = C.filter((path) => !read(path).startsWith("/*"));
  expect([...bare, ...bareC]).toEqual([]);
});

test("a file is named by the noun it holds, and imported itself", () => {
  const vague = CODE.filter((path) =>
    /^(index|utils?|helpers?|common|misc|lib)\b/.test(basename(path)),
  );
  expect(vague).toEqual([]);
});

/** Files of the project that `path` imports, types included. */
function importsOf(path: string): string[] {
  const text = files.get(path)?.lines.join("\n") ?? "";
  const pattern = /(?:\bfrom |\bimport\(|^import )"(\.[^"]+)"|new URL\("(\.[^"]+\.ts)"/gm;
  return [...text.matchAll(pattern)].map((match) =>
    join(dirname(path), match[1] ?? match[2] ?? ""),
  );
}

/** Why `from` may not import `to`; both are paths under src/. */
function directionFault(from: string, to: string): string | undefined {
  const [, source = ""] = from.split("/");
  const [, target = ""] = to.split("/");
  if (source === target || SHARED.includes(target.replace(".ts", ""))) return undefined;
  if (SHARED.includes(source.replace(".ts", ""))) return "a shared file imports nothing of ours";
  if (source === "cli") return undefined;
  if (APART.includes(source) && APART.includes(target)) {
    return "manager, validator and agent share by src/node, or by a part";
  }
  if (ROLES.includes(source)) {
    const isBelow = PARTS.includes(target) || ROLES.indexOf(target) > ROLES.indexOf(source);
    return isBelow ? undefined : "roles import parts; only bench → lab → agent among themselves";
  }
  if (!PARTS.includes(source)) return `src/${source} is in no layer: add it to this test`;
  if (OPEN_PARTS.includes(target)) return undefined;
  return "parts do not import each other: let a role join them, or pass the value in";
}

test("imports point one way: cli → roles → parts → errors, units, bytes", () => {
  const faults = each((_, path) =>
    path.startsWith("src/")
      ? importsOf(path).flatMap((to) => {
          if (!to.startsWith("src/"))
            return isTest(path) || isAsset(to) ? [] : [`${path} → ${to}: not under src/`];
          const fault = directionFault(path, to);
          return fault === undefined ? [] : [`${path} → ${to}: ${fault}`];
        })
      : [],
  );
  expect(faults).toEqual([]);
});

/** What is embedded in the program: the shim, signatures, package.json. */
function isAsset(path: string): boolean {
  return path.startsWith("build/") || path.startsWith("signatures/") || path.endsWith(".json");
}

test("every file of src is used by the program: delete what only tests know, or move it there", () => {
  const users = TYPESCRIPT.filter((path) => !isTest(path) && !path.startsWith("test/"));
  const used = new Set(users.flatMap(importsOf));
  const dead = TYPESCRIPT.filter(
    (path) =>
      path.startsWith("src/") &&
      !isTest(path) &&
      !path.endsWith(".d.ts") &&
      !ENTRIES.includes(path) &&
      !(path in WAITING) &&
      !used.has(path),
  );
  expect(dead).toEqual([]);
});

test("hot-path files keep to what is free: see the message of each line", () => {
  const faults = each((file, path) =>
    path.startsWith("src/") && file.moduleComment().includes("Hot path")
      ? findHotPathFaults(file).map(({ line, fault }) => `${path}:${line} ${fault}`)
      : [],
  );
  expect(faults).toEqual([]);
});

/** One line each of what must be found, and of what must not. */
const SAMPLES: readonly (readonly [string, boolean])[] = [
  ["const table = rows.map(hashOf);", true],
  ["const later = () => packet;", true],
  ["for (const row of rows) sum += row;", true],
  ["for (let i = 0; i < count; i++) sum += rows[i];", false],
  ["const name = `a flow`;", true],
  ["if (/GET/.test(text)) return 1;", true],
  ["const half = sum / 2 / count;", false],
  ["return { action, rule };", true],
  ["write({ action });", true],
  ["out.action = rows[rows[i]];", false],
  ["const pair = [source, destination];", true],
  ["sum += 1n;", true],
  ["const copy = memory.subarray(1);", true],
  ["// never map() or [1, 2] here", false],
  ['const text = "=> [1]";', false],
];

test.each(SAMPLES)("the hot-path rule tells %p: %p", (line, isFault) => {
  const text = `/** Hot path. */\nexport class A {\n  step(): number {\n    ${line}\n  }\n}\n`;
  const lines = findHotPathFaults(new SourceCode("sample.ts", text)).map((found) => found.line);
  expect(lines).toEqual(isFault ? [4] : []);
});

test("functions are found by their heads, over several lines too, and set-up is told", () => {
  const text = [
    "/** Set-up. Once. */",
    "export function make(): number[] {",
    "  return [1];",
    "}",
    "class A {",
    "  constructor(readonly a: number) {",
    "    this.b = [a];",
    "  }",
    "  async #long(",
    "    a: number,",
    "  ): Promise<void> {",
    "    if (a) {",
    "      a = call({",
    "      });",
    "    }",
    "  }",
    "}",
  ];
  const file = new SourceCode("sample.ts", text.join("\n"));
  const found = file.functions().map(({ name, from, to }) => [name, from, to]);
  expect(found).toEqual([
    ["make", 1, 3],
    ["constructor", 5, 7],
    ["#long", 8, 15],
  ]);
  expect(findHotPathFaults(file).map(({ line }) => line)).toEqual([13]);
});

test("no test is skipped, none is alone: mend it or delete it", () => {
  const faults = each((file, path) =>
    file.code.flatMap((line, i) =>
      /\b(test|it|describe)\.(skip|only|todo|if|skipIf|todoIf|failing)\b/.test(line)
        ? [`${path}:${i + 1}`]
        : [],
    ),
  );
  expect(faults).toEqual([]);
});

test("unfinished work has an issue: give the mark its number, `(#12)`, or do it", () => {
  const mark = new RegExp(`\\b(${["TO", "FIX"].join("DO|")}ME)\\b(?!\\(#\\d+\\))`);
  expect(linesWith(mark, CODE)).toEqual([]);
});

test("nothing here knows one machine: no absolute paths of a home or a checkout, no registry", () => {
  const words = ["work/", "farm/", "home/", "root/"].map((word) => `(?<![\\w.}/-])/${word}`);
  const hosts = ["registry\\.npm", "deb\\.deb"].map((word, i) => word + ["js", "ian"][i]);
  const pattern = new RegExp([...words, ...hosts].join("|"));
  expect(linesWith(pattern, [...CODE, ...DOCS.filter((p) => p !== "package-lock.json")])).toEqual(
    [],
  );
});

function linesWith(pattern: RegExp, paths: readonly string[]): string[] {
  return paths.flatMap((path) =>
    read(path)
      .split("\n")
      .flatMap((line, i) => (pattern.test(line) ? [`${path}:${i + 1} ${line.trim()}`] : [])),
  );
}
