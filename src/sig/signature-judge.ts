/**
 * Judges the first payloads of a capture's flows with the matcher that the agent uses, and tells of
 * each flow that ends. What is kept of a payload is the list of signatures it matched and, when
 * flows are to be explained, its first bytes: memory is bounded by the flow table.
 */
import type { CaptureWindow } from "../capture/capture-window.ts";
import { type FlowJudge, JUDGED, MORE } from "../capture/flow-tracker.ts";
import {
  DECIDED,
  F_FLAGS,
  F_ORDER,
  F_PACKETS,
  FLOW_WORDS,
  FRAGMENTED,
  INITIATOR_IS_1,
  MID_STREAM,
  type TrackedFlows,
} from "../capture/tracked-flows.ts";
import { addressOf, fixedU32 } from "../dataplane/shim.ts";
import { FlowEvidence, FlowIdentification, type FlowIdentity } from "../dpi/flow-identification.ts";
import { Matcher, NEED_MORE, NO_MATCH } from "../dpi/matcher.ts";
import { nearestMiss } from "../dpi/nearest-miss.ts";
import { SignatureMatches } from "../dpi/signature-matches.ts";
import { REQUEST, RESPONSE, SETTING_CONTENTS, SETTING_SCAN_BYTES } from "../dpi/snapshot.ts";
import type { FirstPayload, FlowRecord, Spot, UnknownReason } from "./flow-record.ts";
import { InitiatorNumbers } from "./initiator-numbers.ts";
import type { SignatureSet } from "./signature-set.ts";

/** Matches of one payload that are kept. */
const MATCHES_MAX = 8;
/** First bytes of a payload that are kept to explain. */
const HEAD_BYTES = 32;
const REPORTS_MAX = 8192;
/** A payload shorter than this says too little for most signatures. */
const SHORT_BYTES = 4;
const NOTHING = new Uint8Array(0);

/** Who hears of flows that end. */
export interface FlowSink {
  /** `reason` says why `app` is not known. */
  count(app: string | undefined, reason: UnknownReason | undefined): void;
  /** Whether flows of the capture at hand are to be told one by one. */
  readonly wantsRecords: boolean;
  record(record: FlowRecord): void;
}

export class SignatureJudge implements FlowJudge {
  /** Payloads with more matches than are looked at, or that could not be scanned. */
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
  /** The payload at hand: where it is, and how much of it was captured. */
  #address = 0;
  #captured = 0;
  #bytes: Uint8Array = NOTHING;
  #start = 0;
  #flows: TrackedFlows | undefined;

  // By 2 * flow + side.
  readonly #wireBytes: Uint32Array;
  readonly #foundCount: Uint8Array;
  readonly #evidence: FlowEvidence;
  // To explain: empty otherwise. Where each match kept lies in its payload: start and end.
  readonly #spots: Uint16Array;
  readonly #headBytes: Uint8Array;
  readonly #head: Uint8Array;

  /**
   * `explain`: records tell where signatures matched and which came near, which takes long.
   * `flowsMax`: of the tracker that asks.
   */
  constructor(
    private readonly set: SignatureSet,
    private readonly window: CaptureWindow,
    private readonly explain: boolean,
    private readonly sink: FlowSink,
    flowsMax: number,
  ) {
    const { snapshot, signatures, contents } = set.compiled;
    const slots = explain ? 2 * flowsMax : 0;
    this.#wireBytes = new Uint32Array(2 * flowsMax);
    this.#foundCount = new Uint8Array(2 * flowsMax);
    this.#evidence = new FlowEvidence(new Uint16Array(2 * flowsMax * MATCHES_MAX));
    this.#spots = new Uint16Array(slots * MATCHES_MAX * 2);
    this.#headBytes = new Uint8Array(slots);
    this.#head = new Uint8Array(slots * HEAD_BYTES);
    this.#matcher = new Matcher(snapshot, set.database, set.shim.symbols);
    this.#matches = new SignatureMatches(this.#matcher, contents, MATCHES_MAX);
    this.#identification = new FlowIdentification(snapshot, signatures, set.portsMatter, explain);
    this.#windowAddress = addressOf(window.bytes);
  }

