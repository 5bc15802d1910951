/**
 * Commands that a running manager executes: their words are sent as they are, over SSH, and its
 * answer is printed. `ssh admin@manager WORDS` does the same. The table of src/manager says which
 * there are, so that `--help` and the manager cannot disagree. docs/manager.md "Commands".
 */
import { type ArgsDef, type CommandDef, defineCommand } from "citty";
import type { AdminCommand } from "../manager/admin-command.ts";
import { ADMIN_COMMANDS } from "../manager/admin-commands.ts";
import { askManager, type RemoteManager } from "../manager/command-client.ts";
import { optionError, placeOf } from "./options.ts";

const DIR_DEFAULT = "/var/lib/abs/manager";

export const managerDirArgument = {
  type: "string",
  default: DIR_DEFAULT,
  description: "folder of the manager",
} as const;

/** Ours; all others are the manager's to judge. */
const CONNECTION_ARGUMENTS = {
  dir: managerDirArgument,
  manager: { type: "string", description: "HOST:PORT of a manager on another machine" },
  key: { type: "string", description: "with --manager: file of your Ed25519 private key" },
  "host-key": { type: "string", description: "with --manager: SHA256:… of its host key" },
} as const satisfies ArgsDef;

type ConnectionWords = Partial<Record<keyof typeof CONNECTION_ARGUMENTS, string>>;

/** By first word: a command, or a group of them. */
export function remoteCommands(): Record<string, CommandDef> {
  const groups = new Map<string, AdminCommand[]>();
  for (const command of ADMIN_COMMANDS) {
    const [first = ""] = command.name.split(" ");
    groups.set(first, [...(groups.get(first) ?? []), command]);
  }
  return Object.fromEntries(
    [...groups].map(([first, commands]) => {
      const [only] = commands;
      if (only?.name === first) return [first, remoteCommand(only)];
      const subCommands = commands.map((command) => {
        return [command.name.slice(first.length + 1), remoteCommand(command)];
      });
      const description = commands.map(({ name }) => name.slice(first.length + 1)).join(", ");
      const meta = { name: first, description };
      return [first, defineCommand({ meta, subCommands: Object.fromEntries(subCommands) })];
    }),
  );
}

function remoteCommand(command: AdminCommand): CommandDef {
  const { name, description, words, options, readsInput } = command;
  const named = Object.entries(options).map(([option, { type, description: text, required }]) => {
    return [option, { type, description: required === true ? `${text} (needed)` : text }];
  });
  const positional = words.map((word) => {
    return [word, { type: "positional", required: false, description: word }];
  });
  const output = { type: "string", description: "text or json" };
  return defineCommand({
    meta: { name: name.split(" ").at(-1) ?? name, description },
    args: {
      ...Object.fromEntries([...positional, ...named]),
      ...{ output, ...CONNECTION_ARGUMENTS },
    } as ArgsDef,
    run: ({ rawArgs }) => execute(name.split(" "), rawArgs, readsInput === true),
  });
}

async function execute(
  name: readonly string[],
  rawArgs: readonly string[],
  readsInput: boolean,
): Promise<void> {
  const { connection, words } = takeConnection(rawArgs);
  const input = readsInput ? await Bun.stdin.bytes() : undefined;
  const result = await askManager(managerOf(connection), [...name, ...words], input);
  process.stdout.write(result.output);
  process.stderr.write(result.complaint);
  if (result.code !== 0) process.exit(result.code);
}

/** Takes our own options out of what is sent. */
function takeConnection(rawArgs: readonly string[]): {
  readonly connection: ConnectionWords;
  readonly words: readonly string[];
} {
  const connection: ConnectionWords = {};
  const words: string[] = [];
  for (let i = 0; i < rawArgs.length; i++) {
    const [, option = "", value] = /^--([a-z-]+)(?:=(.*))?$/s.exec(rawArgs[i] ?? "") ?? [];
    if (!(option in CONNECTION_ARGUMENTS)) {
      words.push(rawArgs[i] ?? "");
      continue;
    }
    const given = value ?? rawArgs[++i];
    if (given === undefined) throw optionError(`--${option} has no value.`, "Give one.");
    connection[option as keyof ConnectionWords] = given;
  }
  return { connection, words };
}

function managerOf(words: ConnectionWords): { readonly dir: string } | RemoteManager {
  const { dir, manager, key } = words;
  const hostFingerprint = words["host-key"];
  if (manager === undefined) return { dir: dir ?? DIR_DEFAULT };
  if (key === undefined || hostFingerprint === undefined) {
    throw optionError(
      "--manager needs --key and --host-key.",
      "`abs manager status` on the manager's machine prints the host key.",
    );
  }
  return { ...placeOf("--manager", manager), keyFile: key, hostFingerprint };
}
