/**
 * Whole flows by bursts (src/dpi/flow-burst.ts) against the slow matcher: a signature with contents
 * of both directions is met by both payloads, as far as there are any; of equal ranks the one at
 * home on the flow's port wins.
 */
import { afterAll, expect, test } from "bun:test";
import { openShim } from "../../src/dataplane/shim.ts";
import { type CompiledSignatures, compileSignatures } from "../../src/dpi/compile.ts";
import { BURST_FLOWS, FlowBurst } from "../../src/dpi/flow-burst.ts";
import { type FlowNumbers, Matcher, NO_MATCH } from "../../src/dpi/matcher.ts";
import { parseSignatures } from "../../src/dpi/schema.ts";
import type { AppSignature } from "../../src/dpi/signature.ts";
import { Prng, seed } from "../prng.ts";
import { anyFlow } from "./flows.ts";
import { latin1, randomPayload, randomSignatures, slowFits } from "./slow-matcher.ts";

const shim = openShim();
let database = -1;
afterAll(() => {
  if (database >= 0) shim.releaseDatabase(database);
});

function burstFor({ snapshot, expressions }: CompiledSignatures): FlowBurst {
  if (database >= 0) shim.releaseDatabase(database);
  database = shim.compileExpressions(expressions.blob, expressions.count);
  shim.prepareDatabase(database);
  return new FlowBurst(new Matcher(snapshot, database, shim.symbols));
}

interface Flow {
  readonly numbers: FlowNumbers;
  readonly request: Uint8Array;
  readonly response: Uint8Array;
}

function randomFlow(prng: Prng): Flow {
  const [request, response] = [randomPayload(prng), randomPayload(prng)];
  const silent = prng.below(6);
  return {
    numbers: anyFlow({
      transportProtocol: prng.oneIn(4) ? 17 : 6,
      destinationPort: prng.oneIn(2) ? 80 : 1000,
    }),
    request: silent === 0 ? new Uint8Array(0) : request,
    response: silent <= 2 ? new Uint8Array(0) : response,
  };
}

function slowFlowFits(signature: AppSignature, { numbers, request, response }: Flow): boolean {
  const directions = signature.contents.map(({ direction }) => direction);
  const asksResponse = directions.includes("response");
  const asksRequest = directions.includes("request") || !asksResponse;
  const fits = (direction: "request" | "response") =>
    slowFits(signature, numbers, direction === "request" ? request : response, direction);
  const { low, high } = signature.length ?? { low: 0, high: Infinity };
  const hasLength = request.length >= low && request.length <= high;
  if (response.length === 0) return asksRequest && fits("request");
  if (request.length === 0) {
    // A silent initiator: the responder's contents decide alone; without any, the numbers.
    return (asksResponse && fits("response")) || (asksRequest && fits("request"));
  }
  if (!asksRequest) return fits("response") && hasLength;
  return fits("request") && (!asksResponse || fits("response"));
}

test(`flows in bursts agree with the slow matcher (SEED=${seed})`, () => {
  const prng = new Prng(seed);
  let matched = 0;
  for (let round = 0; round < 20; round++) {
    const compiled = compileSignatures(randomSignatures(prng, 14), () => 1);
    const burst = burstFor(compiled);
    for (let turn = 0; turn < 6; turn++) {
      const flows = Array.from({ length: 1 + prng.below(BURST_FLOWS) }, () => randomFlow(prng));
      for (const [i, { numbers, request, response }] of flows.entries()) {
        expect(burst.add(numbers, request, response)).toBe(i);
      }
      expect(burst.run()).toBe(flows.length);
      for (const [i, flow] of flows.entries()) {
        const slow = compiled.signatures.findIndex((one) => slowFlowFits(one, flow));
        const context = { round, request: latin1(flow.request), response: latin1(flow.response) };
        const id = (index: number) => compiled.signatures[index]?.id ?? "none";
        const fast = burst.signature[i] ?? NO_MATCH;
        expect({ ...context, found: id(fast) }).toEqual({ ...context, found: id(slow) });
        if (slow >= 0) matched++;
      }
    }
  }
  expect(matched).toBeGreaterThan(200);
});

test("a full burst takes no more, and a run empties it", () => {
  const signatures = parseSignatures(
    JSON.stringify({
      sig_id: "a",
      app_name: "a",
      version: 1,
      status: "enabled",
      proto_type: "tcp",
      contents: [{ expr: "abc" }],
    }),
    "a.json",
  );
  const burst = burstFor(compileSignatures(signatures, () => 1));
  const nothing = new Uint8Array(0);
  const large = Buffer.concat([Buffer.alloc(65_000), Buffer.from("abc")]);
  for (let i = 0; i < 4; i++) expect(burst.add(anyFlow({}), large, nothing)).toBe(i);
  expect(burst.add(anyFlow({}), large, nothing)).toBe(-1);
  expect(burst.run()).toBe(4);
  expect([...burst.signature.subarray(0, 4)]).toEqual([0, 0, 0, 0]);
  expect(burst.run()).toBe(0);
  for (let i = 0; i < BURST_FLOWS; i++) burst.add(anyFlow({}), Buffer.from("abc"), nothing);
  expect(burst.add(anyFlow({}), nothing, nothing)).toBe(-1);
  expect(burst.run()).toBe(BURST_FLOWS);
});

/** Two signatures that differ in nothing but where they are usual. */
const HOMES = ["53", "5355"].map((port) => ({
  sig_id: `on-${port}`,
  app_name: `app-${port}`,
  version: 1,
  status: "enabled",
  proto_type: "udp",
  contents: [{ offset: 0, depth: 2, expr: "ab" }],
  usual_ports: port,
}));

test.each([
  { port: 53, app: "app-53" },
  { port: 5355, app: "app-5355" },
  { port: 9999, app: "app-53" }, // at home nowhere: the smaller id
])("of equals the one at home on port $port wins: $app", ({ port, app }) => {
  const compiled = compileSignatures(parseSignatures(JSON.stringify(HOMES), "h.json"), () => 1);
  const burst = burstFor(compiled);
  const flow = anyFlow({ transportProtocol: 17, destinationPort: port });
  burst.add(flow, Buffer.from("abc"), new Uint8Array(0));
  burst.run();
  expect(compiled.signatures[burst.signature[0] ?? -1]?.app).toBe(app);
});
