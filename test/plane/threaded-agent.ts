/**
 * An agent as it runs: the data plane in the agent's own worker thread, the main thread's work
 * here, real time, and DPDK ring ports for its interfaces. What a kernel, processes and folders
 * would add is test/e2e.
 */
import { peerConfigsOf } from "../../src/agent/cut-off-peers.ts";
import { addressOfBytes, innerMtuOf } from "../../src/agent/own-addresses.ts";
import { aligned, positionsOf } from "../../src/agent/positions.ts";
import type { Prepared } from "../../src/agent/preparation.ts";
import { type Provisioning, parseProvisioning } from "../../src/agent/provisioning.ts";
import { PuntReader } from "../../src/agent/punt-reader.ts";
import type { Remembered } from "../../src/agent/remembered.ts";
import { Routes } from "../../src/agent/routes.ts";
import { SessionDriver } from "../../src/agent/session-driver.ts";
import { snapshotFields } from "../../src/agent/snapshot-fields.ts";
import { AgentUpdates, type Running, type UpdateResult } from "../../src/agent/updates.ts";
import { WorkerLink } from "../../src/agent/worker-link.ts";
import type { EventLog } from "../../src/observe/event-log.ts";
import type { AbsEvent } from "../../src/observe/event-record.ts";
import { Sessions } from "../../src/session/sessions.ts";
import type { Micros, WallMillis } from "../../src/units.ts";
import { databaseOf, EventList, type MachineOptions, prepared, testShim } from "./machine.ts";

const SESSIONS = 256;
const FLOWS = 262_144;
/** Beyond those that machines of the same process take. */
const FIRST_KEY = 8192;

export class ThreadedAgent {
  readonly events: AbsEvent[];
  readonly worker: WorkerLink;
  readonly updates: AgentUpdates;
  readonly #driver: SessionDriver;
  readonly #reader: PuntReader;
  failure: unknown;

  constructor(options: MachineOptions) {
    const shim = testShim();
    const provisioning = parseProvisioning(JSON.stringify(options.provisioning), "test.yaml");
    const snapshotOf = (running: Prepared) => {
      const { blob, count } = running.signatures.expressions;
      return snapshotFields({
        ...running,
        database: count === 0 ? undefined : databaseOf(shim, blob, count),
        ownAddresses: [addressOfBytes(options.address)],
        ownMac: options.mac,
        innerMtu: innerMtuOf(1500, running.provisioning),
      });
    };
    const start = { database: undefined, generation: 0, since: new Date() };
    const first: Running = { ...prepared(provisioning), ...start };
    const { insidePort, outsidePort } = options;
    this.worker = new WorkerLink(
      {
        ...{ shimPath: shim.path, insidePort, outsidePort, queue: 0, lane: 0, descriptors: [] },
        ...{ busy: false, peers: 8, tags: 8, bindings: 1024, pairs: 1024, flowCapacity: FLOWS },
        ...{ flowFile: undefined, flowDigest: new Uint8Array(32), poolPackets: 8192 },
        sessionCapacity: SESSIONS,
      },
      snapshotOf(first),
    );
    const log = new EventList();
    this.events = log.events;
    const events = log as unknown as EventLog;
    const routes = new Routes(provisioning);
    const { worker } = this;
    this.#driver = new SessionDriver({
      ...{ worker, shim, events, routes, provisioning, firstKey: FIRST_KEY },
      sessions: sessionsOf(provisioning),
      saveStamp: () => {},
      onChange: () => {},
    });
    this.#reader = new PuntReader(worker, this.#driver, first, 1500, () => {});
    const rest = { shim, worker, events, snapshotOf, driver: this.#driver, reader: this.#reader };
    this.updates = new AgentUpdates({ ...rest, ...this.#tools(provisioning) }, first);
  }

  async start(): Promise<void> {
    await this.worker.start((error) => {
      this.failure = error;
    });
  }

  /** A turn of the main thread; true when there may be more to do at once. */
  turn(): boolean {
    const { now, wall } = clock();
    const more = this.#reader.turn(now, wall);
    this.#driver.tell(now, wall);
    this.worker.flush();
    return more;
  }

  /** Another provisioning file; the caller takes turns until it is in force. */
  update(file: object): Promise<UpdateResult> {
    const fresh = parseProvisioning(JSON.stringify(file), "test.yaml");
    return this.updates.applyUpdate(({ provisioning }) =>
      prepared(aligned(fresh, positionsOf(provisioning)), fresh),
    );
  }

  #tools(provisioning: Provisioning) {
    return {
      remembered: { provisioning } as Remembered,
      peersOf: (next: Provisioning) => peerConfigsOf(next),
      contractsOf: ({ contracts }: Provisioning) => contracts,
      inForce: () => {},
      moving: () => {},
      moved: () => {},
      openDatabase: () => Promise.resolve(undefined),
      prepare: () => Promise.reject(new Error("a test gives the file")),
      failed: (error: unknown) => {
        this.failure = error;
      },
      clock,
    };
  }
}

export function clock() {
  const now = testShim().symbols.abs_now_us() as Micros;
  return { now, wall: Date.now() as WallMillis };
}

function sessionsOf(provisioning: Provisioning): Sessions {
  const { node, tenant, tags, contracts } = provisioning;
  return new Sessions({
    identity: node,
    tenantTag: tenant.tag,
    ...{ tags, contracts },
    peers: peerConfigsOf(provisioning),
    hasAllowedFlow: () => true,
    limits: { sessions: SESSIONS },
    random: (sizeBytes) => crypto.getRandomValues(new Uint8Array(sizeBytes)),
  });
}
