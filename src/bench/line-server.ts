/**
 * A program that answers each line on its standard input with a line on its standard output: how
 * `abs bench dataplane` keeps both sides alive, so that their runs alternate without starting anew.
 * Standard error is read along and handed on line by line.
 */
import { AbsError } from "../errors.ts";

export class LineServer {
  readonly #child: Bun.Subprocess<"pipe", "pipe", "pipe">;
  readonly #name: string;
  readonly #answers: AsyncIterator<string>;
  #lastWords = "";

  constructor(
    argv: readonly string[],
    environment: Readonly<Record<string, string>> = {},
    onErrorLine: (line: string) => void = () => {},
  ) {
    this.#name = argv.join(" ");
    this.#child = Bun.spawn([...argv], {
      stdin: "pipe",
      stdout: "pipe",
      stderr: "pipe",
      // A group of its own: an interrupt typed at the terminal reaches only the bench.
      detached: true,
      env: { ...process.env, ...environment },
    });
    this.#answers = linesOf(this.#child.stdout);
    void this.#watchErrors(onErrorLine);
  }

  /** Sends `line` and returns the answer, parsed as JSON. */
  async ask(line: string): Promise<Record<string, unknown>> {
    this.#child.stdin.write(`${line}\n`);
    await this.#child.stdin.flush();
    const answer = await this.#answers.next();
    if (answer.done === true) {
      const code = await this.#child.exited;
      throw new AbsError(
        "BENCH_COMMAND",
        `\`${this.#name}\` ended with code ${code} at \`${line}\`: ${this.#lastWords}`,
      );
    }
    const value: unknown = JSON.parse(answer.value);
    if (typeof value === "object" && value !== null) return { ...value };
    throw new AbsError("BENCH_OUTPUT", `\`${this.#name}\` answered ${answer.value}`);
  }

  async stop(): Promise<void> {
    this.#child.kill("SIGTERM");
    await this.#child.exited;
  }

  async #watchErrors(onErrorLine: (line: string) => void): Promise<void> {
    for await (const line of linesOf(this.#child.stderr)) {
      this.#lastWords = line;
      onErrorLine(line);
    }
  }
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const bytes of stream) {
    text += decoder.decode(bytes, { stream: true });
    const lines = text.split("\n");
    text = lines.pop() ?? "";
    yield* lines;
  }
  if (text !== "") yield text;
}
