/**
 * Reads application signatures (Fig. 10 and the additions of design/agent.md,
 * docs/schemas/signature.schema.json) from JSON or YAML. Every refusal names file, line, column,
 * path, reason and remedy. Whether Hyperscan compiles the expressions is asked later (compile.ts).
 */

import { type DocumentNode, loadDocument, parseDocument } from "../store/document.ts";
import {
  PORT_PROTOCOLS,
  type PortRange,
  readCidrs,
  readPorts,
  readProtocol,
  readRanges,
} from "../store/network-values.ts";
import { compareWords, type IpRange, parseAddress } from "../wire/ip-text.ts";
import { parseExpression } from "./expression.ts";
import { widthOf } from "./regex.ts";
import type { AppSignature, ProcessRequirement, SignatureContent } from "./signature.ts";

const STATUSES = ["enabled", "disabled", "decommission"] as const;
const DIRECTIONS = ["request", "response"] as const;
const KEYS = [
  "sig_id",
  "app_name",
  "version",
  "description",
  "status",
  "src_ip",
  "src_port",
  "dst_ip",
  "dst_port",
  "proto_type",
  "contents",
  "length",
  "priority",
  "usual_ports",
  "specification",
  "process",
] as const;
const CONTENT_KEYS = ["offset", "depth", "expr", "direction", "not"] as const;
const PROCESS_FIELDS: Readonly<
  Record<keyof ProcessRequirement, { pattern: RegExp; example: string }>
> = {
  exe: { pattern: /^\/[^\0]{1,4095}$/, example: "/usr/sbin/mysqld" },
  sha256: { pattern: /^[0-9a-f]{64}$/, example: "64 digits 0-9a-f" },
  user: { pattern: /^[a-z_][a-z0-9_-]{0,31}$/, example: "mysql" },
  unit: { pattern: /^[A-Za-z0-9:_.@\\-]{1,255}$/, example: "mysql.service" },
  cgroup: { pattern: /^\/[^\0]{0,4095}$/, example: "/system.slice/mysql.service" },
};
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
/** A payload is at most an IP packet. */
const PAYLOAD_BYTES_MAX = 65_535;
/** Start bounds become repeats of the expression, which Hyperscan limits. */
const OFFSET_MAX = 32_767;
const CONTENTS_MAX = 32;
const PRIORITY_MAX = 1000;

/** Reads a file that holds one signature or a list of them. */
export function loadSignatures(file: string): AppSignature[] {
  return readSignatures(loadDocument(file, "SIGNATURE"));
}

/** Parses text that holds one signature or a list of them; `file` is only used in messages. */
export function parseSignatures(text: string, file: string): AppSignature[] {
  return readSignatures(parseDocument(text, file, "SIGNATURE"));
}

export function readSignatures(node: DocumentNode): AppSignature[] {
  return node.isList() ? node.list().map(readSignature) : [readSignature(node)];
}

/** One signature object. */
export function readSignature(node: DocumentNode): AppSignature {
  const map = node.map(KEYS);
  const name = (key: "sig_id" | "app_name") => {
    const value = map.need(key);
    const text = value.string();
    const remedy = "Use up to 64 letters, digits, dots, dashes and underscores.";
    return NAME.test(text) ? text : value.fail(`"${text}" is not a name.`, remedy);
  };
  const protocols = any(map.get("proto_type"), (value) =>
    value.isList() ? value.list().map(readProtocol) : [readProtocol(value)],
  );
  const sourcePorts = any(map.get("src_port"), readPorts);
  const destinationPorts = any(map.get("dst_port"), readPorts);
  for (const key of ["src_port", "dst_port"] as const) {
    const ports = key === "src_port" ? sourcePorts : destinationPorts;
    if (ports === undefined || protocols?.every((number) => PORT_PROTOCOLS.includes(number)))
      continue;
    const hint = `Write proto_type "tcp" or "udp", or ${key} "any".`;
    map.need(key).fail("ports need a protocol that has them.", hint);
  }
  const sourceAddresses = any(map.get("src_ip"), readAddresses);
  const destinationAddresses = any(map.get("dst_ip"), readAddresses);
  const length = readLength(map.get("length"));
  const process = map.get("process");
  return {
    id: name("sig_id"),
    app: name("app_name"),
    version: map.need("version").integer(0, 0xffff_ffff),
    description: map.get("description")?.string() ?? "",
    status: map.need("status").oneOf(STATUSES),
    ...(sourceAddresses === undefined ? {} : { sourceAddresses }),
    ...(sourcePorts === undefined ? {} : { sourcePorts }),
    ...(destinationAddresses === undefined ? {} : { destinationAddresses }),
    ...(destinationPorts === undefined ? {} : { destinationPorts }),
    ...(protocols === undefined ? {} : { protocols }),
    ...(length === undefined ? {} : { length }),
    contents: readContents(map.get("contents"), length),
    ...(process === undefined ? {} : { process: readProcess(process) }),
    priority: map.get("priority")?.integer(-PRIORITY_MAX, PRIORITY_MAX) ?? 0,
    usualPorts: any(map.get("usual_ports"), readPorts) ?? [],
    specification: map.get("specification")?.string() ?? "",
    place: node.place,
  };
}

