/** All commands of an administrator, in one table. docs/manager.md "Commands". */
import type { AdminCommand } from "./admin-command.ts";
import { ADMINISTRATION_COMMANDS } from "./administration-commands.ts";
import { AGENT_COMMANDS } from "./agent-commands.ts";
import { CONTRACT_COMMANDS } from "./contract-commands.ts";
import { DOCUMENT_COMMANDS } from "./document-commands.ts";
import { TENANT_COMMANDS } from "./tenant-commands.ts";

export const ADMIN_COMMANDS: readonly AdminCommand[] = [
  ...TENANT_COMMANDS,
  ...AGENT_COMMANDS,
  ...CONTRACT_COMMANDS,
  ...DOCUMENT_COMMANDS,
  ...ADMINISTRATION_COMMANDS,
];
