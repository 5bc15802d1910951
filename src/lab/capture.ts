/**
 * Taps: what went over the switch, and what went in and out of a VM's own interface, during a
 * check. Frames are collected in the background and decoded when asked for.
 */
import { type Decoded, decodeFrame } from "./frames.ts";
import { type FrameDirection, PacketSocket } from "./packet-socket.ts";
import { interfacesIn, namespaceOf, switchPorts } from "./topology.ts";

const DRAIN_EVERY_MS = 10;
/** Oldest frames are forgotten beyond this many: a tap is for checks, not for bulk transfers. */
const FRAMES_MAX = 200_000;

export interface Captured extends Decoded {
  /** The VM whose switch port it was, or the interface's name. */
  readonly where: string;
  /** At the switch: "received" came from the VM. In a VM: "received" went to its applications. */
  readonly direction: FrameDirection;
  readonly bytes: Uint8Array;
}

export class Tap {
  readonly #socket: PacketSocket;
  readonly #names: (index: number) => string | undefined;
  readonly #timer: ReturnType<typeof setInterval>;
  #frames: Captured[] = [];

  private constructor(socket: PacketSocket, names: (index: number) => string | undefined) {
    this.#socket = socket;
    this.#names = names;
    this.#timer = setInterval(() => this.drain(), DRAIN_EVERY_MS);
  }

  /** Sees each frame once as it enters the switch, and once more as it leaves towards a VM. */
  static atSwitch(prefix: string, vms: readonly string[]): Tap {
    const byIndex = new Map<number, string>();
    for (const [vm, index] of switchPorts(prefix, vms)) byIndex.set(index, vm);
    const socket = new PacketSocket(namespaceOf(prefix, "switch"));
    return new Tap(socket, (index) => byIndex.get(index));
  }

  /** Sees what passes between a VM's kernel and its interfaces, loopback left out. */
  static inVm(prefix: string, vm: string): Tap {
    const namespace = namespaceOf(prefix, vm);
    const socket = new PacketSocket(namespace);
    let names = interfacesIn(namespace);
    return new Tap(socket, (index) => {
      if (!names.has(index)) names = interfacesIn(namespace);
      return names.get(index);
    });
  }

  /** Takes what the kernel holds for us now. */
  drain(): void {
    for (;;) {
      const frame = this.#socket.receive();
      if (frame === undefined) return;
      const where = this.#names(frame.interfaceIndex);
      if (where === undefined) continue;
      const { direction, bytes } = frame;
      this.#frames.push({ ...decodeFrame(bytes), where, direction, bytes });
      if (this.#frames.length > FRAMES_MAX) this.#frames = this.#frames.slice(FRAMES_MAX / 2);
    }
  }

  /** Everything seen since the last clear(). */
  frames(): readonly Captured[] {
    this.drain();
    return this.#frames;
  }

  clear(): void {
    this.drain();
    this.#frames = [];
  }

  /** Frames that were lost because we read too slowly. */
  lost(): number {
    return this.#socket.dropped();
  }

  close(): void {
    clearInterval(this.#timer);
    this.#socket.close();
  }
}

/** Payload bytes of TCP and UDP (and ICMP) delivered to a VM's applications from `source`. */
export function deliveredPayload(frames: readonly Captured[], source: string): Uint8Array[] {
  return frames
    .filter((frame) => frame.direction === "received" && frame.source === source)
    .map((frame) => frame.payload ?? new Uint8Array(0))
    .filter((payload) => payload.length > 0);
}
