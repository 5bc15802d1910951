/**
 * Messages of OpenFlow 1.3 (wire version 4), those that quarantine needs: OpenFlow Switch
 * Specification 1.3.5, §7.1 (header), §7.3 (from the controller), §7.4 (from the switch), §7.5
 * (both ways). Decoders take any bytes and answer a message or a fault; they keep nothing.
 * Cookies and datapath ids are 64 bits: bigint. Nothing here is on the data path.
 */
import { decodeMatch, encodeMatch, type FlowMatch, type ReadMatch } from "./flow-match.ts";

export const OPENFLOW_1_3 = 4;
export const HEADER_BYTES = 8;

/** Message types, §7.1 ofp_type. */
export const TYPE = {
  hello: 0,
  error: 1,
  echoRequest: 2,
  echoReply: 3,
  featuresRequest: 5,
  featuresReply: 6,
  flowRemoved: 11,
  flowMod: 14,
  multipartRequest: 18,
  multipartReply: 19,
  barrierRequest: 20,
  barrierReply: 21,
  setAsync: 28,
} as const;

const HELLO_VERSION_BITMAP = 1;
const MULTIPART_FLOW = 1;
const MULTIPART_MORE = 1;
const TABLE_ALL = 0xff;
const PORT_ANY = 0xffffffff;
const NO_BUFFER = 0xffffffff;
const COMMAND = { add: 0, deleteStrict: 4 } as const;
const SEND_FLOW_REMOVED = 1;
const ALL_BITS = (1n << 64n) - 1n;

/** What a switch says of one rule; seconds of its age, and of its hard time-out (0: none). */
export type FlowStats = Omit<ReadMatch, "end"> & {
  readonly table: number;
  readonly priority: number;
  readonly cookie: bigint;
  readonly ageSeconds: number;
  readonly hardSeconds: number;
  readonly packets: bigint;
  /** It forwards or changes packets: a rule that drops has no instructions. */
  readonly hasInstructions: boolean;
};

export type OpenFlowMessage =
  | { readonly kind: "hello"; readonly xid: number; readonly speaks13: boolean }
  | {
      readonly kind: "error";
      readonly xid: number;
      readonly type: number;
      readonly code: number;
      /** What the specification lets the switch explain in words, where it did. */
      readonly data: Uint8Array;
    }
  | { readonly kind: "echo-request"; readonly xid: number; readonly data: Uint8Array }
  | { readonly kind: "echo-reply" | "barrier"; readonly xid: number }
  | { readonly kind: "features"; readonly xid: number; readonly datapathId: bigint }
  | { readonly kind: "flow-removed"; readonly xid: number; readonly cookie: bigint }
  | {
      readonly kind: "flows";
      readonly xid: number;
      readonly hasMore: boolean;
      readonly flows: readonly FlowStats[];
    }
  | { readonly kind: "other"; readonly xid: number; readonly type: number };

export const OPENFLOW_FAULTS = ["short", "length", "version", "hello", "match", "stats"] as const;
export type OpenFlowFault = (typeof OPENFLOW_FAULTS)[number];

/** @param bytes one whole message: the length of its header is theirs */
export function decodeMessage(bytes: Uint8Array): OpenFlowMessage | OpenFlowFault {
  if (bytes.length < HEADER_BYTES) return "short";
  const memory = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (memory.getUint16(2, false) !== bytes.length) return "length";
  const version = memory.getUint8(0);
  const type = memory.getUint8(1);
  const xid = memory.getUint32(4, false);
  // A hello comes before a version is agreed on (§6.3.1), as may the error that refuses it.
  if (type === TYPE.hello) return decodeHello(memory, version, xid);
  if (version !== OPENFLOW_1_3 && type !== TYPE.error) return "version";
  if (type === TYPE.echoRequest) {
    return { kind: "echo-request", xid, data: bytes.slice(HEADER_BYTES) };
  }
  if (type === TYPE.echoReply) return { kind: "echo-reply", xid };
  if (type === TYPE.barrierReply) return { kind: "barrier", xid };
  if (type === TYPE.error) return decodeError(memory, bytes, xid);
  if (type === TYPE.featuresReply) {
    if (bytes.length < 32) return "short";
    return { kind: "features", xid, datapathId: memory.getBigUint64(8, false) };
  }
  if (type === TYPE.flowRemoved) return decodeFlowRemoved(memory, xid);
  if (type === TYPE.multipartReply) return decodeMultipart(memory, xid);
  return { kind: "other", xid, type };
}

