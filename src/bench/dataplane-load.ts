/**
 * The load of `abs bench dataplane`, the same as that of bench/oracle_bench.c: UDP flows over as
 * many peers as there are sessions, in a random order. Fills bursts with packets before they are
 * handled; filling is not timed, on either side.
 */
import {
  F_LOCAL3,
  F_PEER,
  F_PORTS,
  F_PROTOCOL,
  F_REMOTE3,
  F_STATE,
  F_TAG_RULE,
  FLOW_ALLOWED,
  FLOW_FROM_REMOTE,
  FLOW_WORDS,
} from "../dataplane/flow-table.ts";
import { BURST_MAX } from "../dataplane/send-queue.ts";
import { SESSION_LIVE } from "../dataplane/session-table.ts";
import { addressOf, fixedU32, type ShimSymbols } from "../dataplane/shim.ts";
import type { BenchPlane } from "./bench-plane.ts";

const FRAME_HEADER_BYTES = 42; // Ethernet, IPv4, UDP
const ABS_HEADER_BYTES = 32;
const LOCAL_ADDRESS = 0x0a000001;
const REMOTE_ADDRESS = 0x0a010000;
const LOCAL_PORT = 10_000;
const REMOTE_PORT = 443;
const TAG = 1;
const MTU = 1468;
const UDP = 17;
const CARRIER_PROTOCOL = 253;
const ORDER_MIN = 65_536;
const ORDER_SEED = 2_463_534_242;

export interface LoadShape {
  readonly flows: number;
  readonly sessions: number;
}

/** Sessions, address pairs and flows of the load. */
export function fillTables(bench: BenchPlane, { flows, sessions }: LoadShape): void {
  for (let peer = 0; peer < sessions; peer++) addPeer(bench, peer);
  const words = new Uint32Array(FLOW_WORDS);
  for (let flow = 0; flow < flows; flow++) {
    const peer = flow % sessions;
    words[F_REMOTE3] = REMOTE_ADDRESS + peer;
    words[F_LOCAL3] = LOCAL_ADDRESS;
    words[F_PORTS] = ((LOCAL_PORT + Math.floor(flow / sessions)) << 16) | REMOTE_PORT;
    words[F_PROTOCOL] = UDP;
    words[F_STATE] = FLOW_ALLOWED | FLOW_FROM_REMOTE;
    words[F_TAG_RULE] = TAG << 16;
    words[F_PEER] = (peer << 16) | (peer + 1);
    bench.addFlow(words, bench.bindingOf({ peer, tag: TAG, role: 1 }));
  }
}

function addPeer(bench: BenchPlane, peer: number): void {
  const key = (which: number) => {
    const bytes = new Uint8Array(16);
    new DataView(bytes.buffer).setUint32(0, peer, true);
    bytes[15] = which;
    return bytes;
  };
  bench.addSession({
    slot: peer,
    receiverIndex: receiverIndexOf(peer),
    state: SESSION_LIVE,
    peer,
    tag: TAG,
    role: 1,
    remoteIndex: peer + 1,
    keyOut: 2 * peer,
    keyIn: 2 * peer + 1,
    confidentialOut: 0,
    confidentialIn: 0,
    counter: 0,
    keyOutBytes: key(0),
    keyInBytes: key(1),
  });
  bench.addPair({
    version: 4,
    peer,
    local: [0, 0, 0, LOCAL_ADDRESS],
    remote: [0, 0, 0, REMOTE_ADDRESS + peer],
    hashOut: [peer, 1, 2],
    hashIn: [peer, 3, 4],
  });
  bench.setMtu(peer, MTU);
}

/** So that who sends without a header is known to be a peer. */
export function setPeerAddresses({ plane }: BenchPlane, sessions: number): void {
  for (let peer = 0; peer < sessions; peer++) {
    plane.peerAddresses.set4(REMOTE_ADDRESS + peer, peer);
  }
}

function receiverIndexOf(peer: number): number {
  return (((peer + 1) << 12) | peer) >>> 0;
}

/** Every flow as often as any other, shuffled by xorshift32: the same order in every run. */
function shuffledFlows(flows: number): Uint32Array {
  const length = flows < ORDER_MIN ? Math.floor(ORDER_MIN / flows) * flows : flows;
  const order = new Uint32Array(length);
  for (let i = 0; i < length; i++) order[i] = i % flows;
  let state = ORDER_SEED | 0;
  for (let i = length - 1; i > 0; i--) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    const other = (state >>> 0) % (i + 1);
    const flow = order[i];
    order[i] = order[other];
    order[other] = flow;
  }
  return order;
}

/** Writes packets into the buffers of a burst. */
export class LoadFiller {
  readonly #order: Uint32Array;
  /** Below 2^32: no run is that long. */
  readonly #counters: Int32Array;
  #next = 0;
  readonly #key = fixedU32(BURST_MAX);
  readonly #header = fixedU32(BURST_MAX);
  readonly #text = fixedU32(BURST_MAX);
  readonly #clear = fixedU32(BURST_MAX);

