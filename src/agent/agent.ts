/**
 * The agent: joins data plane, sessions, policy, signatures and the interface taken over, and keeps
 * them going until it is told to stop. design/agent.md; design/README.md "Threads of an agent
 * process". This is the main thread: it may wait for disks and do cryptography; packets do not wait
 * for it.
 */
import { join } from "node:path";
import { COMMAND } from "../dataplane/control-records.ts";
import { writeFlowDigest } from "../dataplane/flow-file.ts";
import { openShim, type Shim } from "../dataplane/shim.ts";
import { AbsError, messageOf } from "../errors.ts";
import { kernelRandom } from "../native/kernel-random.ts";
import type { EventLog } from "../observe/event-log.ts";
import type { EventSinks } from "../observe/sinks/event-sinks.ts";
import { Sessions } from "../session/sessions.ts";
import { GenerationListener } from "../takeover/clone-detector.ts";
import { currentBootId } from "../takeover/state-file.ts";
import type { Micros, PeerIndex, Role, TagIndex, WallMillis } from "../units.ts";
import type { IpAddress } from "../wire/ip-text.ts";
import { AgentLedger } from "./agent-ledger.ts";
import { AgentManager } from "./agent-manager.ts";
import { type AgentPorts, openPorts } from "./agent-ports.ts";
import type { ChildUrgency } from "./child-urgency.ts";
import { commitmentsOf } from "./committed-signatures.ts";
import { contractRuleFor } from "./compiled.ts";
import { peerConfigsOf } from "./cut-off-peers.ts";
import { FlowWitness, flowDigest } from "./flow-witness.ts";
import { addressOfBytes, innerMtuOf } from "./own-addresses.ts";
import { ownCommand } from "./own-command.ts";
import type { InsideSpec, OutsideSpec } from "./port-spec.ts";
import { isGone, positionsOf } from "./positions.ts";
import { type PreparationRequest, type Prepared, prepare } from "./preparation.ts";
import type { Provisioning } from "./provisioning.ts";
import { PEERS_MAX, TAGS_MAX } from "./provisioning-fields.ts";
import { PuntReader } from "./punt-reader.ts";
import { Remembered } from "./remembered.ts";
import { Routes } from "./routes.ts";
import { SessionDriver } from "./session-driver.ts";
import { openSignatureDatabase } from "./signature-database.ts";
import { type SnapshotFields, snapshotFields } from "./snapshot-fields.ts";
import { loadPositions, loadStamp, savePositions, saveStamp } from "./state-dir.ts";
import { StatusServer } from "./status-server.ts";
import { AgentUpdates, type Running } from "./updates.ts";
import { WorkerLink, type WorkerPlan } from "./worker-link.ts";

export interface AgentOptions {
  /** What the agent starts with; updates.ts has what is in force. */
  readonly prepared: Prepared;
  readonly provisioning: Provisioning;
  readonly inside: InsideSpec;
  readonly outside: OutsideSpec;
  readonly stateDir: string;
  readonly onStop: "closed" | "open";
  readonly busy: boolean;
  readonly events: EventLog;
  readonly sinks?: EventSinks | undefined;
  /** Program and arguments that run `abs agent guard`. */
  readonly guardCommand: readonly string[];
  readonly flows: number;
  readonly packets: number;
  /** Added to the wall clock: tests of clocks that are wrong. */
  readonly wallOffsetMs: number;
  /** `abs capture --keylog` may have the keys of sessions. */
  readonly allowsKeyLog: boolean;
  /** Ends a start that is under way: what was taken is given back. */
  readonly signal?: AbortSignal;
}

/** Main-thread work between two looks at the punt ring. */
const TICK_MS = 50;
const ROOM_BYTES = 2048 + 128;
const SESSION_CAPACITY = 4096;
const BINDINGS_MAX = 65_536;
/** Marks a flow file while its numbers change their meaning: no digest is zero. */
const NO_DIGEST = new Uint8Array(32);

export class Agent {
  readonly #stopped = Promise.withResolvers<void>();
  #isStopping = false;
  #failure: unknown;
  readonly #generation: GenerationListener | undefined;

