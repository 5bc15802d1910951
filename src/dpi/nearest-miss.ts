/**
 * For the notification about unmatched traffic (design/agent.md "Egress" 4): which signature came
 * nearest to a first payload, and why it missed. Slow and in words; control plane, on a copy of the
 * payload's first bytes.
 */

import { type IpAddress, rangeContains } from "../wire/ip-text.ts";
import { contentNeed, contentPositions, contentWidth } from "./content-expression.ts";
import type { AppSignature, NumberRange, SignatureContent } from "./signature.ts";

/** What is known of the flow, as its initiator sends. */
export interface MissedFlow {
  /** IP protocol number. */
  readonly protocol: number;
  readonly source: IpAddress;
  readonly sourcePort: number;
  readonly destination: IpAddress;
  readonly destinationPort: number;
  /** First bytes of the initiator's first payload. */
  readonly payload: Uint8Array;
  /** Its whole length, which may be more. */
  readonly payloadLength: number;
}

export interface NearestMiss {
  readonly signature: AppSignature;
  /** What kept it from matching, in a few words. */
  readonly why: string;
}

/** How much of a signature a flow met: numbers count most, then contents, then single bytes. */
interface Met {
  readonly score: number;
  readonly why: string;
}

const NUMBERS_MET = 10_000;
const CONTENT_MET = 100;

/** The nearest of the enabled signatures; undefined when none has anything in common. */
export function nearestMiss(
  signatures: readonly AppSignature[],
  flow: MissedFlow,
): NearestMiss | undefined {
  let nearest: { miss: NearestMiss; score: number } | undefined;
  for (const signature of signatures) {
    if (signature.status !== "enabled") continue;
    const { score, why } = metBy(signature, flow);
    if (score > 0 && score > (nearest?.score ?? 0)) nearest = { miss: { signature, why }, score };
  }
  return nearest?.miss;
}

function metBy(signature: AppSignature, flow: MissedFlow): Met {
  const numbers = numberObjection(signature, flow);
  const contents = signature.contents.filter(({ direction }) => direction === "request");
  let score = numbers === undefined ? NUMBERS_MET : 0;
  let why = numbers;
  for (const content of contents) {
    const met = contentMet(content, flow);
    score += met.score;
    why ??= met.why === "" ? undefined : met.why;
  }
  // Numbers that fit say little alone: without a byte in common nothing came near.
  if (contents.length > 0 && score === NUMBERS_MET) score = 0;
  const length = lengthObjection(signature.length, flow.payloadLength);
  return { score, why: why ?? length ?? "another signature or a later check decided" };
}

function numberObjection(signature: AppSignature, flow: MissedFlow): string | undefined {
  const { protocols, sourcePorts, destinationPorts } = signature;
  if (protocols !== undefined && !protocols.includes(flow.protocol)) {
    return `it is for IP protocol ${protocols.join(", ")}, the flow is ${flow.protocol}`;
  }
  if (!portHeld(destinationPorts, flow.destinationPort)) {
    const wanted = rangeWords(destinationPorts);
    return `it is for destination port ${wanted}, not ${flow.destinationPort}`;
  }
  if (!portHeld(sourcePorts, flow.sourcePort)) {
    return `it is for source port ${rangeWords(sourcePorts)}, not ${flow.sourcePort}`;
  }
  const { sourceAddresses, destinationAddresses } = signature;
  if (destinationAddresses?.some((range) => rangeContains(range, flow.destination)) === false) {
    return "it is for other destination addresses";
  }
  if (sourceAddresses?.some((range) => rangeContains(range, flow.source)) === false) {
    return "it is for other source addresses";
  }
  return undefined;
}

/**
 * How far a content came, and why it failed; an empty `why` when it is met as far as one can see.
 */
function contentMet(content: SignatureContent, flow: MissedFlow): Met {
  if (content.not) return { score: 0, why: "" };
  const { need } = leadOf(content);
  if (flow.payloadLength < need) {
    const why = `it needs ${need} bytes of payload, there are ${flow.payloadLength}`;
    return { score: agreeing(content, flow.payload).count, why };
  }
  const { count, firstWrong } = agreeing(content, flow.payload);
  if (firstWrong !== undefined) {
    const value = (flow.payload[firstWrong] ?? 0).toString(16).padStart(2, "0");
    return {
      score: count,
      why: `payload byte ${firstWrong} is 0x${value}, against ${content.expr}`,
    };
  }
  const { expression, offset, depth } = content;
  if (expression.kind === "bytes" && !found(expression.bytes, content, flow.payload)) {
    // Of a long payload only its first bytes are at hand.
    const end = flow.payload.length < flow.payloadLength ? flow.payload.length : Infinity;
    const last = Math.min(depth, end);
    const reach = last === Infinity ? "the end" : `byte ${last}`;
    return { score: count, why: `${content.expr} is not in bytes ${offset} to ${reach}` };
  }
  if (expression.kind === "bytes" || contentWidth(content).max === count) {
    return { score: CONTENT_MET + count, why: "" };
  }
  return { score: count, why: `${content.expr} does not match` };
}

/** Leading positions at which the payload agrees with the content, and the first that does not. */
function agreeing(
  content: SignatureContent,
  payload: Uint8Array,
): { count: number; firstWrong: number | undefined } {
  let count = 0;
  for (const { position, words, isTelling } of leadOf(content).positions) {
    const value = payload[position];
    if (value === undefined) break;
    if (((words[value >>> 5] >>> (value & 31)) & 1) === 0) return { count, firstWrong: position };
    if (isTelling) count++;
  }
  return { count, firstWrong: undefined };
}

/** What a content says about single positions, worked out once: each flow asks all contents. */
interface Lead {
  readonly need: number;
  readonly positions: readonly {
    readonly position: number;
    /** The values allowed, a bit each. */
    readonly words: Uint32Array;
    /** Whether it allows fewer than half of the values. */
    readonly isTelling: boolean;
  }[];
}

const leads = new WeakMap<SignatureContent, Lead>();

function leadOf(content: SignatureContent): Lead {
  const known = leads.get(content);
  if (known !== undefined) return known;
  const positions = contentPositions(content).map(({ position, allowed }) => ({
    position,
    words: allowed.words,
    isTelling: allowed.size < 128,
  }));
  const lead = { need: contentNeed(content), positions };
  leads.set(content, lead);
  return lead;
}

function found(
  bytes: Uint8Array,
  { offset, depth }: SignatureContent,
  payload: Uint8Array,
): boolean {
  const reach = payload.subarray(0, Math.min(payload.length, depth));
  return Buffer.from(reach).indexOf(bytes, offset) >= 0;
}

function lengthObjection(length: NumberRange | undefined, bytes: number): string | undefined {
  if (length === undefined || (bytes >= length.low && bytes <= length.high)) return undefined;
  return `it is for payloads of ${rangeWords([length])} bytes, not ${bytes}`;
}

function portHeld(ranges: readonly NumberRange[] | undefined, port: number): boolean {
  return ranges === undefined || ranges.some(({ low, high }) => port >= low && port <= high);
}

function rangeWords(ranges: readonly NumberRange[] | undefined): string {
  return (ranges ?? [])
    .map(({ low, high }) => (low === high ? String(low) : `${low}-${high}`))
    .join(", ");
}
