/**
 * What a check of the story is, and the two shapes most of them have: an application is refused, or
 * frames injected at the switch reach nobody. A refusal is proven three ways: by what the client
 * says, by an event that names the flow, and by the absence of payload on the server's inside.
 */

import type { AgentProcess } from "./agent-process.ts";
import type { Captured, Tap } from "./capture.ts";
import { type CommandResult, lastWords, waitFor } from "./command.ts";
import { type AgentEvent, eventWords, type FlowPattern, namesFlow } from "./event-reader.ts";
import { canonical, PROTOCOL, TCP_FLAG } from "./frames.ts";
import type { LabLedger } from "./lab-ledger.ts";
import type { LabSettings, VmName } from "./lab-plan.ts";
import type { Lab } from "./managed-lab.ts";
import { PacketSocket } from "./packet-socket.ts";
import type { Site } from "./site.ts";
import { namespaceOf } from "./topology.ts";

export interface Check {
  readonly name: string;
  /** What is done, in one sentence. */
  readonly tried: string;
  readonly expected: string;
  /** Begun with the story, beside other checks: what takes its time to show an effect. */
  readonly prepare?: (story: StoryContext) => Promise<void>;
  readonly run: (story: StoryContext) => Promise<Observed>;
  /** What to change so that the cause of success is gone and the check must fail. */
  readonly sabotage: { readonly words: string; readonly settings: Partial<LabSettings> };
}

export interface Observed {
  readonly passed: boolean;
  readonly words: string;
  /**
   * Whether what must not happen did happen: a byte delivered, a frame escaped. A check can also
   * fail for want of an event; a sabotaged one must fail by this.
   */
  readonly breached?: boolean;
}

/** What the checks share: the site, and taps that are cleared as each check begins. */
export class StoryContext {
  readonly switchTap: Tap;
  readonly #vmTaps = new Map<string, Tap>();
  readonly site: Site;
  /** What a check's prepare() leaves to its run(). */
  readonly notes = new Map<string, string>();
  #marks = new Map<string, number>();

  constructor(readonly lab: Lab) {
    const { site } = lab;
    this.site = site;
    this.switchTap = site.tapSwitch();
    for (const vm of site.vms) this.#vmTaps.set(vm.name, site.tapVm(vm.name));
    this.begin();
  }

  get ledger(): LabLedger {
    return this.lab.ledger;
  }

  agent(vm: VmName): AgentProcess {
    return this.lab.agent(vm);
  }

