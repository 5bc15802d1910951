/** `abs sig`: application signatures. Each subcommand has a file. */
import { defineCommand } from "citty";
import { sigTestCommand } from "./sig-test.ts";

export const sigCommand = defineCommand({
  meta: { name: "sig", description: "application signatures: test them on captures" },
  subCommands: { test: sigTestCommand },
});
