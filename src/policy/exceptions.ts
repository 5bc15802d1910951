/**
 * Built-in exceptions (design/agent.md "Guard below IP"): traffic without which no network works
 * and which passes unless `defaults.exceptions` leaves it out. Hot path. Hop limits, addresses and
 * contents of ARP and neighbour discovery are the neighbour guard's work.
 */

import {
  DIRECTION_IN,
  RULE_BUILTIN_DHCP,
  RULE_BUILTIN_IGMP,
  RULE_BUILTIN_MLD,
  RULE_BUILTIN_NEIGHBOUR_DISCOVERY,
  RULE_BUILTIN_PATH_MTU,
} from "./decision.ts";

/** Bits of the setting, in the order of EXCEPTION_NAMES. */
const EXCEPTION_DHCP = 0;
export const EXCEPTION_ARP = 1;
const EXCEPTION_NEIGHBOUR_DISCOVERY = 2;
const EXCEPTION_PATH_MTU = 3;
const EXCEPTION_IGMP = 4;
const EXCEPTION_MLD = 5;

const PROTOCOL_ICMP = 1;
const PROTOCOL_IGMP = 2;
const PROTOCOL_UDP = 17;
const PROTOCOL_ICMPV6 = 58;

/** RFC 2131 §4.1, RFC 8415 §7.2: the client's port is fixed too. */
const DHCP_CLIENT = 68;
const DHCP_SERVER = 67;
const DHCPV6_CLIENT = 546;
const DHCPV6_SERVER = 547;

/**
 * The reserved rule that lets this packet through, or -1. `allowed`: a bit for each exception.
 * `icmpType` and `icmpCode` are read for ICMP only.
 */
export function exceptionRule(
  allowed: number,
  direction: number,
  ipVersion: number,
  protocol: number,
  sourcePort: number,
  destinationPort: number,
  icmpType: number,
  icmpCode: number,
): number {
  if (protocol === PROTOCOL_UDP) {
    const client = ipVersion === 6 ? DHCPV6_CLIENT : DHCP_CLIENT;
    const server = ipVersion === 6 ? DHCPV6_SERVER : DHCP_SERVER;
    const from = direction === DIRECTION_IN ? server : client;
    const to = direction === DIRECTION_IN ? client : server;
    if (sourcePort !== from || destinationPort !== to) return -1;
    return (allowed >>> EXCEPTION_DHCP) & 1 ? RULE_BUILTIN_DHCP : -1;
  }
  if (protocol === PROTOCOL_ICMPV6 && ipVersion === 6) return icmpv6Rule(allowed, icmpType);
  if (protocol === PROTOCOL_ICMP && ipVersion === 4) {
    // RFC 792: destination unreachable, fragmentation needed.
    if (icmpType !== 3 || icmpCode !== 4) return -1;
    return (allowed >>> EXCEPTION_PATH_MTU) & 1 ? RULE_BUILTIN_PATH_MTU : -1;
  }
  if (protocol !== PROTOCOL_IGMP || ipVersion !== 4) return -1;
  return (allowed >>> EXCEPTION_IGMP) & 1 ? RULE_BUILTIN_IGMP : -1;
}

/** RFC 4861 (133 to 137), RFC 4443 §3.2 (2), RFC 2710 and 3810 (130 to 132, 143). */
function icmpv6Rule(allowed: number, icmpType: number): number {
  if (icmpType >= 133 && icmpType <= 137) {
    const on = (allowed >>> EXCEPTION_NEIGHBOUR_DISCOVERY) & 1;
    return on ? RULE_BUILTIN_NEIGHBOUR_DISCOVERY : -1;
  }
  if (icmpType === 2) return (allowed >>> EXCEPTION_PATH_MTU) & 1 ? RULE_BUILTIN_PATH_MTU : -1;
  const listener = (icmpType >= 130 && icmpType <= 132) || icmpType === 143;
  return listener && (allowed >>> EXCEPTION_MLD) & 1 ? RULE_BUILTIN_MLD : -1;
}
