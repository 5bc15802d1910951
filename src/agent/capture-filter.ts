/**
 * Which frames of the outside port a capture wants: an address, a direction, a kind of message.
 * docs/wireshark.md "Capturing". Control plane: the data plane copies every frame.
 */
import { parsePacket } from "../dataplane/parse-packet.ts";
import { ParsedPacket, PROTOCOL_UDP } from "../dataplane/parsed-packet.ts";
import { AbsError } from "../errors.ts";
import { FLAG } from "../wire/header.ts";
import { type IpAddress, parseAddress } from "../wire/ip-text.ts";

export const CAPTURE_KINDS = ["data", "handshake", "reject", "other"] as const;
export type CaptureKind = (typeof CAPTURE_KINDS)[number];
const DIRECTIONS = ["in", "out"];

/** As the command line has them. */
export type CaptureWords = {
  readonly host?: string | undefined;
  readonly direction?: string | undefined;
  readonly kind?: string | undefined;
};

export type Carriers = { readonly ipProtocol: number; readonly udpPort: number };

export class CaptureFilter {
  readonly #host: IpAddress | undefined;
  readonly #direction: string | undefined;
  readonly #kinds: readonly string[];
  readonly #packet = new ParsedPacket();

  /** @throws AbsError OPTION_INVALID */
  constructor(
    words: CaptureWords,
    readonly carriers: () => Carriers,
  ) {
    const { host, direction, kind } = words;
    this.#host = host === undefined ? undefined : addressOf(host);
    if (direction !== undefined && !DIRECTIONS.includes(direction)) {
      throw invalid(`--direction ${direction} is not known.`, `Use ${DIRECTIONS.join(" or ")}.`);
    }
    this.#direction = direction;
    this.#kinds = kind === undefined ? [] : kind.split(",");
    for (const word of this.#kinds) {
      if (CAPTURE_KINDS.some((known) => known === word)) continue;
      throw invalid(`--kind ${word} is not known.`, `Use ${CAPTURE_KINDS.join(", ")}.`);
    }
  }

  /** Whether the frame in [start, end) of `memory` is wanted. */
  takes(memory: DataView, start: number, end: number, direction: "in" | "out"): boolean {
    if (this.#direction !== undefined && this.#direction !== direction) return false;
    if (this.#host === undefined && this.#kinds.length === 0) return true;
    const packet = this.#packet;
    // A frame at fault has what was read of it before the fault.
    parsePacket(memory, start, end, packet);
    if (this.#host !== undefined && !hasEnd(packet, this.#host)) return false;
    return this.#kinds.length === 0 || this.#kinds.includes(this.#kindOf(memory, end));
  }

  #kindOf(memory: DataView, end: number): CaptureKind {
    const header = this.#absHeader();
    if (header === 0 || header >= end) return "other";
    const flag = memory.getUint8(header) & 0x0f;
    if (flag === FLAG.data) return "data";
    if (flag === FLAG.handshake) return "handshake";
    return flag === FLAG.reject ? "reject" : "other";
  }

  #absHeader(): number {
    const packet = this.#packet;
    const { ipProtocol, udpPort } = this.carriers();
    if (packet.ipProtocol === ipProtocol) return packet.ipPayloadStart;
    const isCarrier = packet.ipProtocol === PROTOCOL_UDP && packet.destinationPort === udpPort;
    return isCarrier && packet.transportStart !== 0 ? packet.payloadStart : 0;
  }
}

function addressOf(text: string): IpAddress {
  const address = parseAddress(text);
  if (address !== undefined) return address;
  throw invalid(`--host ${text} is not an IP address.`, "Write 10.0.0.1 or fd00::1.");
}

function invalid(what: string, remedy: string): AbsError {
  return new AbsError("OPTION_INVALID", what, remedy);
}

function hasEnd(packet: ParsedPacket, address: IpAddress): boolean {
  if (packet.ipVersion !== address.version) return false;
  const { words } = address;
  const isSource =
    packet.source0 === words[0] &&
    packet.source1 === words[1] &&
    packet.source2 === words[2] &&
    packet.source3 === words[3];
  const isDestination =
    packet.destination0 === words[0] &&
    packet.destination1 === words[1] &&
    packet.destination2 === words[2] &&
    packet.destination3 === words[3];
  return isSource || isDestination;
}