function decodeHello(memory: DataView, version: number, xid: number) {
  let speaks13 = version >= OPENFLOW_1_3;
  let offset = HEADER_BYTES;
  while (offset < memory.byteLength) {
    if (memory.byteLength - offset < 4) return "hello" as const;
    const length = memory.getUint16(offset + 2, false);
    const isCut = length < 4 || memory.byteLength - offset < length;
    if (isCut) return "hello" as const;
    const isBitmap = memory.getUint16(offset, false) === HELLO_VERSION_BITMAP && length >= 8;
    // The bitmap counts, not the version of the header.
    if (isBitmap) speaks13 = ((memory.getUint32(offset + 4, false) >>> OPENFLOW_1_3) & 1) === 1;
    offset += (length + 7) & ~7;
  }
  return { kind: "hello" as const, xid, speaks13 };
}

function decodeError(memory: DataView, bytes: Uint8Array, xid: number) {
  if (bytes.length < 12) return "short" as const;
  return {
    ...{ kind: "error" as const, xid },
    ...{ type: memory.getUint16(8, false), code: memory.getUint16(10, false) },
    data: bytes.slice(12),
  };
}

function decodeFlowRemoved(memory: DataView, xid: number) {
  const fixedBytes = 48;
  if (memory.byteLength < fixedBytes) return "short" as const;
  const match = decodeMatch(memory, fixedBytes, memory.byteLength);
  if (match === undefined) return "match" as const;
  return { kind: "flow-removed" as const, xid, cookie: memory.getBigUint64(8, false) };
}

function decodeMultipart(memory: DataView, xid: number): OpenFlowMessage | OpenFlowFault {
  if (memory.byteLength < 16) return "short";
  if (memory.getUint16(8, false) !== MULTIPART_FLOW) {
    return { kind: "other", xid, type: TYPE.multipartReply };
  }
  const hasMore = (memory.getUint16(10, false) & MULTIPART_MORE) !== 0;
  const flows: FlowStats[] = [];
  let offset = 16;
  while (offset < memory.byteLength) {
    const read = decodeFlowStats(memory, offset);
    if (typeof read === "string") return read;
    flows.push(read.flow);
    offset = read.end;
  }
  return { kind: "flows", xid, hasMore, flows };
}

/** One ofp_flow_stats, §7.3.5.2. */
function decodeFlowStats(memory: DataView, start: number) {
  const fixedBytes = 48;
  if (memory.byteLength - start < fixedBytes) return "stats" as const;
  const length = memory.getUint16(start, false);
  const end = start + length;
  if (length < fixedBytes || end > memory.byteLength) return "stats" as const;
  const read = decodeMatch(memory, start + fixedBytes, end);
  if (read === undefined) return "match" as const;
  const flow: FlowStats = {
    ...{ match: read.match, hasOthers: read.hasOthers },
    table: memory.getUint8(start + 2),
    ageSeconds: memory.getUint32(start + 4, false),
    priority: memory.getUint16(start + 12, false),
    hardSeconds: memory.getUint16(start + 16, false),
    cookie: memory.getBigUint64(start + 24, false),
    packets: memory.getBigUint64(start + 32, false),
    hasInstructions: read.end < end,
  };
  return { flow, end };
}

