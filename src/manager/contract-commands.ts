/** Commands about Security Contracts: by hand what the keeper does by policy. docs/manager.md. */
import type { ContractEntry } from "../chain/contract-entry.ts";
import { AbsError } from "../errors.ts";
import type { AdminCommand, CommandContext, CommandWords } from "./admin-command.ts";
import { tableText, timeText } from "./command-values.ts";
import { tenantOption } from "./tenant-commands.ts";

const options = { tenant: tenantOption };

function contractOf(words: CommandWords, { state }: CommandContext): ContractEntry {
  const tenant = state.tenants.need(words.text("tenant") ?? "").name;
  const [scId] = words.rest;
  const found = state.tenants.contracts(tenant).find(({ entry }) => entry.scId === scId);
  if (found !== undefined && found.entry.active !== "expired") return found.entry;
  const what = `${tenant} has no contract ${scId} in force.`;
  throw new AbsError("CONTRACT_ABSENT", what, "`abs manager contract list` names them.");
}

const list: AdminCommand = {
  name: "contract list",
  description: "contracts of a tenant, with the generation of their secrets",
  role: "viewer",
  words: [],
  options,
  run(words, { state }) {
    const tenant = state.tenants.need(words.text("tenant") ?? "").name;
    const rows = state.tenants.contracts(tenant).map(({ entry }) => ({
      "sc-id": entry.scId,
      ...{ encryption: entry.encryptionAlgo, protection: entry.protection, active: entry.active },
      generation: entry.generation,
      ...{ keyregen: timeText(entry.keyregen), until: timeText(entry.scLifetime) },
    }));
    return { value: rows, text: tableText(rows) };
  },
};

const issue: AdminCommand = {
  name: "contract issue",
  description: "one more contract, with a fresh secret",
  role: "operator",
  words: [],
  options,
  run(words, { state, ledgers }) {
    const tenant = state.tenants.need(words.text("tenant") ?? "").name;
    const scId = state.transaction(() => state.tenants.issueContract(tenant, state.now()));
    ledgers.reconcile(tenant);
    return { value: { "sc-id": scId }, text: scId };
  },
};

const regenerate: AdminCommand = {
  name: "contract regenerate",
  description: "its next secret now, and not only at keyregen",
  role: "operator",
  words: ["sc-id"],
  options,
  run(words, context) {
    const { state, ledgers } = context;
    const tenant = words.text("tenant") ?? "";
    const entry = contractOf(words, context);
    state.transaction(() => state.tenants.regenerateContract(tenant, entry, state.now()));
    ledgers.reconcile(tenant);
    const generation = entry.generation + 1;
    return { value: { "sc-id": entry.scId, generation }, text: `generation ${generation}` };
  },
};

const expire: AdminCommand = {
  name: "contract expire",
  description: "for good: sessions under it end; another is issued if too few are left",
  role: "operator",
  words: ["sc-id"],
  options,
  run(words, context) {
    const { state, ledgers } = context;
    const tenant = words.text("tenant") ?? "";
    const entry = contractOf(words, context);
    state.transaction(() => state.tenants.expireContract(tenant, entry));
    ledgers.reconcile(tenant);
    return { value: { expired: entry.scId }, text: `${entry.scId} is expired` };
  },
};

export const CONTRACT_COMMANDS = [list, issue, regenerate, expire];
