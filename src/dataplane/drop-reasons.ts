/**
 * Why the data plane dropped a packet: one small code a reason, each with a counter and a name.
 * Codes stay below 128 so that a counter array per direction is small: parsers 1-39, link guard
 * 40-49, egress 50-69, ingress 70-99, policy and flows 100-127. docs/wire.md names the causes.
 * A code is never reused for another meaning. Only numbers reach the hot path; names are for
 * people.
 */

export const DROP = {
  // Parsers (parse-*.ts).
  linkTruncated: 1, // no whole Ethernet header
  vlanTruncated: 2, // a VLAN tag or the type after it is missing
  vlanDepth: 3, // more than two tags
  etherType: 4, // neither IPv4, IPv6 nor ARP
  ipVersion: 5, // the version nibble contradicts the EtherType, or is neither 4 nor 6
  ipv4Truncated: 6,
  ipv4HeaderLength: 7, // IHL below 5
  ipv4TotalLength: 8, // shorter than the header, or longer than the frame
  ipv4Options: 9, // an option's length is wrong
  ipv4SourceRoute: 10, // LSRR or SSRR: the destination field is not the destination (RFC 7126)
  ipv4ReservedFlag: 11,
  ipv6Truncated: 12,
  ipv6PayloadLength: 13,
  ipv6ExtensionTruncated: 14, // also a jumbogram (payload length 0 and more headers)
  ipv6ExtensionCount: 15,
  ipv6ExtensionOrder: 16, // hop-by-hop not first, or a second fragment header
  ipv6SourceRoute: 17, // a routing header with segments left (RFC 5095)
  fragmentFirstShort: 18, // first fragment without the whole header chain (RFC 1858, 7112)
  fragmentTcpOffset: 19, // a later fragment inside the TCP header (RFC 3128)
  fragmentLength: 20, // empty, or not the last and not a multiple of 8
  fragmentPastEnd: 21, // would reassemble to more than 65,535 bytes
  tcpTruncated: 22,
  tcpHeaderLength: 23, // data offset below 5, or past the packet's end
  tcpFlags: 24, // a combination no TCP sends: none, SYN+FIN, SYN+RST, FIN without ACK, …
  udpTruncated: 25,
  udpLength: 26, // below 8, or longer than the IP payload
  icmpTruncated: 27,
  quoteTruncated: 28, // an ICMP error quotes too little to name a flow
  tcpOptions: 29, // an option's length is wrong

  // Guard below IP (neighbour-guard.ts).
  arpMalformed: 40,
  arpSpoofed: 41, // contradicts the mapping service
  arpForged: 42, // on the way out: not this VM's address or MAC
  neighbourMalformed: 43, // also a fragmented ND message (RFC 6980)
  neighbourSpoofed: 44,
  neighbourForged: 45,
  vlanUnexpected: 46,
  vlanDouble: 47,
  sourceMac: 48, // on the way out: not this VM's, or a group address
  sourceAddress: 49, // on the way out: not this VM's

  // Egress.
  egressOptions: 50, // IPv4 options to a peer
  egressTooBig: 51,
  egressNoBuffer: 53,
  egressTransmit: 54, // the outside port did not take it
  fragmentOverlap: 55, // RFC 5722
  fragmentTableFull: 56,
  fragmentHoldFull: 57,
  fragmentTimeout: 58, // the first fragment never came
  egressAbs: 59, // an application sent protocol 253 itself

  // Ingress, in the order of docs/wire.md "DATA".
  absTruncated: 70,
  absVersion: 71,
  absFlag: 72,
  absFragment: 73,
  absNextHeader: 74,
  lane: 75,
  unknownIndex: 76,
  addressMismatch: 77,
  counterOld: 78,
  counterReplayed: 79,
  proof: 80,
  mac1: 81,
  untagged: 82,
  roleMismatch: 83,
  tenantPayload: 85,
  flowBinding: 86,
  fastOpen: 87,
  networkIcmp: 89, // ICMP errors from the network are never delivered
  fragmentSession: 90, // a fragment under another session than its first
  handshakeRate: 91,
  rejectRate: 92,
  rejectMalformed: 93,
  handshakeTruncated: 94,
  puntRingFull: 95,
  ingressTransmit: 96, // the inside port did not take it
  ingressTooBig: 99, // from outside the tenant, larger than the inside interface takes
  absOptions: 98, // IPv4 options on an ABS packet
  managementRate: 88, // a node of the ledger calls too often

  // Policy and flows.
  policyDenied: 100,
  noSignature: 101,
  notEntitled: 102,
  flowTableFull: 103,
  halfOpenLimit: 104,
  holdQueueFull: 105,
  holdTimeout: 106,
  noSession: 107,
  midstream: 108,
  peerDown: 109,
  outsideDenied: 110,
  multicastDenied: 111,
  spoofedSource: 112,
  refusedFlow: 113,
  serverFirstLimit: 114,
  identifyTimeout: 115,
  identifyLimit: 116,
} as const;

export type DropReason = (typeof DROP)[keyof typeof DROP];

/** One more than the greatest code there can be: the length of a counter array. */
export const DROP_CODES = 128;

/** Name of each code in kebab-case (`ipv4-total-length`); empty where no code is given out. */
export const DROP_NAMES: readonly string[] = namesByCode();

function namesByCode(): string[] {
  const names = new Array<string>(DROP_CODES).fill("");
  for (const [key, code] of Object.entries(DROP)) {
    if (names[code] !== "") throw new Error(`drop code ${code} is given out twice`);
    names[code] = key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  }
  return names;
}
