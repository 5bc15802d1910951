/**
 * What the tests of the shim share: one started shim a process, arrays for one burst, and packets
 * written and read through the pool's view.
 */
import { addressOf, ealArguments, fixedU8, fixedU32, openShim } from "../../src/dataplane/shim.ts";
import { BURST_MAX } from "../../src/dataplane/shim-symbols.ts";

export const POOL_PACKETS = 4096;
export const ROOM_BYTES = 2176;
export const KEY_CAPACITY = 64;

/** A started shim with a pool, a key table and the arrays of one burst with their addresses. */
export class ShimBench {
  readonly shim = openShim();
  readonly handle = fixedU32(BURST_MAX);
  readonly offset = fixedU32(BURST_MAX);
  readonly length = fixedU32(BURST_MAX);
  readonly key = fixedU32(BURST_MAX);
  readonly confidential = fixedU32(BURST_MAX);
  readonly pseudo = fixedU8(BURST_MAX * 16);
  readonly valid = fixedU8(BURST_MAX);
  readonly at = {
    handle: addressOf(this.handle),
    offset: addressOf(this.offset),
    length: addressOf(this.length),
    key: addressOf(this.key),
    confidential: addressOf(this.confidential),
    pseudo: addressOf(this.pseudo),
    valid: addressOf(this.valid),
  };
  readonly bytes: Uint8Array;

  constructor() {
    this.shim.startEal(ealArguments({ packets: POOL_PACKETS, roomBytes: ROOM_BYTES }));
    this.shim.createPool(POOL_PACKETS, ROOM_BYTES);
    this.shim.createKeys(KEY_CAPACITY);
    this.bytes = this.shim.poolView().bytes;
  }

  /** Takes `count` packets into handle and offset, each holding its number and then `text`. */
  alloc(count: number, text: Uint8Array = new Uint8Array(60)): number {
    const taken = this.shim.symbols.abs_alloc_burst(this.at.handle, this.at.offset, count);
    for (let i = 0; i < taken; i++) {
      this.bytes.set(text, this.offset[i]);
      this.length[i] = text.length;
    }
    return taken;
  }

  free(count: number): number {
    return this.shim.symbols.abs_free_burst(this.at.handle, count);
  }

  send(port: number, count: number): number {
    return this.shim.symbols.abs_tx_burst(
      port,
      0,
      this.at.handle,
      this.at.offset,
      this.at.length,
      count,
    );
  }

  receive(port: number, max: number = BURST_MAX): number {
    return this.shim.symbols.abs_rx_burst(
      port,
      0,
      this.at.handle,
      this.at.offset,
      this.at.length,
      max,
    );
  }

  /** Polls until `count` packets are there or 2 s have passed; they are in the burst's arrays. */
  receiveAll(port: number, count: number): number {
    const { abs_now_us, abs_wait } = this.shim.symbols;
    const end = abs_now_us() + 2e6;
    let got = 0;
    while (got < count && abs_now_us() < end) {
      const now = this.shim.symbols.abs_rx_burst(
        port,
        0,
        this.at.handle + 4 * got,
        this.at.offset + 4 * got,
        this.at.length + 4 * got,
        count - got,
      );
      got += now;
      if (now === 0) abs_wait(0, 0, 100);
    }
    return got;
  }

  /** The bytes of packet `i` of the burst. */
  packet(i: number): Uint8Array {
    const start = this.offset[i];
    return this.bytes.slice(start, start + this.length[i]);
  }
}
