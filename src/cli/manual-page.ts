/** Manual pages in roff, as man(7) has it, of the commands as data (command-tree.ts). */
import packageJson from "../../package.json";
import { type CommandNode, flatten } from "./command-tree.ts";

const FILES: readonly (readonly [string, string])[] = [
  ["/etc/default/abs-agent, /etc/default/abs-manager", "options of the services"],
  ["/var/lib/abs/agent", "an enrolled agent: its keys, what its manager told it, its ledger"],
  ["/var/lib/abs/manager", "a manager: its keys and its database"],
  ["/run/abs", "what a running agent must remember of the interface that it has taken over"],
];

const EXIT_STATUS: readonly (readonly [string, string])[] = [
  ["0", "done; what was asked holds"],
  ["1", "it failed, or does not hold"],
  ["2", "wrong usage: an option or a value"],
  ["3", "agent, ledger node or manager cannot be reached now"],
  ["4", "refused: who asks may not"],
];

/** File name and text of the page of the program and of each command right below it. */
export function manualPages(root: CommandNode): readonly { file: string; text: string }[] {
  return [root, ...root.commands].map((node) => ({
    file: `${pageName(node)}.1`,
    text: manualPage(node, root),
  }));
}

/** The page of one command, with all below it; of the program, with the commands' names alone. */
export function manualPage(node: CommandNode, root: CommandNode): string {
  const name = pageName(node);
  const isRoot = node === root;
  const inner = isRoot ? [] : flatten(node).filter(({ commands }) => commands.length === 0);
  const parts = [
    `.TH ${name.toUpperCase()} 1 "" "abs ${packageJson.version}" "User Commands"`,
    ".SH NAME",
    `${roff(name)} \\- ${roff(firstLine(node.description))}`,
    ".SH SYNOPSIS",
    ...(isRoot ? [`.B abs\n.I COMMAND\n.RI [ OPTION ]...`] : inner.map(synopsis)),
    ".SH DESCRIPTION",
    ...paragraphs(node.description),
    ...(isRoot ? commandsOf(root) : inner.flatMap((one) => detailsOf(one, node))),
    ".SH EXIT STATUS",
    ...EXIT_STATUS.flatMap(([term, text]) => item(term, text)),
    ".SH FILES",
    ...FILES.flatMap(([term, text]) => item(term, text)),
    ".SH SEE ALSO",
    [root, ...root.commands]
      .filter((other) => other !== node)
      .map((other) => `.BR ${roff(pageName(other))} (1)`)
      .join(",\n"),
  ];
  return `${parts.join("\n")}\n`;
}

function pageName({ path }: CommandNode): string {
  return path.replaceAll(" ", "-");
}

function commandsOf(root: CommandNode): string[] {
  const lines = root.commands.flatMap((command) =>
    item(command.path, firstLine(command.description)),
  );
  return [".SH COMMANDS", ...lines];
}

function synopsis({ path, words, options }: CommandNode): string {
  const shown = words.map(({ name, isRequired }) => (isRequired ? name : `[${name}]`)).join(" ");
  const flags = options.length > 1 ? " [OPTION]..." : "";
  return `.B ${roff(path)}\n${roff(`${shown}${flags}`.trim()) || "\\&"}\n.br`;
}

/** One command: what it does, its words and its options. */
function detailsOf(node: CommandNode, page: CommandNode): string[] {
  const items = [
    ...node.words.flatMap(({ name, description }) => item(name, description)),
    ...node.options.flatMap(({ flag, description, takesValue }) =>
      item(takesValue ? `${flag} VALUE` : flag, description),
    ),
  ];
  if (node === page) return [".SH OPTIONS", ...items];
  return [`.SH ${quotedName(node.path.toUpperCase())}`, ...paragraphs(node.description), ...items];
}

function quotedName(text: string): string {
  return `"${roff(text)}"`;
}

function item(term: string, text: string): string[] {
  return [".TP", `.B ${roff(term)}`, roff(text.replaceAll(/\s+/g, " ").trim()) || "\\&"];
}

/** Lines that begin with two spaces are examples, and stay as they are. */
function paragraphs(text: string): string[] {
  return text.split(/\n\n+/).flatMap((part) => {
    const isExample = part.split("\n").every((line) => line.startsWith("  "));
    const body = part.split("\n").map((line) => roff(line.trimEnd()));
    return isExample ? [".PP", ".nf", ...body, ".fi"] : [".PP", roff(part.replaceAll("\n", " "))];
  });
}

function firstLine(text: string): string {
  return (text.split("\n", 1)[0] ?? "").replace(/\.$/, "");
}

/** A backslash, a dash and a full stop or quote at the start of a line mean something to roff. */
function roff(text: string): string {
  const escaped = text.replaceAll("\\", "\\e").replaceAll("-", "\\-");
  return /^[.']/.test(escaped) ? `\\&${escaped}` : escaped;
}
