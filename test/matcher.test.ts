/**
 * The matcher with the real Hyperscan against a slow, obvious one (plain search, JavaScript's
 * RegExp on Latin-1 text): random signatures, random payloads; and the built-in library against
 * first payloads written from the protocols' documents. design/agent.md "Application signatures".
 */
import { ptr } from "bun:ffi";
import { afterAll, expect, test } from "bun:test";
import { openShim, type Shim } from "../src/dataplane/shim.ts";
import { type CompiledSignatures, compileSignatures } from "../src/dpi/compile.ts";
import { librarySignatures } from "../src/dpi/library.ts";
import { type FlowNumbers, Matcher, NEED_MORE, NO_MATCH } from "../src/dpi/matcher.ts";
import { parseSignatures } from "../src/dpi/schema.ts";
import type { AppSignature, SignatureContent } from "../src/dpi/signature.ts";
import { REQUEST, RESPONSE } from "../src/dpi/snapshot.ts";
import { Prng, seed } from "./prng.ts";

const shim: Shim = openShim();
const databases: number[] = [];
afterAll(() => {
  for (const database of databases) shim.releaseDatabase(database);
});

function matcherFor(compiled: CompiledSignatures): Matcher {
  const { blob, count } = compiled.expressions;
  if (count === 0) return new Matcher(compiled.snapshot, -1, shim.symbols);
  // The library's database, made first, stays; the shim has few places for the others.
  for (const old of databases.splice(1)) shim.releaseDatabase(old);
  const database = shim.compileExpressions(blob, count);
  databases.push(database);
  shim.prepareDatabase(database);
  return new Matcher(compiled.snapshot, database, shim.symbols);
}

const library = compileSignatures(librarySignatures(), () => 1);
const libraryMatcher = matcherFor(library);

function numbers(change: Partial<FlowNumbers>): FlowNumbers {
  return {
    ipVersion: 4,
    transportProtocol: 6,
    source0: 0,
    source1: 0,
    source2: 0,
    source3: 0x0a010001,
    sourcePort: 40_000,
    destination0: 0,
    destination1: 0,
    destination2: 0,
    destination3: 0x0a010002,
    destinationPort: 80,
    ...change,
  };
}

function judge(
  matcher: Matcher,
  flow: FlowNumbers,
  payload: Uint8Array,
  options: { direction?: number; final?: number } = {},
): number {
  const text = payload.length === 0 ? new Uint8Array(1) : payload;
  const { direction = REQUEST, final = 1 } = options;
  return matcher.matchPayload(direction, flow, Number(ptr(text)), payload.length, final);
}

// ---- the slow matcher -------------------------------------------------------------------------

