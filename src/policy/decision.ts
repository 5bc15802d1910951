/**
 * What a policy lookup answers: the codes, the reserved rules and the object it is written into.
 * Shared by the data plane (numbers) and the control plane (names).
 */

export const DIRECTION_IN = 0;
export const DIRECTION_OUT = 1;

export const ACTION_DENY = 0;
export const ACTION_ALLOW = 1;

export const STAGE_OBSERVE = 0;
export const STAGE_WARN = 1;
export const STAGE_ENFORCE = 2;
export const STAGE_NAMES = ["observe", "warn", "enforce"] as const;

export const REFUSE_DROP = 0;
export const REFUSE_REJECT = 1;

/** No application is known yet: a rule that names one may still apply. */
export const TAG_UNKNOWN = -1;
/** The remote end is not an agent of the tenant. */
export const PEER_NONE = -1;

/** Rules of the file have indexes below; those of RESERVED_RULES start here. 24 bits in all. */
export const RESERVED_RULE_BASE = 0xff_ff00;
/** More are a mistake, and would take a snapshot's area many times over. */
export const RULES_MAX = 1_000_000;

/** Decisions that no rule of the file made. Order is fixed: events carry the index. */
export const RESERVED_RULES = [
  "default-inbound",
  "default-outbound",
  "default-outside",
  "default-non-inter-vm",
  "default-other-tenant",
  "default-multicast",
  "default-tag-required",
  "builtin-dhcp",
  "builtin-arp",
  "builtin-neighbour-discovery",
  "builtin-path-mtu",
  "builtin-igmp",
  "builtin-mld",
  "builtin-management",
  "builtin-reply",
  "builtin-midstream",
] as const;

export const RULE_DEFAULT_INBOUND = RESERVED_RULE_BASE;
export const RULE_DEFAULT_OUTBOUND = RESERVED_RULE_BASE + 1;
/** New flows from outside the tenant are denied unless a rule's `cidr` opens them. */
export const RULE_DEFAULT_OUTSIDE = RESERVED_RULE_BASE + 2;
export const RULE_DEFAULT_NON_INTER_VM = RESERVED_RULE_BASE + 3;
export const RULE_DEFAULT_OTHER_TENANT = RESERVED_RULE_BASE + 4;
export const RULE_DEFAULT_MULTICAST = RESERVED_RULE_BASE + 5;
/** In full mode a default of `allow` still wants a proven application. */
export const RULE_DEFAULT_TAG_REQUIRED = RESERVED_RULE_BASE + 6;
export const RULE_BUILTIN_DHCP = RESERVED_RULE_BASE + 7;
export const RULE_BUILTIN_ARP = RESERVED_RULE_BASE + 8;
export const RULE_BUILTIN_NEIGHBOUR_DISCOVERY = RESERVED_RULE_BASE + 9;
export const RULE_BUILTIN_PATH_MTU = RESERVED_RULE_BASE + 10;
export const RULE_BUILTIN_IGMP = RESERVED_RULE_BASE + 11;
export const RULE_BUILTIN_MLD = RESERVED_RULE_BASE + 12;
/** The agent's own sockets. */
export const RULE_BUILTIN_MANAGEMENT = RESERVED_RULE_BASE + 13;
/** Replies from outside to a flow this VM began. */
export const RULE_BUILTIN_REPLY = RESERVED_RULE_BASE + 14;
/** A flow older than the agent, let through by `midstream`. */
export const RULE_BUILTIN_MIDSTREAM = RESERVED_RULE_BASE + 15;

/** Written by PolicyView.decide; the caller makes one and reuses it. */
export class PolicyDecision {
  /** ACTION_DENY or ACTION_ALLOW. */
  action = 0;
  /** Index of the deciding rule, or of a reserved one. */
  rule = 0;
  /** STAGE_OBSERVE, STAGE_WARN or STAGE_ENFORCE. */
  stage = 0;
  /** 1: the responder may speak before the initiator has been identified. */
  serverFirst = 0;
  /** REFUSE_DROP or REFUSE_REJECT. */
  refuse = 0;
  /** 1: the responder's own signatures decide on return traffic (`return: identify`). */
  returnIdentify = 0;
  /** UTC seconds until which flows older than the agent pass; 0 never, Infinity always. */
  midstreamUntil = 0;
  /** Index into CompiledPolicy.contracts, or -1 for a random contract. */
  contract = -1;
}
