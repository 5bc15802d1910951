/**
 * What a tunnel carries: where the inner IP packet begins in VXLAN (RFC 7348), GENEVE (RFC 8926),
 * GTP-U (3GPP TS 29.281), GRE (RFC 2784, 2890), Teredo (RFC 4380), IP in IP (RFC 2003, 4213). Hot
 * path. A tunnel over UDP is known by its port and by its header being a right one.
 */
import { afterType, NO_IP } from "./link-layer.ts";
import { type PacketHeaders, PROTOCOL_UDP } from "./packet-headers.ts";

const PROTOCOL_IPV4 = 4;
const PROTOCOL_IPV6 = 41;
const PROTOCOL_GRE = 47;

const PORT_GTP_U = 2152;
const PORT_TEREDO = 3544;
const PORT_VXLAN = 4789;
const PORT_VXLAN_LINUX = 8472;
const PORT_GENEVE = 6081;

/** Type of an Ethernet frame inside (transparent Ethernet bridging), and of ERSPAN's. */
const TYPE_ETHERNET = 0x6558;
const TYPE_ERSPAN = 0x88be;
const GTP_USER_DATA = 255;
const GTP_EXTENSIONS_MAX = 8;

/** Offset of the packet inside `packet`, whose payload was captured to `end`; or NO_IP. */
export function innerOf(memory: DataView, packet: PacketHeaders): number {
  const { payloadStart, payloadEnd, protocol } = packet;
  if (protocol === PROTOCOL_UDP) return insideUdp(memory, packet);
  if (protocol === PROTOCOL_GRE) return insideGre(memory, payloadStart, payloadEnd);
  if (protocol === PROTOCOL_IPV4 || protocol === PROTOCOL_IPV6) return payloadStart;
  return NO_IP;
}

function insideUdp(memory: DataView, packet: PacketHeaders): number {
  const { payloadStart, payloadEnd, sourcePort, destinationPort } = packet;
  if (payloadEnd - payloadStart < 8) return NO_IP;
  switch (destinationPort) {
    case PORT_VXLAN:
    case PORT_VXLAN_LINUX:
      return insideVxlan(memory, payloadStart, payloadEnd);
    case PORT_GENEVE:
      return insideGeneve(memory, payloadStart, payloadEnd);
    case PORT_GTP_U:
      return insideGtp(memory, payloadStart, payloadEnd);
    case PORT_TEREDO:
      return insideTeredo(memory, payloadStart, payloadEnd);
  }
  // Answers of a GTP-U or Teredo end may come from its port only.
  if (sourcePort === PORT_GTP_U) return insideGtp(memory, payloadStart, payloadEnd);
  if (sourcePort === PORT_TEREDO) return insideTeredo(memory, payloadStart, payloadEnd);
  return NO_IP;
}

function insideEthernet(memory: DataView, at: number, end: number): number {
  if (end - at < 15) return NO_IP;
  return afterType(memory, memory.getUint16(at + 12, false), at + 14, end);
}

function insideVxlan(memory: DataView, at: number, end: number): number {
  if ((memory.getUint8(at) & 0x08) === 0) return NO_IP;
  return insideEthernet(memory, at + 8, end);
}

function insideGeneve(memory: DataView, at: number, end: number): number {
  const first = memory.getUint8(at);
  if (first >>> 6 !== 0) return NO_IP;
  const start = at + 8 + ((first & 0x3f) << 2);
  const type = memory.getUint16(at + 2, false);
  if (start >= end) return NO_IP;
  return type === TYPE_ETHERNET
    ? insideEthernet(memory, start, end)
    : afterType(memory, type, start, end);
}

function insideGtp(memory: DataView, at: number, end: number): number {
  const flags = memory.getUint8(at);
  // Version 1, protocol type GTP, user data.
  if (flags >>> 4 !== 3 || memory.getUint8(at + 1) !== GTP_USER_DATA) return NO_IP;
  let start = at + 8;
  if ((flags & 7) !== 0) {
    if (end - start < 4) return NO_IP;
    let next = (flags & 4) === 0 ? 0 : memory.getUint8(start + 3);
    start += 4;
    for (let count = 0; next !== 0 && count < GTP_EXTENSIONS_MAX; count++) {
      if (start >= end) return NO_IP;
      const bytes = memory.getUint8(start) << 2;
      if (bytes === 0 || start + bytes > end) return NO_IP;
      next = memory.getUint8(start + bytes - 1);
      start += bytes;
    }
  }
  return atIp(memory, start, end);
}

function insideTeredo(memory: DataView, from: number, end: number): number {
  let at = from;
  if (end - at >= 4 && memory.getUint16(at, false) === 1) {
    // Authentication: client and value of the lengths told, a nonce of 8 bytes, a confirmation.
    at += 13 + memory.getUint8(at + 2) + memory.getUint8(at + 3);
  }
  if (end - at >= 8 && memory.getUint16(at, false) === 0) at += 8;
  return atIp(memory, at, end);
}

function insideGre(memory: DataView, at: number, end: number): number {
  if (end - at < 4) return NO_IP;
  const flags = memory.getUint16(at, false);
  // Version 0; source routing was taken out of GRE (RFC 2784 §5.3).
  if ((flags & 0x4007) !== 0) return NO_IP;
  const type = memory.getUint16(at + 2, false);
  const optional = (flags >>> 15) + ((flags >>> 13) & 1) + ((flags >>> 12) & 1);
  const start = at + 4 + 4 * optional;
  if (start >= end) return NO_IP;
  if (type === TYPE_ETHERNET) return insideEthernet(memory, start, end);
  // ERSPAN type II has a header of its own when the sequence number is there.
  if (type === TYPE_ERSPAN) return insideEthernet(memory, start + ((flags >>> 12) & 1) * 8, end);
  return afterType(memory, type, start, end);
}

function atIp(memory: DataView, at: number, end: number): number {
  if (at >= end) return NO_IP;
  const version = memory.getUint8(at) >>> 4;
  return version === 4 || version === 6 ? at : NO_IP;
}
