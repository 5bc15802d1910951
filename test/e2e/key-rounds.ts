/** Rounds of rotation of all keys that a manager hands out, and of contracts' secrets. */
import { waitFor } from "../../src/lab/command.ts";
import type { ManagerBed } from "./manager-bed.ts";
import { TENANT } from "./manager-bed.ts";

const MINUTE_MS = 60_000;

type KeyRow = {
  readonly renewals: number;
  readonly renewal: string;
  readonly session_keys: number;
};

/** All kinds of keys, once; returns when the ledger has them, and no old one is good any more. */
export async function rotateAllKeys(bed: ManagerBed, round: number): Promise<void> {
  await bed.ask("keys", "rotate", "--host");
  await bed.ask("keys", "rotate", "--all", "--kind", "all");
  for (const scId of await bed.contracts()) {
    await bed.ask("contract", "regenerate", scId, "--tenant", TENANT);
  }
  const areRenewed = async () => {
    const rows = JSON.parse(await bed.ask("keys", "list", "--output", "json")) as KeyRow[];
    const isDone = ({ renewals, renewal, session_keys }: KeyRow): boolean =>
      renewals === round && renewal === "-" && session_keys === 1;
    return rows.every(isDone) ? true : undefined;
  };
  await waitFor("all keys to be renewed", areRenewed, MINUTE_MS, 100);
}

/**
 * What agents dropped, but for handshake messages to a session key that went while they were on
 * their way: the handshake goes again (initiating.ts `changeIdentity`, `keepAttempting`), so that
 * no packet is lost by it. Only handshake messages have mac1.
 */
export function dropsOfPackets(agentDrops: Readonly<Record<string, number>>): string[] {
  return Object.keys(agentDrops).filter((name) => !name.endsWith(".in:mac1"));
}
