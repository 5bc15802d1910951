/**
 * What a policy says (PMdb, design/agent.md "Policy"), as typed values. schema.ts reads it from
 * YAML or JSON, compile.ts turns it into a PolicySnapshot, explain.ts tells in words what it
 * decides. Ports 0..65535, protocols are IP protocol numbers, times are UTC seconds.
 */

import type { PortRange } from "../store/network-values.ts";
import type { EpochSeconds } from "../units.ts";
import type { IpRange } from "../wire/ip-text.ts";

export type Direction = "in" | "out";
export type Action = "allow" | "deny";
export type Refuse = "drop" | "reject";
export type Stage = "observe" | "warn" | "enforce";
export type ReturnMode = "inherit" | "identify";
export type AgentMode = "full" | "quick";
export type ExceptionName = (typeof EXCEPTION_NAMES)[number];

/** Traffic without which no network works; each may be switched off in `defaults.exceptions`. */
export const EXCEPTION_NAMES = [
  "dhcp",
  "arp",
  "neighbour-discovery",
  "path-mtu",
  "igmp",
  "mld",
] as const;

/** Who is at the other end. Ids and groups are compared exactly. */
export type Party =
  | { readonly kind: "any" }
  | { readonly kind: "agent"; readonly names: readonly string[] }
  | { readonly kind: "group"; readonly names: readonly string[] }
  | { readonly kind: "cidr"; readonly ranges: readonly IpRange[] };

/** Flows older than the agent: until when they are let through (Infinity: always). */
export type Midstream =
  | { readonly action: "deny" }
  | { readonly action: "allow"; readonly until: EpochSeconds };

/** Which Security Contract sessions of a rule use; nothing set means a random one. */
export interface ContractRequirement {
  readonly scId?: string;
  readonly protection?: "integrity" | "confidential";
  readonly maxBusySeconds?: number;
}

export interface PolicyRule {
  readonly id: string;
  /** `file:line:column`, for messages. */
  readonly place: string;
  readonly direction: Direction;
  readonly from: Party;
  readonly to: Party;
  /** IP protocol numbers; undefined: any protocol. */
  readonly protocols?: readonly number[];
  /** Ports of the flow's responder; undefined: any port. */
  readonly ports?: readonly PortRange[];
  /** Application name; undefined: any application. */
  readonly app?: string;
  readonly action: Action;
  readonly serverFirst: boolean;
  readonly refuse?: Refuse;
  readonly stage?: Stage;
  readonly returnMode: ReturnMode;
  readonly midstream?: Midstream;
  readonly contract?: ContractRequirement;
}

export interface PolicyDefaults {
  readonly inbound: Action;
  readonly outbound: Action;
  readonly refuse: Refuse;
  readonly stage: Stage;
  readonly nonInterVm: Action;
  readonly midstream: Midstream;
  readonly exceptions: readonly ExceptionName[];
}

export interface Policy {
  readonly version: 1;
  readonly defaults: PolicyDefaults;
  readonly rules: readonly PolicyRule[];
}

/** What rules call an agent by. */
export interface NamedAgent {
  readonly id: string;
  readonly groups: readonly string[];
}

/**
 * What a policy refers to by name, and what this agent is. Indexes are those of the provisioning.
 */
export interface PolicyNames {
  readonly own: NamedAgent & {
    readonly mode: AgentMode;
    /** Overrides `defaults.stage`. */
    readonly stage?: Stage;
  };
  readonly peers: readonly (NamedAgent & { readonly mode: AgentMode })[];
  /** Application names by tag index; index 0 is the zero tag and names nothing. */
  readonly apps: readonly string[];
  /** Addresses of other tenants: outbound traffic to them is denied by default. */
  readonly otherTenants: readonly IpRange[];
  /** Names that rules may use though nobody here has them: of agents to come, or revoked. */
  readonly known?: KnownNames;
}

export interface KnownNames {
  readonly agents: readonly string[];
  readonly groups: readonly string[];
}

export const POLICY_DEFAULTS: PolicyDefaults = {
  inbound: "deny",
  outbound: "deny",
  refuse: "drop",
  stage: "observe",
  nonInterVm: "allow",
  midstream: { action: "deny" },
  exceptions: EXCEPTION_NAMES,
};
