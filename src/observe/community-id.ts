/**
 * Community ID version 1 (corelight/community-id-spec), seed 0: one name of a flow in every tool
 * that sees it, the same for both directions. Ports are hashed for TCP, UDP and SCTP. ICMP has
 * none: its ID needs type and code, which events do not carry. Control plane: allocates.
 */
import { createHash } from "node:crypto";
import { protocolNumber } from "../store/network-values.ts";
import { type AddressWords, compareWords, type IpAddress, parseAddress } from "../wire/ip-text.ts";

/** TCP, UDP and SCTP, by IANA's numbers. */
const WITH_PORTS = [6, 17, 132];
/** ICMP for IPv4 and IPv6. */
const WITHOUT_ID = [1, 58];

/** A 5-tuple as events have it: `protocol` is a name, or a number. */
export interface FlowEnds {
  readonly source: string;
  readonly sourcePort: number;
  readonly destination: string;
  readonly destinationPort: number;
  readonly protocol: string;
}

/** Undefined for ICMP, and for what is no 5-tuple. */
export function communityId(ends: FlowEnds): string | undefined {
  const number = protocolNumber(ends.protocol);
  const source = parseAddress(ends.source);
  const destination = parseAddress(ends.destination);
  if (source === undefined || destination === undefined) return undefined;
  if (number === undefined || WITHOUT_ID.includes(number)) return undefined;
  if (source.version !== destination.version) return undefined;
  const order = compareWords(source.words, destination.words);
  const isForward = order < 0 || (order === 0 && ends.sourcePort <= ends.destinationPort);
  const [low, high] = isForward ? [source, destination] : [destination, source];
  const ports = [ends.sourcePort, ends.destinationPort];
  const hash = createHash("sha1").update(new Uint8Array(2));
  hash
    .update(bytesOf(low))
    .update(bytesOf(high))
    .update(new Uint8Array([number, 0]));
  if (WITH_PORTS.includes(number)) {
    for (const port of isForward ? ports : ports.reverse()) {
      hash.update(new Uint8Array([port >>> 8, port]));
    }
  }
  return `1:${hash.digest("base64")}`;
}

function bytesOf({ version, words }: IpAddress): Uint8Array {
  const used: readonly number[] = version === 4 ? words.slice(3) : (words satisfies AddressWords);
  const bytes = new Uint8Array(4 * used.length);
  const view = new DataView(bytes.buffer);
  for (const [i, word] of used.entries()) view.setUint32(4 * i, word, false);
  return bytes;
}
