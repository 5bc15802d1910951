/**
 * The shape of an administrator's command: what it takes, who may say it, where it is in the HTTP
 * API, what it does. Everything else comes from these: reading and checking words
 * (command-words.ts, command-input.ts), `abs manager … --help`, and the HTTP API (api/).
 * docs/manager.md "Commands".
 */
import { type Static, type TObject, type TProperties, type TSchema, Type } from "typebox";
import type { SqliteSnapshot } from "../node/sqlite-snapshot.ts";
import type { AdminRole } from "./administrators.ts";
import type { CaptureTests } from "./capture-tests.ts";
import type { ManagerState } from "./manager-state.ts";
import type { ReportedFlows } from "./reported-flows.ts";
import type { StandardInput } from "./standard-input.ts";
import type { SwitchDesk } from "./switch-desk.ts";
import type { Tenant } from "./tenants.ts";

/** The ledgers of the tenants, as far as commands touch them. */
export type LedgerSeams = {
  /** @throws AbsError PEER_PORT_BUSY */
  readonly start: (tenant: Tenant) => Promise<void>;
  /** The database has changed: what the chain lacks is proposed. */
  readonly reconcile: (tenant: string) => void;
  /** @throws AbsError LEDGER_ABSENT */
  readonly read: <T>(tenant: string, read: (snapshot: SqliteSnapshot) => T) => T;
  readonly status: (tenant: string) => Readonly<Record<string, unknown>>;
};

export type CommandContext = {
  readonly state: ManagerState;
  /** Who asks, for the records. */
  readonly who: string;
  readonly counts: () => { readonly strangers: number; readonly loggedIn: number };
  /** Ends connections at once. */
  readonly cutAgent: (nodeId: string) => void;
  readonly cutAdministrator: (name: string) => void;
  readonly rotateHostKey: () => void;
  readonly cutAccount: (name: string) => void;
  readonly ledgers: LedgerSeams;
  readonly switches: SwitchDesk;
  readonly flows: ReportedFlows;
  readonly captureTests: CaptureTests;
};

export type CommandHost = Omit<CommandContext, "who">;

/** For `--output json`, and for people. */
export type CommandAnswer<Value = unknown> = {
  readonly value: Value;
  readonly text: string;
  /** For people, beside the text: on standard error. */
  readonly note?: string | undefined;
  /** Of a document: its ETag. */
  readonly version?: number;
};

/** Checked against the command's schema, defaults filled in. */
export type CommandInput = Readonly<Record<string, unknown>>;

export type CommandRoute = {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** Below `/api/v1`; what is in braces is a property of the input. */
  readonly path: string;
};

type CommandWords = {
  /** As it is called: `agents list`. */
  readonly name: string;
  readonly description: string;
  readonly role: AdminRole;
  /** Properties that are given as words without option, in this order, all of them needed. */
  readonly words?: readonly string[];
  readonly standardInput?: StandardInput;
  readonly http: CommandRoute;
  /**
   * Takes one of few places before the input is read; what it returns gives the place back.
   * @throws AbsError OVERLOADED
   */
  readonly claim?: (host: CommandHost) => () => void;
};

export type AdminCommand = CommandWords & {
  readonly words: readonly string[];
  readonly input: TObject;
  /** What `value` of its answer is (src/answers). */
  readonly answer: TSchema;
  readonly run: (
    input: CommandInput,
    context: CommandContext,
  ) => CommandAnswer | Promise<CommandAnswer>;
};

/** @param command with the properties of its input, and its answer; `run` has both typed */
export function adminCommand<const P extends TProperties, A extends TSchema>(
  command: CommandWords & {
    readonly input: P;
    readonly answer: A;
    readonly run: (
      input: Static<TObject<P>>,
      context: CommandContext,
    ) => CommandAnswer<Static<A>> | Promise<CommandAnswer<Static<A>>>;
  },
): AdminCommand {
  const { run } = command;
  return {
    ...{ words: [], ...command },
    input: Type.Object(command.input, { additionalProperties: false }),
    run: (input, context) => run(input as Static<TObject<P>>, context),
  };
}
