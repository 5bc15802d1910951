/**
 * Routes through an interface over rtnetlink (linux/rtnetlink.h): reading them and giving the same
 * ones to another interface. Records keep the kernel's attributes as they were (gateway, metrics,
 * source, encapsulation…); the interface's own number is left out and put in anew. Routes in table
 * `local` that the kernel makes itself for each address are not touched.
 */
import { concat, fromHex, toHex } from "../bytes.ts";
import { AbsError, assert } from "../errors.ts";
import { ipText } from "./ip-text.ts";
import { isErrno } from "./libc.ts";
import {
  type Attributes,
  attribute,
  decodeAttributes,
  type NetlinkMessage,
  NLM_F_APPEND,
  NLM_F_CREATE,
  NLM_F_EXCL,
  NLM_F_REPLACE,
  u32Attribute,
  u32Of,
} from "./netlink-message.ts";
import type { NetlinkSocket } from "./netlink-socket.ts";

export const RTM_NEWROUTE = 24;
export const RTM_DELROUTE = 25;
const RTM_GETROUTE = 26;

const RTA_DST = 1;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RTA_PRIORITY = 6;
const RTA_PREFSRC = 7;
const RTA_MULTIPATH = 9;
const RTA_CACHEINFO = 12;
const RTA_TABLE = 15;
const RTA_VIA = 18;
const RTA_EXPIRES = 23;
const RTA_NH_ID = 30;
/** SRC, METRICS, FLOW, PREF, ENCAP_TYPE and ENCAP besides the named ones. */
const COPIED = [
  RTA_DST,
  2,
  RTA_GATEWAY,
  RTA_PRIORITY,
  RTA_PREFSRC,
  8,
  RTA_MULTIPATH,
  11,
  RTA_TABLE,
  RTA_VIA,
  20,
  21,
  22,
];
const HEADER_BYTES = 12;
const NEXT_HOP_INDEX_OFFSET = 4;
const TABLE_LOCAL = 255;
const RTPROT_KERNEL = 2;
const RTM_F_CLONED = 0x200;
const RTNH_F_ONLINK = 4;
/** The kernel counts a route's remaining life in ticks of 1/100 s (USER_HZ). */
const TICKS_PER_SECOND = 100;

/** A route as it is kept in the state file: numbers and hex digits only. */
export type RouteRecord = {
  /** struct rtmsg up to its flags: family, lengths, tos, table, protocol, scope, type. */
  readonly header: readonly number[];
  readonly flags: number;
  /** The route goes out by the interface itself (RTA_OIF), not only by next hops of a list. */
  readonly direct: boolean;
  /** Interface it goes out by when that is another one; it lives from one of our addresses. */
  readonly otherInterface: number | undefined;
  readonly expiresSeconds: number | undefined;
  readonly attributes: readonly (readonly [number, string])[];
};

export type DecodedRoute = { readonly record: RouteRecord; readonly nextHopId: number | undefined };

/**
 * The route of a message as seen from interface `index`, or undefined when it is not one of its
 * own: neither out by the interface nor from one of `sources` (its addresses, in hex).
 */
export function decodeRoute(
  message: NetlinkMessage,
  index: number,
  sources: ReadonlySet<string>,
): DecodedRoute | undefined {
  const { payload } = message;
  assert(payload.length >= HEADER_BYTES, "a route message has its fixed header");
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  const flags = view.getUint32(8, true);
  const attributes = decodeAttributes(payload, HEADER_BYTES);
  const table = u32Of(attributes.get(RTA_TABLE)) ?? payload[4];
  if ((flags & RTM_F_CLONED) !== 0) return undefined;
  if (table === TABLE_LOCAL && payload[5] === RTPROT_KERNEL) return undefined;
  const outgoing = u32Of(attributes.get(RTA_OIF));
  const multipath = attributes.get(RTA_MULTIPATH);
  const byList = multipath !== undefined && nextHopIndexes(multipath).includes(index);
  const source = attributes.get(RTA_PREFSRC);
  const fromOurs = source !== undefined && sources.has(toHex(source));
  if (outgoing !== index && !byList && !fromOurs) return undefined;
  return {
    record: {
      header: [...payload.subarray(0, 8)],
      flags: flags & RTNH_F_ONLINK,
      direct: outgoing === index,
      otherInterface: outgoing === index ? undefined : outgoing,
      expiresSeconds: expiryOf(attributes),
      attributes: copiedAttributes(attributes, index),
    },
    nextHopId: u32Of(attributes.get(RTA_NH_ID)),
  };
}

