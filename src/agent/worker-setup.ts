/**
 * What the main thread gives a data-plane worker at its start, and what both read later.
 * design/README.md "Threads of an agent process". The message holds numbers, paths and shared
 * memory only; whatever can change comes as a snapshot (snapshot-fields.ts) in one of two areas.
 */

/** Bytes of one snapshot area; 10,000 rules and 1,000 peers take about two megabytes. */
export const SNAPSHOT_AREA_BYTES = 16 * 1024 * 1024;
export const COMMAND_RING_BYTES = 256 * 1024;
export const PUNT_RING_BYTES = 2 * 1024 * 1024;
/** Memory is taken as a capture fills it. */
export const FRAME_RING_BYTES = 16 * 1024 * 1024;

export interface WorkerSetup {
  /** Path of the shim in this process. */
  readonly shimPath: string;
  readonly insidePort: number;
  readonly outsidePort: number;
  readonly queue: number;
  readonly lane: number;
  /** File descriptors to wait on: both ports' and the doorbell; empty: sleep instead. */
  readonly descriptors: readonly number[];
  /** The eventfd among them that a command rings. */
  readonly doorbell: number;
  /** Never wait: lowest latency, one core burnt. */
  readonly busy: boolean;
  readonly peers: number;
  /** The zero tag included. */
  readonly tags: number;
  readonly bindings: number;
  readonly pairs: number;
  readonly flowCapacity: number;
  /** Mapped file of flow records, or undefined to keep them in memory. */
  readonly flowFile: string | undefined;
  readonly flowDigest: Uint8Array;
  readonly poolPackets: number;
  readonly commands: SharedArrayBuffer;
  readonly punts: SharedArrayBuffer;
  /** Frames for a capture (frame-tap.ts). */
  readonly frames: SharedArrayBuffer;
  readonly sessions: SharedArrayBuffer;
  readonly sessionCapacity: number;
  readonly counters: SharedArrayBuffer;
  readonly snapshots: readonly [SharedArrayBuffer, SharedArrayBuffer];
}

/** Answer of a worker to its setup message, by postMessage, before its loop begins. */
export type WorkerReady =
  | { readonly ready: true; readonly restoredFlows: number; readonly flowFileIgnored: string }
  | { readonly ready: false; readonly code: string; readonly message: string };
