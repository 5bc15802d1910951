/**
 * Network namespaces by their files in /run/netns: running a synchronous function inside one, and
 * the few libc calls of packet(7) sockets. Only the calling thread changes
 * namespace and only until the function returns, so nothing asynchronous may happen in between.
 */

import { dlopen, FFIType, ptr, read } from "bun:ffi";
import { closeSync, openSync } from "node:fs";
import { assert } from "../errors.ts";
import { inNamespace } from "../takeover/namespaces.ts";

const RUN_NETNS = "/run/netns";

const { i32, u32, u64, pointer, i64 } = FFIType;

function openLibc() {
  return dlopen("libc.so.6", {
    socket: { args: [i32, i32, i32], returns: i32 },
    bind: { args: [i32, pointer, u32], returns: i32 },
    setsockopt: { args: [i32, i32, i32, pointer, u32], returns: i32 },
    getsockopt: { args: [i32, i32, i32, pointer, pointer], returns: i32 },
    sendto: { args: [i32, pointer, u64, i32, pointer, u32], returns: i64 },
    recvmsg: { args: [i32, pointer, i32], returns: i64 },
    if_nametoindex: { args: [pointer], returns: u32 },
    close: { args: [i32], returns: i32 },
    __errno_location: { args: [], returns: pointer },
  }).symbols;
}

let symbols: ReturnType<typeof openLibc> | undefined;

/** The C library, opened at first use: `abs` commands that need no namespace never load it. */
export function libc(): ReturnType<typeof openLibc> {
  symbols ??= openLibc();
  return symbols;
}

/** errno of the libc call just made on this thread. */
export function lastErrno(): number {
  const location = libc().__errno_location();
  assert(location !== null, "errno has an address");
  return read.i32(location, 0);
}

/** The file that names a namespace made by `ip netns add`. */
export function namespaceFile(namespace: string): string {
  return `${RUN_NETNS}/${namespace}`;
}

/** Calls `inside` with this thread in `namespace`; it must not await. */
export function withNamespace<T>(namespace: string, inside: () => T): T {
  const descriptor = openSync(namespaceFile(namespace), "r");
  try {
    return inNamespace(descriptor, inside);
  } finally {
    closeSync(descriptor);
  }
}

/** The index of interface `name` in this thread's namespace, or 0. */
export function interfaceIndex(name: string): number {
  const text = new TextEncoder().encode(`${name}\0`);
  return libc().if_nametoindex(ptr(text));
}
