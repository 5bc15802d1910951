/** The commands as data, read from their definitions: for completions and manual pages. */
import type { ArgsDef, CommandDef, Resolvable, SubCommandsDef } from "citty";

export type CommandOption = {
  /** With its dashes. */
  readonly flag: string;
  readonly description: string;
  readonly takesValue: boolean;
};

export type CommandWord = {
  readonly name: string;
  readonly description: string;
  readonly isRequired: boolean;
};

export type CommandNode = {
  /** From the program's name on: `abs sig test`. */
  readonly path: string;
  readonly name: string;
  readonly description: string;
  readonly commands: readonly CommandNode[];
  readonly options: readonly CommandOption[];
  /** Words that follow without dashes, in order. */
  readonly words: readonly CommandWord[];
};

/** A definition with all below it; hidden ones are left out. */
export async function commandTree(
  definition: CommandDef,
  name = "abs",
  path = name,
): Promise<CommandNode> {
  const below: SubCommandsDef = (await resolve(definition.subCommands)) ?? {};
  const commands: CommandNode[] = [];
  for (const [word, command] of Object.entries(below)) {
    const inner = await resolve(command);
    if (inner === undefined || (await resolve(inner.meta))?.hidden === true) continue;
    commands.push(await commandTree(inner, word, `${path} ${word}`));
  }
  const args: ArgsDef = (await resolve(definition.args)) ?? {};
  const description = (await resolve(definition.meta))?.description ?? "";
  const options = optionsOf(args);
  return { path, name, description, commands, options, words: wordsOf(args) };
}

function wordsOf(args: ArgsDef): CommandWord[] {
  return Object.entries(args)
    .filter(([, arg]) => arg.type === "positional")
    .map(([name, arg]) => ({
      name: name.toUpperCase(),
      description: arg.description ?? "",
      isRequired: arg.required !== false && arg.default === undefined,
    }));
}

function optionsOf(args: ArgsDef): CommandOption[] {
  const own = Object.entries(args)
    .filter(([, arg]) => arg.type !== "positional")
    .map(([name, arg]) => ({
      flag: `--${name}`,
      description: arg.description ?? "",
      takesValue: arg.type !== "boolean",
    }));
  return [
    ...own,
    { flag: "--help", description: "what it does, and its options", takesValue: false },
  ];
}

/** A command with all below it, each before those below. */
export function flatten(node: CommandNode): CommandNode[] {
  return [node, ...node.commands.flatMap(flatten)];
}

async function resolve<T>(value: Resolvable<T> | undefined): Promise<T | undefined> {
  return typeof value === "function" ? await (value as () => T | Promise<T>)() : await value;
}
