/**
 * Compiled signatures on disk: taken when whole and ours, rebuilt otherwise; compiled by a child
 * that stays small, while this process goes on. src/dpi/database-cache.ts.
 */
import { ptr } from "bun:ffi";
import { afterAll, expect, test } from "bun:test";
import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openSignatureDatabase } from "../../src/agent/signature-database.ts";
import { openShim } from "../../src/dataplane/shim.ts";
import { compileSignatures } from "../../src/dpi/compile.ts";
import { cacheKey, readCached, writeCached } from "../../src/dpi/database-cache.ts";
import { librarySignatures } from "../../src/dpi/library.ts";
import { Matcher } from "../../src/dpi/matcher.ts";
import { parseSignatures } from "../../src/dpi/schema.ts";
import type { AbsError } from "../../src/errors.ts";
import { anyFlow } from "./flows.ts";

const CHILD_BYTES_MAX = 200 * 1024 * 1024;
const MAIN = join(import.meta.dir, "../../src/cli/main.ts");
const CHILD = [process.execPath, MAIN, "agent", "compile-signatures"];
const folders: string[] = [];

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), "abs-cache-"));
  folders.push(made);
  return made;
}
afterAll(() => {
  for (const made of folders) rmSync(made, { recursive: true });
});

const SAVED = Uint8Array.from({ length: 1000 }, (_, i) => i);
const KEY = cacheKey(Uint8Array.of(1, 2, 3), "Hyperscan 5");

test("what is kept is found again, closed to others, by its key only", () => {
  const here = folder();
  expect(writeCached(here, KEY, SAVED)).toBe(true);
  expect(readCached(here, KEY)).toEqual(SAVED);
  const [name = ""] = readdirSync(here);
  expect(statSync(join(here, name)).mode & 0o777).toBe(0o600);
  expect(readCached(here, cacheKey(Uint8Array.of(1, 2, 3), "Hyperscan 6"))).toBeUndefined();
  expect(readCached(here, cacheKey(Uint8Array.of(1, 2, 4), "Hyperscan 5"))).toBeUndefined();
});

const DAMAGES: readonly { name: string; damage: (path: string, folder: string) => void }[] = [
  { name: "open to others", damage: (path) => chmodSync(path, 0o604) },
  { name: "in a folder open to others", damage: (_, here) => chmodSync(here, 0o777) },
  { name: "empty", damage: (path) => writeFileSync(path, "") },
  { name: "cut short", damage: (path) => writeFileSync(path, readFileSync(path).subarray(0, 900)) },
  {
    name: "with one bit turned",
    damage: (path) => {
      const bytes = readFileSync(path);
      bytes[500] = (bytes[500] ?? 0) ^ 1;
      writeFileSync(path, bytes);
    },
  },
  {
    name: "of another format",
    damage: (path) => {
      const bytes = readFileSync(path);
      bytes[7] = 1;
      writeFileSync(path, bytes);
    },
  },
  {
    name: "a link",
    damage: (path) => {
      renameSync(path, `${path}.elsewhere`);
      symlinkSync(`${path}.elsewhere`, path);
    },
  },
];

test.each([...DAMAGES])("a file $name is no file", ({ damage }) => {
  const here = folder();
  writeCached(here, KEY, SAVED);
  damage(join(here, readdirSync(here)[0] ?? ""), here);
  expect(readCached(here, KEY)).toBeUndefined();
});

test("a file that is none is replaced, and old ones are forgotten", () => {
  const here = folder();
  for (let i = 0; i < 5; i++) {
    expect(writeCached(here, cacheKey(Uint8Array.of(i), ""), SAVED)).toBe(true);
  }
  expect(readdirSync(here)).toHaveLength(2);
  expect(readCached(here, cacheKey(Uint8Array.of(4), ""))).toEqual(SAVED);
  expect(writeCached(join(here, "missing"), KEY, SAVED)).toBe(false);
});

test("a child compiles; then the cache serves, and a damaged one is compiled anew", async () => {
  const here = folder();
  const shim = openShim();
  const { snapshot, expressions, signatures } = compileSignatures(librarySignatures(), () => 1);
  const ssh = new Uint8Array(Buffer.from("SSH-2.0-x\r\n"));
  const judge = async (child: readonly string[]) => {
    const database = await openSignatureDatabase(shim, expressions, here, child);
    if (database === undefined) throw new Error("no database");
    shim.prepareDatabase(database);
    const matcher = new Matcher(snapshot, database, shim.symbols);
    const found = matcher.match(anyFlow({}), Number(ptr(ssh)), ssh.length, 1);
    shim.releaseDatabase(database);
    return signatures[found]?.app;
  };
  expect(await judge(CHILD)).toBe("ssh");
  expect(await judge(["/bin/false"])).toBe("ssh");
  const path = join(here, readdirSync(here)[0] ?? "");
  writeFileSync(path, readFileSync(path).fill(0, 5000, 5100));
  expect(await judge(["/bin/false"]).catch((error: AbsError) => error.code)).toBe(
    "SIGNATURES_NOT_COMPILED",
  );
  expect(await judge(CHILD)).toBe("ssh");
  expect(await judge(["/bin/false"])).toBe("ssh");
});

function peakOf(pid: number): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    return 1024 * Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0);
  } catch {
    return 0; // it has ended
  }
}

test("ten thousand signatures are compiled in little memory, beside this thread", async () => {
  const list = Array.from({ length: 10_000 }, (_, i) => {
    const word = Buffer.from(`${i}:${(i * 7919) % 10_007}`)
      .toString("base64")
      .replace(/=+$/, "");
    const expr = i % 10 === 0 ? `/${word}[0-9]{1,4}x/` : word;
    const fields = { sig_id: `s${i}`, app_name: `a${i}`, version: i, status: "enabled" };
    return { ...fields, proto_type: "tcp", contents: [{ offset: i % 32, depth: 200, expr }] };
  });
  const read = parseSignatures(JSON.stringify(list), "s.json");
  const { expressions } = compileSignatures(read, () => 0);
  const head = Buffer.alloc(4);
  head.writeUInt32LE(expressions.count, 0);
  const child = Bun.spawn([...CHILD, "--cache", folder()], {
    stdin: Buffer.concat([head, expressions.blob]),
    stdout: "pipe",
  });
  let turns = 0;
  let peakBytes = 0;
  // Not resourceUsage(): its maximum counts this process too, from before the child's exec.
  const clock = setInterval(() => {
    turns++;
    peakBytes = Math.max(peakBytes, peakOf(child.pid));
  }, 5);
  const saved = await new Response(child.stdout).bytes();
  expect(await child.exited).toBe(0);
  clearInterval(clock);
  expect(turns).toBeGreaterThan(10); // this thread was free meanwhile
  expect(peakBytes).toBeGreaterThan(0);
  expect(peakBytes).toBeLessThan(CHILD_BYTES_MAX);
  const shim = openShim();
  const database = shim.loadExpressions(expressions.blob, expressions.count, saved);
  expect(database).toBeGreaterThanOrEqual(0);
  shim.releaseDatabase(database ?? 0);
});
