/**
 * An agent for simulations: the session machine with the least data plane that can go with it.
 * A DATA packet is its index, key and payload number; sealing is the shim's and tested elsewhere.
 * Outputs are carried out in order, and each is checked against what the data plane may expect.
 */
import { toHex } from "../../src/bytes.ts";
import { assert } from "../../src/errors.ts";
import type {
  InstallOutput,
  SessionsConfig,
  SessionsEvent,
  SessionsOutput,
} from "../../src/session/session-api.ts";
import { Sessions } from "../../src/session/sessions.ts";
import type {
  Micros,
  PeerIndex,
  Role,
  SessionSlot,
  TagIndex,
  WallMillis,
} from "../../src/units.ts";
import type { SimulatedNetwork } from "./simulated-network.ts";

/** A packet with payload; `payload` 0 is an empty DATA. */
export type DataPacket = {
  readonly receiverIndex: number;
  readonly key: string;
  readonly payload: number;
};

type OpenSession = {
  readonly install: InstallOutput;
  maySend: boolean;
  isHeard: boolean;
  lastSent: Micros;
  lastReceived: Micros;
  lastHeard: Micros;
  packetsSent: number;
};

type Waiting = { readonly at: number; readonly payload: number };

const HOLD_MICROS = 5_000_000;
const ACTIVITY_MICROS = 1_000_000;

export type AgentSetup = {
  readonly name: string;
  readonly address: Uint8Array;
  readonly config: Omit<SessionsConfig, "random" | "lastStamp">;
};

export class SimulatedAgent {
  sessions: Sessions;
  readonly open = new Map<SessionSlot, OpenSession>();
  readonly outputs: SessionsOutput[] = [];
  readonly delivered: number[] = [];
  /** Where the agent's wall clock is off, in ms. */
  clockOffset = 0;
  isUnderLoad = false;
  isRunning = true;
  answersHints = false;
  unknownIndices = 0;
  dropped = 0;
  private savedStamp: Uint8Array | undefined;
  private readonly binding = new Map<string, SessionSlot>();
  private readonly waiting = new Map<string, Waiting[]>();
  private activityAt = 0;

  constructor(
    private readonly network: SimulatedNetwork,
    readonly setup: AgentSetup,
  ) {
    this.sessions = this.makeSessions();
  }

  private makeSessions(): Sessions {
    const { network, setup, savedStamp } = this;
    const lastStamp = savedStamp === undefined ? {} : { lastStamp: savedStamp };
    return new Sessions({ ...setup.config, ...lastStamp, random: (size) => network.bytes(size) });
  }

  /** All that was in memory is gone; what was saved is kept unless the disk is lost too. */
  restart(keepsDisk = true): void {
    if (!keepsDisk) this.savedStamp = undefined;
    this.sessions = this.makeSessions();
    this.open.clear();
    this.binding.clear();
    this.waiting.clear();
    this.isRunning = true;
    this.tick();
  }

  get wall(): WallMillis {
    return (this.network.wall + this.clockOffset) as WallMillis;
  }

  step(event: SessionsEvent): SessionsOutput[] {
    const outputs = this.sessions.step(event);
    for (const output of outputs) this.carryOut(output);
    return outputs;
  }

  hearTime(): void {
    if (this.isRunning) this.step({ type: "time", now: this.network.now, wall: this.wall });
  }

  tick(): void {
    if (!this.isRunning) return;
    this.hearTime();
    const { now } = this.network;
    if (now >= this.activityAt) {
      this.activityAt = now + ACTIVITY_MICROS;
      for (const slot of [...this.open.keys()]) this.reportActivity(slot);
    }
    for (const [key, packets] of this.waiting) {
      const kept = packets.filter(({ at }) => at + HOLD_MICROS > now);
      this.dropped += packets.length - kept.length;
      this.waiting.set(key, kept);
    }
  }

  private reportActivity(slot: SessionSlot): void {
    const session = this.open.get(slot);
    if (session === undefined) return;
    const { lastSent, lastReceived, lastHeard, packetsSent } = session;
    this.step({ type: "activity", slot, lastSent, lastReceived, lastHeard, packetsSent });
  }

  /** An application sends: under the binding's session, or held until there is one. */
  send(peer: PeerIndex, tag: TagIndex, role: Role, payload: number): void {
    const key = bindingName(peer, tag, role);
    const slot = this.binding.get(key);
    if (slot !== undefined) {
      this.transmit(slot, payload);
      return;
    }
    const packets = this.waiting.get(key) ?? [];
    packets.push({ at: this.network.now, payload });
    this.waiting.set(key, packets);
    this.step({ type: "need", peer, tag, role });
  }

