/**
 * What an agent remembers between two runs, in its state directory: the time stamp of its last
 * handshake (docs/wire.md "Time stamps": it must never go back) and which sessions it had with
 * whom, so that the next start begins with them. Written whole and renamed, so a crash leaves one
 * or the other.
 */
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { join } from "node:path";
import { fromHex, toHex } from "../bytes.ts";
import { AbsError, messageOf } from "../errors.ts";

const STAMP_FILE = "stamp";
const SESSIONS_FILE = "sessions.json";
const STAMP_BYTES = 12;
/** Untagged, one VLAN tag, two. */
const LINK_BYTES: readonly number[] = [14, 18, 22];
const ADDRESS_BYTES: readonly number[] = [4, 16];

/** One binding that had a session, by names: indexes may differ at the next start. */
export interface RememberedSession {
  readonly peer: string;
  readonly app: string;
  readonly role: 0 | 1;
  /** Link header and addresses to reach the peer by, in hex. */
  readonly link: string;
  readonly source: string;
  readonly destination: string;
}

/** Whole or not at all. @throws AbsError STATE_UNWRITABLE */
export function replaceFile(path: string, content: string): void {
  const fresh = `${path}.new`;
  try {
    const descriptor = openSync(fresh, "w", 0o600);
    writeSync(descriptor, content);
    fsyncSync(descriptor);
    closeSync(descriptor);
    renameSync(fresh, path);
  } catch (cause) {
    throw new AbsError(
      "STATE_UNWRITABLE",
      `${path} cannot be written: ${messageOf(cause)}.`,
      "Free space on its disk, or give another folder: --state DIR.",
      cause,
    );
  }
}

export function saveStamp(stateDir: string, stamp: Uint8Array): void {
  replaceFile(join(stateDir, STAMP_FILE), toHex(stamp));
}

/** The stamp of the run before; undefined at the first start. @throws AbsError STATE_CORRUPT */
export function loadStamp(stateDir: string): Uint8Array | undefined {
  const path = join(stateDir, STAMP_FILE);
  const text = readIfThere(path);
  if (text === undefined) return undefined;
  const stamp = fromHex(text.trim());
  if (stamp?.length === STAMP_BYTES) return stamp;
  throw new AbsError(
    "STATE_CORRUPT",
    `${path} does not hold a time stamp.`,
    "Remove the file, and let an administrator reset this node's stamp if peers refuse it.",
  );
}

export function saveSessions(stateDir: string, sessions: readonly RememberedSession[]): void {
  replaceFile(join(stateDir, SESSIONS_FILE), JSON.stringify(sessions));
}

/** Sessions of the run before. What cannot be read only costs a later first handshake. */
export function loadSessions(stateDir: string): RememberedSession[] {
  const text = readIfThere(join(stateDir, SESSIONS_FILE));
  if (text === undefined) return [];
  try {
    const parsed: unknown = JSON.parse(text);
    return Array.isArray(parsed) ? parsed.filter(isRemembered) : [];
  } catch {
    return [];
  }
}

function isRemembered(value: unknown): value is RememberedSession {
  if (typeof value !== "object" || value === null) return false;
  const entry = value as Record<string, unknown>;
  const isText = ["peer", "app", "link", "source", "destination"].every(
    (field) => typeof entry[field] === "string",
  );
  if (!isText || (entry["role"] !== 0 && entry["role"] !== 1)) return false;
  // Frames are made of these: another length would stop the agent that loads them.
  const sizeOf = (field: string) => fromHex(String(entry[field]))?.length ?? 0;
  const addressBytes = sizeOf("source");
  return (
    LINK_BYTES.includes(sizeOf("link")) &&
    ADDRESS_BYTES.includes(addressBytes) &&
    sizeOf("destination") === addressBytes
  );
}

export function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
