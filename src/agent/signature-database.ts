/**
 * The database of an agent's signatures: from the cache in its state directory, or compiled by a
 * child process, which gives its memory back when it ends and leaves main thread and data plane
 * alone. The agent keeps serving its old snapshot meanwhile.
 */
import { openShim, type Shim } from "../dataplane/shim.ts";
import type { CompiledSignatures } from "../dpi/compile.ts";
import { cacheKey, readCached, writeCached } from "../dpi/database-cache.ts";
import { AbsError, messageOf } from "../errors.ts";
import { type ChildUrgency, setUrgency } from "./child-urgency.ts";

/** A child that takes longer hangs. */
const COMPILE_MS = 300_000;
const COUNT_BYTES = 4;

/**
 * Number of the database in the shim; undefined when the signatures have no contents. `child`: the
 * command line that runs serveCompile(). Throws AbsError `SIGNATURES_NOT_COMPILED`.
 */
export async function openSignatureDatabase(
  shim: Shim,
  { blob, count }: CompiledSignatures["expressions"],
  folder: string,
  child: readonly string[],
  urgency: ChildUrgency = "now",
): Promise<number | undefined> {
  if (count === 0) return undefined;
  const key = cacheKey(blob, shim.versions());
  const cached = readCached(folder, key);
  const known = cached === undefined ? undefined : shim.loadExpressions(blob, count, cached);
  if (known !== undefined) return known;
  const saved = await compileInChild(blob, count, [...child, "--cache", folder], urgency);
  const database = shim.loadExpressions(blob, count, saved);
  if (database === undefined) throw notCompiled("what it wrote is refused");
  return database;
}

async function compileInChild(
  blob: Uint8Array,
  count: number,
  command: readonly string[],
  urgency: ChildUrgency,
): Promise<Uint8Array> {
  const head = Buffer.alloc(COUNT_BYTES);
  head.writeUInt32LE(count, 0);
  const child = Bun.spawn([...command], {
    stdin: Buffer.concat([head, blob]),
    stdout: "pipe",
    stderr: "pipe",
    timeout: COMPILE_MS,
  });
  setUrgency(child.pid, urgency);
  const [saved, errors, code] = await Promise.all([
    new Response(child.stdout).bytes(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (code === 0) return saved;
  throw notCompiled(errors.trim() || `it ended with ${code ?? child.signalCode}`);
}

function notCompiled(why: string): AbsError {
  const message = `The child process that compiles signatures failed: ${why}`;
  const remedy = "Run `abs sig lint` on the signature files; it names what is wrong.";
  return new AbsError("SIGNATURES_NOT_COMPILED", message, remedy);
}

/**
 * The child: count and entries on standard input, what abs_match_save gives on standard output, and
 * in the cache: writing eight megabytes to a disk takes long, too.
 */
export async function serveCompile(folder: string): Promise<void> {
  try {
    const input = await Bun.stdin.bytes();
    const count = new DataView(input.buffer, input.byteOffset).getUint32(0, true);
    const shim = openShim();
    const blob = input.slice(COUNT_BYTES);
    const saved = shim.saveExpressions(shim.compileExpressions(blob, count));
    writeCached(folder, cacheKey(blob, shim.versions()), saved);
    await Bun.write(Bun.stdout, saved);
  } catch (error) {
    await Bun.write(Bun.stderr, messageOf(error));
    process.exitCode = 1;
  }
}
