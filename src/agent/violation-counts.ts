/**
 * Refusals that are held against a peer: only those of packets that its session's proof covers, so
 * that nobody who forges its address brings anything on it. docs/manager.md "Quarantine". A peer's
 * count is kept for a minute where the manager is not there to be told.
 */
import { toHex } from "../bytes.ts";
import { VIOLATORS_MAX, type Violations } from "../channel/violation-report.ts";
import { EVENT, OUTCOME } from "../dataplane/control-records.ts";
import { DROP, DROP_NAMES } from "../dataplane/drop-reasons.ts";
import type { Provisioning } from "./provisioning.ts";

const NONE = 0xffffffff;
const DIRECTION_IN = 0;
const KEPT_MS = 60_000;

/**
 * What only a peer's own packet can be refused for, after its proof. Not what a full table, a limit
 * or a lost flow can bring on anybody.
 */
const PROVEN: ReadonlySet<number> = new Set([
  ...[DROP.policyDenied, DROP.tenantPayload, DROP.roleMismatch, DROP.flowBinding],
]);

type Count = { count: number; reason: string; readonly sinceMs: number };

export class ViolationCounts {
  /** By the peer's key: places in files change. */
  readonly #counts = new Map<string, Count>();

  /** The refusal of the record at `at` (control-records.ts EVENT). */
  note(
    memory: DataView,
    at: number,
    { peers }: Pick<Provisioning, "peers">,
    nowMs = performance.now(),
  ): void {
    const word = (offset: number) => memory.getUint32(at + offset, true);
    const reason = word(EVENT.reason);
    if (word(EVENT.outcome) !== OUTCOME.dropped || word(EVENT.direction) !== DIRECTION_IN) return;
    // Without a session the peer is only guessed, by the packet's address: it has no tag then.
    if (!PROVEN.has(reason) || word(EVENT.tag) === NONE) return;
    const peer = peers[word(EVENT.peer)];
    if (peer === undefined) return;
    const key = toHex(peer.staticPublic);
    const known = this.#counts.get(key);
    const isOld = known !== undefined && nowMs - known.sinceMs > KEPT_MS;
    if (known === undefined || isOld) {
      if (this.#counts.size >= VIOLATORS_MAX && known === undefined) return;
      this.#counts.set(key, { count: 1, reason: nameOf(reason), sinceMs: nowMs });
      return;
    }
    known.count++;
    known.reason = nameOf(reason);
  }

  /** Hands over what is new; it stays where `tell` answers false. */
  flush(tell: (list: readonly Violations[]) => boolean, nowMs = performance.now()): void {
    for (const [key, { sinceMs }] of this.#counts) {
      if (nowMs - sinceMs > KEPT_MS) this.#counts.delete(key);
    }
    if (this.#counts.size === 0) return;
    const list = [...this.#counts].map(([sessionPub, { count, reason }]) => {
      return { sessionPub, count, reason };
    });
    if (tell(list)) this.#counts.clear();
  }
}

function nameOf(reason: number): string {
  return DROP_NAMES[reason] ?? "unknown";
}
