/**
 * Bringing the shim into the process: the embedded shared object is copied to a memory file and
 * opened as /proc/self/fd/N, so that nobody can prepare or replace a file on its way
 * (design/README.md "The whole is one executable"). /proc is there: Bun itself does not start
 * without it. Main thread; workers open the path that the main thread hands them and get the same
 * instance.
 */
import { dlopen, ptr } from "bun:ffi";
import { readFileSync, writeSync } from "node:fs";
import shimPath from "../../build/libabs_shim.so" with { type: "file" };
import { AbsError, messageOf } from "../errors.ts";
import { SHIM_SYMBOLS, type ShimSymbols } from "./shim-symbols.ts";

const MFD_CLOEXEC = 1;
const CPU_SET_BYTES = 128; // 1,024 CPUs, the kernel's and glibc's cpu_set_t

function openSymbols(path: string): ShimSymbols {
  return dlopen(path, SHIM_SYMBOLS).symbols as unknown as ShimSymbols; // the FFI edge
}

function openLibc() {
  return dlopen("libc.so.6", {
    memfd_create: { args: ["ptr", "u32"], returns: "i32" },
    sched_getaffinity: { args: ["i32", "u64", "ptr"], returns: "i32" },
  }).symbols;
}

/** CPUs that this thread may run on, ascending; [0] when the kernel does not say. */
export function allowedCpus(): number[] {
  const mask = new Uint8Array(new ArrayBuffer(CPU_SET_BYTES));
  openLibc().sched_getaffinity(0, CPU_SET_BYTES, ptr(mask));
  const cpus: number[] = [];
  for (let cpu = 0; cpu < CPU_SET_BYTES * 8; cpu++) {
    if (((mask[cpu >>> 3] >>> (cpu & 7)) & 1) === 1) cpus.push(cpu);
  }
  return cpus.length === 0 ? [0] : cpus;
}

/** Copies `bytes` into a new memory file and returns its descriptor, which stays open. */
function memoryFile(bytes: Uint8Array): number {
  const name = Buffer.from("libabs_shim\0");
  const descriptor = openLibc().memfd_create(ptr(name), MFD_CLOEXEC);
  if (descriptor < 0) throw new Error("memfd_create failed");
  let written = 0;
  while (written < bytes.length) written += writeSync(descriptor, bytes, written);
  return descriptor;
}

/** Opens the embedded shim: the path is what workers open. */
export function openEmbedded(): { path: string; symbols: ShimSymbols } {
  try {
    const path = `/proc/self/fd/${memoryFile(readFileSync(shimPath))}`;
    return { path, symbols: openSymbols(path) };
  } catch (error) {
    throw loadError(error);
  }
}

/** Opens the shim by the path that the main thread's `openEmbedded` gave. */
export function openShared(path: string): ShimSymbols {
  try {
    return openSymbols(path);
  } catch (error) {
    throw loadError(error);
  }
}

function loadError(cause: unknown): AbsError {
  return new AbsError(
    "SHIM_LOAD",
    `The data plane's native part did not load: ${messageOf(cause)}`,
    "It needs an x86-64-v2 CPU, glibc 2.36 or newer, and memfd_create (Linux 3.17 or newer).",
    cause,
  );
}
