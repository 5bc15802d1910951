/**
 * How a native library inside the executable is opened: it is copied to a memory file whose path is
 * /proc/self/fd/N, so that nobody can prepare or replace a file on its way (design/README.md "The
 * whole is one executable", docs/adr/003-shim-from-a-memory-file.md). /proc is there: Bun itself
 * does not start without it. What is in the libraries is their parts' matter.
 */
import { dlopen, ptr } from "bun:ffi";
import { readFileSync, writeSync } from "node:fs";

const MFD_CLOEXEC = 1;

function openLibc() {
  return dlopen("libc.so.6", { memfd_create: { args: ["ptr", "u32"], returns: "i32" } }).symbols;
}

/**
 * Copies an embedded file to a new memory file and returns its path, for `dlopen` in any thread of
 * this process: the same path is the same instance. The descriptor stays open. Throws when the
 * kernel refuses.
 *
 * @param embeddedPath what `import … with { type: "file" }` gives
 * @param name for /proc/self/maps, without NUL
 */
export function memoryFilePath(embeddedPath: string, name: string): string {
  const bytes = readFileSync(embeddedPath);
  const descriptor = openLibc().memfd_create(ptr(Buffer.from(`${name}\0`)), MFD_CLOEXEC);
  if (descriptor < 0) throw new Error("memfd_create failed");
  let written = 0;
  while (written < bytes.length) written += writeSync(descriptor, bytes, written);
  return `/proc/self/fd/${descriptor}`;
}
