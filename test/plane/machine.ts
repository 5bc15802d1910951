/**
 * One VM and its agent in one thread, for tests of the whole data plane without a kernel: ports are
 * DPDK ring pairs, the worker's loop is called turn by turn, and time is whatever the test says.
 * Everything between the ports is the product's own code; EAL is started once a process.
 */

import { compileProvisioning } from "../../src/agent/compiled.ts";
import { peerConfigsOf } from "../../src/agent/cut-off-peers.ts";
import { addressOfBytes, innerMtuOf } from "../../src/agent/own-addresses.ts";
import { partDigestsOf } from "../../src/agent/part-digests.ts";
import { aligned, positionsOf } from "../../src/agent/positions.ts";
import type { Prepared } from "../../src/agent/preparation.ts";
import { type Provisioning, parseProvisioning } from "../../src/agent/provisioning.ts";
import { PuntReader } from "../../src/agent/punt-reader.ts";
import type { Remembered } from "../../src/agent/remembered.ts";
import { Routes } from "../../src/agent/routes.ts";
import { SessionDriver } from "../../src/agent/session-driver.ts";
import { type SnapshotFields, snapshotFields } from "../../src/agent/snapshot-fields.ts";
import { AgentUpdates, type Running, type UpdateResult } from "../../src/agent/updates.ts";
import { WorkerCommands } from "../../src/agent/worker-commands.ts";
import type { PlaneLink } from "../../src/agent/worker-link.ts";
import { buildPlane, COUNTER_NAMES, publishCounters } from "../../src/agent/worker-plane.ts";
import {
  COMMAND_RING_BYTES,
  PUNT_RING_BYTES,
  type WorkerSetup,
} from "../../src/agent/worker-setup.ts";
import { COMMAND } from "../../src/dataplane/control-records.ts";
import { Counters, countersBytes } from "../../src/dataplane/counters.ts";
import { DROP_NAMES } from "../../src/dataplane/drop-reasons.ts";
import { Ingress } from "../../src/dataplane/ingress.ts";
import type { Plane } from "../../src/dataplane/plane.ts";
import { newRing, RecordRing } from "../../src/dataplane/record-ring.ts";
import { SessionTable, sessionTableBytes } from "../../src/dataplane/session-table.ts";
import {
  addressOf,
  ealArguments,
  fixedU32,
  openShim,
  type Shim,
} from "../../src/dataplane/shim.ts";
import { packSnapshot } from "../../src/dataplane/snapshot.ts";
import type { EventLog } from "../../src/observe/event-log.ts";
import type { AbsEvent } from "../../src/observe/event-record.ts";
import { Sessions } from "../../src/session/sessions.ts";
import type { Micros, WallMillis } from "../../src/units.ts";

const POOL_PACKETS = 8192;
const ROOM_BYTES = 2048 + 128;
const SESSIONS = 256;
const RING_SLOTS = 2048;
/** That an update may bring. */
const SPARE_PEERS = 4;

let shared: Shim | undefined;

/** The process's shim, with EAL, pool and keys. */
export function testShim(): Shim {
  if (shared !== undefined) return shared;
  const shim = openShim();
  shim.startEal(ealArguments({ packets: POOL_PACKETS, roomBytes: ROOM_BYTES }));
  shim.createPool(POOL_PACKETS, ROOM_BYTES);
  shim.createKeys(16384);
  shim.registerThread();
  shared = shim;
  return shim;
}

type Ports = readonly [number, number];

let pairs = 0;
// The shim has 16 ports few keys: both go round between the tests of a file.
const freePorts: Ports[] = [];
const freeKeys: number[] = [];
let keyBase = 0;

/** Databases are few, and many machines have the same signatures. */
const databases = new Map<string, number>();

export function databaseOf(shim: Shim, blob: Uint8Array, count: number): number {
  const key = Buffer.from(blob).toString("hex");
  const known = databases.get(key);
  if (known !== undefined) return known;
  const database = shim.compileExpressions(blob, count);
  databases.set(key, database);
  return database;
}

