/**
 * The C library calls that taking over an interface needs: netlink and ioctl sockets, namespaces,
 * mounts, file locks, clocks. Called through bun:ffi because the executable may count on glibc
 * only: no iproute2, no ethtool. Failures are AbsErrors that name the call and its errno, with a
 * remedy where there is one. Control plane only. Numbers are those of Linux on x86-64 and arm64.
 */
import { dlopen, FFIType, ptr, read } from "bun:ffi";
import { constants } from "node:os";
import { AbsError, assert } from "../errors.ts";

const { i32, u32, u64, i64, pointer } = FFIType;

const AF_INET = 2;
const AF_NETLINK = 16;
const SOCK_DGRAM = 2;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0x80000;
const SOL_SOCKET = 1;
const SO_RCVBUFFORCE = 33;
const SO_RCVTIMEO = 20;
const SOL_NETLINK = 270;
const NETLINK_EXT_ACK = 11;
const CLONE_NEWNET = 0x40000000;
const MS_BIND = 4096n;
const MNT_DETACH = 2;
const LOCK_EX_NB = 2 | 4;
const SIG_IGN = 1;
const MSG_DONTWAIT = 0x40;
const MSG_TRUNC = 0x20;
const SIOCETHTOOL = 0x8946n;
/** Long enough for a kernel that is busy under the rtnl lock, short enough to be noticed. */
const REPLY_TIMEOUT_SECONDS = 10n;

export const NETLINK_ROUTE = 0;
export const NETLINK_KOBJECT_UEVENT = 15;
export const CLOCK_REALTIME = 0;
export const CLOCK_MONOTONIC = 1;
export const CLOCK_BOOTTIME = 7;

function openLibc() {
  return dlopen("libc.so.6", {
    socket: { args: [i32, i32, i32], returns: i32 },
    bind: { args: [i32, pointer, u32], returns: i32 },
    setsockopt: { args: [i32, i32, i32, pointer, u32], returns: i32 },
    send: { args: [i32, pointer, u64, i32], returns: i64 },
    recv: { args: [i32, pointer, u64, i32], returns: i64 },
    ioctl: { args: [i32, u64, pointer], returns: i32 },
    setns: { args: [i32, i32], returns: i32 },
    unshare: { args: [i32], returns: i32 },
    mount: { args: [pointer, pointer, pointer, u64, pointer], returns: i32 },
    umount2: { args: [pointer, i32], returns: i32 },
    flock: { args: [i32, i32], returns: i32 },
    close: { args: [i32], returns: i32 },
    setsid: { args: [], returns: i32 },
    signal: { args: [i32, u64], returns: u64 },
    clock_gettime: { args: [i32, pointer], returns: i32 },
    __errno_location: { args: [], returns: pointer },
  }).symbols;
}

let symbols: ReturnType<typeof openLibc> | undefined;

function libc(): ReturnType<typeof openLibc> {
  symbols ??= openLibc();
  return symbols;
}

/** errno of the libc call just made on this thread. */
function lastErrno(): number {
  const location = libc().__errno_location();
  assert(location !== null, "errno has an address");
  return read.i32(location, 0);
}

const errnoNames = new Map<number, string>();
for (const [name, value] of Object.entries(constants.errno)) {
  // Two numbers have a second name; the first is the one in the manuals (EAGAIN, EOPNOTSUPP).
  if (!errnoNames.has(value) || name === "EAGAIN") errnoNames.set(value, name);
}

/** `EPERM` for 1; the number itself when it has no name here. */
export function errnoName(errno: number): string {
  return errnoNames.get(errno) ?? `errno ${errno}`;
}

/** A system call (or netlink request) that the kernel refused. */
export class SystemCallError extends AbsError {
  constructor(
    readonly what: string,
    readonly errno: number,
    detail = "",
  ) {
    const explained = detail === "" ? "" : `: ${detail}`;
    super("SYSTEM_CALL", `${what} failed with ${errnoName(errno)}${explained}.`, remedyFor(errno));
  }

  /** `EPERM`, `EEXIST`… */
  get errnoName(): string {
    return errnoName(this.errno);
  }
}

/** Whether `thrown` is the kernel's refusal with one of these errno names. */
export function isErrno(thrown: unknown, ...names: readonly string[]): boolean {
  return thrown instanceof SystemCallError && names.includes(thrown.errnoName);
}

function remedyFor(errno: number): string {
  const name = errnoName(errno);
  if (name === "EPERM" || name === "EACCES") {
    return "Run as root; CAP_NET_ADMIN, CAP_NET_RAW and CAP_SYS_ADMIN are needed.";
  }
  if (name === "EROFS") return "Give the agent a writable /proc/sys (not a read-only container).";
  return "";
}

function checked(what: string, result: number): number {
  if (result >= 0) return result;
  throw new SystemCallError(what, lastErrno());
}

/**
 * A netlink socket of the calling thread's network namespace; it stays in that namespace.
 * `groups` is the legacy bit mask of multicast groups, 0 for none.
 */
