/**
 * The attacks below IP that the paper lists in §2.1, as frames: what a host on the switch injects
 * towards the server, and what root of a VM sends out of its inside interface. Each with the reason
 * that the agent's event must name. docs/threat-model.md has the list.
 */
import {
  addressToBytes,
  arpPacket,
  ethernet,
  internetChecksum,
  ipPacket,
  macToBytes,
  udpPacket,
} from "../../src/lab/frames.ts";
import type { VmPlan } from "../../src/lab/topology.ts";
import { CLIENT, OTHER, SERVER, STRANGER } from "./harness.ts";

export interface LinkAttack {
  readonly name: string;
  readonly from: "network" | "inside";
  readonly reason: string;
  readonly frames: readonly Uint8Array[];
}

/** A word in what must not arrive. */
export const LINK_WORD = "below-ip";
const ETHERTYPE_ARP = 0x0806;
const ICMPV6 = 58;
const NEIGHBOUR_ADVERTISEMENT = 136;
const FLOODED = 1_000;
const VLAN_OF_OTHERS = 20;
const VLAN_OUTER = 1;

function datagram(from: string, to: string): Uint8Array {
  const ports = { sourcePort: 24_000, destinationPort: 7_000 };
  return udpPacket({ source: from, destination: to, ...ports }, Buffer.from(LINK_WORD));
}

/** "I am `of`'s address, at this MAC." */
function arpReply(of: VmPlan, mac: string, to: VmPlan): Uint8Array {
  const packet = arpPacket({
    ...{ operation: 2, senderMac: mac, senderAddress: of.ipv4 },
    ...{ targetMac: to.mac, targetAddress: to.ipv4 },
  });
  return ethernet({ sourceMac: mac, destinationMac: to.mac }, packet, ETHERTYPE_ARP);
}

/** The same in IPv6: an advertisement, overriding, with the target's link-layer address. */
function advertisement(of: VmPlan, mac: string, to: VmPlan, from = of): Uint8Array {
  const target = addressToBytes(of.ipv6);
  const message = new Uint8Array(32);
  const view = new DataView(message.buffer);
  view.setUint8(0, NEIGHBOUR_ADVERTISEMENT);
  view.setUint8(4, 0x60);
  message.set(target, 8);
  view.setUint16(24, 0x0201);
  message.set(macToBytes(mac), 26);
  const pseudo = Uint8Array.of(0, message.length, 0, ICMPV6);
  view.setUint16(
    2,
    internetChecksum(addressToBytes(from.ipv6), addressToBytes(to.ipv6), pseudo, message),
  );
  const packet = ipPacket({ source: from.ipv6, destination: to.ipv6, protocol: ICMPV6 }, message);
  packet[7] = 255;
  return ethernet({ sourceMac: mac, destinationMac: to.mac }, packet);
}

/** A Dynamic Trunking Protocol frame: "make this port a trunk" (802.3, SNAP 00000c 2004). */
function trunkWanted(mac: string): Uint8Array {
  const body = Uint8Array.of(
    ...[0xaa, 0xaa, 0x03, 0x00, 0x00, 0x0c, 0x20, 0x04, 0x01],
    ...[0x00, 0x01, 0x00, 0x05, 0x00, 0x00, 0x02, 0x00, 0x05, 0x03, 0x00, 0x03, 0x00, 0x05, 0xa5],
    ...[0x00, 0x04, 0x00, 0x0a, ...macToBytes(mac)],
  );
  const padded = new Uint8Array(46);
  padded.set(body);
  return ethernet({ sourceMac: mac, destinationMac: "01:00:0c:cc:cc:cc" }, padded, body.length);
}

function tagged(from: VmPlan, to: VmPlan, ...vlans: readonly number[]): Uint8Array {
  const link = { sourceMac: from.mac, destinationMac: to.mac, vlans };
  return ethernet(link, datagram(from.ipv4, to.ipv4));
}

function fromMac(mac: string): Uint8Array {
  const link = { sourceMac: mac, destinationMac: SERVER.mac };
  return ethernet(link, datagram(CLIENT.ipv4, SERVER.ipv4));
}

function randomMac(i: number): string {
  const hex = (value: number) => (value & 0xff).toString(16).padStart(2, "0");
  return `02:fe:${hex(i >>> 8)}:${hex(i)}:${hex(i * 7)}:${hex(i * 13)}`;
}

export const LINK_ATTACKS: readonly LinkAttack[] = [
  {
    ...{ name: "ARP spoofing", from: "network", reason: "arp-spoofed" },
    frames: [arpReply(CLIENT, STRANGER.mac, SERVER)],
  },
  {
    ...{ name: "ND spoofing", from: "network", reason: "neighbour-spoofed" },
    frames: [advertisement(CLIENT, STRANGER.mac, SERVER)],
  },
  {
    ...{ name: "another VLAN's tag", from: "network", reason: "vlan-unexpected" },
    frames: [tagged(OTHER, SERVER, VLAN_OF_OTHERS)],
  },
  {
    ...{ name: "VLAN hopping by double tags", from: "network", reason: "vlan-double" },
    frames: [tagged(OTHER, SERVER, VLAN_OUTER, VLAN_OF_OTHERS)],
  },
  {
    ...{ name: "VLAN hopping by switch spoofing (DTP)", from: "network", reason: "ether-type" },
    frames: [trunkWanted(STRANGER.mac)],
  },
  {
    ...{ name: "switch spoofing (DTP) by this VM", from: "inside", reason: "ether-type" },
    frames: [trunkWanted(CLIENT.mac)],
  },
  {
    ...{ name: "double tags by this VM", from: "inside", reason: "vlan-double" },
    frames: [tagged(CLIENT, SERVER, VLAN_OUTER, VLAN_OF_OTHERS)],
  },
  {
    ...{ name: "another's IP address by this VM", from: "inside", reason: "source-address" },
    frames: [
      ethernet(
        { sourceMac: CLIENT.mac, destinationMac: SERVER.mac },
        datagram(OTHER.ipv4, SERVER.ipv4),
      ),
    ],
  },
  {
    ...{ name: "another's MAC address by this VM", from: "inside", reason: "source-mac" },
    frames: [fromMac(OTHER.mac)],
  },
  {
    ...{ name: "MAC flooding by this VM", from: "inside", reason: "source-mac" },
    frames: Array.from({ length: FLOODED }, (_, i) => fromMac(randomMac(i))),
  },
  {
    ...{ name: "ARP spoofing by this VM", from: "inside", reason: "arp-forged" },
    frames: [arpReply(OTHER, CLIENT.mac, SERVER)],
  },
  {
    ...{ name: "ND spoofing by this VM", from: "inside", reason: "neighbour-forged" },
    frames: [advertisement(OTHER, CLIENT.mac, SERVER, CLIENT)],
  },
];
