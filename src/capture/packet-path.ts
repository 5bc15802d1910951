/**
 * One captured packet on its way to the flow tracker: link layer, IP and transport headers,
 * fragments put together, tunnels opened when asked to. Hot path. Counts what goes another way.
 */
import type { CaptureReader } from "./capture-reader.ts";
import type { CaptureWindow } from "./capture-window.ts";
import { COMPLETE, FirstFragments } from "./first-fragments.ts";
import type { FlowTracker } from "./flow-tracker.ts";
import { findIp } from "./link-layer.ts";
import { FRAGMENT, HEADERS, MALFORMED, PacketHeaders, parseHeaders } from "./packet-headers.ts";
import { F_FLAGS, FLOW_WORDS, FRAGMENTED } from "./tracked-flows.ts";
import { innerOf } from "./tunnels.ts";

/** Tunnels inside each other that are opened. */
const DEPTH_MAX = 4;

export class PacketPath {
  packets = 0;
  /** No IP packet, or of a link type that is not known. */
  notIp = 0;
  /** Its headers are wrong or were cut off. */
  malformed = 0;
  fragments = 0;
  /** Flow of the packet taken last; -1: it has none. */
  flow = -1;
  readonly #headers = new PacketHeaders();
  readonly #fragments = new FirstFragments();

  constructor(
    private readonly window: CaptureWindow,
    private readonly tracker: FlowTracker,
    /** 1: the flow is that of the packet inside tunnels. */
    private readonly inner: number,
  ) {}

  /** For the next capture. */
  clear(): void {
    this.packets = 0;
    this.notIp = 0;
    this.malformed = 0;
    this.fragments = 0;
    this.#fragments.clear();
  }

  /** The capture is over: packets that are not whole are taken for what is there of them. */
  finish(): void {
    const headers = this.#headers;
    const fragments = this.#fragments;
    const { bytes } = fragments.buffers;
    for (let seat = 0; seat < fragments.buffers.seats; seat++) {
      if (fragments.takePartial(seat, headers) !== COMPLETE) continue;
      const flow = this.tracker.take(headers, bytes, this.packets, 0);
      this.tracker.flows.words[flow * FLOW_WORDS + F_FLAGS] |= FRAGMENTED;
    }
    this.tracker.finish();
  }

  /** Fragmented packets whose start never came together. */
  get lostFragments(): number {
    return this.#fragments.lost;
  }

  take(reader: CaptureReader): void {
    const memory = this.window.memory;
    const end = reader.packetEnd;
    this.packets++;
    this.flow = -1;
    const at = findIp(memory, reader.linkType, reader.packetStart, end);
    if (at < 0) {
      this.notIp++;
      return;
    }
    const headers = this.#headers;
    let parsed = parseHeaders(memory, at, end, headers);
    if (this.inner === 1 && parsed === HEADERS) parsed = this.#openTunnels(memory, at, end);
    if (parsed === HEADERS) {
      const wireBytes = reader.wireBytes;
      this.flow = this.tracker.take(headers, this.window.bytes, this.packets, wireBytes);
    } else if (parsed === FRAGMENT) this.#fragment(reader.wireBytes);
    else this.malformed++;
  }

  #fragment(wireBytes: number): void {
    this.fragments++;
    const fragments = this.#fragments;
    if (fragments.take(this.#headers, this.window.bytes) !== COMPLETE) return;
    const bytes = fragments.buffers.bytes;
    this.flow = this.tracker.take(this.#headers, bytes, this.packets, wireBytes);
  }

  /** Headers of the innermost packet; of the outer one where what is inside cannot be read. */
  #openTunnels(memory: DataView, start: number, end: number): number {
    const headers = this.#headers;
    let outer = start;
    let outerEnd = end;
    for (let depth = 0; depth < DEPTH_MAX; depth++) {
      const inner = innerOf(memory, headers);
      if (inner < 0) return HEADERS;
      const innerEnd = headers.payloadEnd;
      const parsed = parseHeaders(memory, inner, innerEnd, headers);
      if (parsed === MALFORMED) return parseHeaders(memory, outer, outerEnd, headers);
      if (parsed === FRAGMENT) return FRAGMENT;
      outer = inner;
      outerEnd = innerEnd;
    }
    return HEADERS;
  }
}
