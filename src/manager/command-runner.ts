/**
 * Executes one command of an administrator: asks whether the role may, runs it, writes the audit
 * log. docs/manager.md "Commands". A mistake is answered with what is wrong and what to do; nothing
 * an administrator types can throw further than here.
 */

import { AbsError, exitCodeOf, messageOf } from "../errors.ts";
import type { ExecCall, ExecResult } from "../ssh/ssh-login.ts";
import type { AdminCommand, CommandAnswer, CommandHost, CommandInput } from "./admin-command.ts";
import { ADMIN_ROLES, type AdminRole } from "./administrators.ts";
import { checkInput } from "./command-input.ts";
import { findCommand, inputOfWords, readWords, wordsOf } from "./command-words.ts";
import { roomError } from "./disk-room.ts";
import { standardInputOf } from "./standard-input.ts";

const AUDITED_CHARACTERS_MAX = 1000;

/** Who asks, with which role, from where. */
export type Caller = { readonly who: string; readonly role: AdminRole; readonly address: string };

/** Words of SSH; a mistake is a complaint with an exit code. */
export async function executeCommand(
  host: CommandHost,
  words: readonly string[],
  by: Caller & Pick<ExecCall, "input">,
): Promise<ExecResult> {
  const asked = findCommand(words);
  try {
    const said = { role: asked?.role, words };
    const { value, text, note, isJson } = await audited(host, by, said, async () => {
      const read = readWords(words);
      mayRun(read.command, by);
      const { command, isJson } = read;
      const answer = await claimed(host, command, async () => {
        const { standardInput } = command;
        const given = standardInput && standardInputOf(standardInput, await by.input());
        return command.run(inputOfWords(read, given), { ...host, who: by.who });
      });
      return { ...answer, isJson };
    });
    const complaint = note === undefined ? "" : `${note}\n`;
    return { code: 0, output: `${isJson ? JSON.stringify(value) : text}\n`, complaint };
  } catch (thrown) {
    return { code: exitCodeOf(thrown), output: "", complaint: complaintOf(thrown) };
  }
}

/**
 * A command of the HTTP API.
 * @param read its input, which is checked here; not called before it is clear that the caller may
 * @throws AbsError of the command, of its input, NOT_ALLOWED
 */
export async function executeInput(
  host: CommandHost,
  command: AdminCommand,
  by: Caller,
  read: () => Promise<CommandInput>,
): Promise<CommandAnswer> {
  const said: Said = { role: command.role, words: command.name.split(" ") };
  return audited(host, by, said, async () => {
    mayRun(command, by);
    return claimed(host, command, async () => {
      const input = checkInput(command, await read(), (property) => property);
      said.words = wordsOf(command, input);
      return command.run(input, { ...host, who: by.who });
    });
  });
}

/** With what the command claims, from before its input is read. */
async function claimed<T>(
  host: CommandHost,
  { claim }: AdminCommand,
  run: () => Promise<T>,
): Promise<T> {
  const giveBack = claim?.(host);
  try {
    return await run();
  } finally {
    giveBack?.();
  }
}

/** For the audit log. */
type Said = { readonly role: AdminRole | undefined; words: readonly string[] };

/** Notes how it ended, unless it can only look. */
async function audited<T>(
  { state }: CommandHost,
  { who, address }: Caller,
  said: Said,
  run: () => Promise<T>,
): Promise<T> {
  const note = (outcome: string): void => {
    if (said.role === "viewer") return;
    const command = said.words.join(" ").slice(0, AUDITED_CHARACTERS_MAX);
    state.audit.add({ at: state.now(), who, address, command, outcome });
  };
  try {
    const answer = await run();
    note("done");
    return answer;
  } catch (thrown) {
    const error = roomError(thrown);
    try {
      note(error instanceof AbsError ? error.code : "INTERNAL");
    } catch {
      // The disk that has no room for a change has none for the note of it.
    }
    throw error;
  }
}

/** @throws AbsError NOT_ALLOWED */
function mayRun(command: AdminCommand, { who, role }: Caller): void {
  if (ADMIN_ROLES.indexOf(role) >= ADMIN_ROLES.indexOf(command.role)) return;
  const what = `\`${command.name}\` needs the role ${command.role}; ${who} has ${role}.`;
  throw new AbsError("NOT_ALLOWED", what, "Ask an administrator.");
}

/** For standard error. */
export function complaintOf(thrown: unknown): string {
  if (!(thrown instanceof AbsError)) return `It failed: ${messageOf(thrown)}\n`;
  const remedy = thrown.remedy === "" ? "" : `  → ${thrown.remedy}\n`;
  return `${thrown.message} [${thrown.code}]\n${remedy}`;
}
