/**
 * Commands as words, as `abs manager …` and `ssh admin@manager …` have them: which command they
 * name, what they give it, and the other way round. docs/manager.md "Commands".
 */
import { parseArgs } from "node:util";
import { AbsError, messageOf } from "../errors.ts";
import type { AdminCommand, CommandInput } from "./admin-command.ts";
import { ADMIN_COMMANDS } from "./admin-commands.ts";
import { checkInput, optionOf, propertyOf, usage, valueOfTexts } from "./command-input.ts";

/** What words say, without what comes on standard input. */
export type ReadWords = {
  readonly command: AdminCommand;
  readonly given: CommandInput;
  readonly isJson: boolean;
};

/** @throws AbsError COMMAND_USAGE */
export function readWords(words: readonly string[]): ReadWords {
  const command = findCommand(words);
  if (command === undefined) throw unknownCommand(words);
  const { values, positionals } = parse(command, words.slice(command.name.split(" ").length));
  if (positionals.length !== command.words.length) {
    throw usage(command, `it takes ${command.words.length} words beside its options`);
  }
  const output = values["output"] ?? "text";
  if (!["text", "table", "json"].includes(String(output))) {
    throw usage(command, "--output is text, table or json");
  }
  const given: Record<string, unknown> = {};
  for (const [i, word] of command.words.entries()) {
    given[word] = valueOfTexts(propertyOf(command.input, word), [positionals[i] ?? ""]);
  }
  for (const name of optionNames(command)) {
    const value = values[optionOf(name)];
    if (value === undefined) continue;
    given[name] =
      value === true
        ? value
        : valueOfTexts(propertyOf(command.input, name), [value].flat() as string[]);
  }
  return { command, given, isJson: output === "json" };
}

/** The whole of it. @throws AbsError COMMAND_USAGE */
export function inputOfWords(
  { command, given }: ReadWords,
  came?: string | Uint8Array,
): CommandInput {
  const { standardInput } = command;
  // A value that is typed ends with the line; a document is all of it.
  const isValue = standardInput?.mediaType === undefined && typeof came === "string";
  const value = isValue ? came.replace(/\r?\n$/, "") : came;
  const whole = standardInput === undefined ? given : { ...given, [standardInput.property]: value };
  return checkInput(command, whole, (property) => labelOf(command, property));
}

function labelOf({ words }: AdminCommand, property: string): string {
  const option = optionOf(property);
  return words.includes(property) ? option.toUpperCase() : `--${option}`;
}

/** The command whose name is the longest that the words begin with. */
export function findCommand(words: readonly string[]): AdminCommand | undefined {
  const found = ADMIN_COMMANDS.filter(({ name }) => {
    return name.split(" ").every((word, i) => words[i] === word);
  });
  return found.sort((a, b) => b.name.length - a.name.length)[0];
}

/** As somebody could have typed it, for the records; standard input is left out. */
export function wordsOf(command: AdminCommand, input: CommandInput): string[] {
  const options = optionNames(command).flatMap((name) => {
    const value = input[name];
    if (value === undefined || value === false) return [];
    if (value === propertyOf(command.input, name).default) return [];
    if (value === true) return [`--${optionOf(name)}`];
    return [value].flat().flatMap((one) => [`--${optionOf(name)}`, String(one)]);
  });
  const given = command.words.map((word) => String(input[word]));
  return [...command.name.split(" "), ...given, ...options];
}

function optionNames({ input, words, standardInput }: AdminCommand): string[] {
  return Object.keys(input.properties).filter((name) => {
    return !words.includes(name) && name !== standardInput?.property;
  });
}

function parse(command: AdminCommand, given: readonly string[]): ReturnType<typeof parseArgs> {
  const options = optionNames(command).map((name) => {
    const { type } = propertyOf(command.input, name);
    const kind = type === "boolean" ? ("boolean" as const) : ("string" as const);
    return [optionOf(name), { type: kind, multiple: type === "array" }];
  });
  try {
    return parseArgs({
      ...{ args: [...given], strict: true, allowPositionals: true },
      options: { ...Object.fromEntries(options), output: { type: "string" } },
    });
  } catch (cause) {
    throw usage(command, messageOf(cause).split(". ")[0] ?? "");
  }
}

function unknownCommand(words: readonly string[]): AbsError {
  const shown = words.slice(0, 2).join(" ").slice(0, 64);
  const names = ADMIN_COMMANDS.map(({ name }) => name).join(", ");
  const what = words.length === 0 ? "No command was given." : `There is no command ${shown}.`;
  return new AbsError("COMMAND_USAGE", what, `Commands: ${names}.`);
}
