/**
 * Addresses of an interface over rtnetlink (linux/if_addr.h): reading them and giving the same ones
 * to another interface. Records keep the kernel's attributes as they were, so that what this file
 * does not know is carried over too. Lifetimes are seconds, counted from when they were read.
 */
import { concat, fromHex, toHex } from "../bytes.ts";
import { assert } from "../errors.ts";
import { ipText } from "./ip-text.ts";
import { isErrno } from "./libc.ts";
import {
  attribute,
  decodeAttributes,
  type NetlinkMessage,
  NLM_F_CREATE,
  NLM_F_EXCL,
  textAttribute,
  textOf,
  u32Attribute,
  u32Bytes,
  u32Of,
} from "./netlink-message.ts";
import type { NetlinkSocket } from "./netlink-socket.ts";

export const RTM_NEWADDR = 20;
export const RTM_DELADDR = 21;
const RTM_GETADDR = 22;

const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_LABEL = 3;
const IFA_CACHEINFO = 6;
const IFA_FLAGS = 8;
const IFA_BROADCAST = 4;
const IFA_RT_PRIORITY = 9;
const IFA_PROTO = 11;
/** Attributes copied as they are; flags, label and lifetimes are made anew. */
const COPIED = [IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_RT_PRIORITY, IFA_PROTO];
const HEADER_BYTES = 8;

/** Flags a user may set: nodad, home, mngtmpaddr, noprefixroute, autojoin, optimistic. */
const SETTABLE_FLAGS = 0x02 | 0x10 | 0x100 | 0x200 | 0x400 | 0x04;
const IFA_F_TENTATIVE = 0x40;
const IFA_F_DAD_FAILED = 0x08;
const FOREVER = 0xffff_ffff;
const AF_INET = 2;
export const AF_INET6 = 10;
export const SCOPE_UNIVERSE = 0;

/** An address as it is kept in the state file: numbers and hex digits only. */
export type AddressRecord = {
  readonly family: number;
  readonly prefixLength: number;
  readonly scope: number;
  readonly flags: number;
  /** What follows the interface's name in an IPv4 label (`:1` of `eth0:1`), or undefined. */
  readonly labelTail: string | undefined;
  readonly validSeconds: number;
  readonly preferredSeconds: number;
  readonly attributes: readonly (readonly [number, string])[];
};

export function decodeAddress(
  message: NetlinkMessage,
  interfaceName: string,
): { readonly index: number; readonly record: AddressRecord } {
  const { payload } = message;
  assert(payload.length >= HEADER_BYTES, "an address message has its fixed header");
  const attributes = decodeAttributes(payload, HEADER_BYTES);
  const lifetimes = attributes.get(IFA_CACHEINFO);
  const label = textOf(attributes.get(IFA_LABEL));
  const copied: [number, string][] = [];
  for (const type of COPIED) {
    const value = attributes.get(type);
    if (value !== undefined) copied.push([type, toHex(value)]);
  }
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  const record: AddressRecord = {
    family: payload[0] ?? 0,
    prefixLength: payload[1] ?? 0,
    scope: payload[3] ?? 0,
    flags: u32Of(attributes.get(IFA_FLAGS)) ?? payload[2] ?? 0,
    labelTail: label?.startsWith(interfaceName) ? label.slice(interfaceName.length) : undefined,
    validSeconds: u32Of(lifetimes?.subarray(4)) ?? FOREVER,
    preferredSeconds: u32Of(lifetimes) ?? FOREVER,
    attributes: copied,
  };
  return { index: view.getUint32(4, true), record };
}

/** The addresses of one interface, in the kernel's order. */
export function readAddresses(
  socket: NetlinkSocket,
  index: number,
  interfaceName: string,
): AddressRecord[] {
  const records: AddressRecord[] = [];
  const messages = socket.dump("listing the addresses", RTM_GETADDR, new Uint8Array(HEADER_BYTES));
  for (const message of messages) {
    if (message.type !== RTM_NEWADDR) continue;
    const decoded = decodeAddress(message, interfaceName);
    if (decoded.index === index) records.push(decoded.record);
  }
  return records;
}

