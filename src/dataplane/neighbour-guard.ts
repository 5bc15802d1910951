/**
 * The guard below IP (design/agent.md "Guard below IP"): ARP and ND that contradict the mapping
 * service, frames with unexpected or double VLAN tags, and source addresses or MACs that are not
 * this VM's on the way out. Returns PARSED or a code of `DROP` (40-49); passing is the default.
 * Hot path. Works on frames that parsePacket has accepted. Tables are replaced from outside.
 */
import { DROP } from "./drop-reasons.ts";
import { BINDING_CONTRADICTS, BINDING_UNKNOWN, MacTable } from "./mac-table.ts";
import {
  ARP_REPLY,
  NEIGHBOUR_ADVERTISEMENT,
  NEIGHBOUR_SOLICITATION,
  type NeighbourMessage,
  NO_NEIGHBOUR,
  parseNeighbour,
  ROUTER_ADVERTISEMENT,
} from "./neighbour-message.ts";
import { PARSED, type ParsedPacket, PROTOCOL_ICMPV6, PROTOCOL_UDP } from "./parsed-packet.ts";

const PROTOCOL_IGMP = 2;
const DHCP_CLIENT = 68;
const DHCP_SERVER = 67;
const VLAN_WORDS = 128;

export class NeighbourGuard {
  /** Addresses of peers and their MACs, from the mapping service. */
  readonly bindings = new MacTable();
  /** This VM's addresses, each with `ownMac…`. */
  readonly own = new MacTable();
  ownMacHigh = 0;
  ownMacLow = 0;
  /** Bit n: frames of VLAN n are expected; bit 0: untagged ones (and priority tags). */
  readonly allowedVlans = new Uint32Array(VLAN_WORDS);
  /** Bit n: n is an expected outer tag of QinQ; none by default, so double tags are refused. */
  readonly allowedOuterVlans = new Uint32Array(VLAN_WORDS);

  constructor() {
    this.allowedVlans[0] = 1;
  }

  /** VLAN tags, in both directions. */
  checkVlan(packet: ParsedPacket): number {
    if (packet.vlanCount === 2 && !hasBit(this.allowedOuterVlans, packet.vlanOuterId)) {
      return DROP.vlanDouble;
    }
    return hasBit(this.allowedVlans, packet.vlanId) ? PARSED : DROP.vlanUnexpected;
  }

  /** ARP and ND from the network. `message` is left with what was parsed, for the resolver. */
  checkIncoming(
    memory: DataView,
    packet: ParsedPacket,
    end: number,
    message: NeighbourMessage,
  ): number {
    const parsed = parseNeighbour(memory, packet, end, message);
    if (parsed !== PARSED || message.kind === NO_NEIGHBOUR) return parsed;
    const reason = message.kind <= ARP_REPLY ? DROP.arpSpoofed : DROP.neighbourSpoofed;
    // Peers are VMs: none of them is a router.
    if (
      message.kind === ROUTER_ADVERTISEMENT &&
      this.bindings.hasMac(message.linkMacHigh, message.linkMacLow)
    ) {
      return reason;
    }
    if (this.#contradicts(message, message.linkMacHigh, message.linkMacLow)) return reason;
    if (message.hasMac === 1 && this.#contradicts(message, message.macHigh, message.macLow)) {
      return reason;
    }
    return PARSED;
  }

  /** Everything this VM sends: MAC, address, and what its ARP and ND messages claim. */
  checkOutgoing(
    memory: DataView,
    packet: ParsedPacket,
    end: number,
    message: NeighbourMessage,
  ): number {
    const mac = this.checkSourceMac(memory, packet);
    if (mac !== PARSED) return mac;
    const address = this.checkSourceAddress(packet);
    if (address !== PARSED) return address;
    const parsed = parseNeighbour(memory, packet, end, message);
    if (parsed !== PARSED || message.kind === NO_NEIGHBOUR) return parsed;
    return this.#isOwnClaim(message) ? PARSED : forgedReason(message.kind);
  }

  /** On the way out, each frame: the cheap part of checkOutgoing. */
  checkSourceMac(memory: DataView, packet: ParsedPacket): number {
    const at = packet.linkStart + 6;
    if (memory.getUint16(at, false) !== this.ownMacHigh) return DROP.sourceMac;
    return memory.getUint32(at + 2, false) === this.ownMacLow ? PARSED : DROP.sourceMac;
  }

  /** On the way out: once a flow is enough, since a flow's packets share the address. */
  checkSourceAddress(packet: ParsedPacket): number {
    return packet.ipVersion === 0 || this.#isOwnSource(packet) ? PARSED : DROP.sourceAddress;
  }

  /** Whether a MAC for the message's address is not the one the mapping service (or we) know. */
  #contradicts(message: NeighbourMessage, macHigh: number, macLow: number): boolean {
    const known = checkAddress(this.bindings, message, macHigh, macLow);
    if (known !== BINDING_UNKNOWN) return known === BINDING_CONTRADICTS;
    return checkAddress(this.own, message, macHigh, macLow) === BINDING_CONTRADICTS;
  }

