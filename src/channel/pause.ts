/**
 * Pauses between attempts: they double up to a bound, and each is a quarter longer or shorter, so
 * that a thousand agents do not come back as one.
 */

export class Pause {
  #nextMs: number;
  #wake: (() => void) | undefined;
  #isOver = false;

  constructor(private readonly bounds: { readonly minMs: number; readonly maxMs: number }) {
    this.#nextMs = bounds.minMs;
  }

  /** How long the next one lasts; the one after it is longer. */
  next(): number {
    const pauseMs = this.#nextMs;
    this.#nextMs = Math.min(this.bounds.maxMs, 2 * pauseMs);
    return varied(pauseMs);
  }

  /** What was tried has succeeded. */
  reset(): void {
    this.#nextMs = this.bounds.minMs;
  }

  /** The next pause, or one of another length. */
  async sleep(forMs?: number): Promise<void> {
    if (this.#isOver) return;
    const lastsMs = forMs === undefined ? this.next() : varied(forMs);
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, lastsMs);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** Ends the pause that lasts, and there are no others. */
  end(): void {
    this.#isOver = true;
    this.#wake?.();
  }
}

function varied(forMs: number): number {
  return forMs * (0.75 + Math.random() / 2);
}
