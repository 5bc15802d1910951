/** A bench that is interrupted removes what it made, and exits with 128 + the signal's number. */
import { notes } from "./notes.ts";

const SIGNALS = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;

/** Runs `work` and then `clean`, whether it ended, failed or was interrupted. */
export async function cleanly<T>(work: () => Promise<T>, clean: () => Promise<void>): Promise<T> {
  let interrupted = false;
  for (const [signal, number] of Object.entries(SIGNALS)) {
    process.on(signal, () => {
      if (interrupted) return;
      interrupted = true;
      notes.info(`${signal}: cleaning up`);
      void clean().finally(() => process.exit(128 + number));
    });
  }
  try {
    return await work();
  } catch (thrown) {
    // What an interruption breaks is no error; the signal's own path ends the process.
    if (interrupted) await new Promise(() => {});
    throw thrown;
  } finally {
    if (!interrupted) await clean();
  }
}
