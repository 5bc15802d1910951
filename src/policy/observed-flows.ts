/**
 * Flows that an agent decided on, out of its event log (docs/events.md), one for each question that
 * they ask of a policy: for `abs policy replay` and `suggest`. The log is another program's words:
 * a line that is none is counted, never believed. Memory follows the number of different
 * questions, at most QUESTIONS_MAX; what is beyond is counted.
 */
import { protocolNumber } from "../store/network-values.ts";
import { formatAddress, parseAddress } from "../wire/ip-text.ts";
import type { PolicyQuestion } from "./explain.ts";
import type { PolicyNames } from "./policy.ts";

/** Refusals that a policy makes; others say what a packet is. */
export const POLICY_REASONS = ["policy-denied", "outside-denied", "multicast-denied"];
const QUESTIONS_MAX = 200_000;
const PORT_MAX = 0xffff;

export interface ObservedFlow {
  readonly question: PolicyQuestion;
  /** What the agent decided last. */
  wasAllowed: boolean;
  /** Decisions of the log on it. */
  count: number;
  first: string;
  last: string;
}

export interface ObservedCounts {
  /** Lines that are decisions of a policy. */
  decisions: number;
  /** Decisions that no policy changes: no signature, no proof, … */
  others: number;
  /** Lines that are no events. */
  malformed: number;
  /** Decisions on more different flows than are kept. */
  beyond: number;
}

export class ObservedFlows {
  readonly flows = new Map<string, ObservedFlow>();
  readonly counts: ObservedCounts = { decisions: 0, others: 0, malformed: 0, beyond: 0 };

  constructor(readonly names: PolicyNames) {}

  /** Takes one line of an event log. */
  addLine(line: string): void {
    if (line.trim() === "") return;
    const event = objectOf(line);
    if (event === undefined) {
      this.counts.malformed++;
      return;
    }
    const name = event["event"];
    if (name !== "flow-allowed" && name !== "refused") return;
    const isPolicys = name === "flow-allowed" || POLICY_REASONS.includes(String(event["reason"]));
    if (!isPolicys) {
      this.counts.others++;
      return;
    }
    const question = questionOf(event, this.names);
    if (question === undefined) this.counts.malformed++;
    else this.#add(question, name === "flow-allowed", String(event["time"] ?? ""));
  }

  #add(question: PolicyQuestion, wasAllowed: boolean, time: string): void {
    this.counts.decisions++;
    const { direction, peer, address, protocol, port, app } = question;
    const key = JSON.stringify([direction, peer, formatAddress(address), protocol, port, app]);
    const known = this.flows.get(key);
    if (known !== undefined) {
      known.count++;
      known.last = time;
      known.wasAllowed = wasAllowed;
    } else if (this.flows.size < QUESTIONS_MAX) {
      this.flows.set(key, { question, wasAllowed, count: 1, first: time, last: time });
    } else this.counts.beyond++;
  }
}

type Fields = Readonly<Record<string, unknown>>;

function objectOf(line: string): Fields | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}

/** An outgoing flow that is refused has no tag yet: its application is what its signature said. */
export function appOf(event: Fields): unknown {
  return event["app"] ?? (event["direction"] === "out" ? event["signature"] : undefined);
}

function questionOf(event: Fields, names: PolicyNames): PolicyQuestion | undefined {
  const { direction, peer } = event;
  const app = appOf(event);
  if (direction !== "in" && direction !== "out") return undefined;
  const other = direction === "in" ? event["source"] : event["destination"];
  const address = typeof other === "string" ? parseAddress(other) : undefined;
  const protocol = protocolNumber(String(event["protocol"]));
  const port = wholeNumber(String(event["destinationPort"]), PORT_MAX);
  if (address === undefined || protocol === undefined || port === undefined) return undefined;
  const isPeer = typeof peer === "string" && names.peers.some(({ id }) => id === peer);
  const isApp = typeof app === "string" && names.apps.indexOf(app) > 0;
  return {
    direction,
    peer: isPeer ? peer : undefined,
    address,
    protocol,
    port,
    app: isApp ? app : undefined,
  };
}

function wholeNumber(text: string, most: number): number | undefined {
  return /^\d{1,5}$/.test(text) && Number(text) <= most ? Number(text) : undefined;
}
