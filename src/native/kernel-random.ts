/**
 * Random bytes straight from the kernel, by getrandom(2) each time. A generator in this process
 * (that of crypto.getRandomValues is one) is copied with the memory of a VM: two clones would then
 * draw the same ephemeral keys. The kernel's is told of a clone by the hypervisor (vmgenid).
 * Control plane only; docs/threat-model.md says what this leaves.
 */
import { dlopen, FFIType } from "bun:ffi";
import { AbsError } from "../errors.ts";

/** Up to this many bytes come whole, whatever signals arrive (getrandom(2)). */
const WHOLE_BYTES = 256;

const { getrandom } = dlopen("libc.so.6", {
  getrandom: { args: [FFIType.pointer, FFIType.u64, FFIType.u32], returns: FFIType.i64 },
}).symbols;

/** `sizeBytes` fresh bytes. */
export function kernelRandom(sizeBytes: number): Uint8Array {
  const bytes = new Uint8Array(sizeBytes);
  for (let from = 0; from < sizeBytes; from += WHOLE_BYTES) {
    const part = bytes.subarray(from, from + WHOLE_BYTES);
    if (Number(getrandom(part, part.length, 0)) === part.length) continue;
    throw new AbsError("NO_RANDOMNESS", "The kernel gave no random bytes.", "Update the kernel.");
  }
  return bytes;
}
