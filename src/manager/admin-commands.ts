/** All commands of an administrator, in one table. docs/manager.md "Commands". */
import { ACCOUNT_COMMANDS } from "./account-commands.ts";
import type { AdminCommand } from "./admin-command.ts";
import { ADMINISTRATION_COMMANDS } from "./administration-commands.ts";
import { AGENT_COMMANDS } from "./agent-commands.ts";
import { CONTRACT_COMMANDS } from "./contract-commands.ts";
import { FLOW_COMMANDS } from "./flow-commands.ts";
import { KEY_COMMANDS } from "./key-commands.ts";
import { LEDGER_COMMANDS } from "./ledger-commands.ts";
import { POLICY_COMMANDS } from "./policy-commands.ts";
import { QUARANTINE_COMMANDS } from "./quarantine-commands.ts";
import { SIGNATURE_COMMANDS } from "./signature-commands.ts";
import { SWITCH_COMMANDS } from "./switch-commands.ts";
import { TEMPLATE_COMMANDS } from "./template-commands.ts";
import { TENANT_COMMANDS } from "./tenant-commands.ts";

export const ADMIN_COMMANDS: readonly AdminCommand[] = [
  ...TENANT_COMMANDS,
  ...AGENT_COMMANDS,
  ...KEY_COMMANDS,
  ...CONTRACT_COMMANDS,
  ...POLICY_COMMANDS,
  ...FLOW_COMMANDS,
  ...TEMPLATE_COMMANDS,
  ...SIGNATURE_COMMANDS,
  ...QUARANTINE_COMMANDS,
  ...SWITCH_COMMANDS,
  ...LEDGER_COMMANDS,
  ...ACCOUNT_COMMANDS,
  ...ADMINISTRATION_COMMANDS,
];