function expiryOf(attributes: Attributes): number | undefined {
  const cacheInfo = attributes.get(RTA_CACHEINFO);
  const ticks = u32Of(cacheInfo?.subarray(8)) ?? 0;
  return ticks === 0 ? undefined : (ticks | 0) / TICKS_PER_SECOND;
}

/** Next hops through the interface itself are marked by index 0, so that any may take its place. */
function copiedAttributes(attributes: Attributes, index: number): [number, string][] {
  const copied: [number, string][] = [];
  for (const type of COPIED) {
    const value = attributes.get(type);
    if (value === undefined) continue;
    const kept = type === RTA_MULTIPATH ? withNextHopIndex(value, index, 0) : value;
    copied.push([type, toHex(kept)]);
  }
  return copied;
}

/** Routes of an interface in every table, IPv4 and IPv6. */
export function readRoutes(
  socket: NetlinkSocket,
  index: number,
  sources: ReadonlySet<string>,
): RouteRecord[] {
  const records: RouteRecord[] = [];
  const messages = socket.dump("listing the routes", RTM_GETROUTE, new Uint8Array(HEADER_BYTES));
  for (const message of messages) {
    if (message.type !== RTM_NEWROUTE) continue;
    const decoded = decodeRoute(message, index, sources);
    if (decoded === undefined) continue;
    if (decoded.nextHopId !== undefined) throw nextHopObject(decoded.record, decoded.nextHopId);
    records.push(decoded.record);
  }
  return records;
}

function nextHopObject(record: RouteRecord, id: number): AbsError {
  return new AbsError(
    "ROUTE_NEXT_HOP_OBJECT",
    `The route to ${routeText(record)} uses next hop object ${id}, which cannot be moved.`,
    "Give the route its gateway directly (`ip route replace … via …`) before starting.",
  );
}

/**
 * Makes the routes of an interface equal to `wanted`, touching only what differs. A route may need
 * another one to reach its gateway, so what fails is tried again after the rest.
 */
export function applyRoutes(
  socket: NetlinkSocket,
  index: number,
  wanted: readonly RouteRecord[],
  elapsedSeconds: number,
): void {
  const present = readRoutes(socket, index, sourcesIn(wanted));
  const presentKeys = new Set(present.map(routeKey));
  const wantedKeys = new Set(wanted.map(routeKey));
  for (const record of present) {
    const ours = record.otherInterface === undefined;
    if (ours && !wantedKeys.has(routeKey(record))) changeRoute(socket, index, record, "delete");
  }
  let missing = wanted.filter((record) => !presentKeys.has(routeKey(record)));
  missing = missing.filter((record) => (record.expiresSeconds ?? Infinity) > elapsedSeconds);
  missing.sort((left, right) => gatewayCount(left) - gatewayCount(right));
  while (missing.length > 0) {
    const failed: RouteRecord[] = [];
    let failure: unknown;
    for (const record of missing) {
      try {
        changeRoute(socket, index, record, "add", elapsedSeconds);
      } catch (thrown) {
        failure = thrown;
        failed.push(record);
      }
    }
    if (failed.length === missing.length) throw failure;
    missing = failed;
  }
}

function changeRoute(
  socket: NetlinkSocket,
  index: number,
  record: RouteRecord,
  action: "add" | "delete",
  elapsedSeconds = 0,
): void {
  const header = new Uint8Array(HEADER_BYTES);
  header.set(record.header);
  new DataView(header.buffer).setUint32(8, record.flags, true);
  const parts = record.attributes.map(([type, hex]) => {
    const value = bytesOf(hex);
    return attribute(type, type === RTA_MULTIPATH ? withNextHopIndex(value, 0, index) : value);
  });
  const outgoing = record.direct ? index : record.otherInterface;
  if (outgoing !== undefined) parts.push(u32Attribute(RTA_OIF, outgoing));
  const payload = concat(header, ...parts);
  if (action === "delete") {
    removeRoute(socket, record, payload);
    return;
  }
  const expires = Math.ceil((record.expiresSeconds ?? 0) - elapsedSeconds);
  const dated = expires > 0 ? concat(payload, u32Attribute(RTA_EXPIRES, expires)) : payload;
  const what = `adding the route to ${routeText(record)}`;
  // A list of next hops may still be there with the dead ones among them: replace it.
  const listed = record.attributes.some(([type]) => type === RTA_MULTIPATH);
  const firstFlags = NLM_F_CREATE | (listed ? NLM_F_REPLACE : NLM_F_EXCL);
  try {
    socket.change(what, RTM_NEWROUTE, firstFlags, dated);
  } catch (thrown) {
    // Another route with the same destination and metric may stand beside this one.
    if (!isErrno(thrown, "EEXIST")) throw thrown;
    appendRoute(socket, what, dated);
  }
}

