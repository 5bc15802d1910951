/**
 * First payloads of every application of the library, each written from the document its signature
 * names, through the compiled library and the matcher. vectors-a.json: databases, queues, web, RPC
 * and storage; vectors-b.json: infrastructure, remote access, mail, chat, industry and monitoring.
 * A vector without `app` is a look-alike: no application of its file may claim it.
 */
import { ptr } from "bun:ffi";
import { afterAll, describe, expect, test } from "bun:test";
import { openShim } from "../../src/dataplane/shim.ts";
import { compileSignatures } from "../../src/dpi/compile.ts";
import { libraryNames, librarySignatures } from "../../src/dpi/library.ts";
import { type FlowNumbers, Matcher, NEED_MORE } from "../../src/dpi/matcher.ts";
import { REQUEST, RESPONSE } from "../../src/dpi/snapshot.ts";
import vectorsA from "./vectors-a.json";
import vectorsB from "./vectors-b.json";

interface Vector {
  readonly name: string;
  readonly app: string | null;
  /** The sig_id that must win. */
  readonly signature?: string;
  readonly proto: string;
  readonly direction: string;
  /** The document, when it is another than the signature's. */
  readonly source?: string;
  /** Signatures of weak protocols ask for their port. */
  readonly port?: number;
  readonly hex: string;
}

const FILES: readonly { readonly file: string; readonly vectors: readonly Vector[] }[] = [
  { file: "vectors-a.json", vectors: vectorsA },
  { file: "vectors-b.json", vectors: vectorsB },
];
/** No application's usual port. */
const PORT = 61_999;
/** Exercised elsewhere: by test/matcher.test.ts and the e2e suites. */
const ELSEWHERE = ["iperf3", "ping"];
/** Beginnings of something longer: the rest comes without an answer. */
const BEGINNINGS = ["redis array count alone", "zmtp 1.0"];

const shim = openShim();
const signatures = librarySignatures();
const library = compileSignatures(signatures, () => 1);
const database = shim.compileExpressions(library.expressions.blob, library.expressions.count);
shim.prepareDatabase(database);
afterAll(() => shim.releaseDatabase(database));
const matcher = new Matcher(library.snapshot, database, shim.symbols);

/** `final`: 1 when no more bytes will be waited for. */
function judge({ hex, proto, direction, port }: Vector, final: number): number {
  const payload = Uint8Array.fromHex(hex);
  const numbers: FlowNumbers = {
    ipVersion: 4,
    transportProtocol: proto === "udp" ? 17 : 6,
    source0: 0,
    source1: 0,
    source2: 0,
    source3: 0x0a010001,
    sourcePort: 40_000,
    destination0: 0,
    destination1: 0,
    destination2: 0,
    destination3: 0x0a010002,
    destinationPort: port ?? PORT,
  };
  const side = direction === "response" ? RESPONSE : REQUEST;
  return matcher.matchPayload(side, numbers, Number(ptr(payload)), payload.length, final);
}

function winner(vector: Vector) {
  return library.signatures[judge(vector, 1)];
}

describe.each([...FILES])("$file", ({ vectors }) => {
  const claimed = vectors.filter(({ app }) => app !== null);
  const apps = new Set(claimed.map(({ app }) => app));

  test.each(claimed)("$name", (vector) => {
    const found = winner(vector);
    expect(`${found?.app} by ${found?.id}`).toBe(`${vector.app} by ${vector.signature}`);
  });

  test.each(vectors.filter(({ app }) => app === null))("look-alike: $name", (vector) => {
    expect(apps.has(winner(vector)?.app ?? "")).toBe(false);
  });
});

test("what a client of a database or queue sends before it waits for an answer is enough", () => {
  const requests = vectorsA.filter(
    ({ app, proto, direction }) => app !== null && proto === "tcp" && direction === "request",
  );
  const waiting = requests.filter((vector) => judge(vector, 0) === NEED_MORE);
  expect(waiting.map(({ name }) => name)).toEqual(BEGINNINGS);
});

test("every application is there, and every signature wins for at least one vector", () => {
  const all = FILES.flatMap(({ vectors }) => vectors);
  const apps = new Set(all.map(({ app }) => app));
  expect(libraryNames().filter((name) => !apps.has(name))).toEqual(ELSEWHERE);
  const exercised = new Set(all.map(({ signature }) => signature));
  const idle = signatures.filter(({ app, id }) => apps.has(app) && !exercised.has(id));
  expect(idle.map(({ id }) => id)).toEqual([]);
});

test("every signature names its document", () => {
  const bare = signatures.filter((one) => one.specification === "" || one.description === "");
  expect(bare.map(({ id }) => id)).toEqual([]);
});

test("the library has the 130 applications it promises, and more", () => {
  expect(libraryNames().length).toBeGreaterThanOrEqual(130);
});
