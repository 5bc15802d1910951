/**
 * `abs validator run` and `abs ledger master run`: one node of the ledger, in the foreground. Its
 * events go to standard output, one JSON object a line; SIGTERM and SIGINT end it cleanly.
 */
import { defineCommand } from "citty";
import { ownCommand } from "../agent/own-command.ts";
import { keepMemoryPrivate } from "../native/private-memory.ts";
import { saveCheckpoint } from "../node/node-checkpoint.ts";
import { ensureCompilerSettings } from "../validator/compiler-settings.ts";
import { runStandalone } from "../validator/standalone-node.ts";
import { dirArgument } from "./ledger-read.ts";
import { notes } from "./notes.ts";
import { checkpointOf, placeOf, wholeNumberOf } from "./options.ts";

export function runCommandOf(role: "validator" | "master", description: string) {
  return defineCommand({
    meta: { name: "run", description },
    args: {
      dir: dirArgument,
      listen: {
        type: "string",
        description: "HOST:PORT of the peer channel; otherwise what the certificate says",
      },
      check: {
        type: "string",
        default: "30",
        description: "seconds between checks of the disk, and of peers' answers",
      },
      events: { type: "string", description: "append events to this file instead" },
      checkpoint: {
        type: "string",
        description: "HEIGHT:HASH that the manager vouched for, kept from now on: no other history",
      },
    },
    async run({ args }) {
      const command = [...ownCommand(), ...process.argv.slice(2)];
      ensureCompilerSettings(command, (words) => notes.warn(words));
      keepMemoryPrivate();
      if (args.checkpoint !== undefined) {
        saveCheckpoint(args.dir, checkpointOf("--checkpoint", args.checkpoint));
      }
      const listen = args.listen === undefined ? undefined : placeOf("--listen", args.listen);
      const checkPeriodMs = 1000 * wholeNumberOf("--check", args.check, 1, 86_400);
      const { dir, events: eventFile } = args;
      await runStandalone({ role, dir, listen, eventFile, checkPeriodMs });
      process.exit(0);
    },
  });
}
