/**
 * Proposes signatures from flows of one application (`abs sig learn`). What all flows share is
 * evidence: bytes at fixed positions of the first payload, a printable beginning, lengths,
 * protocol. The proposal is the smallest choice of shared bytes that no flow of the others
 * has. Flows that share too little are divided by a byte that tells them apart, and each part gets
 * a signature. Every proposal is measured with the real matcher before it is given.
 */

import type { Shim } from "../dataplane/shim.ts";
import { compileSignatures } from "../dpi/compile.ts";
import { FlowBurst } from "../dpi/flow-burst.ts";
import { Matcher } from "../dpi/matcher.ts";
import { parseSignatures } from "../dpi/schema.ts";
import { AbsError } from "../errors.ts";
import { protocolWord } from "../store/network-values.ts";
import type { FlowSample } from "./flow-samples.ts";

export interface EvidenceRow {
  readonly position: number;
  readonly value: number;
  /** Of the other flows of the same protocol, those that have it too. */
  readonly others: number;
  readonly chosen: boolean;
}

export interface Proposal {
  /** As in a signature file. */
  readonly signature: Record<string, unknown>;
  readonly direction: "request" | "response";
  /** Flows it was learned from. */
  readonly flows: number;
  /** Lengths of their first payloads: least and most. */
  readonly lengths: readonly [number, number];
  /** What they begin with, as far as it is printable and shared. */
  readonly prefix: string;
  readonly evidence: readonly EvidenceRow[];
}

export interface LearnResult {
  readonly app: string;
  readonly proposals: readonly Proposal[];
  /** Flows given, and those of them that a proposal matches. */
  readonly flows: number;
  readonly matched: number;
  /** Flows of others, and those that a proposal matches: always 0. */
  readonly against: number;
  readonly false_matches: number;
}

/** "Mostly its first 4 to 32 bytes" (§3.4). */
const POSITIONS_MAX = 32;
/** Fewer shared bytes are an accident rather than a protocol. */
const PINNED_MIN = 4;
const PARTS_MAX = 16;
/** A byte with more values than this does not tell kinds of messages apart. */
const KINDS_MAX = 8;

type Side = "request" | "response";

export function learn(
  shim: Shim,
  app: string,
  flows: readonly FlowSample[],
  against: readonly FlowSample[],
): LearnResult {
  const speaking = flows.filter(({ request, response }) => request.length + response.length > 0);
  const proposals: Proposal[] = [];
  for (const part of partsOf(speaking)) {
    if (proposals.length === PARTS_MAX) break;
    proposals.push(...proposalsFor(app, part, against));
  }
  const kept = proposals
    .filter(({ signature }) => matchesOf(shim, [signature], [against])[0] === 0)
    .map((proposal, i) => {
      const signature = { ...proposal.signature, sig_id: `${app}-learned-${i + 1}` };
      return { ...proposal, signature };
    });
  if (kept.length === 0) {
    const message = `The ${flows.length} flows share nothing that others have not.`;
    const remedy = "Give flows of one kind only (--flow), more of them, or fewer --against.";
    throw new AbsError("LEARN_NOTHING", message, remedy);
  }
  const signatures = kept.map(({ signature }) => signature);
  const [matched = 0, wrong = 0] = matchesOf(shim, signatures, [flows, against]);
  const counts = { flows: flows.length, matched, against: against.length, false_matches: wrong };
  return { app, proposals: kept, ...counts };
}

/** Flows by protocol and by who speaks first. */
function partsOf(flows: readonly FlowSample[]): FlowSample[][] {
  const parts = new Map<string, FlowSample[]>();
  for (const flow of flows) {
    const key = `${flow.numbers.transportProtocol} ${sideOf(flow)}`;
    parts.set(key, [...(parts.get(key) ?? []), flow]);
  }
  return [...parts.values()].sort((left, right) => right.length - left.length);
}

function sideOf({ request }: FlowSample): Side {
  return request.length > 0 ? "request" : "response";
}

/** One proposal, or those of its parts when the flows have too little in common. */
function proposalsFor(
  app: string,
  flows: readonly FlowSample[],
  against: readonly FlowSample[],
): Proposal[] {
  const [first] = flows;
  if (first === undefined) return [];
  const side = sideOf(first);
  const { transportProtocol } = first.numbers;
  const others = against.filter(
    ({ numbers, ...other }) =>
      numbers.transportProtocol === transportProtocol && other[side].length > 0,
  );
  const chosen = choosePositions(flows, others, side);
  if (chosen === undefined) {
    const parts = divided(flows, side);
    return parts.flatMap((part) => proposalsFor(app, part, against));
  }
  const lengths = flows.map((flow) => flow[side].length);
  const evidence = sharedPositions(flows, side).map((position) => ({
    position,
    value: first[side][position] ?? 0,
    others: others.filter((other) => other[side][position] === first[side][position]).length,
    chosen: chosen.includes(position),
  }));
  return [
    {
      signature: signatureOf(app, flows, chosen, side),
      direction: side,
      flows: flows.length,
      lengths: [Math.min(...lengths), Math.max(...lengths)],
      prefix: printablePrefix(flows, side),
      evidence,
    },
  ];
}