  /** Of parts that run already; start() makes them. */
  constructor(
    readonly options: AgentOptions,
    readonly shim: Shim,
    readonly ports: AgentPorts,
    readonly worker: WorkerLink,
    readonly driver: SessionDriver,
    readonly reader: PuntReader,
    readonly remembered: Remembered,
    readonly updates: AgentUpdates,
    readonly status: StatusServer,
    readonly ledger: AgentLedger | undefined,
    readonly manager: AgentManager | undefined,
  ) {
    this.#generation = listenForClones(options.events);
  }

  /**
   * Starts everything; resolves when packets are forwarded. Gives back what it took when it fails.
   */
  static async start(options: AgentOptions): Promise<Agent> {
    const { provisioning, events } = options;
    await throwIfStopped(options);
    const shim = openShim();
    const ledger = await AgentLedger.open(provisioning, options.stateDir, events);
    const ports = await openPorts(shim, options, ROOM_BYTES, 2 * SESSION_CAPACITY).catch(
      async (error: unknown) => {
        await ledger?.stop();
        throw error;
      },
    );
    try {
      await throwIfStopped(options);
      const database = await openDatabase(shim, options.prepared, options.stateDir, "now");
      const running = { ...options.prepared, database, generation: 0, since: new Date() };
      return await assemble(options, shim, ports, running, ledger);
    } catch (error) {
      await ledger?.stop();
      if (options.signal?.aborted) {
        events.write({ event: "agent-stopped", node: provisioning.node.id, onStop: "open" });
      } else events.write({ event: "agent-failed", message: messageOf(error) });
      await ports.giveUp();
      throw error;
    }
  }

  get now(): Micros {
    return this.shim.symbols.abs_now_us() as Micros;
  }

  get wall(): WallMillis {
    return (Date.now() + this.options.wallOffsetMs) as WallMillis;
  }

  /** Runs until stop(), or rejects when the data plane is gone. */
  async run(): Promise<void> {
    let nextTick = 0;
    while (!this.#isStopping) {
      const now = this.now;
      const more = this.reader.turn(now, this.wall);
      if (now >= nextTick) {
        nextTick = now + TICK_MS * 1000;
        this.#tick(now);
      }
      this.worker.flush();
      if (more) await new Promise((resolve) => setImmediate(resolve));
      else await this.worker.untilPunt(TICK_MS);
    }
    await this.#shutDown();
    this.#stopped.resolve();
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Ends run(); resolves when everything has been given back. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#stopped.promise;
  }

  fail(error: unknown): void {
    this.#failure = error;
    this.#isStopping = true;
  }

  #tick(now: Micros): void {
    this.driver.tell(now, this.wall);
    this.reader.age(now);
    if (this.#generation?.changed()) this.worker.send(COMMAND.forgetAll);
    this.remembered.save();
    this.options.events.flush();
  }

  async #shutDown(): Promise<void> {
    const { events, onStop, provisioning } = this.options;
    this.updates.close();
    this.manager?.close();
    this.status.close();
    this.#generation?.close();
    this.remembered.save(true);
    await this.ledger?.stop();
    await this.worker.stop();
    await this.ports.close(onStop);
    events.write({ event: "agent-stopped", node: provisioning.node.id, onStop });
  }
}

/** What an agent is to start with, read and compiled by a child. Throws AbsError. */
export async function prepareStart(
  file: string,
  stateDir: string,
  signal: AbortSignal,
): Promise<Prepared> {
  return await prepareFile(
    { file, positions: loadPositions(stateDir), inForce: [] },
    signal,
    "now",
  );
}

async function prepareFile(
  request: PreparationRequest,
  signal: AbortSignal,
  urgency: ChildUrgency,
): Promise<Prepared> {
  const command = [...ownCommand(), "agent", "read-provisioning"];
  return await prepare(request, command, signal, urgency);
}

async function openDatabase(
  shim: Shim,
  { signatures }: Prepared,
  stateDir: string,
  urgency: ChildUrgency,
): Promise<number | undefined> {
  const command = [...ownCommand(), "agent", "compile-signatures"];
  return await openSignatureDatabase(shim, signatures.expressions, stateDir, command, urgency);
}

