/**
 * An application signature (AppDB, paper §3.4 and Fig. 10, design/agent.md "Application
 * signatures") as typed values. schema.ts reads it from JSON or YAML, compile.ts makes the
 * snapshot. Offsets, depths and lengths are bytes of the first payload.
 */

import type { IpRange } from "../wire/ip-text.ts";
import type { ByteSet } from "./byte-set.ts";
import type { Regex } from "./regex.ts";

/** decommission is final: such a signature is never parsed again and cannot be enabled. */
export type SignatureStatus = "enabled" | "disabled" | "decommission";

/** Whose first payload: the flow's initiator (request) or its responder (response). */
export type ContentDirection = "request" | "response";

/** Both ends belong to the range. */
export interface NumberRange {
  readonly low: number;
  readonly high: number;
}

/** `expr`: fixed bytes, or a regular expression over bytes. */
export type ContentExpression =
  | { readonly kind: "bytes"; readonly bytes: Uint8Array }
  | { readonly kind: "regex"; readonly regex: Regex };

export interface SignatureContent {
  /** As written, for messages. */
  readonly expr: string;
  readonly expression: ContentExpression;
  /** A match begins at `offset` or later and ends at `depth` or before. */
  readonly offset: number;
  /** Infinity: searched to the payload's end. */
  readonly depth: number;
  readonly direction: ContentDirection;
  /** True: the payload must not contain it. */
  readonly not: boolean;
}

/** Who must own the flow's socket at the initiator (design/agent.md "Attestation"). */
export interface ProcessRequirement {
  readonly exe?: string;
  readonly sha256?: string;
  readonly user?: string;
  readonly unit?: string;
  readonly cgroup?: string;
}

export interface AppSignature {
  readonly id: string;
  readonly app: string;
  readonly version: number;
  readonly description: string;
  readonly status: SignatureStatus;
  /** The flow's initiator; undefined: any. */
  readonly sourceAddresses?: readonly IpRange[];
  readonly sourcePorts?: readonly NumberRange[];
  /** The flow's responder; undefined: any. */
  readonly destinationAddresses?: readonly IpRange[];
  readonly destinationPorts?: readonly NumberRange[];
  /** IP protocol numbers; undefined: any. */
  readonly protocols?: readonly number[];
  /** Length of the initiator's first payload; undefined: any. */
  readonly length?: NumberRange;
  readonly contents: readonly SignatureContent[];
  /** Higher wins; 0 unless given. */
  readonly priority: number;
  /** Ports the application is usually on: a hint for people and tie-breaks, never required. */
  readonly usualPorts: readonly NumberRange[];
  /** Enabled signatures may not ask for one yet: compile.ts refuses them. */
  readonly process?: ProcessRequirement;
  /** The document and section the signature follows. */
  readonly specification: string;
  /** `file:line:column`, for messages. */
  readonly place: string;
  /** SHA-256 in hex that the ledger must hold; undefined: it comes from a file of this VM. */
  readonly commitment?: string;
}

/** One byte position of a payload and the values a signature allows there. */
export interface PinnedPosition {
  readonly position: number;
  readonly allowed: ByteSet;
}