/** Positions at which all flows have the same byte. */
function sharedPositions(flows: readonly FlowSample[], side: Side): number[] {
  const shortest = Math.min(POSITIONS_MAX, ...flows.map((flow) => flow[side].length));
  const first = flows[0]?.[side];
  const positions = Array.from({ length: shortest }, (_, i) => i);
  return positions.filter((i) => flows.every((flow) => flow[side][i] === first?.[i]));
}

/**
 * The fewest shared positions that leave none of the others, then neighbours up to PINNED_MIN;
 * undefined when all of them together are not enough.
 */
function choosePositions(
  flows: readonly FlowSample[],
  others: readonly FlowSample[],
  side: Side,
): number[] | undefined {
  const shared = sharedPositions(flows, side);
  const first = flows[0]?.[side] ?? new Uint8Array(0);
  if (shared.length === 0) return undefined;
  const differs = (other: FlowSample, position: number) =>
    other[side][position] !== first[position];
  let left = [...others];
  const chosen: number[] = [];
  while (left.length > 0) {
    const excluded = (position: number) => left.filter((one) => differs(one, position)).length;
    const best = shared.reduce((one, other) => (excluded(other) > excluded(one) ? other : one));
    if (excluded(best) === 0) return undefined;
    chosen.push(best);
    left = left.filter((one) => !differs(one, best));
  }
  const wanted = Math.min(PINNED_MIN, shared.length);
  while (chosen.length < wanted) {
    const near = (position: number) => Math.min(...chosen.map((one) => Math.abs(one - position)));
    const rest = shared.filter((position) => !chosen.includes(position));
    chosen.push(rest.reduce((one, other) => (near(other) < near(one) ? other : one)));
  }
  return chosen.sort((one, other) => one - other);
}

/** By the values of the first byte that has a few, several flows each; empty when none has. */
function divided(flows: readonly FlowSample[], side: Side): FlowSample[][] {
  const shortest = Math.min(POSITIONS_MAX, ...flows.map((flow) => flow[side].length));
  for (let position = 0; position < shortest; position++) {
    const parts = new Map<number, FlowSample[]>();
    for (const flow of flows) {
      const value = flow[side][position] ?? 0;
      parts.set(value, [...(parts.get(value) ?? []), flow]);
    }
    const isKind = parts.size > 1 && parts.size <= KINDS_MAX && flows.length > parts.size;
    if (isKind) return [...parts.values()].filter(({ length }) => length > 1);
  }
  return [];
}

function signatureOf(
  app: string,
  flows: readonly FlowSample[],
  positions: readonly number[],
  side: Side,
): Record<string, unknown> {
  const [first] = flows;
  const protocol = first?.numbers.transportProtocol ?? 0;
  const runs: number[][] = [];
  for (const position of positions) {
    const run = runs.at(-1);
    if (run?.at(-1) === position - 1) run.push(position);
    else runs.push([position]);
  }
  const contents = runs.map((run) => ({
    offset: run[0] ?? 0,
    depth: (run[0] ?? 0) + run.length,
    expr: run.map((position) => byteText(first?.[side][position] ?? 0)).join(""),
    ...(side === "response" ? { direction: side } : {}),
  }));
  const ports = [...new Set(flows.map(({ numbers }) => numbers.destinationPort))];
  return {
    sig_id: `${app}-learned`,
    app_name: app,
    version: 1,
    description: `Learned from ${flows.length} flows; check it against the specification.`,
    status: "enabled",
    proto_type: protocolWord(protocol),
    contents,
    ...(protocol !== 1 && ports.length <= 4 ? { usual_ports: ports.map(String) } : {}),
  };
}

/** As `expr` takes it. A slash at the beginning would make it a regular expression. */
function byteText(byte: number): string {
  const sign = String.fromCharCode(byte);
  return /^[A-Za-z0-9 _.:;,=-]$/.test(sign) ? sign : `\\x${byte.toString(16).padStart(2, "0")}`;
}

function printablePrefix(flows: readonly FlowSample[], side: Side): string {
  const shared = sharedPositions(flows, side);
  let text = "";
  for (let i = 0; shared[i] === i; i++) {
    const byte = flows[0]?.[side][i] ?? 0;
    if (byte < 0x20 || byte > 0x7e) break;
    text += String.fromCharCode(byte);
  }
  return text;
}

/** How many flows of each group the signatures match. */
function matchesOf(
  shim: Shim,
  signatures: readonly Record<string, unknown>[],
  groups: readonly (readonly FlowSample[])[],
): number[] {
  const read = parseSignatures(JSON.stringify(signatures), "learned");
  const { snapshot, expressions } = compileSignatures(read, () => 0);
  const database = shim.compileExpressions(expressions.blob, expressions.count);
  shim.prepareDatabase(database);
  const burst = new FlowBurst(new Matcher(snapshot, database, shim.symbols));
  const counts = groups.map((flows) => {
    let matched = 0;
    const run = () => {
      const judged = burst.run();
      for (let i = 0; i < judged; i++) if ((burst.signature[i] ?? -1) >= 0) matched++;
    };
    for (const { numbers, request, response } of flows) {
      if (burst.add(numbers, request, response) >= 0) continue;
      run();
      burst.add(numbers, request, response);
    }
    run();
    return matched;
  });
  shim.releaseDatabase(database);
  return counts;
}
