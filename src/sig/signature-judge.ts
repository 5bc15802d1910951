/**
 * Judges the first payloads of a capture's flows with the matcher that the agent uses, and makes a
 * record of each flow that ends. What is kept of a payload is the list of signatures it matched and
 * its first bytes: memory is bounded by the flow table.
 */

import type { CaptureWindow } from "../capture/capture-window.ts";
import { type FlowJudge, JUDGED, MORE } from "../capture/flow-tracker.ts";
import {
  F_ADDRESS,
  F_FLAGS,
  F_KIND,
  F_ORDER,
  F_PACKETS,
  F_PORTS,
  FLOW_WORDS,
  FLOWS_MAX,
  FRAGMENTED,
  INITIATOR_IS_1,
  MID_STREAM,
  type TrackedFlows,
} from "../capture/tracked-flows.ts";
import { addressOf, fixedU32 } from "../dataplane/shim.ts";
import { FlowIdentification, type FlowIdentity } from "../dpi/flow-identification.ts";
import { type FlowNumbers, Matcher, NEED_MORE, NO_MATCH } from "../dpi/matcher.ts";
import { nearestMiss } from "../dpi/nearest-miss.ts";
import { SignatureMatches } from "../dpi/signature-matches.ts";
import { REQUEST, RESPONSE, SETTING_EXPRESSIONS, SETTING_SCAN_BYTES } from "../dpi/snapshot.ts";
import type { AddressWords, IpAddress } from "../wire/ip-text.ts";
import type { FirstPayload, FlowRecord, UnknownReason } from "./flow-record.ts";
import type { SignatureSet } from "./signature-set.ts";

/** Matches of one payload that are kept. */
const MATCHES_MAX = 8;
const HEAD_BYTES = 32;
const REPORTS_MAX = 8192;
/** A payload shorter than this says too little for most signatures. */
const SHORT_BYTES = 4;

/** Flow numbers as the initiator sends, written anew for each payload. */
class InitiatorNumbers implements FlowNumbers {
  ipVersion = 0;
  transportProtocol = 0;
  source0 = 0;
  source1 = 0;
  source2 = 0;
  source3 = 0;
  sourcePort = 0;
  destination0 = 0;
  destination1 = 0;
  destination2 = 0;
  destination3 = 0;
  destinationPort = 0;

  read(flows: TrackedFlows, flow: number): void {
    const words = flows.words;
    const at = flow * FLOW_WORDS;
    const initiator = words[at + F_FLAGS] & INITIATOR_IS_1;
    const ports = words[at + F_PORTS];
    this.ipVersion = words[at + F_KIND] >>> 8;
    this.transportProtocol = words[at + F_KIND] & 0xff;
    this.source3 = words[at + F_ADDRESS + initiator] >>> 0;
    this.destination3 = words[at + F_ADDRESS + 1 - initiator] >>> 0;
    this.sourcePort = initiator === 0 ? ports >>> 16 : ports & 0xffff;
    this.destinationPort = initiator === 0 ? ports & 0xffff : ports >>> 16;
    const isWide = this.ipVersion === 6;
    const source = flow * 6 + 3 * initiator;
    const destination = flow * 6 + 3 - 3 * initiator;
    this.source0 = isWide ? flows.wide[source] >>> 0 : 0;
    this.source1 = isWide ? flows.wide[source + 1] >>> 0 : 0;
    this.source2 = isWide ? flows.wide[source + 2] >>> 0 : 0;
    this.destination0 = isWide ? flows.wide[destination] >>> 0 : 0;
    this.destination1 = isWide ? flows.wide[destination + 1] >>> 0 : 0;
    this.destination2 = isWide ? flows.wide[destination + 2] >>> 0 : 0;
  }

  get source(): IpAddress {
    const words: AddressWords = [this.source0, this.source1, this.source2, this.source3];
    return { version: this.ipVersion === 6 ? 6 : 4, words };
  }

