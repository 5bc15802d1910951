/**
 * A slow, obvious matcher (plain search, JavaScript's RegExp on Latin-1 text), and random
 * signatures and payloads to hold the real one to it.
 */
import type { FlowNumbers } from "../../src/dpi/matcher.ts";
import { parseSignatures } from "../../src/dpi/schema.ts";
import type { AppSignature, SignatureContent } from "../../src/dpi/signature.ts";
import type { Prng } from "../prng.ts";

export function latin1(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
}

function slowContent(content: SignatureContent, payload: string): boolean {
  const reach = payload.slice(0, content.depth === Infinity ? payload.length : content.depth);
  if (content.expression.kind === "bytes") {
    return reach.indexOf(latin1(content.expression.bytes), content.offset) >= 0;
  }
  const end = content.expr.lastIndexOf("/");
  const pattern = new RegExp(content.expr.slice(1, end), `g${content.expr.slice(end + 1)}`);
  pattern.lastIndex = content.offset;
  return content.offset <= reach.length && pattern.test(reach);
}

export function slowFits(
  signature: AppSignature,
  flow: FlowNumbers,
  payload: Uint8Array,
  direction: "request" | "response",
): boolean {
  const { protocols, destinationPorts, sourcePorts, length, contents } = signature;
  const mine = contents.filter((content) => content.direction === direction);
  if (mine.length === 0 && (direction === "response" || contents.length > 0)) return false;
  if (protocols !== undefined && !protocols.includes(flow.transportProtocol)) return false;
  const within = (ranges: typeof sourcePorts, port: number) =>
    ranges === undefined || ranges.some(({ low, high }) => port >= low && port <= high);
  if (!within(destinationPorts, flow.destinationPort)) return false;
  if (!within(sourcePorts, flow.sourcePort)) return false;
  if (length !== undefined && direction === "request") {
    if (payload.length < length.low || payload.length > length.high) return false;
  }
  return mine.every((content) => slowContent(content, latin1(payload)) !== content.not);
}

const ALPHABET = ["a", "b", "B", "\\x00", "\\x0a", "\\xff", "0"];

function randomBytes(prng: Prng, lengthMax: number): string {
  let text = "";
  const length = 1 + prng.below(lengthMax);
  for (let i = 0; i < length; i++) text += ALPHABET[prng.below(ALPHABET.length)];
  return text;
}

function randomPiece(prng: Prng, depth: number): string {
  const leaf = [
    "a",
    "b",
    "[ab]",
    "[^a]",
    ".",
    "\\x00",
    "\\xff",
    "\\d",
    "[\\x00-\\x0a]",
    "B",
    "(?:a+)",
  ];
  const repeats = ["", "", "", "*", "+", "?", "{2}", "{1,3}", "{2,}", "*?"];
  const atom =
    depth === 0 || prng.oneIn(2)
      ? leaf[prng.below(leaf.length)]
      : // No alternative is empty: JavaScriptCore misses matches of repeated empty alternatives
        // that V8, Python and Hyperscan find.
        `(?:${randomPiece(prng, depth - 1)}0|${randomPiece(prng, depth - 1)}b)`;
  return atom + repeats[prng.below(repeats.length)];
}

function randomExpr(prng: Prng): string {
  if (prng.oneIn(2)) return randomBytes(prng, 3);
  let text = prng.oneIn(3) ? "^" : "";
  for (let i = 0; i <= prng.below(3); i++) text += randomPiece(prng, 2);
  return `/${text}a/${prng.oneIn(3) ? "i" : ""}${prng.oneIn(3) ? "s" : ""}`;
}

function randomContent(prng: Prng): Record<string, unknown> {
  const expr = randomExpr(prng);
  const offset = expr.startsWith("/^") || prng.oneIn(2) ? 0 : prng.below(6);
  return {
    expr,
    offset,
    ...(prng.oneIn(2) ? { depth: offset + 12 + prng.below(12) } : {}),
    ...(prng.oneIn(5) ? { not: true } : {}),
    ...(prng.oneIn(4) ? { direction: "response" } : {}),
  };
}

export function randomSignatures(prng: Prng, count: number): AppSignature[] {
  const list = Array.from({ length: count }, (_, i) => ({
    sig_id: `sig-${i}`,
    app_name: `app-${i}`,
    version: i, // all different: no ties
    status: prng.oneIn(10) ? "disabled" : "enabled",
    proto_type: prng.oneIn(4) ? "udp" : "tcp",
    dst_port: prng.oneIn(3) ? ["80", "90-99"] : "any",
    ...(prng.oneIn(6) ? { length: `${20 + prng.below(4)}-30` } : {}),
    priority: prng.below(3),
    contents: Array.from({ length: prng.below(4) }, () => randomContent(prng)),
  }));
  return parseSignatures(JSON.stringify(list), "random.json");
}

export function randomPayload(prng: Prng): Uint8Array {
  const bytes = [0x61, 0x61, 0x62, 0x42, 0x00, 0x0a, 0xff, 0x30];
  return Uint8Array.from({ length: prng.below(32) }, () => bytes[prng.below(bytes.length)]);
}
