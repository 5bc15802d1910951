/**
 * What a parser found in one packet: numbers only, made once and written again for every packet.
 * Hot path. Offsets are bytes from the start of the pool's `DataView`; an end is exclusive.
 * The parsers (parse-packet.ts) own the fields; everybody else only reads them.
 */

/** The parsers' answer when a packet is well formed; any other answer is a code of `DROP`. */
export const PARSED = 0;

export const ETHERTYPE_IPV4 = 0x0800;
export const ETHERTYPE_ARP = 0x0806;
export const ETHERTYPE_IPV6 = 0x86dd;

export const PROTOCOL_ICMP = 1;
export const PROTOCOL_TCP = 6;
export const PROTOCOL_UDP = 17;
export const PROTOCOL_ICMPV6 = 58;
export const PROTOCOL_NONE = 59;
const PROTOCOL_DCCP = 33;
const PROTOCOL_SCTP = 132;
const PROTOCOL_UDP_LITE = 136;

/** Beside TCP and UDP: protocols whose headers begin with source and destination port. */
export function beginsWithPorts(protocol: number): boolean {
  return protocol === PROTOCOL_SCTP || protocol === PROTOCOL_UDP_LITE || protocol === PROTOCOL_DCCP;
}

export const TCP_FIN = 0x01;
export const TCP_SYN = 0x02;
export const TCP_RST = 0x04;
export const TCP_PSH = 0x08;
export const TCP_ACK = 0x10;
export const TCP_URG = 0x20;

export class ParsedPacket {
  /** First byte of the frame; of the IP header when there is no link header. */
  linkStart = 0;
  /** Type after any VLAN tags. */
  etherType = 0;
  /** First byte of the IP header (or of the ARP message). */
  ipStart = 0;
  /** 4, 6, or 0 for ARP. */
  ipVersion = 0;
  /** IPv4: after header and options; IPv6: ipStart + 40. Here the ABS header goes. */
  ipPayloadStart = 0;
  /** By the length field: Ethernet padding lies beyond it. */
  ipEnd = 0;
  /** IPv4 protocol, or next header of the fixed IPv6 header. */
  ipProtocol = 0;
  timeToLive = 0;
  /**
   * Addresses as big-endian words; an IPv4 address is in word 3 and the rest are 0. Stored signed
   * and read by `source3` unsigned: the engine keeps an unsigned word above 2^31 as a double, which
   * costs a conversion at each store (measured: 2 to 3 ns a packet).
   */
  source3Word = 0;
  destination3Word = 0;
  /** IPv4: 16 bits; IPv6: 32 bits of the fragment header, else 0. */
  identification = 0;
  /** IPv4: flags and offset as on the wire; IPv6: 0. */
  fragmentField = 0;
  dontFragment = 0;
  /**
   * Protocol after IPv6 extension headers; of a later IPv6 fragment: as its fragment header says.
   */
  transportProtocol = 0;
  /** 0 in a fragment that is not the first. */
  transportStart = 0;
  /** TCP and UDP; ICMP echo: both are the identifier; else 0. */
  sourcePort = 0;
  destinationPort = 0;
  tcpFlags = 0;
  /** Signed, as the address words. */
  tcpSequenceWord = 0;
  tcpAcknowledgementWord = 0;
  /** After the transport header; of an ICMP error: where the quoted packet begins. */
  payloadStart = 0;
  /** ipEnd, but of a whole UDP datagram: its end by its own length. */
  payloadEnd = 0;

  // From here on zero in common packets: `plain` is 1 while all of them are known to be 0, so
  // that the short ways need not write them: 17 stores saved.
  plain = 1;
  /** 0 to 2, the id of the innermost tag, and of the outer one when there are two. */
  vlanCount = 0;
  vlanId = 0;
  vlanOuterId = 0;
  /** 1 when the IPv4 header has options. */
  ipOptions = 0;
  source0Word = 0;
  source1Word = 0;
  source2Word = 0;
  destination0Word = 0;
  destination1Word = 0;
  destination2Word = 0;
  /** 1 for any part of a packet; an IPv6 packet that is its only fragment (RFC 6946) is none. */
  isFragment = 0;
  fragmentOffsetBytes = 0;
  moreFragments = 0;
  /** First byte of a fragment's data, which continues to ipEnd; 0 when no fragment. */
  fragmentDataStart = 0;
  icmpType = 0;
  icmpCode = 0;
  /** 1 for an ICMP error: it quotes the packet it complains about. */
  icmpQuotes = 0;