  get destination(): IpAddress {
    const { destination0, destination1, destination2, destination3 } = this;
    const words: AddressWords = [destination0, destination1, destination2, destination3];
    return { version: this.ipVersion === 6 ? 6 : 4, words };
  }
}

export class SignatureJudge implements FlowJudge {
  /** Payloads whose matches did not fit, or that could not be scanned. */
  failures = 0;
  /** Name of the capture at hand, for records. */
  file = "";
  readonly #matcher: Matcher;
  readonly #matches: SignatureMatches;
  readonly #identification: FlowIdentification;
  readonly #numbers = new InitiatorNumbers();
  readonly #reports = fixedU32(3 * REPORTS_MAX);
  readonly #reportsAddress = addressOf(this.#reports);
  readonly #offset = fixedU32(1);
  readonly #length = fixedU32(1);
  readonly #offsetAddress = addressOf(this.#offset);
  readonly #lengthAddress = addressOf(this.#length);
  readonly #windowAddress: number;
  #flows: TrackedFlows | undefined;

  // By 2 * flow + side.
  readonly #wireBytes = new Uint32Array(2 * FLOWS_MAX);
  readonly #headBytes = new Uint8Array(2 * FLOWS_MAX);
  readonly #head = new Uint8Array(2 * FLOWS_MAX * HEAD_BYTES);
  readonly #foundCount = new Uint8Array(2 * FLOWS_MAX);
  readonly #found = new Uint16Array(2 * FLOWS_MAX * MATCHES_MAX);

  constructor(
    private readonly set: SignatureSet,
    private readonly window: CaptureWindow,
    private readonly onFlow: (record: FlowRecord) => void,
  ) {
    const { snapshot, signatures } = set.compiled;
    this.#matcher = new Matcher(snapshot, set.database, set.shim.symbols);
    this.#matches = new SignatureMatches(snapshot, signatures, MATCHES_MAX);
    this.#identification = new FlowIdentification(snapshot, signatures, set.portsMatter);
    this.#windowAddress = addressOf(window.bytes);
  }

  watch(flows: TrackedFlows): void {
    this.#flows = flows;
  }

  begin(flow: number): void {
    this.#wireBytes[2 * flow] = 0;
    this.#wireBytes[2 * flow + 1] = 0;
    this.#foundCount[2 * flow] = 0;
    this.#foundCount[2 * flow + 1] = 0;
  }