async function assemble(
  options: AgentOptions,
  shim: Shim,
  ports: AgentPorts,
  first: Running,
  ledger: AgentLedger | undefined,
): Promise<Agent> {
  const { provisioning, stateDir, events } = options;
  const snapshotOf = (running: Running) => snapshotOfRunning(running, ports);
  const worker = new WorkerLink(workerPlan(options, shim, ports), snapshotOf(first));
  let agent: Agent | undefined;
  const ready = await worker.start((error) => agent?.fail(error));
  try {
    await throwIfStopped(options);
  } catch (error) {
    await worker.stop();
    throw error;
  }
  const witness = new FlowWitness(flowFileOf(options), options.flows);
  const provisioned = () => updates.running.provisioning;
  const sessions = sessionsOf(options, witness, provisioned, ledger);
  const routes = new Routes(provisioning);
  const remembered = new Remembered(stateDir, provisioning, routes);
  const driver = new SessionDriver({
    sessions,
    worker,
    shim,
    events,
    routes,
    provisioning,
    saveStamp: (stamp) => saveStamp(stateDir, stamp),
    onChange: () => remembered.note(driver.installed),
  });
  const resumed = () => noteResumed(events, ledger);
  const reader = new PuntReader(worker, driver, first, ports.outsideMtu(), resumed);
  const parts = { shim, worker, driver, reader, remembered, events, snapshotOf };
  const tools = updateTools(options, shim, ledger, () => agent);
  const updates = new AgentUpdates({ ...parts, ...tools }, first);
  const { violations, flows, ruleHits } = reader;
  const followed = { updates, worker, events, ledger, violations, flows };
  const manager = AgentManager.follow(provisioning.file, followed);
  const shown = { worker, driver, shim, ports, options, updates, ledger, manager, ruleHits };
  const status = new StatusServer(stateDir, shown);
  const rest = [reader, remembered, updates, status, ledger, manager] as const;
  agent = new Agent(options, shim, ports, worker, driver, ...rest);
  const running = agent;
  ports.follow({
    changed: () => {
      updates.loadAgain().catch((error: unknown) => running.fail(error));
    },
    lost: (error) => running.fail(error),
    refused: (sentence) => events.write({ event: "interface-change-refused", message: sentence }),
  });
  updates.tellUnused(provisioning);
  announce(running, ready.restoredFlows, ready.flowFileIgnored);
  joinLedger(running);
  greetAgain(running);
  return running;
}

function noteResumed(events: EventLog, ledger: AgentLedger | undefined): void {
  events.write({ event: "vm-resumed", sessions: "forgotten" });
  ledger?.thread.observe("this VM was resumed or cloned");
}

function joinLedger(agent: Agent): void {
  const { ledger, worker, driver } = agent;
  ledger?.join(worker, {
    contracts: (contracts) => driver.step({ type: "contracts", contracts }, agent.now, agent.wall),
    signatures: (ids) => agent.updates.signaturesChanged(ids),
    revoked: (sessionPub) => agent.updates.cutOff(sessionPub),
    discovered: (signed, mode) => agent.manager?.discoveries.hear(signed, mode),
  });
  ledger?.thread.announce(agent.updates.running.provisioning.node.mode);
}

function snapshotOfRunning(running: Running, ports: AgentPorts): SnapshotFields {
  const { provisioning } = running;
  const { node } = provisioning;
  const ownAddresses: readonly IpAddress[] =
    node.addresses ?? ports.addresses().map(addressOfBytes);
  const innerMtu = innerMtuOf(ports.outsideMtu(), provisioning);
  return snapshotFields({ ...running, ownAddresses, ownMac: ports.mac, innerMtu });
}

/** What updates need of the agent beside its parts. */
function updateTools(
  options: AgentOptions,
  shim: Shim,
  ledger: AgentLedger | undefined,
  agent: () => Agent | undefined,
) {
  const { stateDir, wallOffsetMs } = options;
  const file = flowFileOf(options);
  return {
    contractsOf: (next: Provisioning) => ledger?.replace(next) ?? next.contracts,
    peersOf: (next: Provisioning) => ledger?.cutOff.configsOf(next) ?? peerConfigsOf(next),
    inForce: ({ node }: Provisioning) => ledger?.thread.announce(node.mode),
    moving: () => writeFlowDigest(file, NO_DIGEST),
    moved: (next: Provisioning) => {
      savePositions(stateDir, positionsOf(next));
      writeFlowDigest(file, flowDigest(next.digest, currentBootId()));
    },
    openDatabase: (prepared: Prepared) => openDatabase(shim, prepared, stateDir, "beside-traffic"),
    prepare: (
      files: Pick<PreparationRequest, "file" | "place">,
      { provisioning: now }: Running,
      signal: AbortSignal,
    ) => {
      const running = { positions: positionsOf(now), inForce: commitmentsOf(now) };
      return prepareFile({ ...files, ...running }, signal, "beside-traffic");
    },
    clock: () => ({
      now: (agent()?.now ?? 0) as Micros,
      wall: (Date.now() + wallOffsetMs) as WallMillis,
    }),
    failed: (error: unknown) => agent()?.fail(error),
  };
}

