/**
 * First payloads of databases, queues, web, RPC and storage protocols, each written from the
 * document its signature names (vectors-a.json), through the compiled library and the matcher.
 * A vector without `app` is a look-alike: none of these applications may claim it.
 */
import { ptr } from "bun:ffi";
import { afterAll, expect, test } from "bun:test";
import { openShim } from "../../src/dataplane/shim.ts";
import { compileSignatures } from "../../src/dpi/compile.ts";
import { librarySignature, librarySignatures } from "../../src/dpi/library.ts";
import { type FlowNumbers, Matcher, NEED_MORE } from "../../src/dpi/matcher.ts";
import { REQUEST, RESPONSE } from "../../src/dpi/snapshot.ts";
import vectors from "./vectors-a.json";

interface Vector {
  readonly name: string;
  readonly app: string | null;
  /** The sig_id that must win. */
  readonly signature?: string;
  readonly proto: string;
  readonly direction: string;
  /** The document, when it is another than the signature's. */
  readonly source?: string;
  readonly hex: string;
}

const VECTORS: readonly Vector[] = vectors;
const APPS = new Set(VECTORS.flatMap(({ app }) => (app === null ? [] : [app])));
/** No application's usual port. */
const PORT = 61_999;

const shim = openShim();
const library = compileSignatures(librarySignatures(), () => 1);
const database = shim.compileExpressions(library.expressions.blob, library.expressions.count);
shim.prepareDatabase(database);
afterAll(() => shim.releaseDatabase(database));
const matcher = new Matcher(library.snapshot, database, shim.symbols);

/** Beginnings of something longer: the rest comes without an answer. */
const BEGINNINGS = ["redis array count alone", "zmtp 1.0"];

/** `final`: 1 when no more bytes will be waited for. */
function judge({ hex, proto, direction }: Vector, final: number): number {
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
    destinationPort: PORT,
  };
  const side = direction === "response" ? RESPONSE : REQUEST;
  return matcher.matchPayload(side, numbers, Number(ptr(payload)), payload.length, final);
}

function winner(vector: Vector) {
  return library.signatures[judge(vector, 1)];
}

const CLAIMED = VECTORS.filter(({ app }) => app !== null);
const LOOKALIKES = VECTORS.filter(({ app }) => app === null);

test.each(CLAIMED)("$name", (vector) => {
  const found = winner(vector);
  expect(`${found?.app} by ${found?.id}`).toBe(`${vector.app} by ${vector.signature}`);
});

test.each(LOOKALIKES)("look-alike: $name", (vector) => {
  expect([...APPS]).not.toContain(winner(vector)?.app);
});

test("what a client sends before it waits for an answer is enough", () => {
  const requests = CLAIMED.filter(
    ({ proto, direction }) => `${proto} ${direction}` === "tcp request",
  );
  const waiting = requests.filter((vector) => judge(vector, 0) === NEED_MORE);
  expect(waiting.map(({ name }) => name)).toEqual(BEGINNINGS);
});

test("every signature of these applications wins for at least one vector", () => {
  const exercised = new Set(CLAIMED.map(({ signature }) => signature));
  const all = [...APPS].flatMap((app) => librarySignature(app)).map(({ id }) => id);
  expect(all.filter((id) => !exercised.has(id))).toEqual([]);
});

test("every signature names its document", () => {
  const signatures = [...APPS].flatMap((app) => librarySignature(app));
  expect(signatures.filter((one) => one.specification === "" || one.description === "")).toEqual(
    [],
  );
});