  private transmit(slot: SessionSlot, payload: number): void {
    const session = this.open.get(slot);
    assert(session !== undefined, "a session is sent under while it is open");
    assert(session.maySend, "a session is sent under while it may be");
    session.lastSent = this.network.now;
    this.put(session, payload);
  }

  private keepAlive(slot: SessionSlot): void {
    const session = this.open.get(slot);
    assert(session !== undefined, "a session is kept alive while it is open");
    this.put(session, 0);
  }

  private put(session: OpenSession, payload: number): void {
    const { install } = session;
    session.packetsSent++;
    const packet = {
      receiverIndex: install.remoteIndex,
      key: toHex(install.out.key),
      payload,
    };
    this.network.carryData(this, install.peer, packet);
  }

  /** A DATA packet from the network. */
  receiveData(packet: DataPacket, from: PeerIndex): void {
    if (!this.isRunning) return;
    const session = this.open.get((packet.receiverIndex & 0xfff) as SessionSlot);
    if (session?.install.receiverIndex !== packet.receiverIndex) {
      if (packet.payload !== 0) this.unknownIndices++;
      if (this.answersHints) this.network.carryHint(this, from, packet.receiverIndex);
      return;
    }
    assert(toHex(session.install.in.key) === packet.key, "an index is never used with another key");
    session.lastHeard = this.network.now;
    if (packet.payload !== 0) {
      session.lastReceived = this.network.now;
      this.delivered.push(packet.payload);
    }
    if (session.isHeard) return;
    session.isHeard = true;
    this.step({ type: "confirmed", slot: session.install.slot });
  }

  receiveHandshake(message: Uint8Array, sourceAddress: Uint8Array): void {
    if (!this.isRunning) return;
    this.step({ type: "handshake", message, sourceAddress, underLoad: this.isUnderLoad });
  }

  private carryOut(output: SessionsOutput): void {
    this.outputs.push(output);
    switch (output.type) {
      case "send":
        this.network.carryHandshake(this, output);
        break;
      case "install":
        this.install(output);
        break;
      case "use":
        this.use(output.slot, bindingName(output.peer, output.tag, output.myRole));
        break;
      case "retire":
        this.retire(output.slot);
        break;
      case "close":
        assert(this.open.delete(output.slot), "only open sessions are closed");
        this.unbind(output.slot);
        break;
      case "keepalive":
        this.keepAlive(output.slot);
        break;
      case "failed":
        this.drop(bindingName(output.peer, output.tag, output.role));
        break;
      case "persist-stamp":
        this.savedStamp = output.stamp;
        break;
    }
  }

  private drop(key: string): void {
    this.dropped += this.waiting.get(key)?.length ?? 0;
    this.waiting.delete(key);
  }

  private install(install: InstallOutput): void {
    assert(!this.open.has(install.slot), "a slot is closed before it is used again");
    assert((install.receiverIndex & 0xfff) === install.slot, "the index names the slot");
    const never = 0 as Micros;
    this.open.set(install.slot, {
      install,
      maySend: install.sendNow,
      isHeard: false,
      lastSent: never,
      lastReceived: never,
      lastHeard: never,
      packetsSent: 0,
    });
    const { slot, peer, tag, myRole } = install;
    if (install.sendNow) this.use(slot, bindingName(peer, tag, myRole));
  }

  private use(slot: SessionSlot, key: string): void {
    const session = this.open.get(slot);
    assert(session !== undefined, "only open sessions are used");
    session.maySend = true;
    this.binding.set(key, slot);
    const packets = this.waiting.get(key) ?? [];
    this.waiting.delete(key);
    for (const { payload } of packets) this.transmit(slot, payload);
  }

  private retire(slot: SessionSlot): void {
    const session = this.open.get(slot);
    assert(session !== undefined, "only open sessions are retired");
    session.maySend = false;
    this.unbind(slot);
  }

  private unbind(slot: SessionSlot): void {
    for (const [key, bound] of this.binding) if (bound === slot) this.binding.delete(key);
  }

  /** The outputs of one type since the start. */
  outputsOf<T extends SessionsOutput["type"]>(type: T): Extract<SessionsOutput, { type: T }>[] {
    const isOfType = (output: SessionsOutput): output is Extract<SessionsOutput, { type: T }> =>
      output.type === type;
    return this.outputs.filter(isOfType);
  }
}

function bindingName(peer: PeerIndex, tag: TagIndex, role: Role): string {
  return `${peer}/${tag}/${role}`;
}
