/**
 * What the SSH server and its role tell each other: who may log in with a key, and what is done on
 * the channels they open. The role has the mapping service; this part has no idea who anybody is.
 */
import type { Duplex } from "node:stream";

export type SshLogin<P> = {
  readonly principal: P;
  /** Unique among logins: connections are counted, and cut off, by it. */
  readonly name: string;
  readonly grants: "subsystem" | "exec";
  /** At one time; a newer connection takes the place of the oldest. */
  readonly connectionsMax: number;
};

export type ExecResult = {
  readonly code: number;
  readonly output: string;
  /** To standard error. */
  readonly complaint: string;
};

export type ExecCall = {
  readonly address: string;
  /** What comes on standard input, to its end; undefined: more than a command may have. */
  readonly input: () => Promise<Uint8Array | undefined>;
};

export type SshRefusal = {
  readonly address: string;
  readonly why: string;
  /** As it was given; short and printable. */
  readonly user?: string;
  readonly fingerprint?: string;
};

/** A channel of the subsystem, and from where it came. */
export type SubsystemChannel = { readonly stream: Duplex; readonly address: string };

export type SshHandlers<P> = {
  /** Who may log in under this name with this key; undefined: nobody. */
  readonly find: (user: string, publicKey: Uint8Array) => SshLogin<P> | undefined;
  readonly subsystem: (channel: SubsystemChannel, login: SshLogin<P>) => void;
  readonly execute: (
    words: readonly string[],
    login: SshLogin<P>,
    call: ExecCall,
  ) => Promise<ExecResult>;
  readonly refused: (refusal: SshRefusal) => void;
};
