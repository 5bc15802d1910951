/**
 * From the worker's fixed records to events for people: every decision with its 5-tuple, reason,
 * rule and first bytes (issue "Every refusal is an event"). Field names are those of
 * docs/events.md.
 */

import { toHex } from "../bytes.ts";
import { EVENT, OUTCOME } from "../dataplane/control-records.ts";
import { DROP, DROP_NAMES } from "../dataplane/drop-reasons.ts";
import type { CompiledSignatures } from "../dpi/compile.ts";
import { nearestMiss } from "../dpi/nearest-miss.ts";
import type { AbsEvent } from "../observe/event-record.ts";
import { type CompiledPolicy, ruleName } from "../policy/compile.ts";
import { protocolWord } from "../store/network-values.ts";
import { type AddressWords, formatAddress } from "../wire/ip-text.ts";
import type { Provisioning } from "./provisioning.ts";

const NONE = 0xffffffff;
const STAGE_NAMES = ["observe", "warn", "enforce"] as const;

/** What turns indexes into names. */
export interface PlaneNames {
  readonly provisioning: Provisioning;
  readonly policy: CompiledPolicy;
  readonly signatures: CompiledSignatures;
  /** Of the snapshot that the worker decides by; 0 is the one it started with. */
  readonly generation?: number;
}

/** A refusal as numbers, for the REJECT that a peer is told by. */
export interface RefusalNumbers {
  readonly reason: number;
  readonly peer: number;
  readonly tag: number;
  readonly protocol: number;
  readonly ipVersion: number;
  readonly source: AddressWords;
  readonly destination: AddressWords;
  readonly sourcePort: number;
  readonly destinationPort: number;
}

function wordsAt(memory: DataView, at: number): AddressWords {
  return [
    memory.getUint32(at, true),
    memory.getUint32(at + 4, true),
    memory.getUint32(at + 8, true),
    memory.getUint32(at + 12, true),
  ];
}

export function refusalNumbers(memory: DataView, at: number): RefusalNumbers {
  const word = (offset: number) => memory.getUint32(at + offset, true);
  return {
    reason: word(EVENT.reason),
    peer: word(EVENT.peer),
    tag: word(EVENT.tag),
    protocol: word(EVENT.protocol),
    ipVersion: word(EVENT.ipVersion),
    source: wordsAt(memory, at + EVENT.source),
    destination: wordsAt(memory, at + EVENT.destination),
    sourcePort: word(EVENT.sourcePort),
    destinationPort: word(EVENT.destinationPort),
  };
}

/** The signature that came nearest to an unmatched payload, and why it missed, if one did. */
function nearestOf(
  numbers: RefusalNumbers,
  payload: Uint8Array,
  payloadLength: number,
  { provisioning }: PlaneNames,
): { readonly nearest?: { readonly signature: string; readonly why: string } } {
  const version = numbers.ipVersion === 6 ? 6 : 4;
  const { protocol, sourcePort, destinationPort } = numbers;
  const source = { version, words: numbers.source } as const;
  const destination = { version, words: numbers.destination } as const;
  const ports = { sourcePort, destinationPort };
  const flow = { protocol, source, destination, ...ports, payload, payloadLength };
  const miss = nearestMiss(provisioning.signatures, flow);
  return miss === undefined ? {} : { nearest: { signature: miss.signature.app, why: miss.why } };
}

/** The event of the record at `at`. */
export function planeEvent(memory: DataView, at: number, names: PlaneNames): AbsEvent {
  const word = (offset: number) => memory.getUint32(at + offset, true);
  const numbers = refusalNumbers(memory, at);
  const outcome = word(EVENT.outcome);
  const version = numbers.ipVersion === 6 ? 6 : 4;
  const address = (words: AddressWords) => formatAddress({ version, words });
  const isIp = numbers.ipVersion !== 0;
  const count = Math.min(word(EVENT.byteCount), EVENT.refusal - EVENT.bytes);
  const bytes = new Uint8Array(memory.buffer, memory.byteOffset + at + EVENT.bytes, count);
  return {
    event: outcome === OUTCOME.allowed ? "flow-allowed" : "refused",
    ...(outcome === OUTCOME.allowed ? {} : { reason: DROP_NAMES[numbers.reason] ?? "unknown" }),
    ...(outcome === OUTCOME.wouldDrop ? { enforced: false } : {}),
    direction: word(EVENT.direction) === 0 ? "in" : "out",
    ...(isIp
      ? {
          source: address(numbers.source),
          sourcePort: numbers.sourcePort,
          destination: address(numbers.destination),
          destinationPort: numbers.destinationPort,
          protocol: protocolWord(numbers.protocol),
        }
      : {}),
    ...namesOf(word, names),
    generation: names.generation ?? 0,
    stage: STAGE_NAMES[word(EVENT.stage)] ?? "enforce",
    bytes: toHex(bytes),
    payloadBytes: word(EVENT.textBytes),
    ...(numbers.reason === DROP.noSignature && isIp
      ? nearestOf(numbers, bytes, word(EVENT.textBytes), names)
      : {}),
    ...(word(EVENT.suppressed) > 0 ? { suppressed: word(EVENT.suppressed) } : {}),
  };
}

function namesOf(word: (offset: number) => number, names: PlaneNames): Record<string, string> {
  const found: Record<string, string> = {};
  const peer = word(EVENT.peer);
  const tag = word(EVENT.tag);
  const rule = word(EVENT.rule);
  const signature = word(EVENT.signature);
  const { provisioning, policy, signatures } = names;
  if (peer !== NONE) found["peer"] = provisioning.peers[peer]?.id ?? String(peer);
  if (tag !== NONE && tag !== 0) found["app"] = provisioning.tags[tag]?.name ?? String(tag);
  if (rule !== NONE) found["rule"] = ruleName(policy, rule);
  const known = signature < 0x80000000 ? signatures.signatures[signature] : undefined;
  if (known !== undefined) found["signature"] = known.app;
  return found;
}
