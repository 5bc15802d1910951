/**
 * Ports, protocols and addresses as people write them in documents: a value, a range or a list.
 * Shared by policy, signatures and provisioning so that they are written alike everywhere.
 */

import { cidrRange, compareWords, formatCidr, type IpRange, parseCidr } from "../wire/ip-text.ts";
import type { DocumentNode } from "./document.ts";

/** Both ends belong to the range. */
export interface PortRange {
  readonly low: number;
  readonly high: number;
}

/** Protocols whose packets carry ports: TCP, UDP, DCCP, SCTP, UDP-Lite. */
export const PORT_PROTOCOLS: readonly number[] = [6, 17, 33, 132, 136];

const PROTOCOL_NUMBERS: ReadonlyMap<string, number> = new Map([
  ["icmp", 1],
  ["igmp", 2],
  ["tcp", 6],
  ["udp", 17],
  ["dccp", 33],
  ["gre", 47],
  ["esp", 50],
  ["ah", 51],
  ["icmpv6", 58],
  ["ipv6-icmp", 58],
  ["ospf", 89],
  ["sctp", 132],
  ["udplite", 136],
]);
const PROTOCOL_WORDS = new Map([...PROTOCOL_NUMBERS].map(([word, number]) => [number, word]));

/** @param text a protocol's name, or a number up to 255 */
export function protocolNumber(text: string): number | undefined {
  const known = PROTOCOL_NUMBERS.get(text);
  if (known !== undefined || !/^(0|[1-9][0-9]{0,2})$/.test(text)) return known;
  return Number(text) < 256 ? Number(text) : undefined;
}

/** Its name, else its number. */
export function protocolWord(protocol: number): string {
  return PROTOCOL_WORDS.get(protocol) ?? String(protocol);
}

/** A port, a range "low-high", or a list of both. */
export function readPorts(node: DocumentNode): PortRange[] {
  return readRanges(node, 0xffff, "port", 'Write 443, "8000-8099", or a list.');
}

/** Whole numbers 0..`max`: one, a range "low-high", or a list of both. */
export function readRanges(
  node: DocumentNode,
  max: number,
  noun: string,
  remedy: string,
): PortRange[] {
  if (node.isList()) {
    const ranges = node.list().flatMap((item) => readRanges(item, max, noun, remedy));
    return ranges.length > 0 ? ranges : node.fail("the list is empty.", remedy);
  }
  const text = node.string();
  const parts = /^(0|[1-9][0-9]{0,8})(?:-(0|[1-9][0-9]{0,8}))?$/.exec(text);
  const low = Number(parts?.[1] ?? -1);
  const high = Number(parts?.[2] ?? low);
  if (parts === null || low > high || high > max) {
    return node.fail(`"${text}" is not a ${noun} or a range of 0 to ${max}.`, remedy);
  }
  return [{ low, high }];
}

/** A CIDR or a list of them. Bits beyond the prefix must be zero. */
export function readCidrs(node: DocumentNode): IpRange[] {
  if (node.isList()) {
    const ranges = node.list().flatMap(readCidrs);
    return ranges.length > 0 ? ranges : node.fail("the list is empty.", "Name at least one.");
  }
  const text = node.string();
  const cidr = parseCidr(text);
  if (cidr === undefined) {
    return node.fail(`"${text}" is not a CIDR.`, "Write 10.1.0.0/16, 2001:db8::/32 or an address.");
  }
  const range = cidrRange(cidr);
  if (compareWords(range.low, cidr.words) !== 0) {
    const meant = formatCidr({ ...cidr, words: range.low });
    node.fail(`"${text}" has bits set beyond its prefix.`, `Write ${meant}, or a longer prefix.`);
  }
  return [range];
}

/** An IP protocol by name or number. */
export function readProtocol(node: DocumentNode): number {
  const text = node.string();
  const number = protocolNumber(text);
  if (number !== undefined) return number;
  const words = [...PROTOCOL_NUMBERS.keys()].join(", ");
  return node.fail(`"${text}" is not an IP protocol.`, `Use ${words}, any, or 0 to 255.`);
}
