/**
 * Operating errors: what the user of `abs` can act on. STYLE "Errors" rule 2.
 * Expected outcomes (a malformed packet, a full table) are return values, never one of these;
 * a broken invariant is `assert`, which stops the process in production too.
 */

/** An error with a stable code, what happened with its values, and what to do now. */
export class AbsError extends Error {
  override readonly name = "AbsError";

  /**
   * @param code stable upper-case word, for scripts (`HUGEPAGES_SHORT`)
   * @param message what happened, with the values
   * @param remedy what the user can do now; a sentence, or empty when nothing helps
   * @param cause the error that led here, if any
   */
  constructor(
    readonly code: string,
    message: string,
    readonly remedy: string = "",
    cause?: unknown,
  ) {
    super(message, cause === undefined ? undefined : { cause });
  }
}

/** What `abs` ends with, for scripts. docs/exit-codes.md. */
export const EXIT = { done: 0, failed: 1, usage: 2, unreachable: 3, refused: 4 } as const;

const EXIT_OF_CODE: Readonly<Record<string, number>> = Object.fromEntries([
  ...[
    ...["OPTION_INVALID", "COMMAND_USAGE", "PORT_INVALID"],
    ...["BENCH_OPTION", "SIM_OPTION", "FLEET_OPTION", "LAB_USAGE"],
  ].map((code) => [code, EXIT.usage]),
  ...[
    ...["AGENT_NOT_RUNNING", "LEDGER_NOT_RUNNING", "MANAGER_NOT_RUNNING"],
    ...["MANAGER_UNREACHABLE", "MANAGER_SILENT", "OVERLOADED", "TOO_MANY_REQUESTS"],
  ].map((code) => [code, EXIT.unreachable]),
  ...[
    ...["NOT_ALLOWED", "NOT_AUTHENTICATED", "NOT_ROOT", "KEYLOG_NOT_ALLOWED"],
    ...["MANAGER_LOGIN_REFUSED", "MANAGER_CHANNEL_REFUSED"],
  ].map((code) => [code, EXIT.refused]),
]);

/** For anything thrown. */
export function exitCodeOf(thrown: unknown): number {
  const code = thrown instanceof AbsError ? thrown.code : "";
  return EXIT_OF_CODE[code] ?? EXIT.failed;
}

/** Stops on a broken invariant: state is no longer to be trusted. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(`invariant broken: ${message}`);
}

/** The words of anything thrown, for a message or a log line. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
