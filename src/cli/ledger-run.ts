/**
 * `abs validator run` and `abs ledger master run`: one node of the ledger, in the foreground. Its
 * events go to standard output, one JSON object a line; SIGTERM and SIGINT end it cleanly.
 */
import { defineCommand } from "citty";
import { keepMemoryPrivate } from "../native/private-memory.ts";
import { runStandalone } from "../validator/standalone-node.ts";
import { dirArgument } from "./ledger-read.ts";
import { placeOf } from "./options.ts";

export function runCommandOf(role: "validator" | "master", description: string) {
  return defineCommand({
    meta: { name: "run", description },
    args: {
      dir: dirArgument,
      listen: {
        type: "string",
        description: "HOST:PORT of the peer channel; otherwise what the certificate says",
      },
      events: { type: "string", description: "append events to this file instead" },
    },
    async run({ args }) {
      keepMemoryPrivate();
      const listen = args.listen === undefined ? undefined : placeOf("--listen", args.listen);
      await runStandalone({ role, dir: args.dir, listen, eventFile: args.events });
      process.exit(0);
    },
  });
}
