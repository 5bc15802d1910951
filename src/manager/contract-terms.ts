/**
 * Terms of a contract as an administrator writes them: Fig. 6 of the paper (§3.2), with protection
 * and scope where they are wanted. docs/manager.md "Contracts". Secret, generation and commitment
 * are the manager's to draw.
 */
import { parseJsonText } from "../chain/canonical-json.ts";
import { readContract } from "../chain/contract-entry.ts";
import { NO_HASH } from "../chain/ledger-units.ts";
import { AbsError } from "../errors.ts";
import type { EpochSeconds } from "../units.ts";
import type { ContractTerms } from "./tenants.ts";

/** @throws AbsError CONTRACT_INVALID; CONTRACT_EXPIRED when it is well-formed, and over */
export function readTerms(document: string, now: EpochSeconds): ContractTerms {
  const json = parseJsonText(new TextEncoder().encode(document));
  if ("fault" in json) throw invalid(json.fault);
  const read = readContract(json.value);
  if ("complaint" in read) throw invalid(read.complaint);
  const { generation, secretCommitment, seq, ...terms } = read.contract;
  if (generation !== 0 || secretCommitment !== NO_HASH || seq !== 0) {
    throw invalid("generation, secret_commitment and seq are drawn and counted here");
  }
  if (terms.active === "expired" || terms.scLifetime <= now) {
    const until = new Date(terms.scLifetime * 1000).toISOString();
    const what = `The contract ${terms.scId} is expired: its sc-lifetime ended at ${until}.`;
    throw new AbsError("CONTRACT_EXPIRED", what, "Give it new times and `active` true.");
  }
  if (terms.keyregen > now && terms.keyregen <= terms.scLifetime) return terms;
  throw invalid("keyregen is not between now and sc-lifetime");
}

function invalid(why: string): AbsError {
  const remedy = 'docs/ledger.md "Contracts" has the fields; Fig. 6 of the paper is an example.';
  return new AbsError("CONTRACT_INVALID", `This is no contract: ${why}.`, remedy);
}
