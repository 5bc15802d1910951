/**
 * Commands of the main thread, carried out by the worker between two bursts (control-records.ts).
 * What a session needs is installed whole before it is used; what waits for it leaves in order.
 */
import { readSync } from "node:fs";
import {
  COMMAND,
  INSTALL,
  MANAGEMENT,
  MANAGEMENT_CHANGE,
  REFUSE,
} from "../dataplane/control-records.ts";
import { DROP } from "../dataplane/drop-reasons.ts";
import { FlowRedeciding } from "../dataplane/flow-redeciding.ts";
import { F_PEER, FLOW_WORDS } from "../dataplane/flow-table.ts";
import { FrameTap } from "../dataplane/frame-tap.ts";
import { ParsedPacket } from "../dataplane/parsed-packet.ts";
import type { Plane } from "../dataplane/plane.ts";
import { RecordRing } from "../dataplane/record-ring.ts";
import { SESSION_LIVE, SESSION_RETIRING, SESSION_UNCONFIRMED } from "../dataplane/session-table.ts";
import { fixedU32, type Shim } from "../dataplane/shim.ts";
import { unpackSnapshot } from "../dataplane/snapshot.ts";
import { loadGuard, loadPairs, planeConfig } from "./plane-config.ts";
import type { SnapshotFields } from "./snapshot-fields.ts";
import type { WorkerSetup } from "./worker-setup.ts";

const INNER_MTU_MIN = 68;

export class WorkerCommands {
  isStopped = false;
  readonly #ring: RecordRing;
  readonly #frames: RecordRing;
  readonly #handle = fixedU32(1);
  readonly #offset = fixedU32(1);
  readonly #doorbellBytes = new Uint8Array(8);
  readonly #redeciding: FlowRedeciding;
  /** Number of a `sync` that waits for its answer, or 0. */
  #syncNumber = 0;
  /** Generation of a snapshot whose punt found no room, or -1. */
  #untold = -1;

  constructor(
    readonly shim: Shim,
    readonly plane: Plane,
    readonly setup: WorkerSetup,
  ) {
    this.#ring = new RecordRing(setup.commands);
    this.#frames = new RecordRing(setup.frames);
    this.#redeciding = new FlowRedeciding(plane);
  }

  /** Whether something is to be done that no packet and no command will wake the worker for. */
  get isBusy(): boolean {
    return this.#redeciding.isRunning || this.#syncNumber !== 0 || this.#untold >= 0;
  }

  /** All commands there are. Costs a few loads when there is none. */
  carryOut(): void {
    if (this.isBusy) this.#finishSnapshot();
    if (this.#ring.isEmpty) return;
    this.#answerDoorbell();
    for (let at = this.#ring.peek(); at >= 0; at = this.#ring.peek()) {
      this.#one(at);
      this.#ring.release();
    }
    this.plane.outside.flush();
    this.plane.inside.flush();
  }

  /** Ends every session before the next packet: a counter must not repeat under an old key. */
  forgetEverything(): void {
    const { sessions, bindings } = this.plane;
    for (let slot = 0; slot < sessions.capacity; slot++) {
      if (sessions.state[slot] !== 0) this.#close(slot);
    }
    bindings.forgetSessions();
    this.plane.punts.resumed();
  }

  /** Drops what waits, at the end. */
  drain(): void {
    const { plane } = this;
    for (let owner = 0; owner < plane.bindings.count; owner++) {
      plane.dropOwner(owner, DROP.noSession);
    }
  }

  #answerDoorbell(): void {
    if (this.setup.doorbell < 0) return;
    try {
      readSync(this.setup.doorbell, this.#doorbellBytes);
    } catch {
      // Not rung: the command was seen before its bell, which rings again for nothing.
    }
  }

  #one(at: number): void {
    const memory = this.#ring.memory;
    const first = this.#ring.length >= 4 ? memory.getUint32(at, true) : 0;
    switch (this.#ring.type) {
      case COMMAND.snapshot:
        this.#loadSnapshot(first, memory.getUint32(at + 4, true));
        break;
      case COMMAND.install:
        this.#install(at);
        break;
      case COMMAND.use:
        this.#use(first);
        break;
      case COMMAND.retire:
        this.#retire(first);
        break;
      case COMMAND.close:
        this.#close(first);
        break;
      case COMMAND.failed:
        this.#failed(first, memory.getUint32(at + 4, true), memory.getUint32(at + 8, true));
        break;
      case COMMAND.sendOutside:
        this.#send(at, true);
        break;
      case COMMAND.sendInside:
        this.#send(at, false);
        break;
      case COMMAND.forgetAll:
        this.forgetEverything();
        break;
      case COMMAND.pathMtu:
        this.#pathMtu(first, memory.getUint32(at + 4, true));
        break;
      case COMMAND.refuseFlow:
        this.#refuseFlow(at);
        break;
      case COMMAND.capture:
        this.#capture(first === 1);
        break;
      case COMMAND.management:
        this.#management(at);
        break;
      case COMMAND.sync:
        this.#syncNumber = first;
        this.#finishSnapshot();
        break;
      case COMMAND.stop:
        this.isStopped = true;
        break;
    }
  }

