/**
 * What the agent's main thread and the thread of its ledger node say to each other, by postMessage
 * (ledger-thread.ts, ledger-worker.ts). design/README.md "Threads of an agent process".
 */
import type { AgentMode } from "../chain/discovery.ts";
import type { ScdContract } from "../node/scd-watch.ts";
import type { AbsEvent } from "../observe/event-record.ts";

export type LedgerPlan = {
  readonly dir: string;
  readonly listen: { readonly host: string; readonly port: number } | undefined;
  /** Contracts that this agent holds secrets of. */
  readonly scIds: readonly string[];
};

/** One TCP connection of the node: from a port of this VM to a peer. */
export type PeerFlow = {
  readonly localPort: number;
  readonly host: string;
  readonly port: number;
};

export type ToLedger =
  | { readonly kind: "open"; readonly plan: LedgerPlan }
  /** The data plane forwards: take part. */
  | { readonly kind: "join" }
  | { readonly kind: "watch"; readonly scIds: readonly string[] }
  | { readonly kind: "status"; readonly number: number }
  /** This VM may be a copy: as after a lost disk. */
  | { readonly kind: "observe"; readonly reason: string }
  /** The folder holds other keys. */
  | { readonly kind: "keys" }
  /** Of the data plane: peers are told. */
  | { readonly kind: "mode"; readonly mode: AgentMode }
  /** Signed certificates, encoded: what this node shows, and those of others that it may meet. */
  | { readonly kind: "certify"; readonly own: Uint8Array; readonly others: readonly Uint8Array[] }
  | { readonly kind: "passed"; readonly number: number; readonly isOpen: boolean }
  | { readonly kind: "stop" };

export type FromLedger =
  | { readonly kind: "contracts"; readonly contracts: readonly ScdContract[] }
  /** A block is about these application signatures. */
  | { readonly kind: "signatures"; readonly ids: readonly string[] }
  /** The own ledger key that counts at the open height, hexadecimal. */
  | { readonly kind: "counts"; readonly ledgerPub: string }
  /** Its node is revoked: key of its sessions, hexadecimal. */
  | { readonly kind: "revoked"; readonly sessionPub: string }
  /** A node is new, or says another mode of itself; its signed certificate, encoded. */
  | { readonly kind: "discovered"; readonly signed: Uint8Array; readonly mode?: AgentMode }
  | { readonly kind: "event"; readonly event: AbsEvent }
  | {
      readonly kind: "status";
      readonly number: number;
      readonly status: Readonly<Record<string, unknown>>;
    }
  /** peer-passage.ts of src/peer, to be answered by `passed`. */
  | { readonly kind: "pass"; readonly number: number; readonly flow: PeerFlow }
  | { readonly kind: "passEnded"; readonly localPort: number }
  | { readonly kind: "listening"; readonly port: number }
  | { readonly kind: "callers"; readonly hosts: readonly string[] }
  | { readonly kind: "failed"; readonly code: string; readonly message: string }
  | { readonly kind: "stopped" };
