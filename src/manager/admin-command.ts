/**
 * The shape of an administrator's command: what its words mean, who may say it, what it does. The
 * same table gives `abs manager … --help` its text. docs/manager.md "Commands".
 */
import type { AdminRole } from "./administrators.ts";
import type { ManagerState } from "./manager-state.ts";
import type { Tenant } from "./tenants.ts";

export type OptionSpec = {
  readonly type: "string" | "boolean";
  readonly multiple?: true;
  readonly required?: true;
  readonly default?: string;
  readonly description: string;
};

/** Options and words as they were read. */
export type CommandWords = {
  readonly text: (name: string) => string | undefined;
  readonly texts: (name: string) => readonly string[];
  readonly flag: (name: string) => boolean;
  /** What has no name, in order. */
  readonly rest: readonly string[];
  /** Standard input as text; empty unless the command reads it. */
  readonly input: string;
};

/** The ledgers of the tenants, as far as commands touch them. */
export type LedgerSeams = {
  /** @throws AbsError PEER_PORT_BUSY */
  readonly start: (tenant: Tenant) => Promise<void>;
  /** The database has changed: what the chain lacks is proposed. */
  readonly reconcile: (tenant: string) => void;
  readonly status: (tenant: string) => Readonly<Record<string, unknown>>;
};

export type CommandContext = {
  readonly state: ManagerState;
  /** The administrator's name. */
  readonly who: string;
  readonly counts: () => { readonly strangers: number; readonly loggedIn: number };
  /** Ends connections at once. */
  readonly cutAgent: (nodeId: string) => void;
  readonly cutAdministrator: (name: string) => void;
  readonly ledgers: LedgerSeams;
};

/** For `--output json`, and for people. */
export type CommandAnswer = { readonly value: unknown; readonly text: string };

export type AdminCommand = {
  /** As it is called: `agents list`. */
  readonly name: string;
  readonly description: string;
  readonly role: AdminRole;
  /** Names of the words without option, all of them needed. */
  readonly words: readonly string[];
  readonly options: Readonly<Record<string, OptionSpec>>;
  /** It takes a document from standard input. */
  readonly readsInput?: true;
  readonly run: (
    words: CommandWords,
    context: CommandContext,
  ) => CommandAnswer | Promise<CommandAnswer>;
};
