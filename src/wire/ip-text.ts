/**
 * IP addresses and CIDRs as text, for configuration, events and the command line.
 * IPv4 dotted decimal, IPv6 as in RFC 4291 §2.2 (read) and RFC 5952 (written).
 * An address is four unsigned 32-bit words; IPv4 sits in the last one, as in the packet parser.
 * Control plane only: these functions allocate.
 */

export type IpVersion = 4 | 6;
export type AddressWords = readonly [number, number, number, number];

export interface IpAddress {
  readonly version: IpVersion;
  readonly words: AddressWords;
}

/** `prefixBits` counts from the address's own first bit: 0..32 or 0..128. */
export interface IpCidr extends IpAddress {
  readonly prefixBits: number;
}

/** Both ends belong to the range. */
export interface IpRange {
  readonly version: IpVersion;
  readonly low: AddressWords;
  readonly high: AddressWords;
}

/** The address, or undefined when `text` is not one. Leading zeros in IPv4 parts are refused. */
export function parseAddress(text: string): IpAddress | undefined {
  if (!text.includes(":")) {
    const word = parseIpv4Word(text);
    return word === undefined ? undefined : { version: 4, words: [0, 0, 0, word] };
  }
  const words = parseIpv6Words(text);
  return words === undefined ? undefined : { version: 6, words };
}

/**
 * `address/bits`; bits beyond the prefix may be set (see `cidrRange`). A bare address is a host.
 */
export function parseCidr(text: string): IpCidr | undefined {
  const slash = text.indexOf("/");
  const address = parseAddress(slash < 0 ? text : text.slice(0, slash));
  if (address === undefined) return undefined;
  const bitsMax = address.version === 4 ? 32 : 128;
  if (slash < 0) return { ...address, prefixBits: bitsMax };
  const bitsText = text.slice(slash + 1);
  if (!/^(0|[1-9][0-9]{0,2})$/.test(bitsText)) return undefined;
  const prefixBits = Number(bitsText);
  return prefixBits > bitsMax ? undefined : { ...address, prefixBits };
}

/** First and last address of a CIDR. */
export function cidrRange(cidr: IpCidr): IpRange {
  const first = cidr.version === 4 ? 96 : 0;
  const low: [number, number, number, number] = [0, 0, 0, 0];
  const high: [number, number, number, number] = [0, 0, 0, 0];
  for (const i of [0, 1, 2, 3] as const) {
    const bits = Math.min(32, Math.max(0, first + cidr.prefixBits - 32 * i));
    const mask = bits === 0 ? 0 : (0xffff_ffff << (32 - bits)) >>> 0;
    low[i] = (cidr.words[i] & mask) >>> 0;
    high[i] = (cidr.words[i] | ~mask) >>> 0;
  }
  if (cidr.version === 4) {
    for (const i of [0, 1, 2] as const) high[i] = 0;
  }
  return { version: cidr.version, low, high };
}

/** Negative, zero or positive as `left` is below, equal to or above `right`. */
export function compareWords(left: AddressWords, right: AddressWords): number {
  for (const i of [0, 1, 2, 3] as const) {
    if (left[i] !== right[i]) return left[i] < right[i] ? -1 : 1;
  }
  return 0;
}

export function rangeContains(range: IpRange, address: IpAddress): boolean {
  return (
    range.version === address.version &&
    compareWords(range.low, address.words) <= 0 &&
    compareWords(address.words, range.high) <= 0
  );
}

/** An address in text and a port, as URLs write them. */
export function formatEnd(address: string, port: number): string {
  return `${address.includes(":") ? `[${address}]` : address}:${port}`;
}

export function formatAddress(address: IpAddress): string {
  const [word0, word1, word2, word3] = address.words;
  if (address.version === 4) {
    return `${word3 >>> 24}.${(word3 >>> 16) & 255}.${(word3 >>> 8) & 255}.${word3 & 255}`;
  }
  const groups: number[] = [];
  for (const word of [word0, word1, word2, word3]) groups.push(word >>> 16, word & 0xffff);
  const gap = longestZeroRun(groups);
  if (gap.length < 2) return groups.map(hexGroup).join(":");
  const before = groups.slice(0, gap.start).map(hexGroup).join(":");
  const after = groups
    .slice(gap.start + gap.length)
    .map(hexGroup)
    .join(":");
  return `${before}::${after}`;
}

export function formatCidr(cidr: IpCidr): string {
  return `${formatAddress(cidr)}/${cidr.prefixBits}`;
}

/** The address as it stands in a packet: 4 or 16 bytes. */
export function addressBytes(address: IpAddress): Uint8Array {
  const bytes = new Uint8Array(16);
  const memory = new DataView(bytes.buffer);
  for (const i of [0, 1, 2, 3] as const) memory.setUint32(4 * i, address.words[i], false);
  return address.version === 4 ? bytes.slice(12) : bytes;
}

function hexGroup(group: number): string {
  return group.toString(16);
}

/** RFC 5952 §4.2.3: the first of the longest runs of zero groups. */
function longestZeroRun(groups: readonly number[]): { start: number; length: number } {
  const longest = { start: 0, length: 0 };
  let length = 0;
  for (let i = 0; i < groups.length; i++) {
    length = groups[i] === 0 ? length + 1 : 0;
    if (length > longest.length) {
      longest.start = i - length + 1;
      longest.length = length;
    }
  }
  return longest;
}

function parseIpv4Word(text: string): number | undefined {
  const parts = text.split(".");
  if (parts.length !== 4) return undefined;
  let word = 0;
  for (const part of parts) {
    if (!/^(0|[1-9][0-9]{0,2})$/.test(part) || Number(part) > 255) return undefined;
    word = word * 256 + Number(part);
  }
  return word;
}

function parseIpv6Words(text: string): AddressWords | undefined {
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const before = parseGroups(halves[0] ?? "", halves.length === 1);
  const after = parseGroups(halves[1] ?? "", true);
  if (before === undefined || after === undefined) return undefined;
  const missing = 8 - before.length - after.length;
  if (halves.length === 1 ? missing !== 0 : missing < 1) return undefined;
  const groups = [...before, ...new Array<number>(missing).fill(0), ...after];
  const word = (i: number) => ((groups[2 * i] ?? 0) * 0x1_0000 + (groups[2 * i + 1] ?? 0)) >>> 0;
  return [word(0), word(1), word(2), word(3)];
}

/** Groups of one side of "::"; only the text's last group may be a dotted IPv4 address. */
function parseGroups(text: string, endsAddress: boolean): number[] | undefined {
  if (text === "") return [];
  const groups: number[] = [];
  const parts = text.split(":");
  for (const [i, part] of parts.entries()) {
    if (part.includes(".")) {
      const word = parseIpv4Word(part);
      if (word === undefined || !endsAddress || i !== parts.length - 1) return undefined;
      groups.push(word >>> 16, word & 0xffff);
    } else {
      if (!/^[0-9a-fA-F]{1,4}$/.test(part)) return undefined;
      groups.push(Number.parseInt(part, 16));
    }
  }
  return groups;
}

/** Not unspecified, loopback, multicast or broadcast. */
export function isUnicast({ version, words }: IpAddress): boolean {
  const [word0, word1, word2, word3] = words;
  if (version === 4) {
    const first = word3 >>> 24;
    return first !== 0 && first !== 127 && first < 224;
  }
  if (word0 >>> 24 === 0xff) return false;
  return word0 !== 0 || word1 !== 0 || word2 !== 0 || word3 > 1;
}
