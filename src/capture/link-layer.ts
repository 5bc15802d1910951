/**
 * Where the IP packet begins in a captured frame, by link type (tcpdump.org/linktypes.html):
 * Ethernet with VLAN tags, QinQ, MPLS, PPPoE and LLC/SNAP, Linux SLL and SLL2, BSD null and
 * loopback, PPP, raw IP. Hot path. The version is read from the packet itself later.
 */

/** No IP packet: ARP, LLDP, an unknown link type, or a frame cut before the IP header. */
export const NO_IP = -1;

const LINK_NULL = 0;
const LINK_ETHERNET = 1;
const LINK_PPP = 9;
const LINK_RAW_BSD = 12;
const LINK_RAW_OPENBSD = 14;
const LINK_PPP_HDLC = 50;
const LINK_RAW = 101;
const LINK_CISCO_HDLC = 104;
const LINK_LOOP = 108;
const LINK_SLL = 113;
const LINK_IPV4 = 228;
const LINK_IPV6 = 229;
const LINK_SLL2 = 276;

const TYPE_IPV4 = 0x0800;
const TYPE_VLAN = 0x8100;
const TYPE_IPV6 = 0x86dd;
const TYPE_MPLS = 0x8847;
const TYPE_MPLS_UPSTREAM = 0x8848;
const TYPE_PPPOE = 0x8864;
const TYPE_QINQ = 0x88a8;
const TYPE_QINQ_OLD = 0x9100;
/** An Ethernet type below this is a length: an LLC header follows (IEEE 802.3). */
const TYPE_MIN = 0x0600;

/** Tags and labels that one frame may stack. */
const STACK_MAX = 16;
const PPP_IPV4 = 0x0021;
const PPP_IPV6 = 0x0057;

/** Offset of the IP header of the frame in [start, end), or NO_IP. */
export function findIp(memory: DataView, linkType: number, start: number, end: number): number {
  switch (linkType) {
    case LINK_ETHERNET:
      if (end - start < 15) return NO_IP;
      return afterType(memory, memory.getUint16(start + 12, false), start + 14, end);
    case LINK_NULL:
    case LINK_LOOP:
      return afterFamily(memory, start, end);
    case LINK_SLL:
      if (end - start < 17) return NO_IP;
      return afterType(memory, memory.getUint16(start + 14, false), start + 16, end);
    case LINK_SLL2:
      if (end - start < 21) return NO_IP;
      return afterType(memory, memory.getUint16(start, false), start + 20, end);
    case LINK_RAW:
    case LINK_RAW_BSD:
    case LINK_RAW_OPENBSD:
    case LINK_IPV4:
    case LINK_IPV6:
      return start;
    case LINK_PPP:
    case LINK_PPP_HDLC:
      return afterPpp(memory, start, end);
    case LINK_CISCO_HDLC:
      if (end - start < 5) return NO_IP;
      return afterType(memory, memory.getUint16(start + 2, false), start + 4, end);
    default:
      return NO_IP;
  }
}

/** Behind an Ethernet type whose content begins at `from`. */
export function afterType(memory: DataView, first: number, from: number, end: number): number {
  let type = first;
  let at = from;
  for (let depth = 0; depth < STACK_MAX; depth++) {
    switch (type) {
      case TYPE_IPV4:
      case TYPE_IPV6:
        return at;
      case TYPE_VLAN:
      case TYPE_QINQ:
      case TYPE_QINQ_OLD:
        if (end - at < 4) return NO_IP;
        type = memory.getUint16(at + 2, false);
        at += 4;
        break;
      case TYPE_MPLS:
      case TYPE_MPLS_UPSTREAM:
        return afterLabels(memory, at, end);
      case TYPE_PPPOE:
        // Version and type, code, session, length (RFC 2516 §4), then PPP.
        return afterPpp(memory, at + 6, end);
      default:
        return type < TYPE_MIN ? afterLlc(memory, at, end) : NO_IP;
    }
  }
  return NO_IP;
}

/** IEEE 802.2 LLC with SNAP, and the type in it. */
function afterLlc(memory: DataView, at: number, end: number): number {
  if (end - at < 9) return NO_IP;
  const isSnap = memory.getUint16(at, false) === 0xaaaa && memory.getUint8(at + 2) === 3;
  if (!isSnap) return NO_IP;
  const type = memory.getUint16(at + 6, false);
  return type === TYPE_IPV4 || type === TYPE_IPV6 ? at + 8 : NO_IP;
}

/** RFC 3032 §2.1: labels to the bottom of the stack; behind it must be IP, or Ethernet. */
function afterLabels(memory: DataView, from: number, end: number): number {
  let at = from;
  for (let depth = 0; depth < STACK_MAX; depth++) {
    if (end - at < 5) return NO_IP;
    const isBottom = (memory.getUint8(at + 2) & 1) === 1;
    at += 4;
    if (!isBottom) continue;
    const version = memory.getUint8(at) >>> 4;
    if (version === 4 || version === 6) return at;
    // A pseudowire: its control word begins with 0 (RFC 4385 §3), then an Ethernet frame.
    if (version !== 0 || end - at < 19) return NO_IP;
    const type = memory.getUint16(at + 16, false);
    return type === TYPE_IPV4 || type === TYPE_IPV6 ? at + 18 : NO_IP;
  }
  return NO_IP;
}

/** RFC 1661 §2, with the address and control bytes of RFC 1662 or without; a short protocol too. */
function afterPpp(memory: DataView, from: number, end: number): number {
  let at = from;
  if (end - at < 5) return NO_IP;
  if (memory.getUint16(at, false) === 0xff03) at += 2;
  const first = memory.getUint8(at);
  if (first === PPP_IPV4 || first === PPP_IPV6) return at + 1;
  if (end - at < 3) return NO_IP;
  const protocol = memory.getUint16(at, false);
  return protocol === PPP_IPV4 || protocol === PPP_IPV6 ? at + 2 : NO_IP;
}

/** BSD loopback: an address family in the byte order of the capturing machine. */
function afterFamily(memory: DataView, start: number, end: number): number {
  if (end - start < 5) return NO_IP;
  const little = memory.getUint32(start, true);
  const family = little <= 0xff ? little : memory.getUint32(start, false);
  // AF_INET is 2 everywhere; AF_INET6 is 10, 24, 28 or 30.
  const isIp = family === 2 || family === 10 || family === 24 || family === 28 || family === 30;
  return isIp ? start + 4 : NO_IP;
}
