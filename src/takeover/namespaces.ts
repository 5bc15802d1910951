/**
 * Network namespaces: the VM's own one and the private one that closes the way around the agent
 * (design/agent.md). The private one is kept alive by a bind mount in the state directory and by
 * the guard process. Only the calling thread ever changes namespace, and only until a function
 * returns. /proc/sys/net shows the namespace of the thread that opens it, so it is written here.
 */
import {
  closeSync,
  existsSync,
  fstatSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { AbsError, assert, messageOf } from "../errors.ts";
import {
  bindMount,
  closeDescriptor,
  enterNetworkNamespace,
  openControlSocket,
  unmount,
  unshareNetworkNamespace,
} from "./libc.ts";
import { NetlinkSocket } from "./netlink-socket.ts";

const OWN_NAMESPACE = "/proc/thread-self/ns/net";

/** What closes the private namespace: nothing in it has an address or answers. */
const SEAL: readonly (readonly [string, string])[] = [
  ["ipv6/conf/all/disable_ipv6", "1"],
  ["ipv6/conf/default/disable_ipv6", "1"],
  ["ipv4/ip_forward", "0"],
  ["ipv4/conf/all/arp_ignore", "8"],
  ["ipv4/conf/default/arp_ignore", "8"],
  ["ipv4/icmp_echo_ignore_all", "1"],
];

/** A namespace held open, with the sockets that act in it. */
export class Namespace {
  readonly id: string;
  readonly netlink: NetlinkSocket;
  /** Socket for ioctls on its interfaces. */
  readonly control: number;

  /** Takes over `descriptor`, an open namespace file. */
  constructor(readonly descriptor: number) {
    this.id = identify(fstatSync(descriptor));
    const sockets = inNamespace(descriptor, () => ({
      netlink: new NetlinkSocket(),
      control: openControlSocket(),
    }));
    this.netlink = sockets.netlink;
    this.control = sockets.control;
  }

  /** The namespace of the calling thread. */
  static own(): Namespace {
    return new Namespace(openSync(OWN_NAMESPACE, "r"));
  }

  run<T>(fn: () => T): T {
    return inNamespace(this.descriptor, fn);
  }

  close(): void {
    this.netlink.close();
    closeDescriptor(this.control);
    closeSync(this.descriptor);
  }
}

/**
 * Calls `fn` with this thread in the namespace behind `descriptor`. It must not await: the thread
 * is back when `fn` returns or throws, and a thread that cannot come back stops the process.
 */
export function inNamespace<T>(descriptor: number, fn: () => T): T {
  const home = openSync(OWN_NAMESPACE, "r");
  try {
    enterNetworkNamespace(descriptor);
    try {
      const result = fn();
      assert(!(result instanceof Promise), "a function in another namespace is synchronous");
      return result;
    } finally {
      comeBack(home);
    }
  } finally {
    closeSync(home);
  }
}

function comeBack(home: number): void {
  try {
    enterNetworkNamespace(home);
  } catch (thrown) {
    process.stderr.write(`abs: cannot return to the VM's namespace: ${messageOf(thrown)}\n`);
    process.abort();
  }
}

/** Makes the private namespace and mounts it at `path`; nothing is in it but a silent `lo`. */
export function createPrivateNamespace(path: string): Namespace {
  try {
    const home = openSync(OWN_NAMESPACE, "r");
    try {
      return makeAndMount(path, home);
    } finally {
      closeSync(home);
    }
  } catch (thrown) {
    throw new AbsError(
      "ISOLATION",
      `The private network namespace cannot be made: ${messageOf(thrown)}`,
      "Run as root with CAP_SYS_ADMIN and a writable /proc/sys. Without that namespace traffic " +
        "could go around the agent, so it does not start.",
      thrown,
    );
  }
}

function makeAndMount(path: string, home: number): Namespace {
  unmount(path);
  writeFileSync(path, "", { mode: 0o600 });
  unshareNetworkNamespace();
  try {
    const ipv6 = existsSync("/proc/sys/net/ipv6");
    for (const [name, value] of SEAL) {
      if (ipv6 || !name.startsWith("ipv6/")) writeSetting(name, value);
    }
    bindMount(OWN_NAMESPACE, path);
    return new Namespace(openSync(OWN_NAMESPACE, "r"));
  } finally {
    comeBack(home);
  }
}

/**
 * Finds the private namespace of an earlier run: by its mount, or, when the mount went with its
 * mount namespace (`ip netns exec` has one of its own), by the descriptor the guard holds.
 */
export function findPrivateNamespace(
  path: string,
  id: string,
  guardPid: number | undefined,
): Namespace | undefined {
  if (existsSync(path) && identify(statSync(path)) === id) {
    return new Namespace(openSync(path, "r"));
  }
  if (guardPid === undefined) return undefined;
  const held = descriptorOf(guardPid, id);
  if (held === undefined) return undefined;
  const namespace = new Namespace(openSync(held, "r"));
  writeFileSync(path, "", { mode: 0o600 });
  bindMount(held, path);
  return namespace;
}

function descriptorOf(pid: number, id: string): string | undefined {
  const folder = `/proc/${pid}/fd`;
  if (!existsSync(folder)) return undefined;
  for (const entry of readdirSync(folder)) {
    const path = `${folder}/${entry}`;
    try {
      if (identify(statSync(path)) === id) return path;
    } catch (thrown) {
      // A descriptor that was closed while we looked is none we want.
      if (existsSync(path)) throw thrown;
    }
  }
  return undefined;
}

/** Lets go of the mount; the namespace ends with its last holder. */
export function removePrivateNamespace(path: string): void {
  unmount(path);
  if (existsSync(path)) unlinkSync(path);
}

/** Device and inode of a namespace file: the same exactly when it is the same namespace. */
function identify(stat: { readonly dev: number; readonly ino: number }): string {
  return `${stat.dev}:${stat.ino}`;
}

/** Reads /proc/sys/net/`name` of the calling thread's namespace; undefined when it cannot be. */
export function readSetting(name: string): string | undefined {
  try {
    return readFileSync(`/proc/sys/net/${name}`, "utf8").trimEnd();
  } catch {
    return undefined; // absent in this kernel, or not readable until set (stable_secret)
  }
}

export function writeSetting(name: string, value: string): void {
  writeFileSync(`/proc/sys/net/${name}`, value);
}
