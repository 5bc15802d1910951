/**
 * How a contract on the chain becomes what the database says: one SC_UPDATE at a time, as the
 * ledger wants it (docs/ledger.md "Records"): generations without a gap, then its state.
 */
import type { ChainState } from "../chain/chain-state.ts";
import { decodeContract } from "../chain/contract-entry.ts";
import type { LedgerRecord } from "../chain/record-types.ts";
import { secretCommitment } from "../chain/secret-commitment.ts";
import type { IssuedContract } from "./tenants.ts";

/** The next step, or undefined when there is none. */
export function updateOf(
  { entry, secrets }: IssuedContract,
  chain: ChainState,
): LedgerRecord | undefined {
  const bytes = chain.scd.find(entry.scId)?.bytes;
  const read = bytes === undefined ? undefined : decodeContract(bytes);
  if (read === undefined || "complaint" in read) return undefined;
  const { contract } = read;
  const { scId } = contract;
  const same = {
    ...{ kind: "SC_UPDATE" as const, scId, seq: contract.seq + 1 },
    ...{ generation: contract.generation, keyregen: contract.keyregen },
    secretCommitment: contract.secretCommitment,
  };
  if (entry.active === "expired") return { ...same, active: "expired" };
  if (contract.generation < entry.generation) {
    const generation = contract.generation + 1;
    const secret = secrets.find((one) => one.generation === generation)?.secret;
    if (secret === undefined) return undefined;
    const commitment = secretCommitment(scId, generation, secret);
    const words = { generation, secretCommitment: commitment, keyregen: entry.keyregen };
    return { ...same, ...words, active: contract.active };
  }
  return contract.active === entry.active ? undefined : { ...same, active: entry.active };
}
