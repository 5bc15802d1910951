/**
 * The common header, the first 8 bytes of everything between agents. docs/wire.md "Common header".
 * Big-endian. The `HEADER_*` offsets are also those of the data plane's hot path.
 * Reading returns the header or a fault; the reader of a format checks what it allows in it.
 */

export const WIRE_VERSION = 1;
export const COMMON_HEADER_BYTES = 8;
/** IPv4 protocol and IPv6 next header of the `ip` carrier (RFC 3692 experimental), by default. */
export const ABS_IP_PROTOCOL = 253;
/** Destination port of the `udp` carrier, by default. */
export const ABS_UDP_PORT = 6253;
/** IPv6 "no next header": in a DATA packet without payload, a keep-alive or a confirmation. */
export const NO_NEXT_HEADER = 59;

export const HEADER_VERSION_FLAG = 0;
export const HEADER_NEXT = 1;
export const HEADER_FRAGMENT = 2;
export const HEADER_RECEIVER_INDEX = 4;

/** The paper's five flags (§3.6) and REJECT. */
export const FLAG = {
  enrolment: 1,
  discovery: 2,
  update: 3,
  handshake: 4,
  data: 5,
  reject: 6,
} as const;

/** The next header of a HANDSHAKE names its message; 4 and 5 as 1 and 2, for `rsa256`. */
export const HANDSHAKE = {
  initiation: 1,
  response: 2,
  cookieReply: 3,
  rsaInitiation: 4,
  rsaResponse: 5,
} as const;

/** Why bytes are not a message of the format asked for. */
export const WIRE_FAULTS = [
  "length",
  "version",
  "flag",
  "next-header",
  "fragment",
  "receiver-index",
  "sender-index",
  "lane",
  "marks",
  "reason",
  "ip-version",
] as const;
export type WireFault = (typeof WIRE_FAULTS)[number];

/** One row of a format's table in docs/wire.md; a test compares the two. */
export type Field = { readonly name: string; readonly offset: number; readonly sizeBytes: number };

export const COMMON_HEADER_LAYOUT: readonly Field[] = [
  { name: "version 4 bits, flag 4 bits", offset: HEADER_VERSION_FLAG, sizeBytes: 1 },
  { name: "next header", offset: HEADER_NEXT, sizeBytes: 1 },
  { name: "fragment", offset: HEADER_FRAGMENT, sizeBytes: 2 },
  { name: "receiver index", offset: HEADER_RECEIVER_INDEX, sizeBytes: 4 },
];

export type CommonHeader = {
  readonly flag: number;
  readonly nextHeader: number;
  readonly fragment: number;
  readonly receiverIndex: number;
};

/** A view of exactly these bytes, wherever they lie in their buffer. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Writes the common header at the start of `view`. */
export function writeCommonHeader(view: DataView, header: CommonHeader): void {
  view.setUint8(HEADER_VERSION_FLAG, (WIRE_VERSION << 4) | header.flag);
  view.setUint8(HEADER_NEXT, header.nextHeader);
  view.setUint16(HEADER_FRAGMENT, header.fragment, false);
  view.setUint32(HEADER_RECEIVER_INDEX, header.receiverIndex, false);
}

/** The common header of `bytes`, whatever follows it. */
export function readCommonHeader(bytes: Uint8Array): CommonHeader | WireFault {
  if (bytes.length < COMMON_HEADER_BYTES) return "length";
  const view = viewOf(bytes);
  const versionAndFlag = view.getUint8(HEADER_VERSION_FLAG);
  if (versionAndFlag >>> 4 !== WIRE_VERSION) return "version";
  const flag = versionAndFlag & 0x0f;
  if (flag < FLAG.enrolment || flag > FLAG.reject) return "flag";
  return {
    flag,
    nextHeader: view.getUint8(HEADER_NEXT),
    fragment: view.getUint16(HEADER_FRAGMENT, false),
    receiverIndex: view.getUint32(HEADER_RECEIVER_INDEX, false),
  };
}

/**
 * Checks size and header of a message that has one fixed form.
 * Returns the fault, or undefined when the header is as asked for.
 */
export function faultOfHeader(
  bytes: Uint8Array,
  want: { readonly sizeBytes: number; readonly flag: number; readonly nextHeader: number },
): WireFault | undefined {
  const header = readCommonHeader(bytes);
  if (typeof header === "string") return header;
  if (header.flag !== want.flag) return "flag";
  if (header.nextHeader !== want.nextHeader) return "next-header";
  if (bytes.length !== want.sizeBytes) return "length";
  if (header.fragment !== 0) return "fragment";
  return undefined;
}
