/**
 * A sink that is a file: lines are appended; when it is full it becomes FILE.1, that FILE.2, and so
 * on, and the oldest goes. Whatever the disk does, only this sink waits: all of it is asynchronous.
 */
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { messageOf } from "../../errors.ts";
import { type Delivery, down, type SinkItem, TAKEN, type Transport } from "./transport.ts";

export type FilePlan = {
  readonly path: string;
  /** A file of this many bytes is full. */
  readonly maxBytes: number;
  /** Full files that are kept. */
  readonly keep: number;
};

export class FileTransport implements Transport {
  readonly settleMs = 0;
  readonly batchMax = 1000;
  onLost: (why: string) => void = () => {};
  #file: FileHandle | undefined;
  #size = 0;

  constructor(private readonly plan: FilePlan) {}

  async send(items: readonly SinkItem[]): Promise<Delivery> {
    const bytes = Buffer.from(items.map(({ text }) => `${text}\n`).join(""));
    try {
      const file = await this.#open(bytes.length);
      const before = this.#size;
      try {
        await file.appendFile(bytes);
        this.#size += bytes.length;
      } catch (thrown) {
        await file.truncate(before);
        throw thrown;
      }
      return TAKEN;
    } catch (thrown) {
      this.close();
      return down(messageOf(thrown));
    }
  }

  close(): void {
    void this.#file?.close().catch(() => undefined);
    this.#file = undefined;
  }

  /** With room for `more` bytes, but for a file that is empty. */
  async #open(more: number): Promise<FileHandle> {
    const { path, maxBytes, keep } = this.plan;
    const isFull = this.#size > 0 && this.#size + more > maxBytes;
    if (this.#file !== undefined && !isFull) return this.#file;
    if (this.#file !== undefined) {
      await this.#file.close();
      this.#file = undefined;
      await this.#rotate(path, keep);
    }
    const file = await open(path, "a", 0o640);
    const status = await file.stat();
    if (!status.isFile()) {
      await file.close();
      throw new Error(`${path} is not a plain file`);
    }
    this.#file = file;
    this.#size = status.size;
    return this.#size > 0 && this.#size + more > maxBytes ? await this.#open(more) : file;
  }

  async #rotate(path: string, keep: number): Promise<void> {
    await rm(keep === 0 ? path : `${path}.${keep}`, { force: true });
    for (let i = keep; i > 0; i--) {
      const from = i === 1 ? path : `${path}.${i - 1}`;
      await rename(from, `${path}.${i}`).catch((thrown: NodeJS.ErrnoException) => {
        if (thrown.code !== "ENOENT") throw thrown;
      });
    }
  }
}