  // The words as everybody else wants them: unsigned. Compiled code has no trace of the calls.
  get source0(): number {
    return this.source0Word >>> 0;
  }

  set source0(value: number) {
    this.source0Word = value | 0;
  }

  get source1(): number {
    return this.source1Word >>> 0;
  }

  set source1(value: number) {
    this.source1Word = value | 0;
  }

  get source2(): number {
    return this.source2Word >>> 0;
  }

  set source2(value: number) {
    this.source2Word = value | 0;
  }

  get source3(): number {
    return this.source3Word >>> 0;
  }

  set source3(value: number) {
    this.source3Word = value | 0;
  }

  get destination0(): number {
    return this.destination0Word >>> 0;
  }

  set destination0(value: number) {
    this.destination0Word = value | 0;
  }

  get destination1(): number {
    return this.destination1Word >>> 0;
  }

  set destination1(value: number) {
    this.destination1Word = value | 0;
  }

  get destination2(): number {
    return this.destination2Word >>> 0;
  }

  set destination2(value: number) {
    this.destination2Word = value | 0;
  }

  get destination3(): number {
    return this.destination3Word >>> 0;
  }

  set destination3(value: number) {
    this.destination3Word = value | 0;
  }

  get tcpSequence(): number {
    return this.tcpSequenceWord >>> 0;
  }

  set tcpSequence(value: number) {
    this.tcpSequenceWord = value | 0;
  }

  get tcpAcknowledgement(): number {
    return this.tcpAcknowledgementWord >>> 0;
  }

  set tcpAcknowledgement(value: number) {
    this.tcpAcknowledgementWord = value | 0;
  }
}

/** Zeroes what the fast path does not write. */
export function clearRare(out: ParsedPacket): void {
  out.plain = 1;
  out.vlanCount = 0;
  out.vlanId = 0;
  out.vlanOuterId = 0;
  out.ipOptions = 0;
  out.source0Word = 0;
  out.source1Word = 0;
  out.source2Word = 0;
  out.destination0Word = 0;
  out.destination1Word = 0;
  out.destination2Word = 0;
  out.isFragment = 0;
  out.fragmentOffsetBytes = 0;
  out.moreFragments = 0;
  out.fragmentDataStart = 0;
  out.icmpType = 0;
  out.icmpCode = 0;
  out.icmpQuotes = 0;
}

/** Zeroes everything: so a refused packet leaves what was read of it, and nothing of another. */
export function clearAll(out: ParsedPacket): void {
  out.linkStart = 0;
  out.etherType = 0;
  out.ipStart = 0;
  out.ipVersion = 0;
  out.ipPayloadStart = 0;
  out.ipEnd = 0;
  out.ipProtocol = 0;
  out.timeToLive = 0;
  out.source3Word = 0;
  out.destination3Word = 0;
  out.identification = 0;
  out.fragmentField = 0;
  out.dontFragment = 0;
  clearTransport(out);
  clearRare(out);
}

/** Zeroes what transport parsers write. */
export function clearTransport(out: ParsedPacket): void {
  out.transportProtocol = 0;
  out.transportStart = 0;
  out.sourcePort = 0;
  out.destinationPort = 0;
  out.tcpFlags = 0;
  out.tcpSequenceWord = 0;
  out.tcpAcknowledgementWord = 0;
  out.icmpType = 0;
  out.icmpCode = 0;
  out.icmpQuotes = 0;
  out.payloadStart = 0;
  out.payloadEnd = 0;
}
