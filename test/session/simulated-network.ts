/**
 * A network of simulated agents: one clock, one seed; it loses, delays, duplicates and reorders.
 * Everything that was carried is kept for attacks (replay, forgery). Time moves by `run` only.
 */
import type { Micros, PeerIndex } from "../../src/units.ts";
import { Prng } from "../prng.ts";
import { type AgentSetup, type DataPacket, SimulatedAgent } from "./simulated-agent.ts";

const TICK_MICROS = 50_000;
/** 2026-01-01T00:00:00Z. */
export const START_WALL = 1_767_225_600_000;

export type Weather = {
  /** Share of packets lost. */
  loss: number;
  /** Share of packets that arrive twice. */
  duplicates: number;
  /** Least and greatest delay in microseconds; a spread reorders. */
  delay: readonly [number, number];
};

type Delivery = { readonly at: number; readonly deliver: () => void };

export class SimulatedNetwork {
  readonly prng: Prng;
  readonly agents: SimulatedAgent[] = [];
  readonly handshakes: { readonly from: SimulatedAgent; readonly message: Uint8Array }[] = [];
  now = 1_000_000 as Micros;
  weather: Weather = { loss: 0, duplicates: 0, delay: [100, 100] };
  /** DATA with payload that the weather took. */
  lostPayloads = 0;
  private readonly deliveries: Delivery[] = [];
  private readonly startedAt = 1_000_000;

  constructor(seed: number) {
    this.prng = new Prng(seed);
  }

  get wall(): number {
    return START_WALL + (this.now - this.startedAt) / 1000;
  }

  bytes(sizeBytes: number): Uint8Array {
    return Uint8Array.from({ length: sizeBytes }, () => this.prng.below(256));
  }

  add(setup: AgentSetup): SimulatedAgent {
    const agent = new SimulatedAgent(this, setup);
    this.agents.push(agent);
    agent.tick();
    return agent;
  }

  /** Agents hold each other in the order of `agents`, leaving themselves out. */
  peerOf(agent: SimulatedAgent, peer: PeerIndex): SimulatedAgent | undefined {
    return this.agents.filter((other) => other !== agent)[peer];
  }

  indexAt(agent: SimulatedAgent, peer: SimulatedAgent): PeerIndex {
    return this.agents.filter((other) => other !== agent).indexOf(peer) as PeerIndex;
  }

  carryHandshake(
    from: SimulatedAgent,
    output: {
      readonly peer: PeerIndex | undefined;
      readonly address: Uint8Array | undefined;
      readonly message: Uint8Array;
    },
  ): void {
    this.handshakes.push({ from, message: output.message });
    const to =
      output.address === undefined
        ? output.peer !== undefined && this.peerOf(from, output.peer)
        : this.agents.find(({ setup }) => setup.address.join() === output.address?.join());
    if (to === undefined || to === false) return;
    const message = output.message;
    this.carry(() => to.receiveHandshake(message.slice(), from.setup.address));
  }

  carryData(from: SimulatedAgent, peer: PeerIndex, packet: DataPacket): void {
    const to = this.peerOf(from, peer);
    if (to === undefined) return;
    const isCarried = this.carry(() => to.receiveData(packet, this.indexAt(to, from)));
    if (!isCarried && packet.payload !== 0) this.lostPayloads++;
  }

  carryHint(from: SimulatedAgent, peer: PeerIndex, unknownIndex: number): void {
    const to = this.peerOf(from, peer);
    if (to === undefined) return;
    const event = { type: "unknown-index", peer: this.indexAt(to, from), unknownIndex } as const;
    this.carry(() => to.step(event));
  }

  private carry(deliver: () => void): boolean {
    if (this.prng.below(10_000) < this.weather.loss * 10_000) return false;
    const copies = this.prng.below(10_000) < this.weather.duplicates * 10_000 ? 2 : 1;
    for (let i = 0; i < copies; i++) {
      const [least, greatest] = this.weather.delay;
      this.deliveries.push({
        at: this.now + least + this.prng.below(greatest - least + 1),
        deliver,
      });
    }
    return true;
  }

  /** Lets time pass; `work` runs at every tick, before the agents hear of it. */
  run(seconds: number, work: () => void = () => undefined): void {
    const end = this.now + seconds * 1_000_000;
    while (this.now < end) {
      const tickAt = Math.min(end, this.now + TICK_MICROS);
      this.deliverUntil(tickAt);
      this.now = tickAt as Micros;
      work();
      for (const agent of this.agents) agent.tick();
    }
  }

  private deliverUntil(time: number): void {
    for (;;) {
      let next = -1;
      for (let i = 0; i < this.deliveries.length; i++) {
        const at = this.deliveries[i]?.at ?? Number.POSITIVE_INFINITY;
        if (at <= time && (next < 0 || at < (this.deliveries[next]?.at ?? 0))) next = i;
      }
      const [delivery] = next < 0 ? [] : this.deliveries.splice(next, 1);
      if (delivery === undefined) return;
      this.now = Math.max(this.now, delivery.at) as Micros;
      for (const agent of this.agents) agent.hearTime();
      delivery.deliver();
    }
  }
}