  /** Whose turn it is of the flows that the last snapshot has not decided; then the answers. */
  #finishSnapshot(): void {
    const { punts } = this.plane;
    if (this.#untold >= 0 && punts.loaded(this.#untold)) this.#untold = -1;
    if (this.#redeciding.isRunning) this.#redeciding.some();
    if (this.#redeciding.isRunning || this.#untold >= 0 || this.#syncNumber === 0) return;
    if (punts.sync(this.#syncNumber)) this.#syncNumber = 0;
  }

  #loadSnapshot(area: number, generation: number): void {
    const fields = unpackSnapshot(this.setup.snapshots[area & 1], 0) as SnapshotFields;
    this.plane.load(planeConfig(fields, this.shim));
    loadPairs(fields, this.plane.pairs);
    loadGuard(fields, this.plane.guard);
    this.#untold = this.plane.punts.loaded(generation) ? -1 : generation;
    this.#redeciding.begin();
  }

  #install(at: number): void {
    const { sessions, bindings, windows } = this.plane;
    const memory = this.#ring.memory;
    const word = (offset: number) => memory.getUint32(at + offset, true);
    const slot = word(INSTALL.slot);
    if (sessions.state[slot] !== 0) this.#close(slot);
    const sendNow = word(INSTALL.sendNow) === 1;
    // Both sides wait for the peer's first valid DATA; the initiator may send before it.
    if (sessions.open(word(INSTALL.receiverIndex), SESSION_UNCONFIRMED, 0) !== slot) return;
    windows.clear(slot);
    sessions.remoteIndex[slot] = word(INSTALL.remoteIndex);
    sessions.peer[slot] = word(INSTALL.peer);
    sessions.tag[slot] = word(INSTALL.tag);
    sessions.role[slot] = word(INSTALL.role);
    sessions.order[slot] = word(INSTALL.order);
    sessions.peersOrder[slot] = sendNow ? 0 : word(INSTALL.order);
    sessions.endsBefore[slot] = word(INSTALL.endsBefore);
    sessions.keyOut[slot] = word(INSTALL.keyOut);
    sessions.keyIn[slot] = word(INSTALL.keyIn);
    sessions.confidentialOut[slot] = word(INSTALL.confidentialOut);
    sessions.confidentialIn[slot] = word(INSTALL.confidentialIn);
    sessions.quickOut[slot] = word(INSTALL.quickOut);
    sessions.quickIn[slot] = word(INSTALL.quickIn);
    sessions.setQuickProofs(slot, memory, at + INSTALL.proofOut, at + INSTALL.proofIn);
    // Known from now on, so that both roles of a row exist when the first packet asks.
    bindings.of(sessions.peer[slot], sessions.tag[slot], sessions.role[slot]);
    if (sendNow) this.#use(slot);
  }

  /** What waited for the binding leaves, in order. */
  #use(slot: number): void {
    const { sessions, bindings } = this.plane;
    if (sessions.state[slot] === 0) return;
    const binding = bindings.of(sessions.peer[slot], sessions.tag[slot], sessions.role[slot]);
    if (binding < 0) return;
    // Retired for idleness, and used again by the peer at the last moment: it is as before.
    if (sessions.state[slot] === SESSION_RETIRING) sessions.state[slot] = SESSION_LIVE;
    bindings.sendSession[binding] = slot;
    bindings.waiting[binding] = 0;
    this.plane.releaseOwner(binding);
  }

  #bindingOf(slot: number): number {
    const { sessions, bindings } = this.plane;
    return bindings.find(sessions.peer[slot], sessions.tag[slot], sessions.role[slot]);
  }

