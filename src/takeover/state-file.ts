/**
 * What was found before an interface was taken over, and what has been followed since: the file
 * `takeover.json` of the state directory. Written whole, synced and renamed before each change, so
 * that the guard or the next start can finish from any point. Also the lock that lets one process
 * at a time (agent, guard, restore) act on a state directory.
 */
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { AbsError, messageOf } from "../errors.ts";
import type { AddressRecord } from "./addresses.ts";
import type { InterfaceSettings } from "./interface-settings.ts";
import { CLOCK_BOOTTIME, clockMicros, tryLock } from "./libc.ts";
import type { NeighbourRecord } from "./neighbours.ts";
import type { RouteRecord } from "./routes.ts";

export type OnStop = "open" | "closed";
export type InsideSpec = { readonly kind: "tap" | "veth"; readonly name: string };

/** Addresses, routes and neighbours: what moves from one interface to the other. */
export type Configuration = {
  /** CLOCK_BOOTTIME in seconds when it was read: lifetimes count from here. */
  readonly readAtSeconds: number;
  readonly addresses: readonly AddressRecord[];
  readonly routes: readonly RouteRecord[];
  readonly neighbours: readonly NeighbourRecord[];
};

/** The outside interface as it was found in the VM's namespace. */
export type OutsideRecord = {
  readonly name: string;
  readonly index: number;
  readonly mac: string;
  readonly mtu: number;
  readonly up: boolean;
  /** The agent's ports set this flag, and a killed agent leaves it set. */
  readonly promiscuous: boolean;
  /** Offloads that were on and get turned off. */
  readonly offloads: readonly string[];
  readonly settings: InterfaceSettings;
};

export type TakeoverState = {
  readonly version: 1;
  readonly bootId: string;
  readonly phase: "taking" | "taken" | "restoring";
  readonly onStop: OnStop;
  readonly vmNamespace: string;
  readonly privateNamespace: string;
  readonly outside: OutsideRecord;
  readonly inside: InsideSpec;
  readonly configuration: Configuration;
};

const STATE_FILE = "takeover.json";
const LOCK_FILE = "takeover.lock";
const LOCK_POLL_MS = 20;

export function statePath(stateDir: string): string {
  return `${stateDir}/${STATE_FILE}`;
}

/** Where the private namespace is mounted. */
export function namespacePath(stateDir: string): string {
  return `${stateDir}/netns`;
}

/** Identifies this boot: interfaces of an earlier one are gone. */
export function currentBootId(): string {
  return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
}

/** Seconds that `configuration` has aged. */
export function ageSeconds(configuration: Configuration): number {
  return bootSeconds() - configuration.readAtSeconds;
}

export function bootSeconds(): number {
  return Math.floor(clockMicros(CLOCK_BOOTTIME) / 1_000_000);
}

/** The state of an earlier take-over in this directory, or undefined. */
export function loadState(stateDir: string): TakeoverState | undefined {
  const path = statePath(stateDir);
  try {
    const text = readIfThere(path);
    if (text === undefined) return undefined;
    const state: unknown = JSON.parse(text);
    if (isState(state)) return state;
    throw new AbsError("TAKEOVER_STATE", "it is not of this version");
  } catch (thrown) {
    throw new AbsError(
      "TAKEOVER_STATE",
      `${path} cannot be read: ${messageOf(thrown)}`,
      `Look at what is in there (nsenter --net=${namespacePath(stateDir)} ip link), move it ` +
        "back by hand, then remove the file.",
      thrown,
    );
  }
}

/**
 * A file's text; undefined where there is none. Not by existsSync(): the file may go in between,
 * and a guard that ends of it takes the interface with it.
 */
export function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw thrown;
  }
}

/** Enough to trust the rest: the file is written by this program only, whole or not at all. */
function isState(value: unknown): value is TakeoverState {
  if (typeof value !== "object" || value === null) return false;
  const state = value as Partial<TakeoverState>;
  return (
    state.version === 1 &&
    typeof state.vmNamespace === "string" &&
    typeof state.outside?.index === "number" &&
    typeof state.inside?.name === "string" &&
    Array.isArray(state.configuration?.addresses) &&
    Array.isArray(state.configuration.routes)
  );
}

/** Replaces the state file; it is on disk when this returns. */
export function saveState(stateDir: string, state: TakeoverState): void {
  const path = statePath(stateDir);
  const descriptor = openSync(`${path}.new`, "w", 0o600);
  try {
    writeSync(descriptor, `${JSON.stringify(state)}\n`);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  renameSync(`${path}.new`, path);
  syncDirectory(stateDir);
}

export function removeState(stateDir: string): void {
  if (existsSync(statePath(stateDir))) unlinkSync(statePath(stateDir));
  syncDirectory(stateDir);
}

/** Without this a power cut could bring back the old name. */
function syncDirectory(path: string): void {
  const descriptor = openSync(path, "r");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

export function prepareStateDir(stateDir: string): void {
  mkdirSync(stateDir, { recursive: true, mode: 0o700 });
  if (!statSync(stateDir).isDirectory()) {
    throw new AbsError("STATE_DIR", `${stateDir} is not a directory.`, "Give another `--state`.");
  }
}

/**
 * Takes the lock of a state directory and returns its descriptor; closing it, or dying, gives it
 * back. Waits up to `waitMs` for another holder; undefined when it still holds the lock then.
 */
export function lockStateDir(stateDir: string, waitMs: number): number | undefined {
  const descriptor = openSync(`${stateDir}/${LOCK_FILE}`, "a", 0o600);
  for (let waitedMs = 0; ; waitedMs += LOCK_POLL_MS) {
    if (tryLock(descriptor)) return descriptor;
    if (waitedMs >= waitMs) break;
    Bun.sleepSync(LOCK_POLL_MS);
  }
  closeSync(descriptor);
  return undefined;
}
