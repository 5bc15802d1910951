/**
 * How often each rule of the policy has decided since the agent started: a flow that was let in or
 * out counts once, a packet that was refused each time. docs/policy.md "Asking it".
 */
import type { AbsEvent } from "../observe/event-record.ts";
import { decisionsOf, type FlowVerdict, verdictOf } from "./flow-verdict.ts";

/** Rules that have decided anything, those of policies before included. */
const RULES_MAX = 100_000;

export type RuleHits = Readonly<Record<FlowVerdict, number>> & {
  /** Milliseconds since 1970 when it decided last. */
  readonly last_ms: number;
};

const NONE: RuleHits = { allowed: 0, refused: 0, "would-refuse": 0, last_ms: 0 };

export class RuleHitCounts {
  readonly #hits = new Map<string, RuleHits>();

  /** An event of plane-events.ts; one that no rule decided is skipped. */
  note(event: AbsEvent, wallMs: number): void {
    const { rule } = event;
    if (typeof rule !== "string") return;
    const known = this.#hits.get(rule);
    if (known === undefined && this.#hits.size >= RULES_MAX) return;
    const verdict = verdictOf(event);
    const hits = known ?? NONE;
    const count = hits[verdict] + decisionsOf(event);
    this.#hits.set(rule, { ...hits, [verdict]: count, last_ms: wallMs });
  }

  /** By rule. */
  get all(): Readonly<Record<string, RuleHits>> {
    return Object.fromEntries(this.#hits);
  }
}
