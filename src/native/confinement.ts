/**
 * Takes from this process what it needs no more before it reads what a stranger made: it can open
 * no file and no socket (RLIMIT_NOFILE, setrlimit(2)), and is nobody where it was root (setuid(2)).
 * What is open stays open. Both hold for all threads and for good.
 */
import { dlopen } from "bun:ffi";
import { AbsError } from "../errors.ts";

const RLIMIT_NOFILE = 7;
/** User and group of Debian's `nobody`, as of the kernel's overflow ids. */
const NOBODY = 65_534;

/** @throws AbsError NOT_CONFINED when the kernel refuses */
export function confine(): void {
  const { setrlimit, setgroups, setgid, setuid } = dlopen("libc.so.6", {
    setrlimit: { args: ["i32", "ptr"], returns: "i32" },
    setgroups: { args: ["u64", "ptr"], returns: "i32" },
    setgid: { args: ["u32"], returns: "i32" },
    setuid: { args: ["u32"], returns: "i32" },
  }).symbols;
  // Soft and hard limit: nobody raises it again without CAP_SYS_RESOURCE.
  if (setrlimit(RLIMIT_NOFILE, new BigUint64Array([0n, 0n])) !== 0) {
    throw new AbsError(
      "NOT_CONFINED",
      "The kernel does not let this process give up its right to open files.",
      "A seccomp profile may forbid setrlimit: allow it.",
    );
  }
  if (process.geteuid?.() !== 0) return;
  // Root without CAP_SETUID, as a service is, cannot, but cannot raise its limit again either.
  setgroups(0, null);
  setgid(NOBODY);
  setuid(NOBODY);
}
