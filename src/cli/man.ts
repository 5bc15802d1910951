/**
 * `abs man`: manual pages, made from the commands themselves, so that they cannot name what is not
 * there. One page for the program and one for each command below it: abs(1), abs-agent(1), ….
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type CommandDef, defineCommand } from "citty";
import { type CommandNode, commandTree } from "./command-tree.ts";
import { manualPage, manualPages } from "./manual-page.ts";
import { notes } from "./notes.ts";
import { optionError } from "./options.ts";

/** @param main the whole program; a function, since the program holds this command */
export function manCommandOf(main: () => CommandDef) {
  return defineCommand({
    meta: {
      name: "man",
      description:
        "manual pages\n\n  abs man agent | man -l -\n  abs man --dir /usr/local/share/man/man1",
    },
    args: {
      command: { type: "positional", required: false, description: "agent, manager, …; or none" },
      dir: { type: "string", description: "write all pages into this folder" },
    },
    async run({ args }) {
      const root = await commandTree(main());
      if (args.dir !== undefined) return writePages(root, args.dir);
      const node = args.command === undefined ? root : pageOf(root, args.command);
      process.stdout.write(manualPage(node, root));
    },
  });
}

function pageOf(root: CommandNode, word: string): CommandNode {
  const found = root.commands.find(({ name }) => name === word);
  if (found !== undefined) return found;
  const names = root.commands.map(({ name }) => name).join(", ");
  throw optionError(`There is no command ${word}.`, `Pages: ${names}.`);
}

function writePages(root: CommandNode, dir: string): void {
  mkdirSync(dir, { recursive: true });
  const pages = manualPages(root);
  for (const { file, text } of pages) writeFileSync(join(dir, file), text);
  notes.success(`${pages.length} pages are in ${dir}.`);
}
