/**
 * The programs a bench starts. All are remembered, so that an interrupted bench ends every one of
 * them before it removes their namespaces. Nothing here blocks: signals must be heard meanwhile.
 */
import { AbsError } from "../errors.ts";

const READY_TIMEOUT_MS = 10_000;
const STOP_TIMEOUT_MS = 3_000;

/** A program in the background. */
export interface Background {
  readonly pid: number;
  /**
   * Resolves when `word` has appeared on its standard error; fails when the program ends before.
   */
  ready(word: string): Promise<void>;
  /** Sends SIGTERM, after 3 s SIGKILL. Resolves with what it wrote to standard output. */
  stop(): Promise<string>;
}

type Child = Bun.Subprocess<"ignore", "pipe", "pipe">;

export class Children {
  readonly #running = new Set<Child>();
  #ended = false;

  /** Runs `argv` to its end and returns its standard output; any exit code but 0 is an error. */
  async run(argv: readonly string[], timeoutMs = 30_000): Promise<string> {
    const child = this.#spawn(argv, {});
    const timer = setTimeout(() => child.kill("SIGKILL"), timeoutMs);
    const [stdout, stderr, code] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    clearTimeout(timer);
    if (code === 0) return stdout;
    throw new AbsError(
      "BENCH_COMMAND",
      `\`${argv.join(" ")}\` ended with code ${code}: ${stderr.trim() || stdout.trim()}`,
      "Run the command by hand to see more; `make setup` installs what the benches need.",
    );
  }

  /** Starts `argv` and returns at once. */
  start(argv: readonly string[], environment: Readonly<Record<string, string>> = {}): Background {
    const child = this.#spawn(argv, environment);
    const stdout = new Response(child.stdout).text();
    const words = new StandardError(child.stderr);
    return {
      pid: child.pid,
      ready: (word) => words.expect(word, argv.join(" ")),
      stop: async () => {
        const timer = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT_MS);
        child.kill("SIGTERM");
        await child.exited;
        clearTimeout(timer);
        return stdout;
      },
    };
  }

  /** Ends everything that still runs, and lets nothing new start. */
  async endAll(): Promise<void> {
    this.#ended = true;
    for (const child of this.#running) child.kill("SIGTERM");
    const all = Promise.all([...this.#running].map((child) => child.exited));
    await Promise.race([all, Bun.sleep(STOP_TIMEOUT_MS)]);
    for (const child of this.#running) child.kill("SIGKILL");
    await all;
  }

  #spawn(argv: readonly string[], environment: Readonly<Record<string, string>>): Child {
    if (this.#ended) throw new AbsError("INTERRUPTED", "The bench was interrupted.");
    const child = Bun.spawn([...argv], {
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
      // A group of its own: an interrupt typed at the terminal reaches only the bench.
      detached: true,
      env: { ...process.env, LC_ALL: "C", ...environment },
    });
    this.#running.add(child);
    child.exited.finally(() => this.#running.delete(child));
    return child;
  }
}

/** What a program says on standard error, kept for messages and searched for a word. */
class StandardError {
  #text = "";
  #closed = false;
  #wake: () => void = () => {};

  constructor(stream: ReadableStream<Uint8Array>) {
    this.#collect(stream);
  }

  async #collect(stream: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    for await (const bytes of stream) {
      this.#text += decoder.decode(bytes, { stream: true });
      this.#wake();
    }
    this.#closed = true;
    this.#wake();
  }

  async expect(word: string, command: string): Promise<void> {
    const end = performance.now() + READY_TIMEOUT_MS;
    while (!this.#text.includes(word)) {
      const leftMs = end - performance.now();
      if (this.#closed || leftMs <= 0) {
        const what = this.#closed ? "ended" : `was not ready after ${READY_TIMEOUT_MS} ms`;
        const last = this.#text.trim().split("\n").slice(-3).join(" / ");
        throw new AbsError("BENCH_COMMAND", `\`${command}\` ${what}: ${last}`);
      }
      await Promise.race([
        new Promise<void>((resolve) => {
          this.#wake = resolve;
        }),
        Bun.sleep(leftMs),
      ]);
    }
  }
}
