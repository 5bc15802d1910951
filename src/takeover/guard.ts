/**
 * The guard: a small process (`abs agent guard --state DIR`) that outlives its agent. Told to go,
 * when the state file is written and before anything is changed, it reads the file, holds the
 * private namespace open, waits for the end of its standard input, which comes when the agent dies
 * however it dies, and then does what `onStop` says: `open` gives the interface back and ends;
 * `closed` keeps the VM cut off, holding the namespace until an agent or `abs agent restore` takes
 * over. No event loop, no timers: it sits in one blocking read.
 */
import {
  closeSync,
  copyFileSync,
  existsSync,
  readSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { constants } from "node:os";
import { messageOf } from "../errors.ts";
import { ignoreSignals, leaveSession } from "./libc.ts";
import { findLink } from "./links.ts";
import { findPrivateNamespace, Namespace } from "./namespaces.ts";
import { restoreOutside } from "./restore.ts";
import {
  loadState,
  lockStateDir,
  namespacePath,
  readIfThere,
  saveState,
  statePath,
  type TakeoverState,
} from "./state-file.ts";

/** What the agent writes when the state file is there to be read. */
export const GO_WORD = "go\n";
/** What the agent writes when it leaves the guard without work. */
export const DONE_WORD = "done\n";
export const READY_WORD = "ready\n";
const STANDARD_INPUT = 0;
const STANDARD_OUTPUT = 1;
const POLL_MS = 100;
const RETRY_MS_MAX = 10_000;

/** File with the guard's process number: who else holds the private namespace. */
export function guardPidPath(stateDir: string): string {
  return `${stateDir}/guard.pid`;
}

/** Runs the guard to its end and returns its exit code. Blocks the thread. */
export function runGuard(stateDir: string): number {
  const { SIGHUP, SIGINT, SIGTERM, SIGPIPE } = constants.signals;
  leaveSession();
  ignoreSignals(SIGHUP, SIGINT, SIGTERM, SIGPIPE);
  // The agent starts us while it still looks around; it may end without having changed anything.
  if (readWord() !== GO_WORD) return 0;
  const state = loadState(stateDir);
  if (state === undefined) return fail("there is no take-over to guard");
  const path = namespacePath(stateDir);
  const privateNamespace = findPrivateNamespace(path, state.privateNamespace, undefined);
  if (privateNamespace === undefined) return fail("the private namespace is gone");
  const vm = Namespace.own();
  if (vm.id !== state.vmNamespace) return fail("this is not the VM's namespace");
  writeFileSync(guardPidPath(stateDir), `${process.pid}\n`);
  writeSync(STANDARD_OUTPUT, READY_WORD);
  closeSync(STANDARD_OUTPUT);
  if (readWord() === DONE_WORD) return 0;
  const exitCode = afterAgent(stateDir, state, vm, privateNamespace);
  if (isOnDuty(stateDir)) rmSync(guardPidPath(stateDir), { force: true });
  return exitCode;
}

/** Whether no guard of a later agent has taken our place: its number is in the file then. */
function isOnDuty(stateDir: string): boolean {
  const owner = readIfThere(guardPidPath(stateDir));
  return owner === undefined || owner.trim() === `${process.pid}`;
}

/** A line from the agent; what there is of it when the agent is gone. */
function readWord(): string {
  const buffer = new Uint8Array(1);
  let word = "";
  while (!word.endsWith("\n")) {
    if (readSync(STANDARD_INPUT, buffer) === 0) return word;
    word += String.fromCharCode(buffer[0] ?? 0);
  }
  return word;
}

/**
 * The agent is dead. A new one may be starting meanwhile: then it has the lock, and we stay until
 * its own guard holds the namespace, or until it dies before that.
 */
function afterAgent(
  stateDir: string,
  guarded: TakeoverState,
  vm: Namespace,
  privateNamespace: Namespace,
): number {
  let waitMs = POLL_MS;
  while (isOnDuty(stateDir)) {
    const state = readableState(stateDir, guarded);
    const away = findLink(privateNamespace.netlink, guarded.outside.name) !== undefined;
    // Somebody removed the file: after giving the interface back, or under us.
    if (state === undefined && !away) return 0;
    if (state === undefined || state.onStop === "open") {
      const outcome = restoreUnderLock(stateDir, guarded, vm, privateNamespace);
      if (outcome === "done") return 0;
      // Never given up: the interface would end with its namespace. Somebody may mend the cause.
      if (outcome === "failed") waitMs = Math.min(2 * waitMs, RETRY_MS_MAX);
    }
    Bun.sleepSync(waitMs);
  }
  return 0;
}

/**
 * The state file; where it can no longer be read, as it was at the start of the agent, written anew
 * so that the next start and `restore` find it. A guard that ended of it would take the interface
 * with it.
 */
function readableState(stateDir: string, guarded: TakeoverState): TakeoverState | undefined {
  try {
    return loadState(stateDir);
  } catch (thrown) {
    process.stderr.write(`abs guard: ${messageOf(thrown)}\n`);
    rewriteState(stateDir, guarded);
    return guarded;
  }
}

/** Keeps the damaged file beside the new one. A full disk leaves it where it is. */
function rewriteState(stateDir: string, state: TakeoverState): void {
  const path = statePath(stateDir);
  try {
    copyFileSync(path, `${path}.damaged`);
    saveState(stateDir, state);
    process.stderr.write(`abs guard: it is written anew; ${path}.damaged is what was there.\n`);
  } catch (thrown) {
    process.stderr.write(`abs guard: it cannot be written anew: ${messageOf(thrown)}\n`);
  }
}

function restoreUnderLock(
  stateDir: string,
  guarded: TakeoverState,
  vm: Namespace,
  privateNamespace: Namespace,
): "done" | "busy" | "failed" {
  let lock: number | undefined;
  try {
    if (existsSync(stateDir)) {
      lock = lockStateDir(stateDir, POLL_MS);
      if (lock === undefined) return "busy";
      // A new agent may have come, and gone again, while we waited.
      if (!isOnDuty(stateDir)) return "done";
    }
    // Without the file, as it was at the start of the agent: better than cut off for ever.
    const state = readableState(stateDir, guarded) ?? guarded;
    if (state.onStop === "closed" && existsSync(statePath(stateDir))) return "busy";
    for (const problem of restoreOutside(stateDir, state, vm, privateNamespace, () => {})) {
      process.stderr.write(`abs guard: ${problem}\n`);
    }
    return "done";
  } catch (thrown) {
    process.stderr.write(`abs guard: ${messageOf(thrown)}\n`);
    return "failed";
  } finally {
    if (lock !== undefined) closeSync(lock);
  }
}

function fail(why: string): number {
  process.stderr.write(`abs guard: ${why}.\n`);
  return 1;
}
