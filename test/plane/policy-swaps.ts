/**
 * Policy swapped under new flows: an agent with its worker thread, another agent that receives, a
 * new flow a millisecond, and another policy as soon as the one before is in force. Each verdict
 * names the generation of its snapshot: it is computed again under that one, and the generation
 * must be one that was in force while the flow was decided. None is lost.
 *
 * Policy k: window k's port of one block is allowed and that of the other denied, all other windows
 * the other way round. Flows of the moment go to the window at hand, so that a swap changes their
 * verdicts, and only theirs.
 */
import { expect } from "bun:test";
import type { AbsEvent } from "../../src/observe/event-record.ts";
import { text, udp } from "./frames.ts";
import { FarEnd, givePorts, Machine, portPair } from "./machine.ts";
import { DB_IP, DB_MAC, provision, WEB_IP, WEB_MAC, WEB_TO_DB } from "./pair.ts";
import { judge, type OracleFacts, type OraclePolicy, type OracleRule } from "./policy-oracle.ts";
import { clock, ThreadedAgent } from "./threaded-agent.ts";

/** More than swaps: a window that came again would turn the flows of before, too. */
const WINDOWS = 1_024;
/** Every flow of a long run. */
const FLOWS = 262_144;
const SWAP_EVERY_US = 20_000;
const FIRST_PORT = 20_000;
const BLOCK_PORTS = 2_000;
const SESSION_PORT = 30_000;
const FIRST_SOURCE = 1_024;
/** Odd: a source port that comes again goes to another port. */
const SOURCES = 59_999;
/** Fewer than a ring holds, however late this thread comes. */
const SENT_A_TURN_MAX = 256;
const FLOW_EVERY_US = 1_000;
const SETTLE_US = 20_000_000;
const PAYLOAD = text("APP1 first words");
const SESSION_RULE: OracleRule = {
  id: "first",
  direction: "out",
  action: "allow",
  to: { protocol: "udp", port: SESSION_PORT },
};
const FACTS: OracleFacts = {
  ...{ id: "web", groups: [], isQuick: false, apps: ["app1", "app2"], otherTenants: [] },
  peers: { db: { groups: [], isQuick: false } },
};

interface SentFlow {
  readonly port: number;
  /** In force for sure when it was sent. */
  readonly since: number;
  delivered: number;
  verdicts: number;
  /** By its first verdict, which is that on its only packet. */
  isAllowed: boolean;
}

export interface SwapCounts {
  swaps: number;
  flows: number;
  verdicts: number;
  seconds: number;
  allowed: number;
  /** First verdicts by another generation than was in force when the flow was sent. */
  overtaken: number;
}

/** Port of a window, in one of two blocks. */
function portOf(window: number, block: number): number {
  return FIRST_PORT + BLOCK_PORTS * block + window;
}

function policyOf(generation: number): OraclePolicy {
  const window = generation % WINDOWS;
  const rule = (name: string, action: "allow" | "deny", port: number | string): OracleRule => {
    const to = { protocol: "udp", port } as const;
    return { id: `${name}-${generation}`, direction: "out", action, to };
  };
  const all = (block: number) => `${portOf(0, block)}-${portOf(WINDOWS - 1, block)}`;
  const defaults = { inbound: "deny", outbound: "deny", nonInterVm: "allow" } as const;
  return {
    version: 1,
    defaults: { ...defaults, refuse: "drop", stage: "enforce", midstream: "deny" },
    rules: [
      rule("open-now", "allow", portOf(window, 0)),
      rule("shut-now", "deny", portOf(window, 1)),
      rule("shut", "deny", all(0)),
      rule("open", "allow", all(1)),
      SESSION_RULE,
    ],
  };
}

/** Plays `swaps` swaps; throws where a verdict is missing, or another than its generation's. */
export async function playSwaps(swaps: number): Promise<SwapCounts> {
  const run = new SwapRun(swaps);
  try {
    return await run.play();
  } finally {
    await run.close();
  }
}

/** Both ports as a frame has them. */
function portsKey(source: number, destination: number): number {
  return source * 0x10000 + destination;
}

