/**
 * A node of the ledger as a process of its own, without a data plane: a validator, or the master.
 * It runs until a signal or a failure ends it. What a node is, src/node
 * has.
 */

import { ServiceNotify } from "../native/service-notify.ts";
import { CopyWatch } from "../node/copy-watch.ts";
import { LedgerProcess, type ProcessOptions } from "../node/ledger-process.ts";
import { openJournal } from "../node/store-journal.ts";
import { EventLog } from "../observe/event-log.ts";

export type StandaloneOptions = Pick<
  ProcessOptions,
  "role" | "dir" | "listen" | "checkPeriodMs"
> & {
  /** Events go to this file; undefined: to standard output. */
  readonly eventFile: string | undefined;
};

/** Resolves after a clean end by SIGTERM, SIGINT or SIGHUP. @throws AbsError why it failed */
export async function runStandalone(options: StandaloneOptions): Promise<void> {
  const { eventFile, ...rest } = options;
  const events = new EventLog(eventFile, { role: options.role });
  let running: LedgerProcess | undefined;
  let isAsked = false;
  // Before it begins: whoever is told to end while it starts leaves no socket behind either.
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
    process.on(signal, () => {
      isAsked = true;
      running?.stop();
    });
  }
  try {
    const node = await LedgerProcess.start({ ...rest, events, openJournal });
    running = node;
    const watch = new CopyWatch({
      onCopy: (reason) => node.runner.take({ kind: "observe", reason }),
      onDeaf: (why) => events.write({ event: "generation-unheard", message: why }),
    });
    const notify = new ServiceNotify();
    notify.ready("the chain is kept", () => Promise.resolve());
    if (isAsked) node.stop();
    await node.ended.finally(() => {
      notify.stopping();
      watch.close();
    });
  } finally {
    events.close();
  }
}
