/**
 * Signatures ready to judge captures: the built-in library, files, or both, compiled and given to
 * Hyperscan. docs/sig-test.md.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { openShim, type Shim } from "../dataplane/shim.ts";
import { type CompiledSignatures, compileSignatures } from "../dpi/compile.ts";
import { cacheKey, readCached, writeCached } from "../dpi/database-cache.ts";
import { librarySignatures } from "../dpi/library.ts";
import { loadSignatures } from "../dpi/schema.ts";
import type { AppSignature } from "../dpi/signature.ts";
import { ignorePorts } from "../dpi/signature-matches.ts";

export interface SignatureChoice {
  /** Files of signatures beside the library's. */
  readonly files: readonly string[];
  /** Only these files. */
  readonly only: boolean;
  /** No port may decide. */
  readonly ignorePorts: boolean;
}

export interface SignatureSet {
  readonly compiled: CompiledSignatures;
  readonly shim: Shim;
  /** Of the shim; meaningless when there are no expressions. */
  readonly database: number;
  readonly portsMatter: boolean;
}

export function openSignatureSet(choice: SignatureChoice): SignatureSet {
  const compiled = compileSignatures(chosenSignatures(choice), () => 0);
  if (choice.ignorePorts) ignorePorts(compiled.snapshot);
  return setOf(compiled, { portsMatter: !choice.ignorePorts, cache: cacheFolder() });
}

type SetOptions = Pick<SignatureSet, "portsMatter"> & {
  /** Where compiled ones are kept; undefined: nowhere. */
  readonly cache: string | undefined;
};

export function setOf(
  compiled: CompiledSignatures,
  { portsMatter, cache }: SetOptions,
): SignatureSet {
  const shim = openShim();
  const { blob, count } = compiled.expressions;
  const database = count === 0 ? 0 : openDatabase(shim, { blob, count }, cache);
  if (count > 0) shim.prepareDatabase(database);
  Bun.gc(true); // parsing and compiling leave 35 MB behind
  return { compiled, shim, database, portsMatter };
}

/** From the cache when it was compiled before (measured: 5 ms, not 600), else compiled. */
function openDatabase(
  shim: Shim,
  { blob, count }: CompiledSignatures["expressions"],
  folder: string | undefined,
): number {
  if (folder === undefined) return shim.compileExpressions(blob, count);
  const key = cacheKey(blob, shim.versions());
  const cached = readCached(folder, key);
  const known = cached === undefined ? undefined : shim.loadExpressions(blob, count, cached);
  if (known !== undefined) return known;
  const database = shim.compileExpressions(blob, count);
  writeCached(folder, key, shim.saveExpressions(database));
  return database;
}

/** $XDG_CACHE_HOME/abs or ~/.cache/abs, made when it is not there; undefined: cannot be. */
function cacheFolder(): string | undefined {
  const { XDG_CACHE_HOME: cache, HOME: home } = process.env;
  const base = cache !== undefined && cache !== "" ? cache : home && join(home, ".cache");
  if (base === undefined || base === "") return undefined;
  const folder = join(base, "abs");
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    return folder;
  } catch {
    return undefined; // a cache that cannot be costs time only
  }
}

export function chosenSignatures(choice: SignatureChoice): AppSignature[] {
  const own = choice.files.flatMap(loadSignatures);
  const ids = new Set(own.map(({ id }) => id));
  // A signature of a file takes the place of the library's with its id.
  const library = choice.only ? [] : librarySignatures().filter(({ id }) => !ids.has(id));
  const all = [...library, ...own];
  return choice.ignorePorts ? all.filter((signature) => !isByPortAlone(signature)) : all;
}

function isByPortAlone({ contents, sourcePorts, destinationPorts }: AppSignature): boolean {
  return contents.length === 0 && (sourcePorts ?? destinationPorts) !== undefined;
}