  #retire(slot: number): void {
    const { sessions, bindings } = this.plane;
    if (sessions.state[slot] === 0) return;
    const binding = this.#bindingOf(slot);
    if (binding >= 0) bindings.unbind(binding, slot);
    if (sessions.state[slot] === SESSION_LIVE) sessions.state[slot] = SESSION_RETIRING;
  }

  #close(slot: number): void {
    const { sessions, bindings } = this.plane;
    if (slot >= sessions.capacity || sessions.state[slot] === 0) return;
    const binding = this.#bindingOf(slot);
    if (binding >= 0) bindings.unbind(binding, slot);
    sessions.close(slot);
  }

  #failed(peer: number, tag: number, role: number): void {
    const { plane } = this;
    const binding = plane.bindings.find(peer, tag, role);
    if (binding < 0) return;
    plane.bindings.waiting[binding] = 0;
    plane.dropOwner(binding, DROP.peerDown);
  }

  #send(at: number, outside: boolean): void {
    const { plane } = this;
    const length = this.#ring.length;
    if (!plane.takeBuffer(this.#handle, this.#offset)) return;
    const offset = this.#offset[0];
    const memory = this.#ring.memory;
    for (let i = 0; i < length; i++) plane.memory.setUint8(offset + i, memory.getUint8(at + i));
    (outside ? plane.outside : plane.inside).add(this.#handle[0], offset, length);
  }

  /** Begins to copy frames of the outside port, or ends it. */
  #capture(isWanted: boolean): void {
    const { memory, outside } = this.plane;
    outside.tap = isWanted ? new FrameTap(this.#frames, memory) : undefined;
  }

  #pathMtu(peer: number, innerMtu: number): void {
    if (peer < this.plane.innerMtu.length && innerMtu >= INNER_MTU_MIN) {
      this.plane.innerMtu[peer] = innerMtu;
    }
  }

  /** A connection of the agent itself, or who may call it. */
  #management(at: number): void {
    const { management } = this.plane;
    const memory = this.#ring.memory;
    const word = (offset: number) => memory.getUint32(at + offset, true);
    const address = (i: number) => word(MANAGEMENT.address + 4 * i);
    switch (word(MANAGEMENT.change)) {
      case MANAGEMENT_CHANGE.open:
        management.open(
          word(MANAGEMENT.localPort),
          word(MANAGEMENT.ipVersion),
          address(0),
          address(1),
          address(2),
          address(3),
          word(MANAGEMENT.port),
        );
        break;
      case MANAGEMENT_CHANGE.close:
        management.close(word(MANAGEMENT.localPort));
        break;
      case MANAGEMENT_CHANGE.listen:
        management.listen(word(MANAGEMENT.port));
        break;
      case MANAGEMENT_CHANGE.caller:
        if (word(MANAGEMENT.ipVersion) === 4) management.caller4(address(3));
        else management.caller6(address(0), address(1), address(2), address(3));
    }
  }

  /** The peer refused this flow: the application is told at its next packet. */
  #refuseFlow(at: number): void {
    const { plane } = this;
    const memory = this.#ring.memory;
    const word = (offset: number) => memory.getUint32(at + offset, true);
    const named = new ParsedPacket();
    named.ipVersion = word(REFUSE.ipVersion);
    named.transportProtocol = word(REFUSE.protocol);
    named.sourcePort = word(REFUSE.sourcePort);
    named.destinationPort = word(REFUSE.destinationPort);
    named.source0 = word(REFUSE.source);
    named.source1 = word(REFUSE.source + 4);
    named.source2 = word(REFUSE.source + 8);
    named.source3 = word(REFUSE.source + 12);
    named.destination0 = word(REFUSE.destination);
    named.destination1 = word(REFUSE.destination + 4);
    named.destination2 = word(REFUSE.destination + 8);
    named.destination3 = word(REFUSE.destination + 12);
    const flow = plane.findOutgoing(named, plane.hashOut(named));
    if (flow < 0) return;
    const words = plane.flows.words;
    const record = flow * FLOW_WORDS;
    if ((words[record + F_PEER] & 0xffff) !== word(REFUSE.peer) + 1) return;
    plane.refusals.refusedByPeer(flow);
  }
}
