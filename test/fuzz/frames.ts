/**
 * Builds frames for tests, header by header, from plain objects: slow and obvious. Lengths and
 * checksums are right unless a field is given. Addresses are byte arrays; sizes are in bytes.
 */

export type Bytes = readonly number[];

export const OWN_MAC: Bytes = [0x02, 0, 0, 0, 0, 0x01];
export const PEER_MAC: Bytes = [0x02, 0, 0, 0, 0, 0x02];
export const OWN_IP: Bytes = [10, 0, 0, 1];
export const PEER_IP: Bytes = [10, 0, 0, 2];
export const OWN_IP6: Bytes = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
export const PEER_IP6: Bytes = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

export function u16(value: number): number[] {
  return [(value >>> 8) & 0xff, value & 0xff];
}

export function u32(value: number): number[] {
  return [...u16(value >>> 16), ...u16(value & 0xffff)];
}

/** `count` bytes counting up from 0. */
export function filler(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i & 0xff);
}

/** RFC 1071 word by word, with end-around carry after each. */
export function slowChecksum(bytes: Bytes): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) {
    sum += (bytes[i] << 8) | (bytes[i + 1] ?? 0);
    if (sum > 0xffff) sum -= 0xffff;
  }
  return 0xffff - sum;
}

export interface LinkFields {
  to?: Bytes;
  from?: Bytes;
  /** Tags as [type, id] from the outside in. */
  tags?: readonly (readonly [number, number])[];
  type?: number;
}

export function ethernet(payload: Bytes, link: LinkFields = {}): number[] {
  const first = payload[0] >>> 4 === 6 ? 0x86dd : 0x0800;
  const tags = (link.tags ?? []).flatMap(([type, id]) => [...u16(type), ...u16(id)]);
  return [
    ...(link.to ?? PEER_MAC),
    ...(link.from ?? OWN_MAC),
    ...tags,
    ...u16(link.type ?? first),
    ...payload,
  ];
}

export interface Ipv4Fields {
  source?: Bytes;
  destination?: Bytes;
  protocol?: number;
  identification?: number;
  /** Flags and offset, 16 bits. */
  fragment?: number;
  options?: Bytes;
  totalBytes?: number;
  life?: number;
}

export function ipv4(payload: Bytes, ip: Ipv4Fields = {}): number[] {
  const options = ip.options ?? [];
  const headerBytes = 20 + options.length;
  const header = [
    0x40 | (headerBytes / 4),
    0,
    ...u16(ip.totalBytes ?? headerBytes + payload.length),
    ...u16(ip.identification ?? 0x1234),
    ...u16(ip.fragment ?? 0x4000),
    ip.life ?? 64,
    ip.protocol ?? 6,
    0,
    0,
    ...(ip.source ?? OWN_IP),
    ...(ip.destination ?? PEER_IP),
    ...options,
  ];
  const checksum = slowChecksum(header);
  header[10] = checksum >>> 8;
  header[11] = checksum & 0xff;
  return [...header, ...payload];
}

export interface Ipv6Fields {
  source?: Bytes;
  destination?: Bytes;
  next?: number;
  payloadBytes?: number;
  life?: number;
}

export function ipv6(payload: Bytes, ip: Ipv6Fields = {}): number[] {
  return [
    ...u32(0x60000000),
    ...u16(ip.payloadBytes ?? payload.length),
    ip.next ?? 6,
    ip.life ?? 64,
    ...(ip.source ?? OWN_IP6),
    ...(ip.destination ?? PEER_IP6),
    ...payload,
  ];
}

/** Hop-by-hop, routing or destination options header of `bytes` (a multiple of 8). */
export function extension(next: number, bytes: number, payload: Bytes): number[] {
  return [next, bytes / 8 - 1, ...new Array<number>(bytes - 2).fill(0), ...payload];
}

export function fragmentHeader(
  next: number,
  offset: number,
  more: number,
  identification: number,
  payload: Bytes,
): number[] {
  return [next, 0, ...u16(offset | more), ...u32(identification), ...payload];
}

/** Authentication header with a check value of `icvBytes`. */
export function authentication(next: number, icvBytes: number, payload: Bytes): number[] {
  const bytes = 12 + icvBytes;
  return [next, bytes / 4 - 2, ...new Array<number>(bytes - 2).fill(7), ...payload];
}

export interface TcpFields {
  sourcePort?: number;
  destinationPort?: number;
  sequence?: number;
  acknowledgement?: number;
  flags?: number;
  options?: Bytes;
}

export function tcp(payload: Bytes = [], fields: TcpFields = {}): number[] {
  const options = fields.options ?? [];
  return [
    ...u16(fields.sourcePort ?? 40_000),
    ...u16(fields.destinationPort ?? 6_379),
    ...u32(fields.sequence ?? 0x8000_0001),
    ...u32(fields.acknowledgement ?? 0x9000_0001),
    (5 + options.length / 4) << 4,
    fields.flags ?? 0x10,
    ...u16(0xffff),
    0,
    0,
    0,
    0,
    ...options,
    ...payload,
  ];
}

export function udp(payload: Bytes = [], ports: Bytes = [5_353, 53]): number[] {
  return [...u16(ports[0]), ...u16(ports[1]), ...u16(8 + payload.length), 0, 0, ...payload];
}

export function icmp(type: number, code: number, rest: number, payload: Bytes = []): number[] {
  return [type, code, 0, 0, ...u32(rest), ...payload];
}

export function arp(operation: number, senderMac: Bytes, sender: Bytes, target: Bytes): number[] {
  return [
    ...[0, 1, 8, 0, 6, 4],
    ...u16(operation),
    ...senderMac,
    ...sender,
    ...[0, 0, 0, 0, 0, 0],
    ...target,
  ];
}

/** Neighbour solicitation or advertisement with a MAC option of kind `option`. */
export function discovery(type: number, target: Bytes, option: number, mac: Bytes): number[] {
  return icmp(type, 0, 0, [...target, option, 1, ...mac]);
}

/** An IP packet with the checksum of its transport header at `offset` of the payload written. */
export function withChecksum(packet: Bytes, headerBytes: number, offset: number): number[] {
  const bytes = [...packet];
  const v4 = bytes[0] >>> 4 === 4;
  const protocol = v4 ? bytes[9] : bytes[6];
  const transport = bytes.slice(headerBytes);
  const addresses = v4 ? bytes.slice(12, 20) : bytes.slice(8, 40);
  const pseudo = protocol === 1 ? [] : [...addresses, 0, protocol, ...u16(transport.length)];
  transport[offset] = 0;
  transport[offset + 1] = 0;
  const checksum = slowChecksum([...pseudo, ...transport]);
  bytes[headerBytes + offset] = checksum >>> 8;
  bytes[headerBytes + offset + 1] = checksum & 0xff;
  return bytes;
}
