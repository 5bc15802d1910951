/**
 * How much of the input was read, on one line of standard error that is wiped at the end. Only on a
 * terminal, and only when the reading takes long enough to wonder.
 */

const WIDTH = 30;
const EVERY_MS = 100;

export class ProgressBar {
  readonly #isTerminal = process.stderr.isTTY === true;
  #before = 0;
  #shownAt = performance.now() + EVERY_MS;
  #isShown = false;

  /** @param total bytes of all inputs; 0 when not known */
  constructor(private readonly total: number) {}

  /** `bytes` of the input at hand were read. */
  show(bytes: number): void {
    if (!this.#isTerminal) return;
    const now = performance.now();
    if (now < this.#shownAt) return;
    this.#shownAt = now + EVERY_MS;
    this.#isShown = true;
    process.stderr.write(`\r${this.#text(this.#before + bytes)}\x1b[K`);
  }

  /** The input at hand, of `bytes`, is done. */
  next(bytes: number): void {
    this.#before += bytes;
    if (this.#isShown) process.stderr.write("\r\x1b[K");
    this.#isShown = false;
  }

  #text(done: number): string {
    const megabytes = `${(done / 1e6).toFixed(0)} MB`;
    if (this.total === 0) return megabytes;
    const part = Math.min(1, done / this.total);
    const full = Math.round(part * WIDTH);
    const bar = "█".repeat(full) + "░".repeat(WIDTH - full);
    return `${bar} ${(100 * part).toFixed(0)} %, ${megabytes} of ${(this.total / 1e6).toFixed(0)}`;
  }
}