class SwapRun {
  readonly #ports = { inside: portPair(), wire: portPair(), far: portPair() };
  readonly #files = provision({ edit: (_, db) => (db.policy.defaults["inbound"] = "allow") });
  readonly #agent: ThreadedAgent;
  readonly #receiver: Machine;
  readonly #kernel: FarEnd;
  readonly #farKernel: FarEnd;
  readonly #flows = new Map<number, SentFlow>();
  readonly #counts: SwapCounts = {
    ...{ swaps: 0, flows: 0, verdicts: 0, seconds: 0, allowed: 0, overtaken: 0 },
  };
  /** For a failure's message. */
  readonly #sessionEvents: object[] = [];
  #arrivals = 0;
  #begun = 0;
  #enforced = 0;

  constructor(readonly swaps: number) {
    const { inside, wire, far } = this.#ports;
    this.#files.web.policy = policyOf(0) as never;
    this.#agent = new ThreadedAgent({
      ...{ provisioning: this.#files.web, address: WEB_IP, mac: WEB_MAC },
      ...{ insidePort: inside[0], outsidePort: wire[0] },
    });
    this.#receiver = new Machine({
      ...{ provisioning: this.#files.db, address: DB_IP, mac: DB_MAC },
      ...{ insidePort: far[0], outsidePort: wire[1], flows: FLOWS },
    });
    this.#kernel = new FarEnd(inside[1]);
    this.#farKernel = new FarEnd(far[1]);
  }

  async play(): Promise<SwapCounts> {
    await this.#agent.start();
    await this.#openSession();
    const begin = clock().now;
    let update: Promise<unknown> | undefined;
    while (this.#enforced < this.swaps || update !== undefined) {
      this.#sendUntil(clock().now - begin);
      if (update === undefined && clock().now - begin > this.#counts.swaps * SWAP_EVERY_US) {
        update = this.#swap().finally(() => {
          update = undefined;
        });
      }
      await this.#turn();
    }
    this.#counts.seconds = (clock().now - begin) / 1e6;
    const end = clock().now + SETTLE_US;
    while (this.#counts.flows > this.#decided() && clock().now < end) await this.#turn();
    for (let i = 0; i < 50; i++) await this.#turn();
    this.#check();
    return this.#counts;
  }

  async close(): Promise<void> {
    await this.#agent.worker.stop();
    this.#receiver.close();
    for (const ports of Object.values(this.#ports)) givePorts(ports);
  }

  /** So that no packet waits for one when its flow is decided anew. */
  async #openSession(): Promise<void> {
    this.#kernel.send(udp(WEB_TO_DB, FIRST_SOURCE - 1, SESSION_PORT, PAYLOAD));
    const end = clock().now + SETTLE_US;
    while (this.#arrivals === 0) {
      await this.#turn();
      if (clock().now > end) throw new Error("no session after 20 s");
    }
    this.#agent.events.length = 0;
  }

  #decided(): number {
    return [...this.#flows.values()].filter(({ verdicts }) => verdicts > 0).length;
  }

  async #swap(): Promise<void> {
    const generation = this.#enforced + 1;
    this.#files.web.policy = policyOf(generation) as never;
    this.#begun = generation;
    const { state, enforced } = await this.#agent.update(this.#files.web);
    expect([state, enforced.generation]).toEqual(["enforced", generation]);
    this.#enforced = generation;
    this.#counts.swaps++;
  }

  /** The flows that are due after `us`. */
  #sendUntil(us: number): void {
    const due = Math.min(us / FLOW_EVERY_US, this.#counts.flows + SENT_A_TURN_MAX);
    for (; this.#counts.flows < due; this.#counts.flows++) {
      const source = FIRST_SOURCE + (this.#counts.flows % SOURCES);
      const window = this.#enforced % WINDOWS;
      const port = portOf(window, this.#counts.flows & 1);
      this.#kernel.send(udp(WEB_TO_DB, source, port, PAYLOAD));
      const since = this.#enforced;
      const flow = { port, since, delivered: 0, verdicts: 0, isAllowed: false };
      this.#flows.set(portsKey(source, port), flow);
    }
  }

  async #turn(): Promise<void> {
    if (this.#agent.failure !== undefined) throw this.#agent.failure;
    while (this.#agent.turn());
    const { now, wall } = clock();
    this.#receiver.turn(now, wall);
    for (const frame of this.#farKernel.receive()) this.#arrived(frame);
    const told = this.#receiver.events.splice(0).map((event) => ({ ...event, vm: "db" }));
    this.#sessionEvents.push(...told.filter(({ event }) => event !== "flow-allowed"));
    for (const event of this.#agent.events.splice(0)) this.#judge(event);
    await new Promise((resolve) => setImmediate(resolve));
  }

  #arrived(frame: Uint8Array): void {
    this.#arrivals++;
    const flow = this.#flows.get(new DataView(frame.buffer, frame.byteOffset).getUint32(34));
    if (flow !== undefined) flow.delivered++;
  }

  #judge(event: AbsEvent): void {
    const fields = event as unknown as Record<string, unknown>;
    if (event.event !== "flow-allowed" && event.event !== "refused") {
      if (event.event !== "update-enforced") this.#sessionEvents.push({ ...event, vm: "web" });
      return;
    }
    const flow = this.#flows.get(
      portsKey(Number(fields["sourcePort"]), Number(fields["destinationPort"])),
    );
    if (flow === undefined) {
      expect(fields).toMatchObject({ sourcePort: FIRST_SOURCE - 1, rule: "first" });
      return;
    }
    expect(fields["suppressed"]).toBeUndefined();
    const generation = Number(fields["generation"]);
    const asked = { direction: "out", peer: "db", address: "10.0.0.2", protocol: 17 } as const;
    const isAllowed = event.event === "flow-allowed";
    const app = isAllowed ? "app1" : undefined;
    const verdict = judge(policyOf(generation), FACTS, { ...asked, port: flow.port, app });
    expect(fields).toMatchObject({
      ...{ destinationPort: flow.port, rule: verdict.rule, peer: "db" },
      event: verdict.action === "allow" ? "flow-allowed" : "refused",
    });
    // In force for sure since before the packet, and not begun later than now.
    expect(generation).toBeGreaterThanOrEqual(flow.since);
    expect(generation).toBeLessThanOrEqual(this.#begun);
    this.#counts.verdicts++;
    if (flow.verdicts++ > 0) return;
    if (isAllowed) this.#counts.allowed++;
    if (generation !== flow.since) this.#counts.overtaken++;
    flow.isAllowed = isAllowed;
  }

  #check(): void {
    const lost = [...this.#flows].filter(([, { verdicts }]) => verdicts === 0);
    expect(lost).toEqual([]);
    const isAstray = ({ delivered, isAllowed }: SentFlow) => delivered !== (isAllowed ? 1 : 0);
    const astray = [...this.#flows].filter(([, flow]) => isAstray(flow));
    const why = { drops: [...this.#receiver.drops()], sessions: this.#sessionEvents };
    expect({ astray, ...why }).toEqual({ astray: [], ...why });
  }
}
