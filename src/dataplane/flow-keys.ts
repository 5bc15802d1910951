/**
 * From a parsed packet to its flow: the key is local and remote side, so both directions of a
 * 5-tuple find the same record. Outgoing: the source is local; incoming: the destination is.
 * Hot path.
 */
import type { FlowTable } from "./flow-table.ts";
import { FLOW_IPV6 } from "./flow-table.ts";
import type { ParsedPacket } from "./parsed-packet.ts";

export function hashOutgoing(flows: FlowTable, packet: ParsedPacket): number {
  const ports = (packet.sourcePort << 16) | packet.destinationPort;
  const protocol = packet.transportProtocol | (packet.vlanId << 16);
  if (packet.ipVersion === 4) {
    return flows.hash.of4(packet.source3, packet.destination3, ports, protocol);
  }
  return flows.hash.of6(
    packet.source3,
    packet.destination3,
    ports,
    protocol | FLOW_IPV6,
    packet.source0,
    packet.source1,
    packet.source2,
    packet.destination0,
    packet.destination1,
    packet.destination2,
  );
}

export function hashIncoming(flows: FlowTable, packet: ParsedPacket): number {
  const ports = (packet.destinationPort << 16) | packet.sourcePort;
  const protocol = packet.transportProtocol | (packet.vlanId << 16);
  if (packet.ipVersion === 4) {
    return flows.hash.of4(packet.destination3, packet.source3, ports, protocol);
  }
  return flows.hash.of6(
    packet.destination3,
    packet.source3,
    ports,
    protocol | FLOW_IPV6,
    packet.destination0,
    packet.destination1,
    packet.destination2,
    packet.source0,
    packet.source1,
    packet.source2,
  );
}

/** The flow of a packet of this VM, or -1. @param hash by hashOutgoing */
export function findOutgoing(flows: FlowTable, packet: ParsedPacket, hash: number): number {
  const ports = (packet.sourcePort << 16) | packet.destinationPort;
  const protocol = packet.transportProtocol | (packet.vlanId << 16);
  if (packet.ipVersion === 4) {
    return flows.find(hash, packet.source3, packet.destination3, ports, protocol);
  }
  return flows.find6(
    hash,
    packet.source3,
    packet.destination3,
    ports,
    protocol | FLOW_IPV6,
    packet.source0,
    packet.source1,
    packet.source2,
    packet.destination0,
    packet.destination1,
    packet.destination2,
  );
}

/** The flow of a packet to this VM, or -1. @param hash by hashIncoming */
export function findIncoming(flows: FlowTable, packet: ParsedPacket, hash: number): number {
  const ports = (packet.destinationPort << 16) | packet.sourcePort;
  const protocol = packet.transportProtocol | (packet.vlanId << 16);
  if (packet.ipVersion === 4) {
    return flows.find(hash, packet.destination3, packet.source3, ports, protocol);
  }
  return flows.find6(
    hash,
    packet.destination3,
    packet.source3,
    ports,
    protocol | FLOW_IPV6,
    packet.destination0,
    packet.destination1,
    packet.destination2,
    packet.source0,
    packet.source1,
    packet.source2,
  );
}

/** A new flow that this VM begins, or -1 when the table is full. */
export function insertOutgoing(
  flows: FlowTable,
  packet: ParsedPacket,
  hash: number,
  nowSeconds: number,
): number {
  const ports = (packet.sourcePort << 16) | packet.destinationPort;
  const protocol = packet.transportProtocol | (packet.vlanId << 16);
  if (packet.ipVersion === 4) {
    return flows.insert(hash, packet.source3, packet.destination3, ports, protocol, nowSeconds);
  }
  return flows.insert6(
    hash,
    packet.source3,
    packet.destination3,
    ports,
    protocol | FLOW_IPV6,
    packet.source0,
    packet.source1,
    packet.source2,
    packet.destination0,
    packet.destination1,
    packet.destination2,
    nowSeconds,
  );
}

/** A new flow that the remote side begins, or -1 when the table is full. */
export function insertIncoming(
  flows: FlowTable,
  packet: ParsedPacket,
  hash: number,
  nowSeconds: number,
): number {
  const ports = (packet.destinationPort << 16) | packet.sourcePort;
  const protocol = packet.transportProtocol | (packet.vlanId << 16);
  if (packet.ipVersion === 4) {
    return flows.insert(hash, packet.destination3, packet.source3, ports, protocol, nowSeconds);
  }
  return flows.insert6(
    hash,
    packet.destination3,
    packet.source3,
    ports,
    protocol | FLOW_IPV6,
    packet.destination0,
    packet.destination1,
    packet.destination2,
    packet.source0,
    packet.source1,
    packet.source2,
    nowSeconds,
  );
}
