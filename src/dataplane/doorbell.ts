/**
 * Sleeping until a record ring has something to read: the main thread's side of record-ring.ts.
 * Control plane: a promise a turn. The writer only rings when the reader said that it sleeps, so a
 * busy reader costs the writer one load a record.
 */
import type { RecordRing } from "./record-ring.ts";

/**
 * Resolves when the ring has a record, at once when it has one already, or after `timeoutMs`. The
 * answer says whether there is one.
 */
export async function untilRecord(ring: RecordRing, timeoutMs: number): Promise<boolean> {
  const count = ring.prepareToSleep();
  // A record that came between the last peek() and prepareToSleep() did not ring.
  if (!ring.isEmpty) return true;
  const waiting = Atomics.waitAsync(ring.doorbell, 0, count, timeoutMs);
  if (waiting.async) await waiting.value;
  return !ring.isEmpty;
}
