/**
 * Allow rules for flows that a policy denies (`abs policy suggest`): the fewest that name exactly
 * what was seen. Flows that differ in the port alone become one rule, and so do those that differ
 * in the agent alone; nothing is widened to what was not seen. They go after the policy's own
 * rules, so what one of those denies stays denied. design/agent.md "Policy".
 */

import { PORT_PROTOCOLS, protocolWord } from "../store/network-values.ts";
import { formatAddress } from "../wire/ip-text.ts";
import { RESERVED_RULES } from "./decision.ts";
import type { ObservedFlow } from "./observed-flows.ts";
import type { Direction, PolicyNames } from "./policy.ts";
import type { PolicyAnswers } from "./question.ts";

/** One end of a rule, as policies write it. */
interface RuleEnd {
  readonly agent?: string | readonly string[];
  readonly cidr?: string | readonly string[];
  readonly protocol?: string;
  readonly port?: PortWords;
}

type PortWords = number | string | readonly (number | string)[];

export interface SuggestedRule {
  readonly id: string;
  readonly direction: Direction;
  readonly from?: RuleEnd;
  readonly to?: RuleEnd;
  readonly app?: string;
  readonly action: "allow";
}

export interface Suggestion {
  readonly rule: SuggestedRule;
  /** Different flows behind it, and decisions of the log on them. */
  readonly flows: number;
  readonly decisions: number;
  readonly last: string;
}

export interface Suggestions {
  readonly suggestions: readonly Suggestion[];
  /** Denied flows with an agent that no rule can allow: their application is not known. */
  readonly unknownApp: number;
  /** Flows that a rule of the policy denies: somebody meant that. */
  readonly deniedByRule: number;
}

/** What one rule is for, as it grows. */
interface Draft {
  readonly direction: Direction;
  readonly app: string | undefined;
  readonly protocol: number;
  readonly ports: Set<number>;
  readonly kind: "agent" | "cidr";
  /** Ids of agents, or networks of one address. */
  readonly others: Set<string>;
  flows: number;
  decisions: number;
  last: string;
}

export function suggest(
  flows: Iterable<ObservedFlow>,
  answers: PolicyAnswers,
  taken: ReadonlySet<string>,
): Suggestions {
  const drafts = new Map<string, Draft>();
  let unknownApp = 0;
  let deniedByRule = 0;
  for (const flow of flows) {
    const { question } = flow;
    const { action, rule } = answers.answer(question);
    if (action === "allow") continue;
    if (!isReserved(rule)) deniedByRule++;
    else if (needsApp(flow, answers.names)) unknownApp++;
    else {
      const draft = draftOf(flow);
      join(drafts, [...draft.others], draft);
    }
  }
  const joined = new Map<string, Draft>();
  for (const draft of drafts.values()) join(joined, [...draft.ports].sort(), draft);
  const ids = new Set(taken);
  const suggestions = [...joined.values()]
    .sort((left, right) => right.decisions - left.decisions)
    .map((draft) => suggestionOf(draft, ids));
  return { suggestions, unknownApp, deniedByRule };
}

function isReserved(rule: string): boolean {
  return (RESERVED_RULES as readonly string[]).includes(rule);
}

/** In full mode only a proven application is let through. */
function needsApp({ question }: ObservedFlow, names: PolicyNames): boolean {
  const { peer, direction, app } = question;
  if (peer === undefined || app !== undefined) return false;
  const mode =
    direction === "in" ? names.own.mode : names.peers.find(({ id }) => id === peer)?.mode;
  return mode !== "quick";
}

function draftOf({ question, count, last }: ObservedFlow): Draft {
  const { direction, peer, address, protocol, port, app } = question;
  const network = `${formatAddress(address)}/${address.version === 4 ? 32 : 128}`;
  return {
    direction,
    app,
    protocol,
    ports: new Set(PORT_PROTOCOLS.includes(protocol) ? [port] : []),
    kind: peer === undefined ? "cidr" : "agent",
    others: new Set([peer ?? network]),
    flows: 1,
    decisions: count,
    last,
  };
}

/** Joins `draft` to the one that has the same `key` and asks for the same. */
function join(drafts: Map<string, Draft>, key: readonly unknown[], draft: Draft): void {
  const { direction, app, protocol, kind } = draft;
  const place = JSON.stringify([direction, app, protocol, kind, ...key]);
  const known = drafts.get(place);
  if (known === undefined) {
    drafts.set(place, draft);
    return;
  }
  for (const port of draft.ports) known.ports.add(port);
  for (const other of draft.others) known.others.add(other);
  known.flows += draft.flows;
  known.decisions += draft.decisions;
  if (draft.last > known.last) known.last = draft.last;
}

function suggestionOf(draft: Draft, ids: Set<string>): Suggestion {
  const { direction, app, protocol, ports, kind, others, flows, decisions, last } = draft;
  const other = { [kind]: oneOrAll(others) };
  const where = {
    protocol: protocolWord(protocol),
    ...(ports.size === 0 ? {} : { port: portWords([...ports]) }),
  };
  const ends = direction === "in" ? { from: other, to: where } : { to: { ...other, ...where } };
  const id = freshId(draft, ids);
  const named = app === undefined ? {} : { app };
  return { rule: { id, direction, ...ends, ...named, action: "allow" }, flows, decisions, last };
}

function oneOrAll(values: ReadonlySet<string>): string | string[] {
  const all = [...values].sort();
  return all.length === 1 ? (all[0] ?? "") : all;
}

/** Neighbours become a range. */
function portWords(ports: readonly number[]): PortWords {
  const words: (number | string)[] = [];
  const sorted = [...ports].sort((left, right) => left - right);
  for (let i = 0; i < sorted.length; ) {
    const low = sorted[i] ?? 0;
    let end = i + 1;
    while (sorted[end] === low + end - i) end++;
    const high = low + end - i - 1;
    if (high - low < 2) for (let port = low; port <= high; port++) words.push(port);
    else words.push(`${low}-${high}`);
    i = end;
  }
  return words.length === 1 ? (words[0] ?? 0) : words;
}

function freshId({ app, direction, protocol, ports }: Draft, ids: Set<string>): string {
  const [port] = ports;
  const word = String(protocolWord(protocol));
  const what = app ?? (port === undefined ? word : `${word}-${port}`);
  const name = `${what.slice(0, 48)}-${direction}`;
  let id = name;
  for (let i = 2; ids.has(id); i++) id = `${name}-${i}`;
  ids.add(id);
  return id;
}