function message(type: number, xid: number, body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES + body.length);
  const memory = new DataView(bytes.buffer);
  memory.setUint8(0, OPENFLOW_1_3);
  memory.setUint8(1, type);
  memory.setUint16(2, bytes.length, false);
  memory.setUint32(4, xid, false);
  bytes.set(body, HEADER_BYTES);
  return bytes;
}

const NO_BODY = new Uint8Array(0);

export function encodeHello(xid: number): Uint8Array {
  const body = new Uint8Array(8);
  const memory = new DataView(body.buffer);
  memory.setUint16(0, HELLO_VERSION_BITMAP, false);
  memory.setUint16(2, 8, false);
  memory.setUint32(4, 1 << OPENFLOW_1_3, false);
  return message(TYPE.hello, xid, body);
}

export function encodeEchoRequest(xid: number): Uint8Array {
  return message(TYPE.echoRequest, xid, NO_BODY);
}

export function encodeEchoReply(xid: number, data: Uint8Array): Uint8Array {
  return message(TYPE.echoReply, xid, data);
}

export function encodeFeaturesRequest(xid: number): Uint8Array {
  return message(TYPE.featuresRequest, xid, NO_BODY);
}

export function encodeBarrier(xid: number): Uint8Array {
  return message(TYPE.barrierRequest, xid, NO_BODY);
}

/** Of what a switch says by itself we want removed rules, and no packets (§7.3.10). */
export function encodeSetAsync(xid: number): Uint8Array {
  const body = new Uint8Array(24);
  new DataView(body.buffer).setUint32(16, 0x0f, false);
  return message(TYPE.setAsync, xid, body);
}

/** All rules of all tables whose cookie, under `mask`, is `cookie`. */
export function encodeFlowsRequest(xid: number, cookie: bigint, mask: bigint): Uint8Array {
  const match = encodeMatch({});
  const body = new Uint8Array(40 + match.length);
  const memory = new DataView(body.buffer);
  memory.setUint16(0, MULTIPART_FLOW, false);
  memory.setUint8(8, TABLE_ALL);
  memory.setUint32(12, PORT_ANY, false);
  memory.setUint32(16, PORT_ANY, false);
  memory.setBigUint64(24, cookie, false);
  memory.setBigUint64(32, mask, false);
  body.set(match, 40);
  return message(TYPE.multipartRequest, xid, body);
}

/** A rule without instructions: what matches is dropped. */
export type DropFlow = {
  readonly cookie: bigint;
  readonly priority: number;
  readonly match: FlowMatch;
  /** 0: none. At most 65,535. */
  readonly hardSeconds: number;
};

/** The same match and priority again replaces the rule, and its time begins anew (§6.4). */
export function encodeAddFlow(xid: number, flow: DropFlow): Uint8Array {
  return flowMod(xid, flow, { command: COMMAND.add, table: 0, mask: 0n });
}

/** Only if the cookie is this one: a rule of somebody else with this match stays. */
export function encodeDeleteFlow(xid: number, flow: DropFlow, table: number): Uint8Array {
  return flowMod(xid, flow, { command: COMMAND.deleteStrict, table, mask: ALL_BITS });
}

type FlowModWords = { readonly command: number; readonly table: number; readonly mask: bigint };

function flowMod(xid: number, flow: DropFlow, { command, table, mask }: FlowModWords): Uint8Array {
  const match = encodeMatch(flow.match);
  const body = new Uint8Array(40 + match.length);
  const memory = new DataView(body.buffer);
  memory.setBigUint64(0, flow.cookie, false);
  memory.setBigUint64(8, mask, false);
  memory.setUint8(16, table);
  memory.setUint8(17, command);
  memory.setUint16(20, flow.hardSeconds, false);
  memory.setUint16(22, flow.priority, false);
  memory.setUint32(24, NO_BUFFER, false);
  memory.setUint32(28, PORT_ANY, false);
  memory.setUint32(32, PORT_ANY, false);
  memory.setUint16(36, SEND_FLOW_REMOVED, false);
  body.set(match, 40);
  return message(TYPE.flowMod, xid, body);
}
