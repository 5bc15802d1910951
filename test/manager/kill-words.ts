/**
 * What a manager says that is killed again and again (kills.ts), a signature to add to it, and how
 * long its changes last.
 */

/** How long a change is taken to last until one of its kind was answered; keys wait for agents. */
const FIRST_MS: Partial<Record<string, number>> = { key: 2_000, publish: 300 };
const FIRST_OF_OTHERS_MS = 30;
/** Where one is cut short, the next of its kind is taken to last so many times as long. */
const CUT_TO_LAST = 1.3;

/** In milliseconds, by kind. */
export class Durations {
  readonly #lastsMs = new Map<string, number>();

  /** Of the one that begins now; it is cut short until it is answered. */
  next(kind: string): number {
    const lastsMs = this.#lastsMs.get(kind) ?? FIRST_MS[kind] ?? FIRST_OF_OTHERS_MS;
    this.#lastsMs.set(kind, CUT_TO_LAST * lastsMs);
    return lastsMs;
  }

  answered(kind: string, tookMs: number): void {
    this.#lastsMs.set(kind, tookMs);
  }
}

/** What it prints is read on, or the manager would wait for a reader. */
export function startOf(output: ReadableStream<Uint8Array>): Promise<void> {
  return new Promise((resolve, reject) => {
    const read = async (): Promise<void> => {
      let text = "";
      for await (const bytes of output) {
        if (text.length < 10_000) text += Buffer.from(bytes).toString();
        if (text.includes("manager-started")) resolve();
      }
      reject(new Error(`the manager did not start: ${text}`));
    };
    void read();
  });
}

export function signatureText(sigId: string): string {
  const contents = [{ offset: 0, expr: `/^${sigId}/` }];
  return JSON.stringify({
    ...{ sig_id: sigId, app_name: "app1", version: 1, status: "enabled", contents },
    ...{ src_ip: "any", src_port: "any", dst_ip: "any", dst_port: "any", proto_type: "tcp" },
  });
}
