/** All commands of an administrator, in one table. docs/manager.md "Commands". */
import type { AdminCommand } from "./admin-command.ts";
import { ADMINISTRATION_COMMANDS } from "./administration-commands.ts";
import { AGENT_COMMANDS } from "./agent-commands.ts";
import { TENANT_COMMANDS } from "./tenant-commands.ts";

export const ADMIN_COMMANDS: readonly AdminCommand[] = [
  ...TENANT_COMMANDS,
  ...AGENT_COMMANDS,
  ...ADMINISTRATION_COMMANDS,
];
