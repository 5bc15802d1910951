/** A flow as one JSON object: what `abs sig test --output jsonl` writes. docs/sig-test.md. */
import { toHex } from "../bytes.ts";
import { pinnedNumbers } from "../dpi/compile.ts";
import type { AppSignature } from "../dpi/signature.ts";
import { protocolWord } from "../store/network-values.ts";
import { formatAddress } from "../wire/ip-text.ts";
import type { FirstPayload, FlowRecord } from "./flow-record.ts";
import type { LabelledFlow } from "./labels.ts";
import { verdictOf } from "./labels.ts";

export function flowJson(record: FlowRecord, label: LabelledFlow | undefined) {
  const { identity } = record;
  return {
    file: record.file,
    proto: protocolWord(record.protocol),
    src_ip: formatAddress(record.source),
    src_port: record.sourcePort,
    dst_ip: formatAddress(record.destination),
    dst_port: record.destinationPort,
    first_packet: record.firstPacket,
    packets: record.packets,
    bytes: record.bytes,
    app: identity?.signature.app ?? null,
    ...(label === undefined ? {} : { label: label.app, verdict: verdictOf(label) }),
    ...(identity === undefined
      ? { unknown: record.unknown }
      : {
          signature: identity.signature.id,
          direction: directionOf(identity.request, identity.response),
          basis: basisOf(identity.signature),
          by_port: identity.byPort,
          others: identity.others.map(({ signature, why }) => ({
            app: signature.app,
            signature: signature.id,
            why,
          })),
        }),
    ...(record.nearest === undefined
      ? {}
      : { nearest: { signature: record.nearest.signature.id, why: record.nearest.why } }),
    request: payloadJson(record.request),
    response: payloadJson(record.response),
  };
}

function directionOf(request: boolean, response: boolean): string {
  if (request && response) return "both";
  return request ? "request" : "response";
}

/** What the signature goes by; `pinnedNumbers` counts the numeric fields that are not "any". */
function basisOf(signature: AppSignature): string {
  if (signature.contents.length === 0) return "numbers";
  return pinnedNumbers(signature) > 0 ? "both" : "payload";
}

function payloadJson(payload: FirstPayload | undefined) {
  if (payload === undefined) return null;
  const { head, spot } = payload;
  return {
    length: payload.bytes,
    hex: toHex(head),
    text: printable(head),
    ...(spot === undefined
      ? {}
      : { matched: { ...spot, hex: toHex(head.subarray(spot.start, spot.end)) } }),
  };
}

function printable(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : ".";
  return text;
}
