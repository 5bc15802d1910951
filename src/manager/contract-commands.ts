/** Commands about Security Contracts: by hand what the keeper does by policy. docs/manager.md. */
import type { Static, TObject } from "typebox";
import {
  contractExpired,
  contractIssued,
  contractRegenerated,
  contractRows,
} from "../answers/contracts.ts";
import type { ContractEntry } from "../chain/contract-entry.ts";
import { AbsError } from "../errors.ts";
import { adminCommand, type CommandContext } from "./admin-command.ts";
import { documentText, reference, tenantName } from "./command-schemas.ts";
import { tableText, timeText } from "./command-values.ts";
import { readTerms } from "./contract-terms.ts";

const ofTenant = { tenant: tenantName };
const oneContract = { sc_id: reference("of the contract"), ...ofTenant };
type OneContract = Static<TObject<typeof oneContract>>;

function contractOf(
  { sc_id: scId, tenant }: OneContract,
  { state }: CommandContext,
): ContractEntry {
  state.tenants.need(tenant);
  const found = state.tenants.contracts(tenant).find(({ entry }) => entry.scId === scId);
  if (found !== undefined && found.entry.active !== "expired") return found.entry;
  const what = `${tenant} has no contract ${scId} in force.`;
  throw new AbsError("CONTRACT_ABSENT", what, "`abs manager contract list` names them.");
}

const list = adminCommand({
  name: "contract list",
  description: "contracts of a tenant, with the generation of their secrets",
  role: "viewer",
  http: { method: "GET", path: "/tenants/{tenant}/contracts" },
  input: ofTenant,
  answer: contractRows,
  run({ tenant }, { state }) {
    state.tenants.need(tenant);
    const rows = state.tenants.contracts(tenant).map(({ entry }) => ({
      "sc-id": entry.scId,
      ...{ encryption: entry.encryptionAlgo, protection: entry.protection, active: entry.active },
      generation: entry.generation,
      ...{ keyregen: timeText(entry.keyregen), until: timeText(entry.scLifetime) },
    }));
    return { value: rows, text: tableText(rows) };
  },
});

const issue = adminCommand({
  name: "contract issue",
  description: "one more contract, with a fresh secret",
  role: "operator",
  http: { method: "POST", path: "/tenants/{tenant}/contracts" },
  input: ofTenant,
  answer: contractIssued,
  run({ tenant }, { state, ledgers }) {
    state.tenants.need(tenant);
    const scId = state.transaction(() => state.tenants.issueContract(tenant, state.now()));
    ledgers.reconcile(tenant);
    return { value: { "sc-id": scId }, text: scId };
  },
});

const add = adminCommand({
  name: "contract add",
  description: "one with the terms on standard input, as Fig. 6 writes them; its secret is drawn",
  role: "operator",
  // JSON, which is YAML too: bodies of the API have one media type.
  standardInput: { property: "document", mediaType: "application/yaml" },
  http: { method: "POST", path: "/tenants/{tenant}/contracts/terms" },
  input: { ...ofTenant, document: documentText("a Security Contract without its secret") },
  answer: contractIssued,
  run({ tenant, document }, { state, ledgers }) {
    state.tenants.need(tenant);
    const terms = readTerms(document, state.now());
    const scId = state.transaction(() => state.tenants.addContract(tenant, terms));
    ledgers.reconcile(tenant);
    return { value: { "sc-id": scId }, text: scId };
  },
});

const regenerate = adminCommand({
  name: "contract regenerate",
  description: "its next secret now, and not only at keyregen",
  role: "operator",
  words: ["sc_id"],
  http: { method: "POST", path: "/tenants/{tenant}/contracts/{sc_id}/regenerate" },
  input: oneContract,
  answer: contractRegenerated,
  run(input, context) {
    const { state, ledgers } = context;
    const { tenant } = input;
    const entry = contractOf(input, context);
    state.transaction(() => state.tenants.regenerateContract(tenant, entry, state.now()));
    ledgers.reconcile(tenant);
    const generation = entry.generation + 1;
    return { value: { "sc-id": entry.scId, generation }, text: `generation ${generation}` };
  },
});

const expire = adminCommand({
  name: "contract expire",
  description: "for good: sessions under it end; another is issued if too few are left",
  role: "operator",
  words: ["sc_id"],
  http: { method: "POST", path: "/tenants/{tenant}/contracts/{sc_id}/expire" },
  input: oneContract,
  answer: contractExpired,
  run(input, context) {
    const { state, ledgers } = context;
    const { tenant } = input;
    const entry = contractOf(input, context);
    state.transaction(() => state.tenants.expireContract(tenant, entry));
    ledgers.reconcile(tenant);
    return { value: { expired: entry.scId }, text: `${entry.scId} is expired` };
  },
});

export const CONTRACT_COMMANDS = [list, issue, add, regenerate, expire];
