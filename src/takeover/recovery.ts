/**
 * What an earlier run left behind. The guard normally acts within a second of its agent's death;
 * this is for when the guard died too, or keeps the VM cut off (`onStop: closed`): the next start
 * resumes from here, and `abs agent restore --state DIR` gives the interface back.
 */
import { closeSync, existsSync, rmSync } from "node:fs";
import { AbsError } from "../errors.ts";
import { readAddresses } from "./addresses.ts";
import { guardPidPath } from "./guard.ts";
import { findLink } from "./links.ts";
import { findPrivateNamespace, Namespace, removePrivateNamespace } from "./namespaces.ts";
import { insideAlias, removeInside, restoreOutside } from "./restore.ts";
import {
  currentBootId,
  loadState,
  lockStateDir,
  namespacePath,
  readIfThere,
  removeState,
  type TakeoverState,
} from "./state-file.ts";

/** How long a dying agent or a guard at work may keep the state directory. */
const LOCK_WAIT_MS = 3_000;

export type Leftover = {
  readonly state: TakeoverState;
  /** Undefined when it ended with its last holder. */
  readonly privateNamespace: Namespace | undefined;
};

/** Takes the lock, or says who has it. */
export function lockOrRefuse(stateDir: string): number {
  const lock = lockStateDir(stateDir, LOCK_WAIT_MS);
  if (lock !== undefined) return lock;
  throw new AbsError(
    "STATE_BUSY",
    `Another agent is running with the state directory ${stateDir}.`,
    "Stop it first, or give this one a directory of its own with `--state`.",
  );
}

/**
 * The take-over that an earlier process left in `stateDir`, if it still stands; what no longer does
 * (another boot, the interface made anew) is tidied away. Call with the lock held.
 */
export function openLeftover(stateDir: string, vm: Namespace): Leftover | undefined {
  const state = loadState(stateDir);
  if (state === undefined || state.bootId !== currentBootId()) {
    discard(stateDir);
    return undefined;
  }
  const path = namespacePath(stateDir);
  const guard = guardPid(stateDir);
  const privateNamespace = findPrivateNamespace(path, state.privateNamespace, guard);
  const held =
    privateNamespace !== undefined &&
    findLink(privateNamespace.netlink, state.outside.name)?.mac === state.outside.mac;
  if (held && state.vmNamespace !== vm.id) throw otherNamespace(stateDir);
  if (held || standsInVm(state, vm)) return { state, privateNamespace };
  if (state.vmNamespace === vm.id) removeInside(state, vm, privateNamespace);
  privateNamespace?.close();
  discard(stateDir);
  return undefined;
}

/** The outside interface is in the VM's namespace, and the file still says what belongs on it. */
function standsInVm(state: TakeoverState, vm: Namespace): boolean {
  if (state.vmNamespace !== vm.id) return false;
  const link = findLink(vm.netlink, state.outside.name);
  if (link === undefined || link.mac !== state.outside.mac) return false;
  if (link.alias === insideAlias(state.outside.name)) return false; // an inside of the same name
  if (state.phase !== "taken") return true;
  // The kernel returned it when the private namespace ended. Addresses mean that somebody has
  // configured it anew since: then the file is out of date.
  return readAddresses(vm.netlink, link.index, link.name).every((record) => record.scope !== 0);
}

function discard(stateDir: string): void {
  removePrivateNamespace(namespacePath(stateDir));
  rmSync(guardPidPath(stateDir), { force: true });
  removeState(stateDir);
}

function guardPid(stateDir: string): number | undefined {
  const text = readIfThere(guardPidPath(stateDir));
  if (text === undefined) return undefined;
  const pid = Number.parseInt(text, 10);
  return Number.isInteger(pid) && pid > 1 ? pid : undefined;
}

function otherNamespace(stateDir: string): AbsError {
  return new AbsError(
    "OTHER_NAMESPACE",
    `The state directory ${stateDir} belongs to an interface of another network namespace.`,
    "Start the agent in that namespace, or give it another directory with `--state`.",
  );
}

/**
 * Gives the interface of a stopped or killed agent back to the VM. Returns false when there is
 * nothing to give back, else true; sentences about what could not be made the same go to `warn`.
 */
export function recoverLeftover(stateDir: string, warn: (sentence: string) => void): boolean {
  if (!existsSync(stateDir)) return false;
  const lock = lockOrRefuse(stateDir);
  const vm = Namespace.own();
  try {
    const leftover = openLeftover(stateDir, vm);
    if (leftover === undefined) return false;
    const { state, privateNamespace } = leftover;
    for (const problem of restoreOutside(stateDir, state, vm, privateNamespace, () => {})) {
      warn(problem);
    }
    rmSync(guardPidPath(stateDir), { force: true });
    privateNamespace?.close();
    return true;
  } finally {
    vm.close();
    closeSync(lock);
  }
}
