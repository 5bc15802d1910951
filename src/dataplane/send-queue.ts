/**
 * One burst on its way out of a port: packets in order, those that need a proof sealed in one call.
 * design/agent.md "Egress" step 5; docs/wire.md "DATA".
 * The queue owns each mbuf from `add` on, until the port took it or it was freed and counted.
 * Hot path.
 */

import { FRAME_SENT, type FrameTap } from "./frame-tap.ts";
import { udp6Checksum } from "./outer-udp.ts";
import type { ShimSymbols } from "./shim.ts";
import { addressOf, fixedU32 } from "./shim.ts";

export const BURST_MAX = 64;

/** How often a full transmit ring is tried again before the rest of a burst is dropped. */
const SEND_ATTEMPTS = 64;

export class SendQueue {
  // The burst; plain-egress.ts and plain-ingress.ts append to it in loops of their own.
  readonly handle = fixedU32(BURST_MAX);
  readonly offset = fixedU32(BURST_MAX);
  readonly length = fixedU32(BURST_MAX);
  readonly sealKey = fixedU32(BURST_MAX);
  readonly sealHeader = fixedU32(BURST_MAX);
  readonly sealText = fixedU32(BURST_MAX);
  readonly sealConfidential = fixedU32(BURST_MAX);
  readonly #udp6Header = fixedU32(BURST_MAX);
  readonly #handlePointer = addressOf(this.handle);
  readonly #offsetPointer = addressOf(this.offset);
  readonly #lengthPointer = addressOf(this.length);
  readonly #sealKeyPointer = addressOf(this.sealKey);
  readonly #sealHeaderPointer = addressOf(this.sealHeader);
  readonly #sealTextPointer = addressOf(this.sealText);
  readonly #sealConfidentialPointer = addressOf(this.sealConfidential);
  count = 0;
  sealCount = 0;
  #udp6Count = 0;

  /** Packets and bytes the port took, and packets it would not take. */
  sentPackets = 0;
  sentBytes = 0;
  unsentPackets = 0;

  /** While somebody captures what this port sends and receives. */
  tap: FrameTap | undefined = undefined;

  constructor(
    readonly shim: ShimSymbols,
    readonly memory: DataView,
    readonly port: number,
    readonly queue: number,
  ) {}

  /**
   * Appends a packet as it is. @param offset, @param length bytes in the pool, link header first
   */
  add(handle: number, offset: number, length: number): void {
    if (this.count === BURST_MAX) this.flush();
    this.handle[this.count] = handle;
    this.offset[this.count] = offset;
    this.length[this.count] = length;
    this.count++;
  }

  /**
   * Asks for the proof of the packet added last.
   * @param header offset of its ABS header, written by writeDataHeader
   * @param textLength bytes of the original IP payload
   */
  seal(key: number, header: number, textLength: number, confidential: number): void {
    this.sealKey[this.sealCount] = key;
    this.sealHeader[this.sealCount] = header;
    this.sealText[this.sealCount] = textLength;
    this.sealConfidential[this.sealCount] = confidential;
    this.sealCount++;
  }

  /** Asks for the UDP checksum (IPv6) of the packet added last, once it is sealed. */
  checksumUdp6(ipStart: number): void {
    this.#udp6Header[this.#udp6Count++] = ipStart;
  }

  /** Seals and sends all. What the port does not take after SEND_ATTEMPTS is freed and counted. */
  flush(): void {
    const count = this.count;
    if (count === 0) return;
    if (this.sealCount > 0) {
      this.shim.abs_seal_burst(
        this.#sealKeyPointer,
        this.#sealHeaderPointer,
        this.#sealTextPointer,
        this.#sealConfidentialPointer,
        this.sealCount,
      );
      this.sealCount = 0;
    }
    for (let i = 0; i < this.#udp6Count; i++) udp6Checksum(this.memory, this.#udp6Header[i]);
    this.#udp6Count = 0;
    this.count = 0;
    const { tap } = this;
    if (tap !== undefined) {
      tap.copy(FRAME_SENT, this.offset, this.length, count, this.shim.abs_now_us());
    }
    this.#transmit(count);
  }

  #transmit(count: number): void {
    let sent = 0;
    for (let attempt = 0; sent < count && attempt < SEND_ATTEMPTS; attempt++) {
      sent += this.shim.abs_tx_burst(
        this.port,
        this.queue,
        this.#handlePointer + 4 * sent,
        this.#offsetPointer + 4 * sent,
        this.#lengthPointer + 4 * sent,
        count - sent,
      );
    }
    this.sentPackets += sent;
    // In a local: an addition to the field waits until the one before is stored.
    let bytes = 0;
    for (let i = 0; i < sent; i++) bytes += this.length[i];
    this.sentBytes += bytes;
    if (sent === count) return;
    this.unsentPackets += count - sent;
    this.shim.abs_free_burst(this.#handlePointer + 4 * sent, count - sent);
  }
}
