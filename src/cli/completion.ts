/**
 * `abs completion bash|zsh|fish`: a script that lets the shell complete commands, options and file
 * names. It is made from the commands themselves, so that it cannot name what is not there.
 */
import { type CommandDef, defineCommand } from "citty";
import { type CommandNode, commandTree, flatten } from "./command-tree.ts";
import { optionError } from "./options.ts";

const INSTALL = `  bash: abs completion bash > /etc/bash_completion.d/abs
  zsh:  abs completion zsh > /usr/local/share/zsh/site-functions/_abs
  fish: abs completion fish > ~/.config/fish/completions/abs.fish`;

/** @param main the whole program; a function, since the program holds this command */
export function completionCommandOf(main: () => CommandDef) {
  return defineCommand({
    meta: {
      name: "completion",
      description: `completions of this program for a shell\n\n${INSTALL}`,
    },
    args: {
      shell: { type: "positional", required: true, description: "bash, zsh or fish" },
    },
    async run({ args }) {
      const script = SCRIPTS[args.shell];
      if (script === undefined) {
        throw optionError(`There are no completions for ${args.shell}.`, "Use bash, zsh or fish.");
      }
      process.stdout.write(script(await commandTree(main())));
    },
  });
}

const SCRIPTS: Readonly<Record<string, (root: CommandNode) => string>> = {
  bash: bashScript,
  zsh: zshScript,
  fish: fishScript,
};

function bashScript(root: CommandNode): string {
  return `# bash completion of ${root.name}
${bashFunction(root)}complete -F _${root.name} ${root.name}
`;
}

/** zsh runs bash's function. */
function zshScript(root: CommandNode): string {
  return `#compdef ${root.name}
autoload -U +X bashcompinit && bashcompinit
${bashFunction(root)}complete -F _${root.name} ${root.name}
`;
}

/**
 * Words before the cursor choose the command; then it is options after a dash, else the commands
 * below, else files.
 */
function bashFunction(root: CommandNode): string {
  const nodes = flatten(root);
  const paths = nodes.slice(1).map(({ path }) => `"${path}"`);
  const cases = nodes.map(({ path, commands, options }) => {
    const words = commands.map(({ name }) => name).join(" ");
    const flags = options.map(({ flag }) => flag).join(" ");
    return `    "${path}") words="${words}" flags="${flags}" ;;`;
  });
  return `_${root.name}() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" at="${root.name}" words="" flags="" i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$at \${COMP_WORDS[i]}" in
    ${paths.join(" | ")}) at+=" \${COMP_WORDS[i]}" ;;
    esac
  done
  case "$at" in
${cases.join("\n")}
  esac
  if [[ "$cur" == -* ]]; then
    COMPREPLY=($(compgen -W "$flags" -- "$cur"))
  elif [[ -n "$words" ]]; then
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
  else
    COMPREPLY=($(compgen -f -- "$cur"))
  fi
}
`;
}

function fishScript(root: CommandNode): string {
  const lines = flatten(root).flatMap((node) => {
    const at = `-n '__${root.name}_at "${node.path}"'`;
    const files = node.commands.length > 0 ? " -f" : "";
    return [
      ...node.commands.map(
        ({ name, description }) =>
          `complete -c ${root.name}${files} ${at} -a ${name} -d ${quoted(description)}`,
      ),
      ...node.options.map(
        ({ flag, description, takesValue }) =>
          `complete -c ${root.name} ${at} -l ${flag.slice(2)}${takesValue ? " -r" : ""} ` +
          `-d ${quoted(description)}`,
      ),
    ];
  });
  const paths = flatten(root).map(({ path }) => quoted(path));
  return `# fish completion of ${root.name}
function __${root.name}_at
  set -l at ${root.name}
  for word in (commandline -opc)[2..]
    contains -- "$at $word" ${paths.join(" ")}; and set at "$at $word"
  end
  test "$at" = "$argv[1]"
end
${lines.join("\n")}
`;
}

/** The first sentence, in single quotes as fish and the Bourne shells read them. */
function quoted(text: string): string {
  const [first = ""] = text.split(/[.\n]/, 1);
  return `'${first.replaceAll("\\", "").replaceAll("'", "")}'`;
}