/** The value read by `read`, or undefined for an absent key or the word any. */
function any<T>(
  node: DocumentNode | undefined,
  read: (node: DocumentNode) => T[],
): T[] | undefined {
  if (node === undefined) return undefined;
  if (!node.isList()) return node.string() === "any" ? undefined : read(node);
  const values = read(node);
  return values.length > 0 ? values : node.fail("the list is empty.", 'Write "any".');
}

/** An address, a CIDR, a range "low-high", or a list of them. */
function readAddresses(node: DocumentNode): IpRange[] {
  if (node.isList()) return node.list().flatMap(readAddresses);
  const text = node.string();
  if (!text.includes("-")) return readCidrs(node);
  const [lowText = "", highText = "", rest] = text.split("-");
  const low = parseAddress(lowText);
  const high = parseAddress(highText);
  if (low === undefined || high === undefined || rest !== undefined) {
    return node.fail(`"${text}" is not a range of addresses.`, "Write 10.0.0.1-10.0.0.9.");
  }
  if (low.version !== high.version || compareWords(low.words, high.words) > 0) {
    return node.fail(`"${text}" counts down or mixes IPv4 and IPv6.`, "Write low-high.");
  }
  return [{ version: low.version, low: low.words, high: high.words }];
}

function readProcess(node: DocumentNode): ProcessRequirement {
  const map = node.map(Object.keys(PROCESS_FIELDS));
  const fields = Object.entries(PROCESS_FIELDS).flatMap(([key, { pattern, example }]) => {
    const value = map.get(key);
    if (value === undefined) return [];
    const text = value.string();
    if (pattern.test(text)) return [[key, text]];
    return value.fail(`"${text}" is not what ${key} takes.`, `Write, for example, ${example}.`);
  });
  if (fields.length > 0) return Object.fromEntries(fields);
  return node.fail(
    "it requires nothing.",
    `Give one of ${Object.keys(PROCESS_FIELDS).join(", ")}.`,
  );
}

function readLength(node: DocumentNode | undefined): PortRange | undefined {
  if (node === undefined || (!node.isList() && node.string() === "any")) return undefined;
  const remedy = 'Write 48 or "40-60".';
  if (node.isList()) return node.fail("length takes one value or range.", remedy);
  return readRanges(node, PAYLOAD_BYTES_MAX, "length", remedy)[0];
}

function readContents(
  node: DocumentNode | undefined,
  length: PortRange | undefined,
): SignatureContent[] {
  if (node === undefined) return [];
  const items = node.list();
  if (items.length > CONTENTS_MAX) {
    node.fail(`${items.length} contents; at most ${CONTENTS_MAX}.`, "Keep the telling ones.");
  }
  return items.map((item) => readContent(item, length));
}

function readContent(node: DocumentNode, length: PortRange | undefined): SignatureContent {
  const map = node.map(CONTENT_KEYS);
  const offset = map.get("offset")?.integer(0, OFFSET_MAX) ?? 0;
  const depth = map.get("depth")?.integer(1, PAYLOAD_BYTES_MAX) ?? Infinity;
  const exprNode = map.need("expr");
  const expr = exprNode.string();
  const parsed = parseExpression(expr);
  if ("reason" in parsed) return exprNode.fail(parsed.reason, parsed.remedy);
  const direction = map.get("direction")?.oneOf(DIRECTIONS) ?? "request";
  const not = map.get("not")?.boolean() ?? false;
  if (parsed.kind === "regex" && parsed.regex.anchored && offset > 0) {
    const remedy = "Remove the ^, or set offset to 0.";
    exprNode.fail(`^ is payload byte 0, but the search begins at ${offset}.`, remedy);
  }
  const widthMin = parsed.kind === "bytes" ? parsed.bytes.length : widthOf(parsed.regex.root).min;
  if (offset + widthMin > depth) {
    const remedy = `depth is where the search ends: use at least ${offset + widthMin}.`;
    node.fail(
      `a match takes ${widthMin} bytes, which bytes ${offset} to ${depth} cannot hold.`,
      remedy,
    );
  }
  if (!not && direction === "request" && length !== undefined && offset + widthMin > length.high) {
    const remedy = "Mend length, offset or expr.";
    node.fail(`a payload of at most ${length.high} bytes cannot hold it.`, remedy);
  }
  return { expr, expression: parsed, offset, depth, direction, not };
}
