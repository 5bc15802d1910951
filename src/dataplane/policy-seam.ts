/**
 * What the data plane asks of the policy and of the signatures: parts do not import each other, so
 * the agent hands over objects of these shapes (src/policy/policy-view.ts, src/dpi/matcher.ts).
 * Numbers only; every method may be called for every packet and allocates nothing.
 */
import type { ParsedPacket } from "./parsed-packet.ts";

export const DIRECTION_IN = 0;
export const DIRECTION_OUT = 1;
export const ACTION_DENY = 0;
export const ACTION_ALLOW = 1;
export const STAGE_OBSERVE = 0;
export const STAGE_WARN = 1;
export const STAGE_ENFORCE = 2;
export const REFUSE_DROP = 0;
export const REFUSE_REJECT = 1;
/** No application is known yet: a rule that names one may still apply. */
export const TAG_UNKNOWN = -1;
/** The remote end is not an agent of the tenant. */
export const PEER_NONE = -1;

/** Rules from here on are defaults: no rule of the policy file applied. */
export const RESERVED_RULE_BASE = 0xff_ff00;

/** The answer of a lookup; see src/policy/decision.ts for each field. */
export interface Decision {
  action: number;
  rule: number;
  stage: number;
  serverFirst: number;
  refuse: number;
  midstreamUntil: number;
}

export interface PolicySeam<D extends Decision> {
  decide(
    direction: number,
    peer: number,
    address0: number,
    address1: number,
    address2: number,
    address3: number,
    ipVersion: number,
    tag: number,
    protocol: number,
    port: number,
    out: D,
  ): void;
  /** Reserved rule of the built-in exception that the packet falls under, or -1. */
  exception(
    direction: number,
    ipVersion: number,
    protocol: number,
    sourcePort: number,
    destinationPort: number,
    icmpType: number,
    icmpCode: number,
  ): number;
}

/** Signatures of applications, compiled (design/agent.md "Application signatures"). */
export interface MatcherSeam {
  /** Whether an enabled signature fits the packet's numbers, whatever its payload. */
  hasCandidate(packet: ParsedPacket): boolean;
  /**
   * The signature of `length` bytes of first payload at `address` (a pointer as a number).
   * Returns its index, or MATCH_MORE while a candidate needs more bytes and `final` is 0, or
   * MATCH_NONE.
   */
  match(packet: ParsedPacket, address: number, length: number, final: number): number;
  /** Tag index of a signature; -1 when its application has no tag. */
  tagOf(signature: number): number;
}

export const MATCH_NONE = -1;
export const MATCH_MORE = -2;