  constructor(
    readonly shim: ShimSymbols,
    readonly memory: DataView,
    readonly shape: LoadShape,
  ) {
    this.#order = shuffledFlows(shape.flows);
    this.#counters = new Int32Array(shape.sessions);
  }

  /** Packets of this VM, at `offset`; writes `length`. */
  fillEgress(offset: Uint32Array, length: Uint32Array, count: number, payload: number): void {
    this.#fillPlain(offset, length, count, payload, true);
  }

  /** Packets of the peers without the ABS header, at `offset`; writes `length`. */
  fillBare(offset: Uint32Array, length: Uint32Array, count: number, payload: number): void {
    this.#fillPlain(offset, length, count, payload, false);
  }

  #fillPlain(
    offset: Uint32Array,
    length: Uint32Array,
    count: number,
    payload: number,
    isOurs: boolean,
  ): void {
    for (let i = 0; i < count; i++) {
      const identification = this.#next & 0xffff;
      const flow = this.#takeFlow();
      const peer = flow % this.shape.sessions;
      const at = offset[i];
      const port = LOCAL_PORT + (flow - peer) / this.shape.sessions;
      const remote = REMOTE_ADDRESS + peer;
      const source = isOurs ? LOCAL_ADDRESS : remote;
      const destination = isOurs ? remote : LOCAL_ADDRESS;
      const ports = isOurs ? (port << 16) | REMOTE_PORT : (REMOTE_PORT << 16) | port;
      length[i] = FRAME_HEADER_BYTES + payload;
      this.#headers(at, source, destination, 28 + payload, UDP, identification);
      this.memory.setInt32(at + 34, ports, false);
      this.memory.setInt32(at + 38, (8 + payload) << 16, false);
    }
  }

  /** Sealed packets of the peers, at `offset`; writes `length`. */
  fillIngress(offset: Uint32Array, length: Uint32Array, count: number, payload: number): void {
    this.fillForged(offset, length, count, payload);
    this.shim.abs_seal_burst(
      addressOf(this.#key),
      addressOf(this.#header),
      addressOf(this.#text),
      addressOf(this.#clear),
      count,
    );
  }

  /** As fillIngress(), but nobody has sealed them: their proof does not hold. */
  fillForged(offset: Uint32Array, length: Uint32Array, count: number, payload: number): void {
    const memory = this.memory;
    for (let i = 0; i < count; i++) {
      const identification = this.#next & 0xffff;
      const flow = this.#takeFlow();
      const peer = flow % this.shape.sessions;
      const at = offset[i];
      const port = LOCAL_PORT + (flow - peer) / this.shape.sessions;
      const outer = 28 + payload + ABS_HEADER_BYTES;
      const counter = this.#counters[peer]++;
      length[i] = FRAME_HEADER_BYTES + payload + ABS_HEADER_BYTES;
      const remote = REMOTE_ADDRESS + peer;
      this.#headers(at, remote, LOCAL_ADDRESS, outer, CARRIER_PROTOCOL, identification);
      memory.setInt32(at + 34, 0x15114000, false); // DATA of UDP, don't fragment
      memory.setInt32(at + 38, receiverIndexOf(peer), false);
      memory.setInt32(at + 42, 0, false);
      memory.setInt32(at + 46, counter, false);
      memory.setInt32(at + 50, peer, false);
      memory.setInt32(at + 54, 3, false);
      memory.setInt32(at + 58, 4, false);
      memory.setInt32(at + 62, ((28 + payload) << 16) | identification, false);
      memory.setInt32(at + 66, (REMOTE_PORT << 16) | port, false);
      memory.setInt32(at + 70, (8 + payload) << 16, false);
      this.#key[i] = 2 * peer + 1;
      this.#header[i] = at + 34;
      this.#text[i] = 8 + payload;
    }
  }

  #takeFlow(): number {
    const flow = this.#order[this.#next];
    this.#next = this.#next + 1 === this.#order.length ? 0 : this.#next + 1;
    return flow;
  }

  #headers(
    at: number,
    source: number,
    destination: number,
    ipBytes: number,
    protocol: number,
    identification: number,
  ): void {
    const memory = this.memory;
    let sum = 0x4500 + ipBytes + identification + 0x4000 + (0x4000 | protocol);
    sum += (source >>> 16) + (source & 0xffff) + (destination >>> 16) + (destination & 0xffff);
    sum = (sum & 0xffff) + (sum >>> 16);
    sum = (sum & 0xffff) + (sum >>> 16);
    memory.setInt32(at, 0x02000000, false);
    memory.setInt32(at + 4, 0x00020200, false);
    memory.setInt32(at + 8, 0x00000001, false);
    memory.setInt32(at + 12, 0x08004500, false);
    memory.setInt32(at + 16, (ipBytes << 16) | identification, false);
    memory.setInt32(at + 20, 0x40004000 | protocol, false);
    memory.setInt16(at + 24, ~sum, false);
    memory.setInt32(at + 26, source, false);
    memory.setInt32(at + 30, destination, false);
  }
}
