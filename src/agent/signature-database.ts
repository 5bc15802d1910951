/**
 * The database of an agent's signatures: from the cache in its state directory, or compiled now.
 * Runs in the child process of preparation.ts, which gives its memory back when it ends and leaves
 * main thread and data plane alone.
 */
import type { Shim } from "../dataplane/shim.ts";
import type { CompiledSignatures } from "../dpi/compile.ts";
import { cacheKey, readCached, writeCached } from "../dpi/database-cache.ts";

export interface SavedDatabase {
  /** What Shim.loadExpressions() takes. */
  readonly saved: Uint8Array;
  readonly isCached: boolean;
}

/** Undefined when the signatures have no contents. */
export function savedDatabase(
  shim: Shim,
  { blob, count }: CompiledSignatures["expressions"],
  folder: string,
): SavedDatabase | undefined {
  if (count === 0) return undefined;
  const key = cacheKey(blob, shim.versions());
  const cached = readCached(folder, key);
  const known = cached === undefined ? undefined : shim.loadExpressions(blob, count, cached);
  if (cached !== undefined && known !== undefined) {
    shim.releaseDatabase(known);
    return { saved: cached, isCached: true };
  }
  const database = shim.compileExpressions(blob, count);
  const saved = shim.saveExpressions(database);
  shim.releaseDatabase(database);
  writeCached(folder, key, saved);
  return { saved, isCached: false };
}
