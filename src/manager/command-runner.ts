/**
 * Executes one command of an administrator: finds it, reads its options strictly, asks whether the
 * role may, runs it, writes the audit log. docs/manager.md "Commands". A mistake is answered with
 * what is wrong and what to do; nothing an administrator types can throw further than here.
 */
import { parseArgs } from "node:util";
import { AbsError, messageOf } from "../errors.ts";
import type { ExecCall, ExecResult } from "../ssh/ssh-login.ts";
import type { AdminCommand, CommandContext, CommandWords } from "./admin-command.ts";
import { ADMIN_COMMANDS } from "./admin-commands.ts";
import { ADMIN_ROLES } from "./administrators.ts";

const AUDITED_CHARACTERS_MAX = 1000;
const EXIT_FAILED = 1;
const EXIT_USAGE = 2;

export type CommandHost = Omit<CommandContext, "who">;

/** Who asks, from where, and what comes on standard input. */
export type Caller = ExecCall & { readonly who: string };

export async function executeCommand(
  host: CommandHost,
  words: readonly string[],
  by: Caller,
): Promise<ExecResult> {
  const { state } = host;
  const isAudited = findCommand(words)?.role !== "viewer";
  const note = (outcome: string): void => {
    if (!isAudited) return;
    const command = words.join(" ").slice(0, AUDITED_CHARACTERS_MAX);
    const { who, address } = by;
    state.audit.add({ at: state.now(), who, address, command, outcome });
  };
  try {
    const output = await answerOf(host, words, by);
    note("done");
    return { code: 0, output, complaint: "" };
  } catch (thrown) {
    const isOurs = thrown instanceof AbsError;
    note(isOurs ? thrown.code : "INTERNAL");
    const code = isOurs && thrown.code === "COMMAND_USAGE" ? EXIT_USAGE : EXIT_FAILED;
    return { code, output: "", complaint: complaintOf(thrown) };
  }
}

async function answerOf(
  host: CommandHost,
  words: readonly string[],
  { who, input }: Caller,
): Promise<string> {
  const command = findCommand(words);
  if (command === undefined) throw unknownCommand(words);
  const given = words.slice(command.name.split(" ").length);
  const { read, isJson } = readWords(command, given);
  const role = host.state.administrators.list().find(({ name }) => name === who)?.role ?? "viewer";
  if (ADMIN_ROLES.indexOf(role) < ADMIN_ROLES.indexOf(command.role)) {
    const what = `\`${command.name}\` needs the role ${command.role}; ${who} has ${role}.`;
    throw new AbsError("NOT_ALLOWED", what, "Ask an administrator.");
  }
  const document = command.readsInput === true ? await readText(input) : "";
  const { value, text } = await command.run({ ...read, input: document }, { ...host, who });
  return `${isJson ? JSON.stringify(value) : text}\n`;
}

/** @throws AbsError INPUT_WRONG */
async function readText(input: ExecCall["input"]): Promise<string> {
  const bytes = await input();
  const remedy = "Give the document on standard input: `… < FILE`, at most 1 MiB of UTF-8.";
  if (bytes === undefined) throw new AbsError("INPUT_WRONG", "The input is too long.", remedy);
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new AbsError("INPUT_WRONG", "The input is no UTF-8 text.", remedy, cause);
  }
  if (text.trim() !== "") return text;
  throw new AbsError("INPUT_WRONG", "The input is empty.", remedy);
}

/** The longest name that the words begin with. */
function findCommand(words: readonly string[]): AdminCommand | undefined {
  return ADMIN_COMMANDS.find(({ name }) => {
    return name.split(" ").every((word, i) => words[i] === word);
  });
}

function readWords(
  command: AdminCommand,
  given: readonly string[],
): { readonly read: Omit<CommandWords, "input">; readonly isJson: boolean } {
  const options = {
    ...Object.fromEntries(
      Object.entries(command.options).map(([name, { type, multiple }]) => {
        return [name, { type, multiple: multiple ?? false }];
      }),
    ),
    output: { type: "string" as const, default: "text" },
  };
  let parsed: ReturnType<typeof parseArgs>;
  try {
    parsed = parseArgs({ args: [...given], options, strict: true, allowPositionals: true });
  } catch (cause) {
    throw usage(command, messageOf(cause).split(". ")[0] ?? "");
  }
  const { values, positionals } = parsed;
  const read: Omit<CommandWords, "input"> = {
    text: (name) => (values[name] as string | undefined) ?? command.options[name]?.default,
    texts: (name) => (values[name] as string[] | undefined) ?? [],
    flag: (name) => values[name] === true,
    rest: positionals,
  };
  const missing = Object.entries(command.options).find(([name, { required }]) => {
    return required === true && values[name] === undefined;
  });
  if (missing !== undefined) throw usage(command, `--${missing[0]} is missing`);
  if (positionals.length !== command.words.length) {
    throw usage(command, `it takes ${command.words.length} words beside its options`);
  }
  const output = values["output"];
  if (output !== "text" && output !== "json") throw usage(command, "--output is text or json");
  return { read, isJson: output === "json" };
}

export function usageOf({ name, words, options }: AdminCommand): string {
  const named = Object.entries(options).map(([option, { type, required, multiple }]) => {
    const text = type === "boolean" ? `--${option}` : `--${option} ${option.toUpperCase()}`;
    return `${required === true ? text : `[${text}]`}${multiple === true ? "…" : ""}`;
  });
  return [name, ...words.map((word) => word.toUpperCase()), ...named, "[--output text|json]"].join(
    " ",
  );
}

function usage(command: AdminCommand, why: string): AbsError {
  return new AbsError("COMMAND_USAGE", `${why}.`, `Usage: ${usageOf(command)}`);
}

function unknownCommand(words: readonly string[]): AbsError {
  const shown = words.slice(0, 2).join(" ").slice(0, 64);
  const names = ADMIN_COMMANDS.map(({ name }) => name).join(", ");
  const what = words.length === 0 ? "No command was given." : `There is no command ${shown}.`;
  return new AbsError("COMMAND_USAGE", what, `Commands: ${names}.`);
}

function complaintOf(thrown: unknown): string {
  if (!(thrown instanceof AbsError)) return `It failed: ${messageOf(thrown)}\n`;
  const remedy = thrown.remedy === "" ? "" : `  → ${thrown.remedy}\n`;
  return `${thrown.message} [${thrown.code}]\n${remedy}`;
}