  /** `flows`: the table of the tracker that asks. */
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
    const base = bytes === this.window.bytes ? this.#windowAddress : addressOf(bytes);
    const found = this.#scan(base, start, end);
    if (found >= 0) {
      const length = final === 1 ? wireBytes : end - start;
      this.#address = base + start;
      this.#captured = end - start;
      this.#bytes = bytes;
      this.#start = start;
      let winner = this.#resolve(flow, side, length, final, found);
      if (winner === NEED_MORE) return MORE;
      if (winner === NO_MATCH && this.#turnRound(flow)) {
        winner = this.#resolve(flow, side, length, 1, found);
        if (winner === NO_MATCH) this.#turnRound(flow);
      }
      this.#keep(flow, side, winner, wireBytes, found);
    }
    const slot = 2 * flow + side;
    this.#wireBytes[slot] = wireBytes;
    if (!this.explain) return JUDGED;
    const head = end - start < HEAD_BYTES ? end - start : HEAD_BYTES;
    this.#headBytes[slot] = head;
    for (let i = 0; i < head; i++) this.#head[slot * HEAD_BYTES + i] = bytes[start + i];
    return JUDGED;
  }

  #resolve(flow: number, side: number, length: number, final: number, found: number): number {
    const numbers = this.#numbers;
    if (this.#flows !== undefined) numbers.read(this.#flows, flow);
    const direction = side === numbers.initiator ? REQUEST : RESPONSE;
    const reports = this.#reports;
    const matcher = this.#matcher;
    const start = this.#start;
    matcher.takePayload(direction, this.#address, this.#captured, length, reports, 0, found);
    matcher.offerHead(direction, this.#bytes, start, start + this.#captured);
    return matcher.resolve(direction, numbers, final, reports, 0, found);
  }

  /**
   * Takes the other end of a connection under way for its initiator, when nothing was said yet: who
   * it was is not in the capture. False when it is.
   */
  #turnRound(flow: number): boolean {
    const words = this.#flows?.words;
    if (words === undefined) return false;
    const at = flow * FLOW_WORDS + F_FLAGS;
    const flags = words[at];
    if ((flags & MID_STREAM) === 0 || (flags & (DECIDED | (DECIDED << 1))) !== 0) return false;
    words[at] = flags ^ INITIATOR_IS_1;
    return true;
  }

  /** Reports written; -1 when there were too many or the scan failed. */
  #scan(base: number, start: number, end: number): number {
    const { settings } = this.set.compiled.snapshot;
    if (settings[SETTING_CONTENTS] === 0) return 0;
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

  #keep(flow: number, side: number, winner: number, wireBytes: number, found: number): void {
    const slot = 2 * flow + side;
    this.#foundCount[slot] = 0;
    if (winner === NO_MATCH) return;
    const { judges } = this.set.compiled.snapshot;
    if (!this.explain && (judges[2 * winner] & judges[2 * winner + 1]) === 0) {
      // The other direction has no say in it: no other signature of this one can win any more.
      this.#foundCount[slot] = 1;
      this.#evidence.found[slot * MATCHES_MAX] = winner;
      return;
    }
    const matches = this.#matches;
    const direction = side === this.#numbers.initiator ? REQUEST : RESPONSE;
    matches.collect(
      direction,
      this.#numbers,
      this.#address,
      this.#captured,
      wireBytes,
      this.#reports,
      found,
    );
    this.#foundCount[slot] = matches.count;
    const at = slot * MATCHES_MAX;
    for (let i = 0; i < matches.count; i++) {
      this.#evidence.found[at + i] = matches.found[i];
      if (!this.explain) continue;
      matches.locate(matches.found[i], direction);
      this.#spots[2 * (at + i)] = matches.spotStart;
      this.#spots[2 * (at + i) + 1] = matches.spotEnd;
    }
  }

  end(flow: number): void {
    const identity = this.identify(flow);
    const flags = this.#flows?.words[flow * FLOW_WORDS + F_FLAGS] ?? 0;
    const reason = identity === undefined ? this.#reason(flow, flags) : undefined;
    this.sink.count(identity?.signature.app, reason);
    if (this.sink.wantsRecords) this.sink.record(this.#record(flow, identity, reason));
  }

  /** The flow's application as far as its payloads were judged; undefined: not known. */
  identify(flow: number): FlowIdentity | undefined {
    const flows = this.#flows;
    if (flows === undefined) return undefined;
    const numbers = this.#numbers;
    numbers.read(flows, flow);
    const requestSlot = 2 * flow + numbers.initiator;
    const responseSlot = 2 * flow + 1 - numbers.initiator;
    const evidence = this.#evidence;
    evidence.requestAt = requestSlot * MATCHES_MAX;
    evidence.requestCount = this.#foundCount[requestSlot];
    evidence.responseAt = responseSlot * MATCHES_MAX;
    evidence.responseCount = this.#foundCount[responseSlot];
    evidence.hasRequest = this.#wireBytes[requestSlot] !== 0;
    evidence.hasResponse = this.#wireBytes[responseSlot] !== 0;
    evidence.sourcePort = numbers.sourcePort;
    evidence.destinationPort = numbers.destinationPort;
    return this.#identification.identify(evidence);
  }

  /** Whether a payload of the flow was judged. */
  hasPayload(flow: number): boolean {
    return this.#wireBytes[2 * flow] + this.#wireBytes[2 * flow + 1] > 0;
  }

  #reason(flow: number, flags: number): UnknownReason {
    const bytes = Math.max(this.#wireBytes[2 * flow], this.#wireBytes[2 * flow + 1]);
    if ((flags & FRAGMENTED) !== 0) return "fragment";
    if (bytes === 0) return "no-payload";
    if ((flags & MID_STREAM) !== 0) return "mid-stream";
    return bytes < SHORT_BYTES ? "too-short" : "no-match";
  }

  #record(
    flow: number,
    identity: FlowIdentity | undefined,
    unknown: UnknownReason | undefined,
  ): FlowRecord {
    const { words } = this.#flows as TrackedFlows;
    const at = flow * FLOW_WORDS;
    const numbers = this.#numbers;
    const { source, destination, sourcePort, destinationPort, initiator } = numbers;
    const request = this.#payload(2 * flow + initiator, identity);
    return {
      file: this.file,
      firstPacket: words[at + F_ORDER] >>> 0,
      protocol: numbers.transportProtocol,
      source,
      sourcePort,
      destination,
      destinationPort,
      packets: words[at + F_PACKETS] + words[at + F_PACKETS + 1],
      bytes: this.#flows?.bytesOf(flow) ?? 0,
      midStream: (words[at + F_FLAGS] & MID_STREAM) !== 0,
      request,
      response: this.#payload(2 * flow + 1 - initiator, identity),
      identity,
      unknown,
      nearest: identity === undefined ? this.#nearest(request) : undefined,
    };
  }

  #nearest(request: FirstPayload | undefined) {
    if (!this.explain || request === undefined) return undefined;
    const { source, destination, sourcePort, destinationPort, transportProtocol } = this.#numbers;
    return nearestMiss(this.set.compiled.signatures, {
      protocol: transportProtocol,
      source,
      sourcePort,
      destination,
      destinationPort,
      payload: request.head,
      payloadLength: request.bytes,
    });
  }

  #payload(slot: number, identity: FlowIdentity | undefined): FirstPayload | undefined {
    const bytes = this.#wireBytes[slot];
    if (bytes === 0) return undefined;
    const at = slot * HEAD_BYTES;
    const head = this.explain ? this.#head.subarray(at, at + this.#headBytes[slot]) : NOTHING;
    return { bytes, head, spot: this.#spot(slot, identity) };
  }

  /** Where the winner matched this payload. */
  #spot(slot: number, identity: FlowIdentity | undefined): Spot | undefined {
    if (!this.explain || identity === undefined) return undefined;
    for (let i = 0; i < this.#foundCount[slot]; i++) {
      const at = slot * MATCHES_MAX + i;
      if (this.#evidence.found[at] !== identity.index) continue;
      const start = this.#spots[2 * at];
      const end = this.#spots[2 * at + 1];
      return end === 0 ? undefined : { start, end };
    }
    return undefined;
  }
}
