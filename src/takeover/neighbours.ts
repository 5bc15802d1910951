/**
 * Neighbours of an interface (ARP and ND entries) over rtnetlink (linux/neighbour.h). Permanent and
 * proxied ones are kept as they were; learnt ones go over as stale, so that a running connection
 * need not wait for an answer: the kernel asks again as it uses them.
 */
import { concat, fromHex, toHex } from "../bytes.ts";
import { assert } from "../errors.ts";
import { ipText } from "./ip-text.ts";
import { attribute, decodeAttributes, NLM_F_CREATE, NLM_F_REPLACE } from "./netlink-message.ts";
import type { NetlinkSocket } from "./netlink-socket.ts";

const RTM_NEWNEIGH = 28;
const RTM_GETNEIGH = 30;
const NDA_DST = 1;
const NDA_LLADDR = 2;
const HEADER_BYTES = 12;
const AF_INET = 2;
const AF_INET6 = 10;

const NUD_PERMANENT = 0x80;
const NUD_STALE = 0x04;
/** Reachable, stale, delay, probe: there is a link address to go on with. */
const NUD_LEARNT = 0x02 | 0x04 | 0x08 | 0x10;
const NTF_PROXY = 0x08;
const NTF_ROUTER = 0x80;

export type NeighbourRecord = {
  readonly family: number;
  readonly state: number;
  readonly flags: number;
  readonly address: string;
  /** Empty for a proxied one. */
  readonly mac: string;
};

export function readNeighbours(socket: NetlinkSocket, index: number): NeighbourRecord[] {
  const records: NeighbourRecord[] = [];
  for (const flags of [0, NTF_PROXY]) {
    const request = header(0, { family: 0, state: 0, flags });
    for (const message of socket.dump("listing the neighbours", RTM_GETNEIGH, request)) {
      if (message.type !== RTM_NEWNEIGH || message.payload.length < HEADER_BYTES) continue;
      const record = decodeNeighbour(message.payload, index);
      if (record !== undefined) records.push(record);
    }
  }
  return records;
}

function decodeNeighbour(payload: Uint8Array, index: number): NeighbourRecord | undefined {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  const family = payload[0] ?? 0;
  if (view.getInt32(4, true) !== index) return undefined;
  if (family !== AF_INET && family !== AF_INET6) return undefined;
  const state = view.getUint16(8, true);
  const flags = payload[10] ?? 0;
  const proxied = (flags & NTF_PROXY) !== 0;
  if (!proxied && (state & (NUD_PERMANENT | NUD_LEARNT)) === 0) return undefined;
  const attributes = decodeAttributes(payload, HEADER_BYTES);
  return {
    family,
    state: (state & NUD_PERMANENT) !== 0 || proxied ? NUD_PERMANENT : NUD_STALE,
    flags: flags & (NTF_PROXY | NTF_ROUTER),
    address: toHex(attributes.get(NDA_DST) ?? new Uint8Array(0)),
    mac: proxied ? "" : toHex(attributes.get(NDA_LLADDR) ?? new Uint8Array(0)),
  };
}

export function applyNeighbours(
  socket: NetlinkSocket,
  index: number,
  wanted: readonly NeighbourRecord[],
): void {
  for (const record of wanted) {
    const address = bytesOf(record.address);
    const parts = [attribute(NDA_DST, address)];
    if (record.mac !== "") parts.push(attribute(NDA_LLADDR, bytesOf(record.mac)));
    const what = `adding the neighbour ${ipText(address)}`;
    const payload = concat(header(index, record), ...parts);
    socket.change(what, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, payload);
  }
}

/** struct ndmsg. */
function header(
  index: number,
  record: { readonly family: number; readonly state: number; readonly flags: number },
): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  bytes[0] = record.family;
  view.setInt32(4, index, true);
  view.setUint16(8, record.state, true);
  bytes[10] = record.flags;
  return bytes;
}

function bytesOf(hex: string): Uint8Array {
  const bytes = fromHex(hex);
  assert(bytes !== undefined, "a neighbour in the state file is hex");
  return bytes;
}
