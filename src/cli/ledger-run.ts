/**
 * `abs validator run` and `abs ledger master run`: one node of the ledger, in the foreground. Its
 * events go to standard output, one JSON object a line; SIGTERM and SIGINT end it cleanly.
 */
import { defineCommand } from "citty";
import { EventLog } from "../observe/event-log.ts";
import { LedgerProcess } from "../validator/ledger-process.ts";
import { openJournal } from "../validator/store-journal.ts";
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
      const listen = args.listen === undefined ? undefined : placeOf("--listen", args.listen);
      const events = new EventLog(args.events);
      try {
        const node = await LedgerProcess.start({
          ...{ role, dir: args.dir, listen, events, openJournal },
        });
        for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
          process.on(signal, () => node.stop());
        }
        await node.ended;
      } finally {
        events.close();
      }
      process.exit(0);
    },
  });
}
