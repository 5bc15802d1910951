/**
 * Documents say what the code says: links lead somewhere, files that are named exist, events and
 * drop reasons are listed whole, every dependency has its line, every decision its number.
 * docs/wire.md's tables are vectors/wire-tables.test.ts's, schemas are schemas.test.ts's.
 */
import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import packageJson from "../package.json";
import { DROP, DROP_NAMES } from "../src/dataplane/drop-reasons.ts";
import { EVENT_KINDS } from "../src/observe/event-kinds.ts";

const ROOT = join(import.meta.dir, "..");
const DOCS = ["README.md", ...list("docs/**/*.md")];
const SOURCES = list("src/**/*.ts").filter((path) => !path.endsWith(".test.ts"));

function list(pattern: string): string[] {
  return [...new Bun.Glob(pattern).scanSync(ROOT)].sort();
}

function read(path: string): string {
  return readFileSync(join(ROOT, path), "utf8");
}

function sorted(values: Iterable<string>): string[] {
  return [...new Set(values)].sort();
}

test("links lead to files that are there", () => {
  const broken = DOCS.flatMap((path) =>
    [...read(path).matchAll(/\]\(([^)#\s]+)[^)]*\)/g)].flatMap(([, target = ""]) => {
      if (/^[a-z]+:/.test(target)) return [];
      return existsSync(join(ROOT, dirname(path), target)) ? [] : [`${path} → ${target}`];
    }),
  );
  expect(broken).toEqual([]);
});

test("source files that documents name are there", () => {
  const files = [...list("{src,test,bench,c,scripts}/**/*.{ts,tsx,c,h,sh}")];
  const names = new Set(files.map((path) => basename(path)));
  const missing = DOCS.flatMap((path) =>
    [...read(path).matchAll(/`([\w./-]+\.(?:ts|c|h|sh))`/g)].flatMap(([, name = ""]) => {
      const isThere = name.includes("/")
        ? files.some((file) => file === name || file === `src/${name}` || file.endsWith(`/${name}`))
        : names.has(name);
      return isThere ? [] : [`${path}: ${name}`];
    }),
  );
  expect(missing).toEqual([]);
});

test("decisions have numbers without a gap, and each says its own", () => {
  const decisions = list("docs/adr/*.md");
  const numbers = decisions.map((path) => basename(path).slice(0, 3));
  expect(numbers).toEqual(decisions.map((_, i) => String(i + 1).padStart(3, "0")));
  const titles = decisions.map((path) => read(path).slice(0, 7));
  expect(titles).toEqual(numbers.map((number) => `# ${number}: `));
});

const events = read("docs/events.md");

test("docs/events.md lists every drop reason, and says which are not used yet", () => {
  const rows = [...events.matchAll(/^\| (\d+) \| `([a-z0-9-]+)` \| (.+) \|$/gm)].map(
    ([, code = "", name = "", meaning = ""]) =>
      `${code} ${name}${meaning.endsWith(" (not used yet)") ? " unused" : ""}`,
  );
  const users = SOURCES.filter((path) => !path.endsWith("/drop-reasons.ts"))
    .map(read)
    .join("\n");
  const expected = Object.entries(DROP).map(([key, code]) => {
    const isUsed = new RegExp(`\\bDROP\\.${key}\\b`).test(users);
    return `${code} ${DROP_NAMES[code]}${isUsed ? "" : " unused"}`;
  });
  expect(rows).toEqual(expected);
});

/** Names in the first column of the tables of docs/events.md that begin with the header `event`. */
function documentedEvents(): string[] {
  const tables = events.split(/\n\n/).filter((block) => block.startsWith("| event |"));
  return tables.flatMap((table) =>
    [...table.matchAll(/^\| `([a-z-]+)` \|/gm)].map(([, name = ""]) => name),
  );
}

test("docs/events.md lists every event that an agent writes, and no other", () => {
  const writers = SOURCES.filter((path) => {
    return /^src\/(agent|observe|takeover|session|channel)\//.test(path);
  });
  const written = writers.flatMap((path) =>
    [
      ...read(path).matchAll(/\bevent(?::| =) ([^,\n]*"[a-z-]+")|\bnotice\(\s*"([a-z-]+)"/g),
    ].flatMap(([, value = "", notice]) => {
      if (notice !== undefined) return [notice];
      return [...value.matchAll(/"([a-z-]+)"/g)].map(([, name = ""]) => name);
    }),
  );
  expect(sorted(documentedEvents())).toEqual(sorted(written));
});

test("every event of docs/events.md has its kind in src/observe/event-kinds.ts", () => {
  const tables = events.split(/\n\n/).filter((block) => /^\| (event|name) \|/.test(block));
  const rows = tables.flatMap((table) => table.split("\n"));
  const names = rows.flatMap((row) => {
    const words = [...(row.split("|")[1] ?? "").matchAll(/`([a-z-]+)`/g)].map((m) => m[1] ?? "");
    const [prefix = "", ...rest] = words;
    return prefix.endsWith("-") ? rest.map((word) => prefix + word) : words;
  });
  expect(names.length).toBeGreaterThan(70);
  expect(names.filter((name) => !EVENT_KINDS.has(name))).toEqual([]);
});

test("docs/events.md names every field of a decision", () => {
  const source = read("src/agent/plane-events.ts");
  const body = source.slice(source.indexOf("  return {\n    event:"));
  const literal = [...body.matchAll(/(?:\{|^ +)\s*([a-z][A-Za-z]+): /gm)].map((m) => m[1] ?? "");
  const assigned = [...body.matchAll(/found\["(\w+)"\]/g)].map((m) => m[1] ?? "");
  const missing = sorted([...literal, ...assigned]).filter(
    (name) => !events.includes(`\`${name}\``),
  );
  expect(missing).toEqual([]);
});

test("docs/dependencies.md has a line for every package, with the version in use", () => {
  const text = read("docs/dependencies.md");
  const { dependencies, devDependencies } = packageJson;
  const npm = Object.entries({ ...dependencies, ...devDependencies }).map(
    ([name, version]) => `\`${name}\` ${version}`,
  );
  const setup = read("scripts/setup.sh");
  const list = /packages=\(([\s\S]*?)\n\)/.exec(setup)?.[1] ?? "";
  const debian = list.replace(/#.*/g, "").split(/\s+/).filter(Boolean);
  const extra = [...setup.matchAll(/packages\+=\(([^)]*)\)/g)].flatMap(([, names = ""]) =>
    names.split(" "),
  );
  const wanted = [...npm, ...[...debian, ...extra].map((name) => `\`${name}\``)];
  expect(debian.length).toBeGreaterThan(20);
  expect(wanted.filter((entry) => !text.includes(entry))).toEqual([]);
});

test("each line of the attack list has its row in the threat model and its test", () => {
  const rows = [...read("docs/threat-model.md").matchAll(/^\| (\d+) \| /gm)].map(([, n]) =>
    Number(n),
  );
  const tests = [...read("test/e2e/attacks.test.ts").matchAll(/^ *test\("(\d+)\. /gm)];
  const lines = Array.from({ length: 15 }, (_, i) => i + 1);
  expect(rows).toEqual(lines);
  expect(tests.map(([, n]) => Number(n))).toEqual(lines);
});