  /** Forgets frames and events of earlier checks. */
  begin(): void {
    this.switchTap.clear();
    for (const tap of this.#vmTaps.values()) tap.clear();
    this.#marks = new Map(this.lab.agents().map((agent) => [agent.vm, agent.events.all().length]));
  }

  /** Frames between a VM's kernel and its interfaces since the check began. */
  insideFrames(vm: VmName): readonly Captured[] {
    return this.#vmTaps.get(vm)?.frames() ?? [];
  }

  /** Events of a VM's agent since the check began. */
  since(vm: VmName): readonly AgentEvent[] {
    return this.agent(vm).events.since(this.#marks.get(vm) ?? 0);
  }

  /** The first event since the check began that names the flow, and whose agent wrote it. */
  findEvent(pattern: FlowPattern): { vm: string; event: AgentEvent } | undefined {
    for (const agent of this.lab.agents()) {
      const events = agent.events.since(this.#marks.get(agent.vm) ?? 0);
      const event = events.find((candidate) => namesFlow(candidate, pattern));
      if (event !== undefined) return { vm: agent.vm, event };
    }
    return undefined;
  }

  /** As findEvent, but waits for it; the words to print, and whether it came. */
  async eventProof(pattern: FlowPattern, timeoutMs = EVENT_TIMEOUT_MS): Promise<Observed> {
    try {
      const find = () => this.findEvent(pattern);
      const found = await waitFor("an event that names the flow", find, timeoutMs);
      return { passed: true, words: `event in ${found.vm}: ${eventWords(found.event)}` };
    } catch {
      return { passed: false, words: "no event names the flow" };
    }
  }
}

/** Longer than a packet may wait for a session (5 s): then its loss is an event. */
const EVENT_TIMEOUT_MS = 7_000;
/** How long a refused client is left waiting after its first packet before it is ended. */
const CLIENT_PATIENCE_MS = 1_000;
/** On a machine with much to do a program takes its time to begin. */
const CLIENT_START_MS = 4_000;
/** How long an injected frame is given to show an effect. */
const INJECTION_SETTLE_MS = 300;

export interface Attempt {
  readonly from: VmName;
  readonly to: VmName;
  readonly ipv6?: boolean;
  readonly port: number;
  readonly command: readonly string[];
  /** Drop reasons that count as this refusal; any, when not given. */
  readonly reasons?: readonly string[];
  /**
   * The server refuses the session, not the flow: its event names the ends of the handshake, whose
   * ports the server never learns.
   */
  readonly refusedSession?: boolean;
}

/** Runs a client that ought to be refused, and collects the three proofs. */
export async function observeRefusal(story: StoryContext, attempt: Attempt): Promise<Observed> {
  const { site } = story;
  const source = site.vm(attempt.from)[attempt.ipv6 ? "ipv6" : "ipv4"];
  const destination = site.vm(attempt.to)[attempt.ipv6 ? "ipv6" : "ipv4"];
  const isOpening = (frame: Captured) => frame.direction === "sent" && isFirstSegment(frame);
  const findOpening = () =>
    story
      .insideFrames(attempt.from)
      .find((frame) => isOpening(frame) && frame.destinationPort === attempt.port);
  let openedAt = Number.POSITIVE_INFINITY;
  const isOver = () => {
    if (findOpening() !== undefined) openedAt = Math.min(openedAt, performance.now());
    return performance.now() > openedAt + CLIENT_PATIENCE_MS;
  };
  const options = { timeoutMs: CLIENT_START_MS + CLIENT_PATIENCE_MS, isOver };
  const result = await site.run(attempt.from, attempt.command, options);
  const opening = findOpening();
  const pattern: FlowPattern = {
    source,
    destination,
    destinationPort: attempt.refusedSession ? 0 : attempt.port,
    ...(opening?.sourcePort === undefined || attempt.refusedSession
      ? {}
      : { sourcePort: opening.sourcePort }),
    ...(attempt.reasons === undefined ? {} : { reasons: attempt.reasons }),
  };
  const client = clientProof(result);
  const event = await story.eventProof(pattern);
  const payload = payloadProof(story, attempt.to, source, attempt.port);
  return all(client, event, payload);
}

/** A SYN: what a client of an earlier check left unsaid is repeated by the kernel for a while. */
function isFirstSegment({ tcpFlags = 0 }: Captured): boolean {
  return (tcpFlags & (TCP_FLAG.syn | TCP_FLAG.ack)) === TCP_FLAG.syn;
}

function clientProof(result: CommandResult): Observed {
  const words = `client: ${lastWords(result)}`;
  return { passed: result.code !== 0, words };
}

/** Whether a byte of payload from `source` to `port` came out of the inside interface of `vm`. */
export function payloadProof(
  story: StoryContext,
  vm: VmName,
  source: string,
  port: number,
): Observed {
  const from = canonical(source);
  let bytes = 0;
  for (const frame of story.insideFrames(vm)) {
    if (frame.direction !== "received" || frame.source !== from) continue;
    if (frame.destinationPort === port) bytes += frame.payload?.length ?? 0;
  }
  const breached = bytes > 0;
  return { passed: !breached, breached, words: `payload bytes delivered in ${vm}: ${bytes}` };
}

/** The conjunction of several observations, in their order. */
export function all(...parts: readonly Observed[]): Observed {
  return {
    passed: parts.every((part) => part.passed),
    breached: parts.some((part) => part.breached === true),
    words: parts.map((part) => part.words).join("; "),
  };
}

export interface Injection {
  /** The VM whose port of the switch sends the frames. */
  readonly to: VmName;
  readonly frames: readonly Uint8Array[];
  /** Names the refusal's event. */
  readonly pattern: FlowPattern;
  /** Whether a frame seen between the VM's kernel and its interfaces comes from the injection. */
  readonly caused: (frame: Captured) => boolean;
}

/** Injects frames at the switch, and looks for any effect in the VM. */
export async function observeInjection(
  story: StoryContext,
  injection: Injection,
): Promise<Observed> {
  inject(story.site, injection.to, injection.frames);
  await Bun.sleep(INJECTION_SETTLE_MS);
  const answers = story.switchTap
    .frames()
    .filter((frame) => frame.where === injection.to && frame.direction === "received")
    .filter((frame) => frame.protocol !== PROTOCOL.abs && injection.caused(frame));
  const inside = story.insideFrames(injection.to).filter(injection.caused);
  const sent = injection.frames.length;
  const breached = answers.length > 0 || inside.length > 0;
  const effects: Observed = {
    passed: !breached,
    breached,
    words: `${sent} frames injected, ${inside.length} seen inside, ${answers.length} answered`,
  };
  return all(effects, await story.eventProof(injection.pattern, 2_000));
}

/** Sends frames out of the switch's port towards a VM, as the switch itself could. */
export function inject(site: Site, to: string, frames: readonly Uint8Array[]): void {
  const socket = new PacketSocket(namespaceOf(site.options.prefix, "switch"), to);
  try {
    for (const frame of frames) socket.send(site.portOf(to), frame);
  } finally {
    socket.close();
  }
}
