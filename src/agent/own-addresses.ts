/** The VM's own addresses and how large a packet between agents may be. docs/wire.md "Carriers". */
import type { AddressWords, IpAddress } from "../wire/ip-text.ts";
import type { Provisioning } from "./provisioning.ts";

const ABS_HEADER_BYTES = 32;
const UDP_HEADER_BYTES = 8;

/** An address of 4 or 16 bytes. */
export function addressOfBytes(bytes: Uint8Array): IpAddress {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length === 4) return { version: 4, words: [0, 0, 0, view.getUint32(0, false)] };
  const words: AddressWords = [
    view.getUint32(0, false),
    view.getUint32(4, false),
    view.getUint32(8, false),
    view.getUint32(12, false),
  ];
  return { version: 6, words };
}

/** Bytes that a packet to some peer grows by at most. */
export function growthBytes(provisioning: Provisioning): number {
  const isUdp = provisioning.peers.some(({ carrier }) => carrier === "udp");
  return ABS_HEADER_BYTES + (isUdp ? UDP_HEADER_BYTES : 0);
}

/** Largest inner IP packet, given the MTU of the outside interface. */
export function innerMtuOf(outsideMtu: number, provisioning: Provisioning): number {
  const mtu = Math.min(outsideMtu, provisioning.node.mtu ?? outsideMtu);
  return mtu - growthBytes(provisioning);
}
