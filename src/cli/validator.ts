/** `abs validator run`: a member of the ledger without a data plane. design/ledger.md. */
import { defineCommand } from "citty";
import { runCommandOf } from "./ledger-run.ts";

export const validatorCommand = defineCommand({
  meta: { name: "validator", description: "a node that agrees on blocks of the ledger" },
  subCommands: {
    run: runCommandOf(
      "validator",
      "agree on blocks with the other members, and keep the chain. " +
        "Events go to standard output, one JSON object a line.",
    ),
  },
});
