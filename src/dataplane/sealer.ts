/**
 * Crafts one packet under a session and queues it for sealing and sending. docs/wire.md "DATA",
 * design/agent.md "Egress" step 5. Hot path.
 */
import {
  ABS_HEADER_BYTES,
  CARRIER_UDP,
  openRoomIpv4,
  openRoomIpv6,
  UDP_HEADER_BYTES,
  writeDataHeader,
} from "./crafting.ts";
import type { ParsedPacket } from "./parsed-packet.ts";
import type { Plane } from "./plane.ts";

/** Version 1, flag DATA. */
const DATA_WORD = 0x15000000;
const UDP_FIRST_SOURCE_PORT = 49152;
const UDP_SOURCE_PORT_MASK = 16383;
const TWO_TO_32 = 4294967296;

export class Sealer {
  constructor(
    readonly plane: Plane,
    /** This worker's lane: no other thread uses it under the same key. */
    readonly lane: number,
  ) {}

  /**
   * Sends `packet` under the session in `slot`.
   * @param peerWord the flow's F_PEER: address pair << 16 | peer index + 1
   * @param hash the flow's hash; picks the source port of the `udp` carrier
   */
  send(
    handle: number,
    start: number,
    packet: ParsedPacket,
    slot: number,
    peerWord: number,
    hash: number,
  ): void {
    const plane = this.plane;
    const memory = plane.memory;
    const sessions = plane.sessions;
    const peer = (peerWord & 0xffff) - 1;
    const pair = peerWord >>> 16;
    const ports =
      plane.peerCarrier[peer] === CARRIER_UDP
        ? ((UDP_FIRST_SOURCE_PORT + (hash & UDP_SOURCE_PORT_MASK)) << 16) | plane.udpPort
        : 0;
    const textLength = packet.ipEnd - packet.ipPayloadStart;
    const header = packet.ipPayloadStart - ABS_HEADER_BYTES;
    const newStart = this.#openRoom(packet, start, ports);
    const pseudoEnd =
      packet.ipVersion === 4
        ? ((packet.ipEnd - packet.ipStart) << 16) | packet.identification
        : textLength << 16;
    const cell = slot * plane.lanes + this.lane;
    const counter = sessions.counters[cell];
    sessions.counters[cell] = counter + 1;
    sessions.lastSentUs[slot] = plane.nowUs;
    const hashes = plane.pairs.hashOut;
    writeDataHeader(
      memory,
      header,
      DATA_WORD | (packet.ipProtocol << 16) | packet.fragmentField,
      sessions.remoteIndex[slot],
      (this.lane << 24) | (counter / TWO_TO_32),
      counter % TWO_TO_32,
      hashes[3 * pair],
      hashes[3 * pair + 1],
      hashes[3 * pair + 2],
      pseudoEnd,
    );
    plane.outside.add(handle, newStart, packet.ipEnd - newStart);
    if (sessions.quickOut[slot] === 0) {
      plane.outside.seal(sessions.keyOut[slot], header, textLength, sessions.confidentialOut[slot]);
    } else {
      sessions.writeQuickProof(memory, header + 16, slot);
    }
    if (ports !== 0 && packet.ipVersion === 6) {
      plane.outside.checksumUdp6(packet.ipStart - ABS_HEADER_BYTES - UDP_HEADER_BYTES);
    }
  }

  /** Moves and rewrites the headers; returns the packet's new start. */
  #openRoom(packet: ParsedPacket, start: number, ports: number): number {
    const memory = this.plane.memory;
    const ipStart = packet.ipStart;
    const protocol = this.plane.carrierProtocol;
    if (packet.ipVersion === 4) {
      return openRoomIpv4(memory, start, ipStart, packet.ipEnd - ipStart, protocol, ports);
    }
    const payloadLength = packet.ipEnd - packet.ipPayloadStart;
    return openRoomIpv6(memory, start, ipStart, payloadLength, protocol, ports);
  }
}