function appendRoute(socket: NetlinkSocket, what: string, payload: Uint8Array): void {
  try {
    socket.change(what, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_APPEND, payload);
  } catch (thrown) {
    if (!isErrno(thrown, "EEXIST")) throw thrown; // exactly this route is there already
  }
}

function removeRoute(socket: NetlinkSocket, record: RouteRecord, payload: Uint8Array): void {
  try {
    socket.change(`deleting the route to ${routeText(record)}`, RTM_DELROUTE, 0, payload);
  } catch (thrown) {
    if (!isErrno(thrown, "ESRCH")) throw thrown;
  }
}

/** What makes a route the same one, whatever is left of its life. */
export function routeKey(record: RouteRecord): string {
  const values = record.attributes.map(([type, hex]) => `${type}=${hex}`).join(" ");
  const { header, flags, direct, otherInterface } = record;
  return `${header.join(",")} ${flags} ${direct} ${otherInterface ?? ""} ${values}`;
}

/** Destination for messages: `default`, `10.1.0.0/16`. */
export function routeText(record: RouteRecord): string {
  const destination = record.attributes.find(([type]) => type === RTA_DST);
  const to = destination === undefined ? "default" : ipText(bytesOf(destination[1]));
  const gateway = record.attributes.find(([type]) => type === RTA_GATEWAY);
  const via = gateway === undefined ? "" : ` via ${ipText(bytesOf(gateway[1]))}`;
  return `${destination === undefined ? to : `${to}/${record.header[1] ?? 0}`}${via}`;
}

function sourcesIn(records: readonly RouteRecord[]): Set<string> {
  const sources = new Set<string>();
  for (const record of records) {
    const source = record.attributes.find(([type]) => type === RTA_PREFSRC);
    if (source !== undefined) sources.add(source[1]);
  }
  return sources;
}

function gatewayCount(record: RouteRecord): number {
  const kinds = [RTA_GATEWAY, RTA_VIA, RTA_MULTIPATH];
  return record.attributes.filter(([type]) => kinds.includes(type)).length;
}

/** Interfaces of a RTA_MULTIPATH list (struct rtnexthop, each with attributes of its own). */
function nextHopIndexes(multipath: Uint8Array): number[] {
  const view = new DataView(multipath.buffer, multipath.byteOffset, multipath.length);
  const indexes: number[] = [];
  for (let at = 0; at + 8 <= multipath.length; ) {
    indexes.push(view.getInt32(at + NEXT_HOP_INDEX_OFFSET, true));
    at += Math.max(8, (view.getUint16(at, true) + 3) & ~3);
  }
  return indexes;
}

/** A copy of the list with each next hop by interface `from` going out by interface `to`. */
function withNextHopIndex(multipath: Uint8Array, from: number, to: number): Uint8Array {
  const copy = multipath.slice();
  const view = new DataView(copy.buffer);
  for (let at = 0; at + 8 <= copy.length; ) {
    const offset = at + NEXT_HOP_INDEX_OFFSET;
    // Dead and link-down marks of the moment are not part of the route.
    view.setUint8(at + 2, view.getUint8(at + 2) & RTNH_F_ONLINK);
    if (view.getInt32(offset, true) === from) view.setInt32(offset, to, true);
    at += Math.max(8, (view.getUint16(at, true) + 3) & ~3);
  }
  return copy;
}

function bytesOf(hex: string): Uint8Array {
  const bytes = fromHex(hex);
  assert(bytes !== undefined, "an attribute in the state file is hex");
  return bytes;
}