export function openNetlink(protocol: number, groups: number): number {
  const descriptor = checked(
    "socket(AF_NETLINK)",
    libc().socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol),
  );
  const one = new Int32Array([1]);
  const timeout = new BigInt64Array([REPLY_TIMEOUT_SECONDS, 0n]);
  const room = new Int32Array([1 << 20]);
  // Both refinements are optional: an old kernel without them still answers.
  libc().setsockopt(descriptor, SOL_NETLINK, NETLINK_EXT_ACK, one, 4);
  libc().setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, room, 4);
  libc().setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, timeout, 16);
  const address = new Uint8Array(12);
  new DataView(address.buffer).setUint16(0, AF_NETLINK, true);
  new DataView(address.buffer).setUint32(8, groups, true);
  if (libc().bind(descriptor, address, address.length) < 0) {
    const errno = lastErrno();
    libc().close(descriptor);
    throw new SystemCallError("bind(AF_NETLINK)", errno);
  }
  return descriptor;
}

/** A socket for ioctls on interfaces of the calling thread's network namespace. */
export function openControlSocket(): number {
  return checked("socket(AF_INET)", libc().socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
}

export function closeDescriptor(descriptor: number): void {
  libc().close(descriptor);
}

export function sendBytes(descriptor: number, bytes: Uint8Array): void {
  checked("send", Number(libc().send(descriptor, bytes, bytes.length, 0)));
}

/**
 * Receives one datagram into `buffer`. Returns its size; -1 when `wait` is false and nothing is
 * there; -2 when the kernel had to drop messages for want of room (ENOBUFS): read everything anew.
 */
export function receiveBytes(descriptor: number, buffer: Uint8Array, wait: boolean): number {
  const flags = MSG_TRUNC | (wait ? 0 : MSG_DONTWAIT);
  for (;;) {
    const size = Number(libc().recv(descriptor, buffer, buffer.length, flags));
    if (size >= 0) {
      assert(size <= buffer.length, `a netlink datagram of ${size} bytes fits the buffer`);
      return size;
    }
    const errno = lastErrno();
    const name = errnoName(errno);
    if (name === "EINTR") continue;
    if (name === "ENOBUFS") return -2;
    if (!wait && name === "EAGAIN") return -1;
    throw new SystemCallError("recv(AF_NETLINK)", errno);
  }
}

/** SIOCETHTOOL on `interfaceName`; `data` begins with the command and is filled by the kernel. */
export function ethtoolIoctl(control: number, interfaceName: string, data: Uint8Array): number {
  const request = new Uint8Array(40);
  request.set(new TextEncoder().encode(interfaceName).subarray(0, 15));
  new DataView(request.buffer).setBigUint64(16, BigInt(ptr(data)), true);
  return checked(
    `ioctl(SIOCETHTOOL) on ${interfaceName}`,
    libc().ioctl(control, SIOCETHTOOL, request),
  );
}

/** Puts the calling thread, and no other, into the network namespace behind `descriptor`. */
export function enterNetworkNamespace(descriptor: number): void {
  checked("setns", libc().setns(descriptor, CLONE_NEWNET));
}

/** Puts the calling thread, and no other, into a new and empty network namespace. */
export function unshareNetworkNamespace(): void {
  checked("unshare(CLONE_NEWNET)", libc().unshare(CLONE_NEWNET));
}

function cText(text: string): Uint8Array {
  return new TextEncoder().encode(`${text}\0`);
}

export function bindMount(source: string, target: string): void {
  const result = libc().mount(cText(source), cText(target), cText("none"), MS_BIND, null);
  checked(`mount --bind ${source} ${target}`, result);
}

/** Detaches a mount; false when nothing was mounted there. */
export function unmount(target: string): boolean {
  if (libc().umount2(cText(target), MNT_DETACH) === 0) return true;
  const errno = lastErrno();
  const name = errnoName(errno);
  if (name === "EINVAL" || name === "ENOENT") return false;
  throw new SystemCallError(`umount ${target}`, errno);
}

/** Takes the exclusive lock of an open file; false when another process has it. */
export function tryLock(descriptor: number): boolean {
  if (libc().flock(descriptor, LOCK_EX_NB) === 0) return true;
  const errno = lastErrno();
  if (errnoName(errno) === "EAGAIN") return false;
  throw new SystemCallError("flock", errno);
}

/** Ignores signals in the whole process, below JavaScript: no blocking read is disturbed. */
export function ignoreSignals(...signals: readonly number[]): void {
  for (const signal of signals) libc().signal(signal, SIG_IGN);
}

/** Leaves the terminal's session, so that its Ctrl-C and hang-up reach only the agent. */
export function leaveSession(): void {
  // Fails only for a process-group leader, which a spawned process is not; harmless then.
  libc().setsid();
}

const clockBuffer = new Uint8Array(16);
const clockView = new DataView(clockBuffer.buffer);

/** A clock in microseconds. Allocates nothing. */
export function clockMicros(clock: number): number {
  libc().clock_gettime(clock, clockBuffer);
  const seconds = clockView.getUint32(0, true) + clockView.getInt32(4, true) * 0x1_0000_0000;
  return seconds * 1_000_000 + clockView.getUint32(8, true) / 1_000;
}
