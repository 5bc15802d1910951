/**
 * One flow's record: 16 u32 words, one cache line. design/agent.md "Egress" names the states.
 * "Local" is this VM's side and "remote" the other, so that both directions have one key. An IPv4
 * address is in word 3 and words 0 to 2 are 0. Times are whole seconds of the monotonic clock.
 * flow-table.ts keeps the records; flow-file.ts checks those of a process before.
 */

/** Words of a record. */
export const F_REMOTE3 = 0;
export const F_LOCAL3 = 1;
/** Local port << 16 | remote port. */
export const F_PORTS = 2;
/** Bits 0-7 protocol, bit 8 IPv6 (FLOW_IPV6), bits 16-27 VLAN id, bit 31 while free (FLOW_GONE). */
export const F_PROTOCOL = 3;
export const F_REMOTE0 = 4;
export const F_REMOTE1 = 5;
export const F_REMOTE2 = 6;
export const F_LOCAL0 = 7;
export const F_LOCAL1 = 8;
export const F_LOCAL2 = 9;
/** Bits 0-7 state, then the flags below; bits 16-31 are the owner's of the state. */
export const F_STATE = 10;
/** Binding index + 1 (session-table.ts), 0 for none. */
export const F_BINDING = 11;
/** Tag index << 16 | rule index, FLOW_NO_RULE for a default or one that does not fit. */
export const F_TAG_RULE = 12;
/** Address pair << 16 | peer index + 1; 0 when the remote side is no peer. */
export const F_PEER = 13;
/** Last seen, in seconds. */
export const F_SEEN = 14;
/** The key's hash while in use; the next free flow + 1 while free. */
export const F_LINK = 15;

export const FLOW_WORDS = 16;
export const FLOW_BYTES = 4 * FLOW_WORDS;

/** In F_PROTOCOL: the key is an IPv6 one, and words 0 to 2 of its addresses count. */
export const FLOW_IPV6 = 0x100;
/** In F_PROTOCOL of a free record: no packet's key is equal to it. */
export const FLOW_GONE = 0x80000000 | 0;
/** Every bit that a key's F_PROTOCOL may have. */
export const FLOW_PROTOCOL_BITS = 0x0fff01ff;

/** In the lower half of F_TAG_RULE: no rule that it could name decided. */
export const FLOW_NO_RULE = 0xffff;

/** The lower half of F_TAG_RULE for a rule index. */
export function flowRule(rule: number): number {
  return rule < FLOW_NO_RULE ? rule : FLOW_NO_RULE;
}

/** States (design/agent.md); OUTSIDE is traffic that is not inter-VM. */
export const FLOW_FREE = 0;
export const FLOW_ESTABLISHING = 1;
export const FLOW_SERVER_FIRST = 2;
export const FLOW_IDENTIFYING = 3;
export const FLOW_ALLOWED = 4;
export const FLOW_REFUSED = 5;
export const FLOW_OUTSIDE = 6;
export const FLOW_STATES = 7;

/** Flags in F_STATE. */
export const FLOW_FROM_REMOTE = 0x100;
export const FLOW_FIN_LOCAL = 0x200;
export const FLOW_FIN_REMOTE = 0x400;
export const FLOW_RESET = 0x800;
/** The responder may speak first (inbound rule with `serverFirst`). */
export const FLOW_MAY_SPEAK = 0x1000;
/** Every bit that F_STATE may have. */
export const FLOW_STATE_BITS = 0xffff1fff;
export const FLOW_FIN_BOTH = FLOW_FIN_LOCAL | FLOW_FIN_REMOTE;

/** Seconds without a packet after which a flow is forgotten. */
export const FLOW_TIMEOUTS = {
  establishing: 30,
  serverFirst: 300,
  identifying: 60,
  refused: 30,
  /** After RST, or FIN from both sides: time for retransmissions. */
  closed: 15,
  /** `allowed` and `outside` over TCP: RFC 5382 asks for 2 h 4 min at least. */
  tcp: 7500,
  /** `allowed` and `outside` over anything else: RFC 4787 asks for 2 min, recommends 5. */
  other: 300,
};
