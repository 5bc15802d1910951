/** Signatures in words, for `abs sig list`, `show` and `diff`: fields as Fig. 10 names them. */
import type { AppSignature, NumberRange, SignatureContent } from "../dpi/signature.ts";
import { protocolWord } from "../store/network-values.ts";
import { formatAddress, type IpRange } from "../wire/ip-text.ts";

/** Every field that is set, as text. */
export function fieldsOf(signature: AppSignature): Record<string, string> {
  const { process } = signature;
  const fields: Record<string, string | undefined> = {
    sig_id: signature.id,
    app_name: signature.app,
    version: String(signature.version),
    description: signature.description || undefined,
    status: signature.status,
    src_ip: signature.sourceAddresses?.map(addressWords).join(", "),
    src_port: portWords(signature.sourcePorts),
    dst_ip: signature.destinationAddresses?.map(addressWords).join(", "),
    dst_port: portWords(signature.destinationPorts),
    proto_type: signature.protocols?.map(protocolWord).join(", "),
    length: signature.length === undefined ? undefined : rangeWords(signature.length),
    ...Object.fromEntries(
      signature.contents.map((content, i) => [`contents[${i}]`, contentWords(content)]),
    ),
    priority: signature.priority === 0 ? undefined : String(signature.priority),
    usual_ports: signature.usualPorts.length === 0 ? undefined : portWords(signature.usualPorts),
    process: process === undefined ? undefined : JSON.stringify(process),
    specification: signature.specification || undefined,
  };
  const known = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(known) as Record<string, string>;
}

export function protocolsOf(signature: AppSignature): string {
  return signature.protocols?.map(protocolWord).join(",") ?? "any";
}

function contentWords({ expr, offset, depth, direction, not }: SignatureContent): string {
  const end = depth === Infinity ? "end" : String(depth);
  return `${not ? "not " : ""}${expr} in ${direction} bytes ${offset} to ${end}`;
}

function addressWords({ version, low, high }: IpRange): string {
  const from = formatAddress({ version, words: low });
  const to = formatAddress({ version, words: high });
  return from === to ? from : `${from}-${to}`;
}

export function portWords(ranges: readonly NumberRange[] | undefined): string | undefined {
  return ranges?.map(rangeWords).join(", ");
}

function rangeWords({ low, high }: NumberRange): string {
  return low === high ? String(low) : `${low}-${high}`;
}

/** What differs between two signatures of one id. */
export interface FieldChange {
  readonly field: string;
  readonly before: string | undefined;
  readonly after: string | undefined;
}

export interface SignatureChange {
  readonly sig_id: string;
  readonly change: "added" | "removed" | "changed";
  readonly fields: readonly FieldChange[];
}

/** From `before` to `after`, by id; equal ones are left out. */
export function changesOf(
  before: readonly AppSignature[],
  after: readonly AppSignature[],
): SignatureChange[] {
  const old = new Map(before.map((signature) => [signature.id, fieldsOf(signature)]));
  const fresh = new Map(after.map((signature) => [signature.id, fieldsOf(signature)]));
  const ids = [...new Set([...old.keys(), ...fresh.keys()])].sort();
  return ids.flatMap((sig_id) => {
    const [left, right] = [old.get(sig_id), fresh.get(sig_id)];
    const names = [...new Set([...Object.keys(left ?? {}), ...Object.keys(right ?? {})])];
    const fields = names
      .map((field) => ({ field, before: left?.[field], after: right?.[field] }))
      .filter((one) => one.before !== one.after);
    if (fields.length === 0) return [];
    const change = left === undefined ? "added" : right === undefined ? "removed" : "changed";
    return [{ sig_id, change, fields }];
  });
}
