/**
 * Keeps secrets in memory from getting out by a crash or another user: no core dump (RLIMIT_CORE
 * 0), and /proc/PID/mem, environ and the like belong to root alone (PR_SET_DUMPABLE 0; prctl(2)).
 * What root can read is in docs/threat-model.md. For processes that hold keys, called before they
 * read any.
 */
import { dlopen } from "bun:ffi";
import { AbsError } from "../errors.ts";

const PR_SET_DUMPABLE = 4;
const RLIMIT_CORE = 4;

/** @throws AbsError MEMORY_OPEN when the kernel refuses */
export function keepMemoryPrivate(): void {
  const { prctl, setrlimit } = dlopen("libc.so.6", {
    prctl: { args: ["i32", "u64", "u64", "u64", "u64"], returns: "i32" },
    setrlimit: { args: ["i32", "ptr"], returns: "i32" },
  }).symbols;
  // Soft and hard limit: nobody raises it again without CAP_SYS_RESOURCE.
  const none = new BigUint64Array([0n, 0n]);
  if (setrlimit(RLIMIT_CORE, none) === 0 && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) === 0) return;
  throw new AbsError(
    "MEMORY_OPEN",
    "The kernel does not let this process keep its memory from core dumps.",
    "A seccomp profile may forbid prctl or setrlimit: allow both.",
  );
}