  #isOwnSource(packet: ParsedPacket): boolean {
    const word3 = packet.source3;
    if (this.#isOwnAddress(packet.source0, packet.source1, packet.source2, word3)) return true;
    if (word3 !== 0 || packet.source2 !== 0 || packet.source1 !== 0 || packet.source0 !== 0) {
      return false;
    }
    // No address yet: DHCP and IGMP; in IPv6 duplicate detection, router solicitation and MLD.
    if (packet.ipVersion === 6) return packet.transportProtocol === PROTOCOL_ICMPV6;
    if (packet.transportProtocol === PROTOCOL_IGMP) return true;
    return (
      packet.transportProtocol === PROTOCOL_UDP &&
      packet.sourcePort === DHCP_CLIENT &&
      packet.destinationPort === DHCP_SERVER
    );
  }

  #isOwnAddress(word0: number, word1: number, word2: number, word3: number): boolean {
    return (
      this.own.hasAddress(word0, word1, word2, word3) ||
      isLinkLocalOf(this.ownMacHigh, this.ownMacLow, word0, word1, word2, word3)
    );
  }

  #isOwnClaim(message: NeighbourMessage): boolean {
    if (
      message.hasMac === 1 &&
      (message.macHigh !== this.ownMacHigh || message.macLow !== this.ownMacLow)
    ) {
      return false;
    }
    if (message.kind > NEIGHBOUR_ADVERTISEMENT || message.kind === ROUTER_ADVERTISEMENT) {
      return false; // a VM sends no router advertisements and no redirects
    }
    const unspecified =
      message.address3 === 0 &&
      message.address2 === 0 &&
      message.address1 === 0 &&
      message.address0 === 0;
    // ARP probes (RFC 5227) and solicitations for duplicate detection name no address.
    if (unspecified) return message.kind !== ARP_REPLY && message.kind <= NEIGHBOUR_SOLICITATION;
    return this.#isOwnAddress(
      message.address0,
      message.address1,
      message.address2,
      message.address3,
    );
  }
}

function checkAddress(
  table: MacTable,
  message: NeighbourMessage,
  macHigh: number,
  macLow: number,
): number {
  return table.check(
    message.address0,
    message.address1,
    message.address2,
    message.address3,
    macHigh,
    macLow,
  );
}

function forgedReason(kind: number): number {
  return kind <= ARP_REPLY ? DROP.arpForged : DROP.neighbourForged;
}

function hasBit(bits: Uint32Array, id: number): boolean {
  return ((bits[id >>> 5] >>> (id & 31)) & 1) === 1;
}

/** Whether the address is the link-local one that a MAC makes (RFC 4291 appendix A). */
function isLinkLocalOf(
  macHigh: number,
  macLow: number,
  word0: number,
  word1: number,
  word2: number,
  word3: number,
): boolean {
  if (word0 !== 0xfe80_0000 || word1 !== 0) return false;
  const high = ((macHigh ^ 0x0200) << 16) | ((macLow >>> 16) & 0xff00) | 0xff;
  return word2 === high >>> 0 && word3 === (0xfe00_0000 | (macLow & 0x00ff_ffff)) >>> 0;
}
