/**
 * Commands that a running manager executes: over its HTTP API, by its socket on this machine or at
 * a URL, or over SSH. Its answer is printed. `ssh admin@manager WORDS` does the same. The table of
 * src/manager says which there are, so that `--help` and the manager cannot disagree.
 * docs/manager.md "Commands".
 */
import { existsSync } from "node:fs";
import { type ArgsDef, type CommandDef, defineCommand } from "citty";
import type { AdminCommand } from "../manager/admin-command.ts";
import { ADMIN_COMMANDS } from "../manager/admin-commands.ts";
import { type ApiTarget, askApi } from "../manager/api/client.ts";
import { isLoopback } from "../manager/api/server.ts";
import { askManager, type RemoteManager } from "../manager/command-client.ts";
import { isNeeded, optionOf, propertyOf } from "../manager/command-input.ts";
import { inFolder } from "../manager/manager-folder.ts";
import { readPrivate } from "../manager/private-file.ts";
import { optionError, outputArgument, placeOf, readCertificate } from "./options.ts";

const DIR_DEFAULT = "/var/lib/abs/manager";

export const managerDirArgument = {
  type: "string",
  default: DIR_DEFAULT,
  description: "folder of the manager",
} as const;

export const dataKeyArgument = {
  type: "string",
  description: "file of the data key that secrets are sealed with (DIR/data.key)",
} as const;

/** Ours; all others are the manager's to judge. */
const CONNECTION_ARGUMENTS = {
  dir: managerDirArgument,
  api: { type: "string", description: "https://HOST:PORT of a manager's HTTP API" },
  "token-file": { type: "string", description: "with --api: file of your token" },
  "api-ca": { type: "string", description: "with --api: PEM file of who signed its certificate" },
  manager: { type: "string", description: "HOST:PORT of a manager on another machine" },
  key: { type: "string", description: "with --manager: file of your Ed25519 private key" },
  "host-key": { type: "string", description: "with --manager: SHA256:… of its host key" },
} as const satisfies ArgsDef;

type ConnectionWords = Partial<Record<keyof typeof CONNECTION_ARGUMENTS, string>>;

/** A tree by the words of the commands' names. */
export function remoteCommands(): Record<string, CommandDef> {
  return branches(ADMIN_COMMANDS, 0);
}

/** @param depth words of the names that lead here */
function branches(commands: readonly AdminCommand[], depth: number): Record<string, CommandDef> {
  const byWord = new Map<string, AdminCommand[]>();
  for (const command of commands) {
    const word = command.name.split(" ")[depth] ?? "";
    byWord.set(word, [...(byWord.get(word) ?? []), command]);
  }
  return Object.fromEntries(
    [...byWord].map(([word, below]) => {
      const [only] = below;
      const isLeaf = only?.name.split(" ").length === depth + 1;
      if (only !== undefined && isLeaf) return [word, remoteCommand(only)];
      const subCommands = branches(below, depth + 1);
      const meta = { name: word, description: Object.keys(subCommands).join(", ") };
      return [word, defineCommand({ meta, subCommands })];
    }),
  );
}

function remoteCommand(command: AdminCommand): CommandDef {
  const { name, description, words, input, standardInput } = command;
  const options = Object.keys(input.properties).flatMap((property) => {
    if (property === standardInput?.property || words.includes(property)) return [];
    const { type, description: text = "" } = propertyOf(input, property);
    const needed = isNeeded(input, property) ? `${text} (needed)` : text;
    const kind = type === "boolean" ? "boolean" : "string";
    return [[optionOf(property), { type: kind, description: needed }]];
  });
  const positional = words.map((word) => {
    const { description: text } = propertyOf(input, word);
    return [optionOf(word), { type: "positional", required: false, description: text }];
  });
  const { default: _, ...output } = outputArgument;
  return defineCommand({
    meta: { name: name.split(" ").at(-1) ?? name, description },
    args: {
      ...Object.fromEntries([...positional, ...options]),
      ...{ output, ...CONNECTION_ARGUMENTS },
    } as ArgsDef,
    run: ({ rawArgs }) => execute(name.split(" "), rawArgs, standardInput !== undefined),
  });
}

async function execute(
  name: readonly string[],
  rawArgs: readonly string[],
  readsInput: boolean,
): Promise<void> {
  const { connection, words } = takeConnection(rawArgs);
  const said = [...name, ...words];
  const target = apiOf(connection);
  const result =
    target === undefined
      ? await askManager(
          managerOf(connection),
          said,
          readsInput ? await Bun.stdin.bytes() : undefined,
        )
      : await askApi(target, said, () => Bun.stdin.bytes());
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

/** The API of a URL, or of the manager that runs here; undefined: it is SSH. */
function apiOf(words: ConnectionWords): ApiTarget | undefined {
  const { api, dir = DIR_DEFAULT, manager } = words;
  const tokenFile = words["token-file"];
  const caFile = words["api-ca"];
  if (api === undefined) {
    const socket = inFolder(dir, "socket");
    return manager === undefined && existsSync(socket) ? { socket } : undefined;
  }
  const url = URL.parse(api);
  const isPlain = url?.protocol === "http:" && isLoopback(url.hostname.replace(/^\[|\]$/g, ""));
  if (url === null || !(isPlain || url.protocol === "https:")) {
    const remedy = "Write https://HOST:PORT, or http://127.0.0.1:PORT on the same machine.";
    throw optionError(`--api ${api} is no place for a token.`, remedy);
  }
  if (tokenFile === undefined || manager !== undefined) {
    throw optionError(
      manager === undefined
        ? "--api needs --token-file."
        : "--api and --manager exclude each other.",
      "`abs manager account token create NAME > FILE` makes a token; or use --manager.",
    );
  }
  const ca = caFile === undefined ? undefined : readCertificate(caFile);
  return { url: url.origin, token: readPrivate(tokenFile).trim(), ca };
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
