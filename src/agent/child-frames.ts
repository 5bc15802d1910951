/**
 * Frames between this program and a child of its own, over a pipe: a length u32, little-endian, and
 * so many bytes. The child is trusted as the program is; a length without its bytes is no frame.
 */

const LENGTH_BYTES = 4;

export function frameOf(body: Uint8Array): Uint8Array {
  const frame = new Uint8Array(LENGTH_BYTES + body.length);
  new DataView(frame.buffer).setUint32(0, body.length, true);
  frame.set(body, LENGTH_BYTES);
  return frame;
}

/** Frames out of what arrives in pieces; a piece is copied once. */
export class FrameReader {
  readonly #pieces: Uint8Array[] = [];
  #waiting = 0;

  add(piece: Uint8Array): void {
    this.#pieces.push(piece);
    this.#waiting += piece.length;
  }

  /** The body of the next whole frame, in a buffer of its own. */
  next(): Uint8Array | undefined {
    if (this.#waiting < LENGTH_BYTES) return undefined;
    while ((this.#pieces[0]?.length ?? 0) < LENGTH_BYTES) this.#joinFirst();
    const first = this.#pieces[0] ?? new Uint8Array(LENGTH_BYTES);
    const size = new DataView(first.buffer, first.byteOffset).getUint32(0, true);
    if (this.#waiting < LENGTH_BYTES + size) return undefined;
    this.#take(new Uint8Array(LENGTH_BYTES));
    const body = new Uint8Array(size);
    this.#take(body);
    return body;
  }

  #joinFirst(): void {
    const [first = new Uint8Array(0), second = new Uint8Array(0)] = this.#pieces.splice(0, 2);
    const joined = new Uint8Array(first.length + second.length);
    joined.set(first);
    joined.set(second, first.length);
    this.#pieces.unshift(joined);
  }

  /** Fills `target` with the next bytes, which are there. */
  #take(target: Uint8Array): void {
    let filled = 0;
    let used = 0;
    while (filled < target.length) {
      const piece = this.#pieces[used] ?? new Uint8Array(0);
      const part = piece.subarray(0, target.length - filled);
      target.set(part, filled);
      filled += part.length;
      if (part.length === piece.length) used++;
      else this.#pieces[used] = piece.subarray(part.length);
    }
    this.#pieces.splice(0, used);
    this.#waiting -= target.length;
  }
}
