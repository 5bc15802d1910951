/**
 * Network interfaces over rtnetlink (rtnetlink(7), linux/if_link.h): listing, changing, moving to
 * another namespace, making veth pairs. Which changes to make, and when, is takeover.ts's business.
 */
import { concat, fromHex, toHex } from "../bytes.ts";
import { AbsError, assert } from "../errors.ts";
import { isErrno } from "./libc.ts";
import {
  attribute,
  decodeAttributes,
  type NetlinkMessage,
  NLM_F_CREATE,
  NLM_F_EXCL,
  nestedAttribute,
  textAttribute,
  textOf,
  u8Attribute,
  u32Attribute,
  u32Of,
} from "./netlink-message.ts";
import type { NetlinkSocket } from "./netlink-socket.ts";

export const RTM_NEWLINK = 16;
export const RTM_DELLINK = 17;
const RTM_GETLINK = 18;

const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const IFLA_LINK = 5;
const IFLA_QDISC = 6;
const IFLA_MASTER = 10;
const IFLA_OPERSTATE = 16;
const IFLA_LINKMODE = 17;
const IFLA_LINKINFO = 18;
const IFLA_IFALIAS = 20;
const IFLA_NET_NS_FD = 28;
const IFLA_CARRIER = 33;
const IFLA_LINK_NETNSID = 37;
const IFLA_INFO_KIND = 1;
const IFLA_INFO_DATA = 2;
const VETH_INFO_PEER = 1;
const LINK_HEADER_BYTES = 16;

const IFF_UP = 1;
const IFF_LOOPBACK = 8;
const IFF_PROMISC = 0x100;
/** RFC 2863 states: waiting for an event elsewhere, and up. */
const OPERATIONAL_DORMANT = 5;
const OPERATIONAL_UP = 6;
export const ARPHRD_ETHER = 1;
/** Linux names interfaces with up to 15 bytes, without `/`, `:` and white space. */
const NAME_PATTERN = /^[^\s/:]{1,15}$/;

/** An interface as the kernel describes it. */
export type Link = {
  readonly index: number;
  readonly name: string;
  /** `veth`, `tun`, `bridge`…; empty for hardware. */
  readonly kind: string;
  readonly hardwareType: number;
  /** Lower-case hex digits without colons. */
  readonly mac: string;
  readonly mtu: number;
  readonly up: boolean;
  readonly loopback: boolean;
  /** Somebody set the flag; what packet sockets ask for is not told by it. */
  readonly promiscuous: boolean;
  readonly carrier: boolean;
  /** Kept from running by dormant link mode. */
  readonly dormant: boolean;
  readonly alias: string;
  readonly qdisc: string;
  /** Index of the bridge or bond it is a part of. */
  readonly master: number | undefined;
  /** Index of the interface below it (VLAN) or at its other end (veth). */
  readonly below: number | undefined;
  /** That interface is in another namespace. */
  readonly belowIsElsewhere: boolean;
};

export type LinkChange = {
  readonly up?: boolean;
  readonly promiscuous?: boolean;
  readonly mac?: string;
  readonly mtu?: number;
  readonly name?: string;
  readonly alias?: string;
  /** Shows the interface as not running (RFC 2863 "dormant") although its own link is there. */
  readonly dormant?: boolean;
  /** Moves the interface into the namespace behind this descriptor. */
  readonly namespace?: number;
};

export type VethPair = {
  readonly nearName: string;
  /** 0 lets the kernel choose. */
  readonly nearIndex: number;
  readonly farName: string;
  /** Namespace that gets the far end. */
  readonly farNamespace: number;
};

export function decodeLink(message: NetlinkMessage): Link {
  const { payload } = message;
  assert(payload.length >= LINK_HEADER_BYTES, "a link message has its fixed header");
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  const flags = view.getUint32(8, true);
  const attributes = decodeAttributes(payload, LINK_HEADER_BYTES);
  const info = attributes.get(IFLA_LINKINFO);
  const kind = info === undefined ? undefined : decodeAttributes(info).get(IFLA_INFO_KIND);
  return {
    index: view.getInt32(4, true),
    name: textOf(attributes.get(IFLA_IFNAME)) ?? "",
    kind: textOf(kind) ?? "",
    hardwareType: view.getUint16(2, true),
    mac: toHex(attributes.get(IFLA_ADDRESS) ?? new Uint8Array(0)),
    mtu: u32Of(attributes.get(IFLA_MTU)) ?? 0,
    up: (flags & IFF_UP) !== 0,
    loopback: (flags & IFF_LOOPBACK) !== 0,
    promiscuous: (flags & IFF_PROMISC) !== 0,
    carrier: (attributes.get(IFLA_CARRIER)?.[0] ?? 0) === 1,
    dormant: (attributes.get(IFLA_LINKMODE)?.[0] ?? 0) === 1,
    alias: textOf(attributes.get(IFLA_IFALIAS)) ?? "",
    qdisc: textOf(attributes.get(IFLA_QDISC)) ?? "",
    master: u32Of(attributes.get(IFLA_MASTER)),
    below: u32Of(attributes.get(IFLA_LINK)),
    belowIsElsewhere: attributes.has(IFLA_LINK_NETNSID),
  };
}

