/**
 * What a switch drops of hosts in quarantine: everything from each of their addresses (IPv4 with
 * ARP, IPv6), from their MAC, and from the port that they hang on there. Pure.
 */

import { ETH_TYPE, type FlowMatch } from "../switch/flow-match.ts";
import { type CookieRange, type DropRule, HARD_SECONDS_MAX } from "../switch/flow-table.ts";
import { hexOfMac, ipHex } from "../switch/match-text.ts";
import type { EpochSeconds } from "../units.ts";
import type { Quarantine, QuarantinedHost } from "./quarantines.ts";

const IPV4_DIGITS = 8;

export function quarantineRules(
  quarantines: readonly Quarantine[],
  at: { readonly switchName: string; readonly cookies: CookieRange; readonly now: EpochSeconds },
): DropRule[] {
  return quarantines.flatMap((one) => {
    const leftSeconds = (one.endsAt ?? Number.POSITIVE_INFINITY) - at.now;
    if (leftSeconds <= 0) return [];
    const seconds = Math.min(HARD_SECONDS_MAX, leftSeconds);
    const cookie = at.cookies.of(one.number);
    return matchesOf(one, at.switchName).map((match) => ({ cookie, match, seconds }));
  });
}

/** Of one host at one switch. */
export function matchesOf(host: QuarantinedHost, switchName: string): FlowMatch[] {
  const ports = host.ports.filter((one) => one.switchName === switchName);
  return [
    ...ports.map(({ port }) => ({ inPort: port })),
    ...host.macs.flatMap((mac) => {
      const ethSource = hexOfMac(mac);
      return ethSource === undefined ? [] : [{ ethSource }];
    }),
    ...host.addresses.flatMap((address): FlowMatch[] => {
      const hex = ipHex(address);
      if (hex === undefined) return [];
      if (hex.length !== IPV4_DIGITS) return [{ ethType: ETH_TYPE.ipv6, ipv6Source: hex }];
      const arp = { ethType: ETH_TYPE.arp, arpSource: hex };
      return [{ ethType: ETH_TYPE.ipv4, ipv4Source: hex }, arp];
    }),
  ];
}