/** The clocks still tell of most resumed VMs where the kernel's announcements cannot be heard. */
function listenForClones(events: EventLog): GenerationListener | undefined {
  try {
    return new GenerationListener();
  } catch (error) {
    const message = `News of a cloned VM cannot be heard: ${messageOf(error)}`;
    events.write({ event: "warning", message });
    return undefined;
  }
}

/** Lets signals that came meanwhile be heard; most of a start does not yield to them. */
async function throwIfStopped({ signal }: AgentOptions): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
  if (signal?.aborted !== true) return;
  throw new AbsError("STOPPED", "The agent was told to stop while it was starting.", "");
}

/** What the worker is made of: ports, sizes of tables, the flow file. */
function workerPlan(options: AgentOptions, shim: Shim, ports: AgentPorts): WorkerPlan {
  const { digest } = options.provisioning;
  return {
    shimPath: shim.path,
    insidePort: ports.insidePort,
    outsidePort: ports.outsidePort,
    queue: 0,
    lane: 0,
    descriptors: ports.descriptors,
    busy: options.busy,
    // Updates may bring more than there are at the start.
    peers: PEERS_MAX,
    tags: TAGS_MAX,
    bindings: BINDINGS_MAX,
    pairs: 65_535,
    flowCapacity: options.flows,
    flowFile: flowFileOf(options),
    flowDigest: flowDigest(digest, currentBootId()),
    poolPackets: options.packets,
    sessionCapacity: SESSION_CAPACITY,
  };
}

function flowFileOf(options: AgentOptions): string {
  return join(options.stateDir, "flows");
}

function sessionsOf(
  options: AgentOptions,
  witness: FlowWitness,
  running: () => Provisioning,
  ledger: AgentLedger | undefined,
): Sessions {
  const { provisioning, stateDir } = options;
  const lastStamp = loadStamp(stateDir);
  return new Sessions({
    identity: provisioning.node,
    tenantTag: provisioning.tenant.tag,
    tags: provisioning.tags,
    peers: ledger?.cutOff.configsOf(provisioning) ?? peerConfigsOf(provisioning),
    contracts: ledger?.contracts ?? provisioning.contracts,
    hasAllowedFlow: (peer, tag) => witness.hasAllowed(peer, tag),
    contractRule: (_peer, tag) => contractRuleFor(running(), tag),
    ...(lastStamp === undefined ? {} : { lastStamp }),
    random: kernelRandom,
  });
}

function announce(agent: Agent, restoredFlows: number, flowFileIgnored: string): void {
  const { provisioning, events, onStop } = agent.options;
  if (agent.options.allowsKeyLog) {
    const message = "This agent gives its sessions' keys to `abs capture --keylog`.";
    events.write({ event: "warning", message });
  }
  const quick = provisioning.contracts.filter(({ quickmode }) => quickmode);
  for (const { scId } of quick) {
    events.write({
      event: "warning",
      message: `Contract ${scId} is unauthenticated (quickmode): who sees a packet can forge one.`,
    });
  }
  if (flowFileIgnored !== "") {
    events.write({
      event: "warning",
      message: `Flows of before were not reused: ${flowFileIgnored}.`,
    });
  }
  events.write({
    event: "agent-ready",
    node: provisioning.node.id,
    mode: provisioning.node.mode,
    stage: provisioning.node.stage ?? provisioning.policy.defaults.stage,
    peers: provisioning.peers.filter((peer) => !isGone(peer)).length,
    onStop,
    restoredFlows,
    mtu: innerMtuOf(agent.ports.outsideMtu(), provisioning),
    pid: process.pid,
  });
}

/** A starting agent handshakes at once with every peer that it had sessions with. */
function greetAgain(agent: Agent): void {
  for (const { peer, tag, role } of agent.remembered.load()) {
    const event = {
      type: "need" as const,
      peer: peer as PeerIndex,
      tag: tag as TagIndex,
      role: role as Role,
    };
    agent.driver.step(event, agent.now, agent.wall);
  }
}