export function addAddress(
  socket: NetlinkSocket,
  index: number,
  interfaceName: string,
  record: AddressRecord,
  elapsedSeconds: number,
): void {
  const valid = remaining(record.validSeconds, elapsedSeconds);
  const preferred = remaining(record.preferredSeconds, elapsedSeconds);
  if (valid === 0) return;
  const parts = record.attributes.map(([type, hex]) => attribute(type, bytesOf(hex)));
  if (record.labelTail !== undefined) {
    parts.push(textAttribute(IFA_LABEL, labelOf(interfaceName, record.labelTail)));
  }
  parts.push(u32Attribute(IFA_FLAGS, record.flags & SETTABLE_FLAGS));
  parts.push(attribute(IFA_CACHEINFO, u32Bytes(preferred, valid, 0, 0)));
  const what = `giving ${addressText(record)} to ${interfaceName}`;
  try {
    const payload = concat(header(record, index), ...parts);
    socket.change(what, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, payload);
  } catch (thrown) {
    // The kernel made it itself in the meantime, as it does with link-local addresses.
    if (!isErrno(thrown, "EEXIST")) throw thrown;
  }
}

export function deleteAddress(socket: NetlinkSocket, index: number, record: AddressRecord): void {
  const wanted = record.attributes.filter(([type]) => type === IFA_ADDRESS || type === IFA_LOCAL);
  const parts = wanted.map(([type, hex]) => attribute(type, bytesOf(hex)));
  const what = `taking ${addressText(record)} away`;
  try {
    socket.change(what, RTM_DELADDR, 0, concat(header(record, index), ...parts));
  } catch (thrown) {
    if (!isErrno(thrown, "EADDRNOTAVAIL")) throw thrown;
  }
}

/**
 * Makes the addresses of an interface equal to `wanted`, touching only what differs. IPv6 goes in
 * backwards, because the kernel lists the newest of a scope first.
 */
export function applyAddresses(
  socket: NetlinkSocket,
  link: { readonly index: number; readonly name: string },
  wanted: readonly AddressRecord[],
  elapsedSeconds: number,
): void {
  const present = readAddresses(socket, link.index, link.name);
  const presentKeys = new Set(present.map(addressKey));
  const wantedKeys = new Set(wanted.map(addressKey));
  for (const record of present) {
    if (!wantedKeys.has(addressKey(record))) deleteAddress(socket, link.index, record);
  }
  const ordered = [
    ...wanted.filter((record) => record.family !== AF_INET6),
    ...wanted.filter((record) => record.family === AF_INET6).reverse(),
  ];
  for (const record of ordered) {
    if (presentKeys.has(addressKey(record))) continue;
    addAddress(socket, link.index, link.name, record, elapsedSeconds);
  }
}

/** The address itself (the local one of a point-to-point pair). */
export function addressBytes(record: AddressRecord): Uint8Array {
  const local = record.attributes.find(([type]) => type === IFA_LOCAL);
  const address = local ?? record.attributes.find(([type]) => type === IFA_ADDRESS);
  return bytesOf(address?.[1] ?? "");
}

export function addressText(record: AddressRecord): string {
  return `${ipText(addressBytes(record))}/${record.prefixLength}`;
}

/** Duplicate address detection has not finished. */
export function isTentative(record: AddressRecord): boolean {
  return (record.flags & IFA_F_TENTATIVE) !== 0 && (record.flags & IFA_F_DAD_FAILED) === 0;
}

/** It ends by itself unless something (DHCP, router advertisements) renews it. */
export function isLeased(record: AddressRecord): boolean {
  return record.validSeconds !== FOREVER;
}

/** What makes an address the same one, whatever its lifetime. */
export function addressKey(record: AddressRecord): string {
  const values = record.attributes.map(([type, hex]) => `${type}=${hex}`).join(" ");
  const flags = record.flags & SETTABLE_FLAGS;
  return `${record.family} ${record.prefixLength} ${record.scope} ${flags} ${values}`;
}

export function isIpv4(record: AddressRecord): boolean {
  return record.family === AF_INET;
}

function remaining(seconds: number, elapsedSeconds: number): number {
  return seconds === FOREVER ? FOREVER : Math.max(0, Math.floor(seconds - elapsedSeconds));
}

function labelOf(interfaceName: string, tail: string): string {
  return `${interfaceName}${tail}`.slice(0, 15);
}

function bytesOf(hex: string): Uint8Array {
  const bytes = fromHex(hex);
  assert(bytes !== undefined, "an attribute in the state file is hex");
  return bytes;
}

/** struct ifaddrmsg. */
function header(record: AddressRecord, index: number): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES);
  bytes[0] = record.family;
  bytes[1] = record.prefixLength;
  bytes[3] = record.scope;
  new DataView(bytes.buffer).setUint32(4, index, true);
  return bytes;
}
