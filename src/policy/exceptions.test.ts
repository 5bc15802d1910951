/** Which packets pass without a rule, and that each exception can be switched off. */
import { expect, test } from "bun:test";
import { DIRECTION_IN, DIRECTION_OUT, RESERVED_RULE_BASE, RESERVED_RULES } from "./decision.ts";
import { exceptionRule } from "./exceptions.ts";
import { EXCEPTION_NAMES } from "./policy.ts";

const ALL = (1 << EXCEPTION_NAMES.length) - 1;

const CASES: readonly {
  name: string;
  /** direction, IP version, protocol, source port, destination port, ICMP type, code */
  packet: readonly [number, 4 | 6, number, number, number, number, number];
  rule: string | undefined;
}[] = [
  { name: "DHCP request", packet: [DIRECTION_OUT, 4, 17, 68, 67, 0, 0], rule: "builtin-dhcp" },
  { name: "DHCP answer", packet: [DIRECTION_IN, 4, 17, 67, 68, 0, 0], rule: "builtin-dhcp" },
  { name: "DHCP request coming in", packet: [DIRECTION_IN, 4, 17, 68, 67, 0, 0], rule: undefined },
  { name: "DHCPv6", packet: [DIRECTION_OUT, 6, 17, 546, 547, 0, 0], rule: "builtin-dhcp" },
  {
    name: "DHCPv6 ports over IPv4",
    packet: [DIRECTION_OUT, 4, 17, 546, 547, 0, 0],
    rule: undefined,
  },
  { name: "other UDP", packet: [DIRECTION_OUT, 4, 17, 68, 53, 0, 0], rule: undefined },
  {
    name: "router solicitation",
    packet: [DIRECTION_OUT, 6, 58, 0, 0, 133, 0],
    rule: "builtin-neighbour-discovery",
  },
  {
    name: "redirect",
    packet: [DIRECTION_IN, 6, 58, 0, 0, 137, 0],
    rule: "builtin-neighbour-discovery",
  },
  { name: "ICMPv6 echo", packet: [DIRECTION_OUT, 6, 58, 135, 135, 128, 0], rule: undefined },
  { name: "packet too big", packet: [DIRECTION_IN, 6, 58, 0, 0, 2, 0], rule: "builtin-path-mtu" },
  {
    name: "fragmentation needed",
    packet: [DIRECTION_IN, 4, 1, 0, 0, 3, 4],
    rule: "builtin-path-mtu",
  },
  { name: "port unreachable", packet: [DIRECTION_IN, 4, 1, 0, 0, 3, 3], rule: undefined },
  { name: "ICMP echo", packet: [DIRECTION_OUT, 4, 1, 3, 4, 8, 0], rule: undefined },
  { name: "MLDv2 report", packet: [DIRECTION_OUT, 6, 58, 0, 0, 143, 0], rule: "builtin-mld" },
  { name: "MLD query", packet: [DIRECTION_IN, 6, 58, 0, 0, 130, 0], rule: "builtin-mld" },
  { name: "IGMP", packet: [DIRECTION_OUT, 4, 2, 0, 0, 0, 0], rule: "builtin-igmp" },
  { name: "ICMPv6 types over IPv4", packet: [DIRECTION_OUT, 4, 58, 0, 0, 135, 0], rule: undefined },
  { name: "TCP", packet: [DIRECTION_OUT, 4, 6, 68, 67, 0, 0], rule: undefined },
];

test.each([...CASES])("exceptionRule: $name", ({ packet, rule }) => {
  const index = exceptionRule(ALL, ...packet);
  expect(index < 0 ? undefined : RESERVED_RULES[index - RESERVED_RULE_BASE]).toBe(
    rule as "builtin-mld",
  );
  expect(exceptionRule(0, ...packet)).toBe(-1);
  if (index < 0) return;
  const bit = EXCEPTION_NAMES.findIndex((name) => `builtin-${name}` === rule);
  expect(exceptionRule(1 << bit, ...packet)).toBe(index);
  expect(exceptionRule(ALL ^ (1 << bit), ...packet)).toBe(-1);
});
