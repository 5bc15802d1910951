/**
 * Raw Ethernet frames on interfaces of a namespace: packet(7) sockets through libc. The lab
 * captures and injects with them, so no other program is needed. A VLAN tag that the kernel took
 * out of a received frame is put back (PACKET_AUXDATA). One frame a call: a tool for looking, not
 * for speed.
 */
import { ptr } from "bun:ffi";
import { AbsError } from "../errors.ts";
import { interfaceIndex, lastErrno, libc, withNamespace } from "./namespace.ts";

const AF_PACKET = 17;
const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0x800;
const SOCK_CLOEXEC = 0x80000;
const ETH_P_ALL_BIG_ENDIAN = 0x0300; // htons(ETH_P_ALL)
const SOL_SOCKET = 1;
const SO_RCVBUFFORCE = 33;
const SOL_PACKET = 263;
const PACKET_STATISTICS = 6;
const PACKET_AUXDATA = 8;
const TP_STATUS_VLAN_VALID = 1 << 4;
const TP_STATUS_VLAN_TPID_VALID = 1 << 6;
const MSG_DONTWAIT = 0x40;
const MSG_TRUNC = 0x20;
const EAGAIN = 11;

const RECEIVE_BUFFER_BYTES = 64 << 20;
const FRAME_BYTES_MAX = 66_000; // a veth hands over unsegmented packets of up to 64 KiB
const LINK_ADDRESS_BYTES = 20; // struct sockaddr_ll
const CONTROL_BYTES = 64;

/** Which way a frame went, from the point of view of the interface it was seen on. */
export type FrameDirection = "received" | "sent";

export interface Frame {
  readonly interfaceIndex: number;
  readonly direction: FrameDirection;
  readonly bytes: Uint8Array;
}

export class PacketSocket {
  readonly #descriptor: number;
  readonly #frame = new Uint8Array(FRAME_BYTES_MAX);
  readonly #address = new Uint8Array(LINK_ADDRESS_BYTES);
  readonly #control = new Uint8Array(CONTROL_BYTES);
  readonly #vector = new BigUint64Array(2);
  readonly #message = new BigUint64Array(7); // struct msghdr of a 64-bit machine: 56 bytes
  #open = true;

  /** A socket in `namespace` that sees every interface there, or only the one named. */
  constructor(namespace: string, interfaceName?: string) {
    this.#descriptor = withNamespace(namespace, () => openSocket(interfaceName));
    this.#vector[0] = BigInt(ptr(this.#frame));
    this.#vector[1] = BigInt(FRAME_BYTES_MAX);
  }

  /** The next frame seen, or undefined when there is none now. */
  receive(): Frame | undefined {
    if (!this.#open) return undefined;
    this.#message[0] = BigInt(ptr(this.#address));
    this.#message[1] = BigInt(LINK_ADDRESS_BYTES);
    this.#message[2] = BigInt(ptr(this.#vector));
    this.#message[3] = 1n;
    this.#message[4] = BigInt(ptr(this.#control));
    this.#message[5] = BigInt(CONTROL_BYTES);
    this.#message[6] = 0n;
    const flags = MSG_DONTWAIT | MSG_TRUNC;
    const length = Number(libc().recvmsg(this.#descriptor, ptr(this.#message), flags));
    if (length < 0) {
      const errno = lastErrno();
      // A socket without an interface to fall back on reports that one went away; nothing is lost.
      if (errno === EAGAIN || errno === 100 || errno === 6) return undefined;
      throw new AbsError("LAB_CAPTURE", `Receiving from a packet socket failed (errno ${errno}).`);
    }
    const address = new DataView(this.#address.buffer);
    const bytes = this.#withVlanTag(Math.min(length, FRAME_BYTES_MAX));
    const direction = address.getUint8(10) === 4 ? "sent" : "received"; // PACKET_OUTGOING
    return { interfaceIndex: address.getInt32(4, true), direction, bytes };
  }

  /** Sends one whole Ethernet frame out of interface `index` of the socket's namespace. */
  send(index: number, frame: Uint8Array): void {
    const address = new DataView(new ArrayBuffer(LINK_ADDRESS_BYTES));
    address.setUint16(0, AF_PACKET, true);
    address.setInt32(4, index, true);
    address.setUint8(11, 6);
    const to = ptr(address.buffer);
    const size = frame.length;
    const sent = Number(
      libc().sendto(this.#descriptor, ptr(frame), size, 0, to, LINK_ADDRESS_BYTES),
    );
    if (sent === size) return;
    throw new AbsError(
      "LAB_INJECT",
      `Sending a frame of ${size} bytes on interface ${index} failed (errno ${lastErrno()}).`,
    );
  }

  /** Frames the kernel dropped because this socket was read too slowly, since the last call. */
  dropped(): number {
    const statistics = new Uint32Array(2);
    const size = new Uint32Array([8]);
    libc().getsockopt(this.#descriptor, SOL_PACKET, PACKET_STATISTICS, ptr(statistics), ptr(size));
    return statistics[1] ?? 0;
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    libc().close(this.#descriptor);
  }

  #withVlanTag(length: number): Uint8Array {
    const control = new DataView(this.#control.buffer);
    const controlBytes = Number(this.#message[5] ?? 0n);
    const plain = this.#frame.slice(0, length);
    if (controlBytes < 36 || control.getInt32(12, true) !== PACKET_AUXDATA) return plain;
    const status = control.getUint32(16, true);
    if ((status & TP_STATUS_VLAN_VALID) === 0 || length < 14) return plain;
    const known = (status & TP_STATUS_VLAN_TPID_VALID) !== 0;
    const tagged = new Uint8Array(length + 4);
    tagged.set(plain.subarray(0, 12));
    tagged.set(plain.subarray(12), 16);
    const view = new DataView(tagged.buffer);
    view.setUint16(12, known ? control.getUint16(34, true) : 0x8100, false);
    view.setUint16(14, control.getUint16(32, true), false);
    return tagged;
  }
}

function openSocket(interfaceName: string | undefined): number {
  const c = libc();
  const kind = SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC;
  // Protocol 0: nothing is queued before bind() names the interface.
  const descriptor = c.socket(AF_PACKET, kind, 0);
  if (descriptor < 0) {
    throw new AbsError(
      "LAB_CAPTURE",
      `Cannot open a packet socket (errno ${lastErrno()}).`,
      "Run as root (CAP_NET_RAW is needed).",
    );
  }
  const index = interfaceName === undefined ? 0 : interfaceIndex(interfaceName);
  const size = new Int32Array([RECEIVE_BUFFER_BYTES]);
  const on = new Int32Array([1]);
  const address = new DataView(new ArrayBuffer(LINK_ADDRESS_BYTES));
  address.setUint16(0, AF_PACKET, true);
  address.setUint16(2, ETH_P_ALL_BIG_ENDIAN, true);
  address.setInt32(4, index, true);
  const failed =
    (interfaceName !== undefined && index === 0) ||
    c.setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, ptr(size), 4) !== 0 ||
    c.setsockopt(descriptor, SOL_PACKET, PACKET_AUXDATA, ptr(on), 4) !== 0 ||
    c.bind(descriptor, ptr(address.buffer), LINK_ADDRESS_BYTES) !== 0;
  if (failed) {
    const errno = lastErrno();
    c.close(descriptor);
    throw new AbsError(
      "LAB_CAPTURE",
      `Cannot capture on ${interfaceName ?? "all interfaces"} (errno ${errno}).`,
      "Is the lab up? See `abs lab status`.",
    );
  }
  return descriptor;
}
