/** One identified flow of a capture, as `abs sig test` prints it. */
import type { FlowIdentity } from "../dpi/flow-identification.ts";
import type { NearestMiss } from "../dpi/nearest-miss.ts";
import type { IpAddress } from "../wire/ip-text.ts";

/** Why no application was found. */
export type UnknownReason = "no-payload" | "mid-stream" | "fragment" | "too-short" | "no-match";

/** Where a signature matched, in bytes of the payload; the end is exclusive. */
export interface Spot {
  readonly start: number;
  readonly end: number;
}

/** The first payload of one direction. */
export interface FirstPayload {
  /** Of the packet on the wire, or of the segments put together. */
  readonly bytes: number;
  /** The first of them, as far as captured. */
  readonly head: Uint8Array;
  /** Of the signature that won, if it matched here. */
  readonly spot: Spot | undefined;
}

export interface FlowRecord {
  readonly file: string;
  /** Number of the flow's first packet in the file, from 1. */
  readonly firstPacket: number;
  /** IP protocol number. */
  readonly protocol: number;
  /** The initiator. */
  readonly source: IpAddress;
  readonly sourcePort: number;
  readonly destination: IpAddress;
  readonly destinationPort: number;
  readonly packets: number;
  readonly bytes: number;
  readonly midStream: boolean;
  /** The initiator's, and the responder's. */
  readonly request: FirstPayload | undefined;
  readonly response: FirstPayload | undefined;
  readonly identity: FlowIdentity | undefined;
  /** Set when there is no identity. */
  readonly unknown: UnknownReason | undefined;
  readonly nearest: NearestMiss | undefined;
}