function latin1(bytes: Uint8Array): string {
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

function slowFits(
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

// ---- random signatures ------------------------------------------------------------------------

const ALPHABET = ["a", "b", "B", "\\x00", "\\x0a", "\\xff", "0"];

function randomBytes(prng: Prng, lengthMax: number): string {
  let text = "";
  const length = 1 + prng.below(lengthMax);
  for (let i = 0; i < length; i++) text += ALPHABET[prng.below(ALPHABET.length)];
  return text;
}

function randomPiece(prng: Prng, depth: number): string {
  const leaf = ["a", "b", "[ab]", "[^a]", ".", "\\x00", "\\xff", "\\d", "[\\x00-\\x0a]", "B"];
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

function randomSignatures(prng: Prng, count: number): AppSignature[] {
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

function randomPayload(prng: Prng): Uint8Array {
  const bytes = [0x61, 0x61, 0x62, 0x42, 0x00, 0x0a, 0xff, 0x30];
  return Uint8Array.from({ length: prng.below(32) }, () => bytes[prng.below(bytes.length)]);
}

test(`the matcher agrees with the slow one (SEED=${seed})`, () => {
  const prng = new Prng(seed);
  let matches = 0;
  for (let round = 0; round < 20; round++) {
    const compiled = compileSignatures(randomSignatures(prng, 12), () => 1);
    const matcher = matcherFor(compiled);
    for (let i = 0; i < 200; i++) {
      const payload = randomPayload(prng);
      const flow = numbers({
        transportProtocol: prng.oneIn(4) ? 17 : 6,
        destinationPort: prng.oneIn(2) ? 80 : 1000,
      });
      for (const direction of ["request", "response"] as const) {
        const slow = compiled.signatures.findIndex((signature) =>
          slowFits(signature, flow, payload, direction),
        );
        const code = direction === "request" ? REQUEST : RESPONSE;
        const fast = judge(matcher, flow, payload, { direction: code });
        const context = { round, direction, payload: latin1(payload), slow: words(compiled, slow) };
        expect({ ...context, fast: words(compiled, fast) }).toEqual({
          ...context,
          fast: words(compiled, slow),
        });
        if (slow >= 0) matches++;
        const early = judge(matcher, flow, payload, { direction: code, final: 0 });
        if (early !== NEED_MORE) expect(early).toBe(fast);
      }
    }
    expect(matcher.overflows + matcher.failures).toBe(0);
  }
  expect(matches).toBeGreaterThan(500);
}, 60_000);

function words(compiled: CompiledSignatures, index: number): string {
  const signature = compiled.signatures[index];
  if (signature === undefined) return `none (${index})`;
  return `${signature.id} ${signature.contents.map(({ expr }) => expr).join(" & ")}`;
}

test(`a payload cut short of what its signature needs waits (SEED=${seed})`, () => {
  const prng = new Prng(seed);
  for (let round = 0; round < 10; round++) {
    const compiled = compileSignatures(randomSignatures(prng, 12), () => 1);
    const matcher = matcherFor(compiled);
    const { need } = compiled.snapshot;
    for (let i = 0; i < 200; i++) {
      const payload = randomPayload(prng);
      const whole = judge(matcher, numbers({}), payload);
      if (whole < 0 || need[2 * whole] === 0) continue;
      const cut = payload.slice(0, prng.below(Math.min(payload.length, need[2 * whole])));
      const early = judge(matcher, numbers({}), cut, { final: 0 });
      // Either it waits, or a better signature is content with the bytes there are.
      expect(early === NEED_MORE || (early >= 0 && early < whole)).toBe(true);
    }
  }
}, 60_000);

// ---- the library ------------------------------------------------------------------------------

const ZEROS19 = "\\x00".repeat(19);

/** Text with \xNN, \r and \n escapes as bytes. */
function bytesOf(text: string): Uint8Array {
  const plain = text
    .replaceAll("\\r", "\r")
    .replaceAll("\\n", "\n")
    .replace(/\\x([0-9a-f]{2})/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)));
  return Uint8Array.from(plain, (sign) => sign.charCodeAt(0));
}

/** Length byte, capabilities and what follows the reserved bytes of a HandshakeResponse41. */
function mysqlAnswer(length: string, capabilities: string, rest: string): string {
  return `${length}\\x00\\x00\\x01${capabilities}\\x00\\x00\\x00\\x01\\x2d${ZEROS19}${rest}`;
}

const COOKIE = "abcdefghijklmnopqrstuvwxyz234567abcd";
const DNS_QUERY =
  "\\x12\\x34\\x01\\x00\\x00\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x02ab\\x00\\x00\\x01\\x00\\x01";

/** `app` is the application or undefined for none; UDP and ICMP by `protocol`. */
const FIRST_PAYLOADS: readonly {
  name: string;
  payload: string;
  app: string | undefined;
  protocol?: number;
}[] = [
  { name: "redis PING", payload: "*1\\r\\n$4\\r\\nPING\\r\\n", app: "redis" },
  { name: "redis, no count", payload: "*\\r\\n$4\\r\\nPING\\r\\n", app: undefined },
  {
    name: "postgresql startup",
    payload: "\\x00\\x00\\x00\\x13\\x00\\x03\\x00\\x00user\\x00web\\x00\\x00",
    app: "postgresql",
  },
  {
    name: "postgresql SSLRequest",
    payload: "\\x00\\x00\\x00\\x08\\x04\\xd2\\x16\\x2f",
    app: "postgresql",
  },
  {
    name: "postgresql GSSENCRequest",
    payload: "\\x00\\x00\\x00\\x08\\x04\\xd2\\x16\\x30",
    app: "postgresql",
  },
  {
    name: "postgresql CancelRequest",
    payload: "\\x00\\x00\\x00\\x10\\x04\\xd2\\x16\\x2e\\x00\\x00\\x00\\x01\\x00\\x00\\x00\\x02",
    app: "postgresql",
  },
  { name: "postgresql 2.0", payload: "\\x00\\x00\\x00\\x13\\x00\\x02\\x00\\x00u", app: undefined },
  {
    name: "mysql HandshakeResponse41",
    payload: mysqlAnswer("\\x54", "\\x8d\\xa6\\x3f\\x20", "\\x00\\x00\\x00\\x00web\\x00"),
    app: "mysql",
  },
  {
    name: "mariadb, extended capabilities",
    payload: mysqlAnswer("\\x54", "\\x84\\xa2\\xbf\\x00", "\\x07\\x00\\x00\\x00web\\x00"),
    app: "mysql",
  },
  {
    name: "mysql SSLRequest",
    payload: mysqlAnswer("\\x20", "\\x85\\xae\\xff\\x00", "\\x00\\x00\\x00\\x00"),
    app: "mysql",
  },
  { name: "ssh", payload: "SSH-2.0-OpenSSH_9.2p1 Debian-2\\r\\n", app: "ssh" },
  { name: "ssh 1.99", payload: "SSH-1.99-x\\r\\n", app: "ssh" },
  { name: "not ssh", payload: "SSH-3.0-x\\r\\n", app: undefined },
  { name: "http", payload: "GET /index.html HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n", app: "http" },
  { name: "webdav", payload: "PROPFIND / HTTP/1.1\\r\\n\\r\\n", app: "http" },
  { name: "rtsp is not http", payload: "OPTIONS rtsp://a/ RTSP/1.0\\r\\n", app: undefined },
  { name: "ssdp is not http", payload: "M-SEARCH * HTTP/1.1\\r\\n", app: undefined, protocol: 17 },
  {
    name: "tls 1.3 ClientHello",
    payload: "\\x16\\x03\\x01\\x02\\x00\\x01\\x00\\x01\\xfc\\x03\\x03abc",
    app: "tls",
  },
  {
    name: "tls ServerHello",
    payload: "\\x16\\x03\\x03\\x00\\x5a\\x02\\x00\\x00\\x56\\x03\\x03",
    app: undefined,
  },
  { name: "iperf3 cookie", payload: `${COOKIE}\\x00`, app: "iperf3" },
  { name: "iperf3 without its NUL", payload: `${COOKIE}a`, app: undefined },
  { name: "iperf3 UDP", payload: "9876", app: "iperf3", protocol: 17 },
  { name: "iperf3 UDP, older", payload: "\\x15\\xcd\\x5b\\x07", app: "iperf3", protocol: 17 },
  { name: "iperf3 UDP, too long", payload: "98765", app: undefined, protocol: 17 },
  { name: "dns", payload: DNS_QUERY, app: "dns", protocol: 17 },
  { name: "dns over TCP", payload: `\\x00\\x14${DNS_QUERY}`, app: "dns" },
  {
    name: "dns answer",
    payload: DNS_QUERY.replace("\\x01\\x00", "\\x81\\x80"),
    app: undefined,
    protocol: 17,
  },
  { name: "ntp", payload: `\\x23\\x00\\x06\\x20${"\\x00".repeat(44)}`, app: "ntp", protocol: 17 },
  {
    name: "ntp, a byte short",
    payload: `\\x23\\x00\\x06\\x20${"\\x00".repeat(43)}`,
    app: undefined,
    protocol: 17,
  },
  {
    name: "ntp server",
    payload: `\\x24\\x00\\x06\\x20${"\\x00".repeat(44)}`,
    app: undefined,
    protocol: 17,
  },
  { name: "ping", payload: "abcdefgh", app: "ping", protocol: 1 },
  { name: "ping without payload", payload: "", app: "ping", protocol: 1 },
  { name: "ping over IPv6", payload: "x", app: "ping", protocol: 58 },
  { name: "nothing known", payload: "hello, world", app: undefined },
];

test.each([...FIRST_PAYLOADS])("library: $name", ({ payload, app, protocol = 6 }) => {
  const bytes = bytesOf(payload);
  const found = judge(libraryMatcher, numbers({ transportProtocol: protocol }), bytes);
  expect(library.signatures[found]?.app).toBe(app as string);
});

test("library: MySQL's greeting is a response", () => {
  const greeting = bytesOf("\\x4a\\x00\\x00\\x00\\x0a8.0.35\\x00");
  const found = judge(libraryMatcher, numbers({}), greeting, { direction: RESPONSE });
  expect(library.signatures[found]?.app).toBe("mysql");
});

const WAITS: readonly { name: string; payload: string; waits: boolean }[] = [
  { name: "nothing yet", payload: "", waits: true },
  { name: "redis up to its count", payload: "*1", waits: true },
  { name: "the start of a cookie", payload: "abc", waits: true },
  { name: "SSH-", payload: "SSH-", waits: true },
  { name: "no protocol begins so", payload: "\\xff\\xfe\\xff\\xff", waits: false },
  { name: "a whole request", payload: "*1\\r\\n$4\\r\\nPING\\r\\n", waits: false },
];

test.each([...WAITS])("library: $name, waits: $waits", ({ payload, waits }) => {
  const found = judge(libraryMatcher, numbers({}), bytesOf(payload), { final: 0 });
  expect(found === NEED_MORE).toBe(waits);
});

test("library: numbers alone leave TCP, UDP and ICMP possible, and nothing else", () => {
  const possible = [6, 17, 1, 58, 132].filter((transportProtocol) =>
    libraryMatcher.hasCandidate(numbers({ transportProtocol })),
  );
  expect(possible).toEqual([6, 17, 1, 58]);
});

test("reports that do not fit are refused and counted", () => {
  const text = JSON.stringify([
    {
      sig_id: "a",
      app_name: "a",
      version: 1,
      status: "enabled",
      proto_type: "tcp",
      contents: [{ offset: 0, depth: 60, expr: "/a+/" }],
    },
  ]);
  const compiled = compileSignatures(parseSignatures(text, "a.json"), () => 1);
  const { blob, count } = compiled.expressions;
  const database = shim.compileExpressions(blob, count);
  databases.push(database);
  shim.prepareDatabase(database);
  const small = new Matcher(compiled.snapshot, database, shim.symbols, 4);
  expect(judge(small, numbers({}), new Uint8Array(50).fill(0x61))).toBe(NO_MATCH);
  expect(small.overflows).toBe(1);
  expect(judge(small, numbers({}), new Uint8Array(3).fill(0x61))).toBe(0);
});
