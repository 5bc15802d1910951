/**
 * What both ends of the manager channel allow: one family of algorithms, one subsystem, and limits
 * that keep strangers from taking what enrolled agents need. docs/manager-channel.md "Limits".
 */
import type { Algorithms } from "ssh2";

export const SUBSYSTEM = "abs";

/** The hmac goes unused, as AES-GCM authenticates; ssh2 wants one named. */
export const ALGORITHMS: Algorithms = {
  kex: ["curve25519-sha256", "curve25519-sha256@libssh.org"],
  serverHostKey: ["ssh-ed25519"],
  cipher: ["aes256-gcm@openssh.com", "aes128-gcm@openssh.com"],
  hmac: ["hmac-sha2-256-etm@openssh.com"],
  compress: ["none"],
};

export type SshLimits = {
  /** Connections that have not shown whose they are; when full, the oldest leaves. */
  readonly strangersMax: number;
  /** Of them from one address (IPv6: one /64). */
  readonly strangersPerAddressMax: number;
  /** New connections of one address; each costs a key exchange. */
  readonly callsPerMinuteMax: number;
  /** Log-ins of one key to the subsystem: who keeps coming back has its state put together anew. */
  readonly loginsPerMinuteMax: number;
  readonly loginMs: number;
  readonly loginAttemptsMax: number;
  /** Key exchange and log-in need about 4 KiB. */
  readonly loginBytesMax: number;
  /** Without a channel. */
  readonly idleMs: number;
  readonly sessionsMax: number;
  /** Standard input of one command. */
  readonly inputBytesMax: number;
  /** Waiting for a peer that reads slowly, or by a peer that sends past its window. */
  readonly waitingBytesMax: number;
  /** A peer that takes nothing for so long while something waits is gone. */
  readonly stallMs: number;
  /** Fresh keys of the connection, well before AES-GCM's wear out. */
  readonly rekeyMs: number;
  readonly rekeysPerHourMax: number;
};

export const SSH_LIMITS: SshLimits = {
  strangersMax: 256,
  strangersPerAddressMax: 32,
  callsPerMinuteMax: 1200,
  loginsPerMinuteMax: 120,
  loginMs: 10_000,
  loginAttemptsMax: 12,
  loginBytesMax: 64 * 1024,
  idleMs: 30_000,
  sessionsMax: 4,
  inputBytesMax: 1024 * 1024,
  waitingBytesMax: 16 * 1024 * 1024,
  stallMs: 30_000,
  rekeyMs: 3_600_000,
  rekeysPerHourMax: 60,
};