export function listLinks(socket: NetlinkSocket): Link[] {
  const messages = socket.dump("listing the interfaces", RTM_GETLINK, linkHeader(0, 0, 0));
  return messages.filter((message) => message.type === RTM_NEWLINK).map(decodeLink);
}

/** The interface called `name`, or undefined. */
export function findLink(socket: NetlinkSocket, name: string): Link | undefined {
  const payload = concat(linkHeader(0, 0, 0), textAttribute(IFLA_IFNAME, name));
  return lookUp(socket, name, payload);
}

export function findLinkByIndex(socket: NetlinkSocket, index: number): Link | undefined {
  return lookUp(socket, `number ${index}`, linkHeader(index, 0, 0));
}

function lookUp(socket: NetlinkSocket, what: string, payload: Uint8Array): Link | undefined {
  try {
    return decodeLink(socket.get(`looking up interface ${what}`, RTM_GETLINK, payload));
  } catch (thrown) {
    if (isErrno(thrown, "ENODEV")) return undefined;
    throw thrown;
  }
}

/** Changes what `change` names, in one request; `what` says it for the error message. */
export function setLink(
  socket: NetlinkSocket,
  what: string,
  index: number,
  change: LinkChange,
): void {
  const parts: Uint8Array[] = [];
  if (change.mac !== undefined) parts.push(attribute(IFLA_ADDRESS, macBytes(change.mac)));
  if (change.mtu !== undefined) parts.push(u32Attribute(IFLA_MTU, change.mtu));
  if (change.name !== undefined) parts.push(textAttribute(IFLA_IFNAME, change.name));
  if (change.alias !== undefined) {
    parts.push(attribute(IFLA_IFALIAS, new TextEncoder().encode(change.alias)));
  }
  if (change.dormant !== undefined) {
    const state = change.dormant ? OPERATIONAL_DORMANT : OPERATIONAL_UP;
    parts.push(u8Attribute(IFLA_OPERSTATE, state));
    parts.push(u8Attribute(IFLA_LINKMODE, change.dormant ? 1 : 0));
  }
  if (change.namespace !== undefined) parts.push(u32Attribute(IFLA_NET_NS_FD, change.namespace));
  const mask =
    (change.up === undefined ? 0 : IFF_UP) | (change.promiscuous === undefined ? 0 : IFF_PROMISC);
  const flags = (change.up === true ? IFF_UP : 0) | (change.promiscuous === true ? IFF_PROMISC : 0);
  socket.change(what, RTM_NEWLINK, 0, concat(linkHeader(index, flags, mask), ...parts));
}

/** Makes a veth pair whose near end is in the socket's namespace. */
export function addVethPair(socket: NetlinkSocket, pair: VethPair): void {
  checkName(pair.nearName);
  checkName(pair.farName);
  const far = concat(
    linkHeader(0, 0, 0),
    textAttribute(IFLA_IFNAME, pair.farName),
    u32Attribute(IFLA_NET_NS_FD, pair.farNamespace),
  );
  const payload = concat(
    linkHeader(pair.nearIndex, 0, 0),
    textAttribute(IFLA_IFNAME, pair.nearName),
    nestedAttribute(
      IFLA_LINKINFO,
      textAttribute(IFLA_INFO_KIND, "veth"),
      nestedAttribute(IFLA_INFO_DATA, nestedAttribute(VETH_INFO_PEER, far)),
    ),
  );
  const what = `making the veth pair ${pair.farName}`;
  socket.change(what, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, payload);
}

/** Deletes an interface; one that is gone already is fine. */
export function deleteLink(socket: NetlinkSocket, link: Link): void {
  try {
    const payload = linkHeader(link.index, 0, 0);
    socket.change(`deleting interface ${link.name}`, RTM_DELLINK, 0, payload);
  } catch (thrown) {
    if (!isErrno(thrown, "ENODEV")) throw thrown;
  }
}

export function checkName(name: string): void {
  if (NAME_PATTERN.test(name) && name !== "." && name !== "..") return;
  throw new AbsError(
    "INTERFACE_NAME",
    `\`${name}\` is not an interface name.`,
    "Use 1 to 15 characters without spaces, `/` and `:`.",
  );
}

/** struct ifinfomsg. */
function linkHeader(index: number, flags: number, mask: number): Uint8Array {
  const header = new Uint8Array(LINK_HEADER_BYTES);
  const view = new DataView(header.buffer);
  view.setInt32(4, index, true);
  view.setUint32(8, flags, true);
  view.setUint32(12, mask, true);
  return header;
}

function macBytes(mac: string): Uint8Array {
  const bytes = fromHex(mac);
  assert(bytes?.length === 6, `${mac} is a MAC address of 6 bytes`);
  return bytes;
}

/** `02fc00000001` as `02:fc:00:00:00:01`. */
export function macText(mac: string): string {
  return mac.replace(/(..)(?=.)/g, "$1:");
}