/** Two ports joined back to back, started. */
export function portPair(): Ports {
  const free = freePorts.pop();
  if (free !== undefined) return free;
  const shim = testShim();
  const pair = shim.pairPorts(`pair${pairs++}`, RING_SLOTS);
  for (const port of pair) shim.startPort(port, {});
  return pair;
}

/** Gives ports back; what lies in them is freed. */
export function givePorts(ports: Ports): void {
  for (const port of ports) new FarEnd(port).receive();
  freePorts.push(ports);
}

/** Buffers in the pool that nobody has. */
export function poolAvailable(): number {
  return testShim().symbols.abs_pool_available();
}

/** The far end of a port: what the kernel, or the switch, would send and receive. */
export class FarEnd {
  readonly #handle = fixedU32(64);
  readonly #offset = fixedU32(64);
  readonly #length = fixedU32(64);
  readonly #bytes = testShim().poolView().bytes;

  constructor(readonly port: number) {}

  send(...frames: readonly Uint8Array[]): void {
    const { symbols } = testShim();
    for (const frame of frames) {
      if (symbols.abs_alloc_burst(addressOf(this.#handle), addressOf(this.#offset), 1) !== 1) {
        throw new Error("the pool is empty");
      }
      this.#length[0] = frame.length;
      this.#bytes.set(frame, this.#offset[0]);
      const sent = symbols.abs_tx_burst(
        this.port,
        0,
        addressOf(this.#handle),
        addressOf(this.#offset),
        addressOf(this.#length),
        1,
      );
      if (sent !== 1) symbols.abs_free_burst(addressOf(this.#handle), 1);
    }
  }

  /** All that has arrived. */
  receive(): Uint8Array[] {
    const { symbols } = testShim();
    const frames: Uint8Array[] = [];
    for (;;) {
      const count = symbols.abs_rx_burst(
        this.port,
        0,
        addressOf(this.#handle),
        addressOf(this.#offset),
        addressOf(this.#length),
        64,
      );
      if (count <= 0) return frames;
      for (let i = 0; i < count; i++) {
        const start = this.#offset[i];
        frames.push(this.#bytes.slice(start, start + this.#length[i]));
      }
      symbols.abs_free_burst(addressOf(this.#handle), count);
    }
  }
}

/** Events kept in memory. */
export class EventList {
  readonly events: AbsEvent[] = [];
  written = 0;
  lost = 0;
  write(event: AbsEvent): void {
    this.events.push(event);
    this.written++;
  }
  flush(): void {}
  close(): void {}
}

export interface MachineOptions {
  /** Provisioning file as an object. */
  readonly provisioning: object;
  readonly address: Uint8Array;
  readonly address6?: Uint8Array;
  readonly mac: Uint8Array;
  readonly insidePort: number;
  readonly outsidePort: number;
  readonly lastStamp?: Uint8Array;
  /** Flows of the run before, and where those of this one are kept. */
  readonly flowFile?: string;
  /** Flows that its table holds. */
  readonly flows?: number;
}

/** Room for a small snapshot. */
const AREA_BYTES = 256 * 1024;

/** As preparation.ts has it from a child, in this process. */
export function prepared(provisioning: Provisioning, fresh = provisioning): Prepared {
  return { provisioning, ...compileProvisioning(provisioning), digests: partDigestsOf(fresh) };
}

export class Machine {
  readonly plane: Plane;
  readonly ingress: Ingress;
  readonly driver: SessionDriver;
  readonly reader: PuntReader;
  readonly provisioning: Provisioning;
  readonly events: AbsEvent[];
  readonly link: PlaneLink;
  readonly updates: AgentUpdates;
  readonly #synced = new Map<number, () => void>();
  #wallMs = 0;
  lastStamp: Uint8Array | undefined;
  readonly #commands: WorkerCommands;
  readonly #keys: number;

  constructor(options: MachineOptions) {
    const shim = testShim();
    this.provisioning = parseProvisioning(JSON.stringify(options.provisioning), "test.yaml");
    const own = [options.address, ...(options.address6 === undefined ? [] : [options.address6])];
    const snapshotOf = (running: Prepared) => {
      const { blob, count } = running.signatures.expressions;
      return snapshotFields({
        ...running,
        database: count === 0 ? undefined : databaseOf(shim, blob, count),
        ownAddresses: own.map(addressOfBytes),
        ownMac: options.mac,
        innerMtu: innerMtuOf(1500, running.provisioning),
      });
    };
    const first: Running = {
      ...prepared(this.provisioning),
      database: undefined,
      generation: 0,
      since: new Date(),
    };
    const areas = [new SharedArrayBuffer(AREA_BYTES), new SharedArrayBuffer(AREA_BYTES)] as const;
    new Uint8Array(areas[0]).set(packSnapshot(snapshotOf(first)));
    const setup: WorkerSetup = {
      shimPath: shim.path,
      insidePort: options.insidePort,
      outsidePort: options.outsidePort,
      queue: 0,
      lane: 0,
      descriptors: [],
      doorbell: -1,
      busy: true,
      peers: this.provisioning.peers.length + SPARE_PEERS,
      tags: this.provisioning.tags.length,
      bindings: 1024,
      pairs: 1024,
      flowCapacity: options.flows ?? 8192,
      flowFile: options.flowFile,
      flowDigest: new Uint8Array(32),
      poolPackets: POOL_PACKETS,
      sessionCapacity: SESSIONS,
      commands: newRing(COMMAND_RING_BYTES),
      punts: newRing(PUNT_RING_BYTES),
      frames: newRing(1024 * 1024),
      sessions: new SharedArrayBuffer(sessionTableBytes(SESSIONS)),
      counters: new SharedArrayBuffer(countersBytes(COUNTER_NAMES.length)),
      snapshots: areas,
    };
    this.plane = buildPlane(shim, setup).plane;
    this.ingress = new Ingress(this.plane);
    this.#commands = new WorkerCommands(shim, this.plane, setup);
    this.link = localLink(setup, (number) => this.#synced.get(number)?.());
    const log = new EventList();
    this.events = log.events;
    const routes = new Routes(this.provisioning);
    const base = freeKeys.pop() ?? keyBase;
    if (base === keyBase) keyBase += 2 * SESSIONS;
    this.#keys = base;
    this.driver = new SessionDriver({
      sessions: new Sessions({
        identity: this.provisioning.node,
        tenantTag: this.provisioning.tenant.tag,
        tags: this.provisioning.tags,
        peers: peerConfigsOf(this.provisioning),
        contracts: this.provisioning.contracts,
        hasAllowedFlow: (peer, tag) => this.hasAllowedFlow(peer, tag),
        ...(options.lastStamp === undefined ? {} : { lastStamp: options.lastStamp }),
        limits: { sessions: SESSIONS },
        random: (sizeBytes) => crypto.getRandomValues(new Uint8Array(sizeBytes)),
      }),
      worker: this.link,
      shim,
      events: log as unknown as EventLog,
      routes,
      provisioning: this.provisioning,
      firstKey: base,
      saveStamp: (stamp) => {
        this.lastStamp = stamp;
      },
      onChange: () => {},
    });
    this.reader = new PuntReader(this.link, this.driver, first, 1500, () => {});
    this.updates = this.#updates(first, snapshotOf, areas);
  }

  #updates(
    first: Running,
    snapshotOf: (running: Prepared) => SnapshotFields,
    areas: readonly SharedArrayBuffer[],
  ): AgentUpdates {
    const { driver, reader } = this;
    const parts = {
      shim: testShim(),
      worker: {
        pack: packSnapshot,
        load: (packed: Uint8Array, generation: number) => this.#load(areas, packed, generation),
      },
      driver,
      reader,
      remembered: { provisioning: this.provisioning } as Remembered,
      events: driver.parts.events,
      peersOf: (next: Provisioning) => peerConfigsOf(next),
      inForce: () => {},
      contractsOf: ({ contracts }: Provisioning) => contracts,
      moving: () => {},
      moved: () => {},
      snapshotOf,
      openDatabase: () => Promise.resolve(undefined),
      prepare: () => Promise.reject(new Error("a test gives the file")),
      failed: () => {},
      clock: () => ({ now: this.plane.nowUs as Micros, wall: this.#wallMs as WallMillis }),
    };
    return new AgentUpdates(parts, first);
  }

  #load(areas: readonly SharedArrayBuffer[], packed: Uint8Array, generation: number) {
    const area = generation & 1;
    new Uint8Array(areas[area] ?? new ArrayBuffer(0)).set(packed);
    this.link.send(COMMAND.snapshot, area, generation);
    this.link.send(COMMAND.sync, generation);
    return new Promise<void>((resolve) => {
      this.#synced.set(generation, resolve);
    });
  }

  /** Another provisioning file; the caller lets time pass until it is in force. */
  update(file: object): Promise<UpdateResult> {
    const fresh = parseProvisioning(JSON.stringify(file), "test.yaml");
    return this.updates.applyUpdate(({ provisioning }) =>
      prepared(aligned(fresh, positionsOf(provisioning)), fresh),
    );
  }

  /** Ends the agent as a killed process would: what it held is freed, and nobody is told. */
  close(): void {
    const { plane } = this;
    for (let us = plane.nowUs; plane.holds.count > 0; us += 1e6) {
      plane.nowUs = us;
      plane.expireHeld();
    }
    plane.nowUs += 2e6;
    plane.expireFragments();
    freeKeys.push(this.#keys);
  }

  hasAllowedFlow(peer: number, tag: number): boolean {
    const { words } = this.plane.flows;
    for (let at = 0; at < words.length; at += 16) {
      const isAllowed = (words[at + 10] & 0xff) === 4 && words[at + 12] >>> 16 === tag;
      if (isAllowed && (words[at + 13] & 0xffff) === peer + 1) return true;
    }
    return false;
  }

  /** While set, the worker goes on alone. */
  isMainStalled = false;

  /** One turn of the worker's loop and of the main thread's, at a time the test says. */
  turn(nowUs: number, wallMs = 1_700_000_000_000 + nowUs / 1000): void {
    const { plane } = this;
    plane.nowUs = nowUs;
    this.#wallMs = wallMs;
    plane.nowSeconds = Math.floor(nowUs / 1e6);
    plane.wallSeconds = Math.floor(wallMs / 1e3);
    this.#commands.carryOut();
    while (plane.egress.poll() + this.ingress.poll() > 0);
    plane.keepTimes();
    if (this.isMainStalled) return;
    const now = nowUs as Micros;
    const wall = wallMs as WallMillis;
    while (this.reader.turn(now, wall));
    this.driver.tell(now, wall);
    this.#commands.carryOut();
    publishCounters(plane);
  }

  /** Drops by name, both directions together. */
  drops(): Map<string, number> {
    const found = new Map<string, number>();
    const { dropsIn, dropsOut } = this.plane.counters;
    for (let code = 0; code < dropsIn.length; code++) {
      const count = dropsIn[code] + dropsOut[code];
      if (count > 0) found.set(DROP_NAMES[code], count);
    }
    return found;
  }

  eventsOf(name: string): AbsEvent[] {
    return this.events.filter(({ event }) => event === name);
  }
}

/** The main thread's end of the rings, in the same thread. */
function localLink(setup: WorkerSetup, synced: (number: number) => void): PlaneLink {
  const commands = new RecordRing(setup.commands);
  const sendBytes = (type: number, bytes: Uint8Array) => {
    const at = commands.begin(type, bytes.length);
    if (at < 0) throw new Error("the command ring is full");
    commands.bytes.set(bytes, at);
    commands.commit();
  };
  return {
    counters: new Counters(COUNTER_NAMES, setup.counters),
    sessions: new SessionTable(setup.sessionCapacity, setup.sessions),
    punts: new RecordRing(setup.punts),
    send: (type, ...words) => sendBytes(type, new Uint8Array(Uint32Array.from(words).buffer)),
    sendBytes,
    synced,
  };
}
