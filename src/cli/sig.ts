/** `abs sig`: application signatures. Each subcommand has a file. */
import { defineCommand } from "citty";
import { sigDiffCommand } from "./sig-diff.ts";
import { sigLearnCommand } from "./sig-learn.ts";
import { sigLintCommand } from "./sig-lint.ts";
import { sigListCommand } from "./sig-list.ts";
import { sigShowCommand } from "./sig-show.ts";
import { sigTestCommand } from "./sig-test.ts";

export const sigCommand = defineCommand({
  meta: { name: "sig", description: "application signatures: check, compare and test them" },
  subCommands: {
    test: sigTestCommand,
    lint: sigLintCommand,
    learn: sigLearnCommand,
    list: sigListCommand,
    show: sigShowCommand,
    diff: sigDiffCommand,
  },
});
