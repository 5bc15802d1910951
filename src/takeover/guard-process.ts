/**
 * The agent's side of the guard: starting it, sending it to work, telling it to leave, and knowing
 * when it dies. Its standard input is the line that breaks when the agent dies.
 */
import { closeSync, openSync } from "node:fs";
import { AbsError } from "../errors.ts";
import { DONE_WORD, GO_WORD, READY_WORD } from "./guard.ts";

const READY_TIMEOUT_MS = 10_000;
const LOG_FILE = "guard.log";

export class GuardProcess {
  readonly #process: Bun.Subprocess<"pipe", "pipe", number>;
  #released = false;
  #whenDead: () => void = () => {};

  /**
   * Starts `command --state stateDir`, which waits for go(). Its messages go to a file: a pipe of
   * the agent's would stay open as long as the guard lives, and keep whoever reads it waiting.
   */
  constructor(command: readonly string[], stateDir: string) {
    const log = openSync(`${stateDir}/${LOG_FILE}`, "a", 0o600);
    try {
      this.#process = Bun.spawn([...command, "--state", stateDir], {
        stdin: "pipe",
        stdout: "pipe",
        stderr: log,
        cwd: "/",
        onExit: () => {
          if (!this.#released) this.#whenDead();
        },
      });
      this.#process.unref();
    } finally {
      closeSync(log);
    }
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** Sends it to work once the state file is written; resolves when it holds the namespace. */
  async go(whenDead: () => void): Promise<void> {
    if ((await this.#say(GO_WORD)) && (await this.#firstWord()) === READY_WORD) {
      this.#whenDead = whenDead;
      return;
    }
    this.#process.kill("SIGKILL");
    throw new AbsError(
      "GUARD_FAILED",
      "The guard process, which gives the interface back when the agent dies, did not start.",
      `Look at ${LOG_FILE} in the state directory.`,
    );
  }

  async #firstWord(): Promise<string> {
    const reader = this.#process.stdout.getReader();
    // Ends the reading below, and keeps the process alive until there is an answer.
    const timer = setTimeout(() => this.#process.kill("SIGKILL"), READY_TIMEOUT_MS);
    const answer = await reader.read();
    clearTimeout(timer);
    await reader.cancel();
    return answer.value === undefined ? "" : new TextDecoder().decode(answer.value);
  }

  /** Writes to the guard; false when it is dead. */
  async #say(word: string): Promise<boolean> {
    try {
      this.#process.stdin.write(word);
      await this.#process.stdin.flush();
      return true;
    } catch {
      return false; // EPIPE: the only way to fail, and the caller's to judge
    }
  }

  /** Tells the guard that there is nothing left to do, and waits for its end. */
  async dismiss(): Promise<void> {
    this.#released = true;
    this.#process.ref();
    await this.#say(DONE_WORD);
    await this.#process.exited;
  }

  /** Leaves the guard on duty: it acts on the agent's end as on its death. */
  leaveOnDuty(): void {
    this.#released = true;
  }
}
