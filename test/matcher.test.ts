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
import { type FlowNumbers, Matcher, NEED_MORE } from "../src/dpi/matcher.ts";
import { REQUEST, RESPONSE } from "../src/dpi/snapshot.ts";
import { anyFlow } from "./dpi/flows.ts";
import { latin1, randomPayload, randomSignatures, slowFits } from "./dpi/slow-matcher.ts";
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

test(`the matcher agrees with the slow one (SEED=${seed})`, () => {
  const prng = new Prng(seed);
  let matches = 0;
  for (let round = 0; round < 20; round++) {
    const compiled = compileSignatures(randomSignatures(prng, 12), () => 1);
    const matcher = matcherFor(compiled);
    for (let i = 0; i < 200; i++) {
      const payload = randomPayload(prng);
      const flow = anyFlow({
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
    expect(matcher.failures).toBe(0);
  }
  expect(matches).toBeGreaterThan(500);
}, 60_000);

test(`numbers alone leave possible what the slow matcher leaves (SEED=${seed})`, () => {
  const prng = new Prng(seed);
  const outcomes = [0, 0];
  for (let round = 0; round < 100; round++) {
    const compiled = compileSignatures(randomSignatures(prng, 1 + prng.below(6)), () => 1);
    const matcher = new Matcher(compiled.snapshot, -1, shim.symbols);
    const candidates = compiled.signatures.filter(
      ({ contents }) =>
        contents.length === 0 || contents.some(({ direction }) => direction === "request"),
    );
    for (const destinationPort of [0, 79, 80, 81, 89, 90, 95, 99, 100, 65_535]) {
      for (const transportProtocol of [6, 17, 1, 132]) {
        const flow = anyFlow({ transportProtocol, destinationPort });
        const slow = candidates.some(
          ({ protocols, destinationPorts }) =>
            (protocols?.includes(transportProtocol) ?? true) &&
            (destinationPorts?.some(
              ({ low, high }) => destinationPort >= low && destinationPort <= high,
            ) ??
              true),
        );
        expect([destinationPort, matcher.hasCandidate(flow)]).toEqual([destinationPort, slow]);
        outcomes[Number(slow)]++;
      }
    }
  }
  expect(Math.min(...outcomes)).toBeGreaterThan(50);
});

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
      const whole = judge(matcher, anyFlow({}), payload);
      if (whole < 0 || need[2 * whole] === 0) continue;
      const cut = payload.slice(0, prng.below(Math.min(payload.length, need[2 * whole])));
      const early = judge(matcher, anyFlow({}), cut, { final: 0 });
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
  { name: "rtsp is not http", payload: "OPTIONS rtsp://a/ RTSP/1.0\\r\\n", app: "rtsp" },
  { name: "ssdp is not http", payload: "M-SEARCH * HTTP/1.1\\r\\n", app: "ssdp", protocol: 17 },
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
  const found = judge(libraryMatcher, anyFlow({ transportProtocol: protocol }), bytes);
  expect(library.signatures[found]?.app).toBe(app as string);
});

test("library: MySQL's greeting is a response", () => {
  const greeting = bytesOf("\\x4a\\x00\\x00\\x00\\x0a8.0.35\\x00");
  const found = judge(libraryMatcher, anyFlow({}), greeting, { direction: RESPONSE });
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
  const found = judge(libraryMatcher, anyFlow({}), bytesOf(payload), { final: 0 });
  expect(found === NEED_MORE).toBe(waits);
});

test("library: numbers alone leave TCP, UDP and ICMP possible, and nothing else", () => {
  const possible = [6, 17, 1, 58, 132].filter((transportProtocol) =>
    libraryMatcher.hasCandidate(anyFlow({ transportProtocol })),
  );
  expect(possible).toEqual([6, 17, 1, 58]);
});
