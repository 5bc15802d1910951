/**
 * Bringing the shim into the process, from a memory file (native/memory-file.ts). Main thread;
 * workers open the path that the main thread hands them and get the same instance.
 */
import { dlopen, ptr } from "bun:ffi";
import shimPath from "../../build/libabs_shim.so" with { type: "file" };
import { AbsError, messageOf } from "../errors.ts";
import { memoryFilePath } from "../native/memory-file.ts";
import { SHIM_SYMBOLS, type ShimSymbols } from "./shim-symbols.ts";

const CPU_SET_BYTES = 128; // 1,024 CPUs, the kernel's and glibc's cpu_set_t

function openSymbols(path: string): ShimSymbols {
  return dlopen(path, SHIM_SYMBOLS).symbols as unknown as ShimSymbols; // the FFI edge
}

function openLibc() {
  return dlopen("libc.so.6", {
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

/** Opens the embedded shim: the path is what workers open. */
export function openEmbedded(): { path: string; symbols: ShimSymbols } {
  try {
    const path = memoryFilePath(shimPath, "libabs_shim");
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