  judge(
    flow: number,
    side: number,
    bytes: Uint8Array,
    start: number,
    end: number,
    wireBytes: number,
    final: number,
  ): number {
    const flows = this.#flows;
    if (flows === undefined) return JUDGED;
    const numbers = this.#numbers;
    numbers.read(flows, flow);
    const initiator = flows.words[flow * FLOW_WORDS + F_FLAGS] & INITIATOR_IS_1;
    const direction = side === initiator ? REQUEST : RESPONSE;
    const base = bytes === this.window.bytes ? this.#windowAddress : addressOf(bytes);
    const found = this.#scan(base, start, end);
    if (found >= 0) {
      const address = base + start;
      const length = final === 1 ? wireBytes : end - start;
      const winner = this.#matcher.resolve(
        direction,
        numbers,
        address,
        length,
        final,
        this.#reports,
        0,
        found,
      );
      if (winner === NEED_MORE) return MORE;
      this.#keep(flow, side, direction, winner, wireBytes, found);
    }
    const slot = 2 * flow + side;
    this.#wireBytes[slot] = wireBytes;
    const head = end - start < HEAD_BYTES ? end - start : HEAD_BYTES;
    this.#headBytes[slot] = head;
    for (let i = 0; i < head; i++) this.#head[slot * HEAD_BYTES + i] = bytes[start + i];
    return JUDGED;
  }

  /** Reports written; -1 when there were too many or the scan failed. */
  #scan(base: number, start: number, end: number): number {
    const { settings } = this.set.compiled.snapshot;
    if (settings[SETTING_EXPRESSIONS] === 0) return 0;
    const scanBytes = settings[SETTING_SCAN_BYTES];
    this.#offset[0] = start;
    this.#length[0] = end - start < scanBytes ? end - start : scanBytes;
    const found = this.set.shim.symbols.abs_match_burst(
      this.set.database,
      base,
      this.#offsetAddress,
      this.#lengthAddress,
      1,
      this.#reportsAddress,
      REPORTS_MAX,
    );
    if (found >= 0 && found < REPORTS_MAX) return found;
    this.failures++;
    return -1;
  }

  #keep(
    flow: number,
    side: number,
    direction: number,
    winner: number,
    wireBytes: number,
    found: number,
  ): void {
    const slot = 2 * flow + side;
    this.#foundCount[slot] = 0;
    if (winner === NO_MATCH) return;
    const matches = this.#matches;
    matches.collect(direction, this.#numbers, wireBytes, this.#reports, found);
    this.#foundCount[slot] = matches.count;
    for (let i = 0; i < matches.count; i++) {
      this.#found[slot * MATCHES_MAX + i] = matches.found[i];
    }
  }

  end(flow: number): void {
    const flows = this.#flows;
    if (flows === undefined) return;
    const at = flow * FLOW_WORDS;
    const flags = flows.words[at + F_FLAGS];
    const initiator = flags & INITIATOR_IS_1;
    const numbers = this.#numbers;
    numbers.read(flows, flow);
    const request = this.#payload(2 * flow + initiator);
    const response = this.#payload(2 * flow + 1 - initiator);
    const identity = this.#identification.identify({
      request: this.#foundOf(2 * flow + initiator),
      response: this.#foundOf(2 * flow + 1 - initiator),
      hasRequest: request !== undefined,
      hasResponse: response !== undefined,
      sourcePort: numbers.sourcePort,
      destinationPort: numbers.destinationPort,
    });
    const { source, destination, sourcePort, destinationPort } = numbers;
    const protocol = numbers.transportProtocol;
    this.onFlow({
      file: this.file,
      firstPacket: flows.words[at + F_ORDER] >>> 0,
      protocol,
      source,
      sourcePort,
      destination,
      destinationPort,
      packets: flows.words[at + F_PACKETS] + flows.words[at + F_PACKETS + 1],
      bytes: flows.bytesOf(flow),
      midStream: (flags & MID_STREAM) !== 0,
      request,
      response,
      identity,
      unknown: identity === undefined ? reasonOf(flags, request, response) : undefined,
      nearest: this.#nearest(identity, request),
    });
  }

  #nearest(identity: FlowIdentity | undefined, request: FirstPayload | undefined) {
    if (identity !== undefined || request === undefined) return undefined;
    const { source, destination, sourcePort, destinationPort } = this.#numbers;
    return nearestMiss(this.set.compiled.signatures, {
      protocol: this.#numbers.transportProtocol,
      source,
      sourcePort,
      destination,
      destinationPort,
      payload: request.head,
      payloadLength: request.bytes,
    });
  }

  #payload(slot: number): FirstPayload | undefined {
    if (this.#wireBytes[slot] === 0) return undefined;
    const at = slot * HEAD_BYTES;
    return {
      bytes: this.#wireBytes[slot],
      head: this.#head.slice(at, at + this.#headBytes[slot]),
    };
  }

  #foundOf(slot: number): number[] {
    const at = slot * MATCHES_MAX;
    return [...this.#found.subarray(at, at + this.#foundCount[slot])];
  }
}

function reasonOf(
  flags: number,
  request: FirstPayload | undefined,
  response: FirstPayload | undefined,
): UnknownReason {
  if ((flags & FRAGMENTED) !== 0) return "fragment";
  if (request === undefined && response === undefined) return "no-payload";
  if ((flags & MID_STREAM) !== 0) return "mid-stream";
  const bytes = Math.max(request?.bytes ?? 0, response?.bytes ?? 0);
  return bytes < SHORT_BYTES ? "too-short" : "no-match";
}
