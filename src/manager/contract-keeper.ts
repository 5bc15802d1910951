/**
 * Contracts by policy: so many of a tenant are active, each gets its next secret when `keyregen` is
 * there, a new one is issued well before the oldest ends, and what has ended is expired.
 * docs/manager.md "Contracts". It changes the database only: tenant-ledger.ts brings it
 * onto the chain, and agents fetch what they need.
 */
import type { ContractEntry } from "../chain/contract-entry.ts";
import type { AbsEvent } from "../observe/event-record.ts";
import type { EpochSeconds } from "../units.ts";
import type { ManagerState } from "./manager-state.ts";
import { ACTIVE_CONTRACTS } from "./tenants.ts";

/** So long before its end a contract no longer counts as active: its successor is issued. */
const SUCCESSOR_SECONDS = 30 * 24 * 3600;

/** What had to be done for one tenant, as events. */
export function keepContracts(state: ManagerState, tenant: string): AbsEvent[] {
  const now = state.now();
  const entries = state.tenants.contracts(tenant).map(({ entry }) => entry);
  const live = entries.filter(({ active }) => active !== "expired");
  const over = live.filter(({ scLifetime }) => scLifetime <= now);
  const due = live.filter((entry) => isDue(entry, now));
  const lasting = live.filter(({ active, scLifetime }) => {
    return active === true && scLifetime - now > SUCCESSOR_SECONDS;
  });
  const missing = Math.max(0, ACTIVE_CONTRACTS - lasting.length);
  if (over.length + due.length + missing === 0) return [];
  return state.transaction(() => {
    const done: AbsEvent[] = [];
    for (const entry of over) {
      state.tenants.expireContract(tenant, entry);
      done.push({ event: "contract-expired", contract: entry.scId });
    }
    for (const entry of due) {
      state.tenants.regenerateContract(tenant, entry, now);
      const generation = entry.generation + 1;
      done.push({ event: "contract-regenerated", contract: entry.scId, generation });
    }
    for (let i = 0; i < missing; i++) {
      done.push({ event: "contract-issued", contract: state.tenants.issueContract(tenant, now) });
    }
    return done;
  });
}

/** At its end `keyregen` and `sc-lifetime` are one: there is nothing to come. */
function isDue({ active, keyregen, scLifetime }: ContractEntry, now: EpochSeconds): boolean {
  return active === true && keyregen <= now && keyregen < scLifetime && now < scLifetime;
}
