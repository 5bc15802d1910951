/**
 * Tables and packets for oracle.test.ts, drawn from a seed: flows over IPv4 and IPv6, untagged and
 * in a VLAN, TCP, UDP and ICMP echo, under integrity and confidential sessions; most packets good,
 * the rest damaged in one of the ways below. Left out is what only the slow path handles
 * (fragments, handshakes, TCP's beginning and end): the oracle has none.
 */
import { createCipheriv } from "node:crypto";
import type { PairRow, SessionRow } from "../../src/bench/bench-plane.ts";
import type { OracleInput } from "../../src/bench/oracle-input.ts";
import {
  F_BINDING,
  F_LOCAL0,
  F_LOCAL3,
  F_PEER,
  F_PORTS,
  F_PROTOCOL,
  F_REMOTE0,
  F_REMOTE3,
  F_STATE,
  F_TAG_RULE,
  FLOW_ALLOWED,
  FLOW_FROM_REMOTE,
  FLOW_IPV6,
  FLOW_OUTSIDE,
  FLOW_REFUSED,
  FLOW_WORDS,
} from "../../src/dataplane/flow-table.ts";
import { SESSION_LIVE } from "../../src/dataplane/session-table.ts";
import { Prng } from "../prng.ts";

const PEERS = 40;
const FLOWS = 400;
const CARRIER_PROTOCOL = 253;
const LANE = 3;
const MTU = 1468;
const TCP = 6;
const UDP = 17;
const ICMP = 1;
const ICMPV6 = 58;

export class LoadPrng extends Prng {
  word(): number {
    return this.u32() >>> 0;
  }

  bytes(count: number): Uint8Array {
    return Uint8Array.from({ length: count }, () => this.below(256));
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)];
  }
}

interface Flow {
  readonly version: 4 | 6;
  readonly protocol: number;
  readonly vlan: number; // 0: untagged
  readonly peer: number;
  readonly localPort: number;
  readonly remotePort: number;
  readonly words: Uint32Array;
}

export class OracleLoad {
  readonly sessions: SessionRow[] = [];
  readonly pairs: PairRow[] = []; // two a peer: IPv4, IPv6
  readonly #flows: Flow[] = [];
  readonly #counters: number[] = [];

  constructor(readonly prng: LoadPrng) {
    for (let peer = 0; peer < PEERS; peer++) this.#addPeer(peer);
    for (let flow = 0; flow < FLOWS; flow++) this.#addFlow(flow);
  }

  input(direction: "egress" | "ingress", packets: number): OracleInput {
    const sent: Uint8Array[] = [];
    for (let i = 0; i < packets; i++) {
      const again = direction === "ingress" && sent.length > 0 && this.prng.oneIn(50);
      // A replay: of one of the last packets, or of one that may have left the window.
      if (again) sent.push(sent[sent.length - 1 - this.prng.below(sent.length)].slice());
      else sent.push(direction === "egress" ? this.#outgoing() : this.#incoming());
    }
    return {
      direction,
      carrierProtocol: CARRIER_PROTOCOL,
      lane: LANE,
      sessions: this.sessions,
      bindings: this.sessions.map((_, row) => row),
      peers: Array.from({ length: PEERS }, () => MTU),
      pairs: this.pairs,
      flows: this.#flows.map((flow) => flow.words),
      packets: sent,
    };
  }

  #addPeer(peer: number): void {
    const { prng } = this;
    const slot = 7 * peer + 1;
    this.sessions.push({
      slot,
      receiverIndex: (((1 + prng.below(0xffffe)) << 12) | slot) >>> 0,
      state: SESSION_LIVE,
      peer,
      tag: prng.below(4),
      role: prng.below(2),
      remoteIndex: prng.word(),
      keyOut: 2 * slot,
      keyIn: 2 * slot + 1,
      confidentialOut: prng.below(2),
      confidentialIn: prng.below(2),
      counter: prng.oneIn(2) ? 0 : prng.word(),
      keyOutBytes: prng.bytes(16),
      keyInBytes: prng.bytes(16),
    });
    const three = () => [prng.word(), prng.word(), prng.word()];
    const hashes = () => ({ hashOut: three(), hashIn: three() });
    const local = [0, 0, 0, 0x0a000001];
    this.pairs.push({ version: 4, peer, local, remote: [0, 0, 0, 0x0a010000 + peer], ...hashes() });
    const local6 = [0xfd770000, 0, 0, 1];
    const remote6 = [0xfd770000, 0, peer, 0x0a010000 + peer];
    this.pairs.push({ version: 6, peer, local: local6, remote: remote6, ...hashes() });
    this.#counters.push(0);
  }

  #addFlow(number: number): void {
    const { prng } = this;
    const version = prng.pick([4, 4, 6] as const);
    const peer = prng.below(PEERS);
    const protocol = prng.pick([TCP, UDP, UDP, version === 4 ? ICMP : ICMPV6]);
    const isEcho = protocol === ICMP || protocol === ICMPV6;
    const vlan = prng.pick([0, 0, 0, 1 + prng.below(4094)]);
    const localPort = 1024 + number;
    const remotePort = isEcho ? localPort : 1 + prng.below(65535);
    const session = this.sessions[peer];
    const pair = this.pairs[2 * peer + (version === 4 ? 0 : 1)];
    const words = new Uint32Array(FLOW_WORDS);
    for (let i = 0; i < 3; i++) {
      words[F_REMOTE0 + i] = pair.remote[i];
      words[F_LOCAL0 + i] = pair.local[i];
    }
    words[F_REMOTE3] = pair.remote[3];
    words[F_LOCAL3] = pair.local[3];
    words[F_PORTS] = (localPort << 16) | remotePort;
    words[F_PROTOCOL] = protocol | (version === 6 ? FLOW_IPV6 : 0) | (vlan << 16);
    const state = prng.oneIn(20) ? prng.pick([FLOW_OUTSIDE, FLOW_REFUSED]) : FLOW_ALLOWED;
    words[F_STATE] = state | (session.role === 1 ? FLOW_FROM_REMOTE : 0);
    words[F_BINDING] = peer + 1;
    words[F_TAG_RULE] = (session.tag << 16) | prng.below(1000);
    // A flow that is not inter-VM has no peer.
    const peerWord = ((2 * peer + (version === 4 ? 0 : 1)) << 16) | (peer + 1);
    words[F_PEER] = state === FLOW_OUTSIDE ? 0 : peerWord;
    this.#flows.push({ version, protocol, vlan, peer, localPort, remotePort, words });
  }

  #outgoing(): Uint8Array {
    const flow = this.prng.pick(this.#flows);
    const pair = this.pairs[2 * flow.peer + (flow.version === 4 ? 0 : 1)];
    const transport = this.#transport(flow, flow.localPort, flow.remotePort);
    const frame = this.#frame(flow, pair.local, pair.remote, flow.protocol, transport, undefined);
    const padding = this.prng.oneIn(4) ? this.prng.below(40) : 0;
    return this.#damage(Buffer.concat([frame, new Uint8Array(padding)]), transport.length);
  }

  #incoming(): Uint8Array {
    const { prng } = this;
    const flow = prng.pick(this.#flows);
    const transport = this.#transport(flow, flow.remotePort, flow.localPort);
    const peer = flow.peer;
    const session = this.sessions[peer];
    const pair = this.pairs[2 * peer + (flow.version === 4 ? 0 : 1)];
    // Steps of up to 800 now and then: the window moves on and leaves gaps.
    this.#counters[peer] += prng.oneIn(10) ? 1 + prng.below(800) : 1;
    const late = prng.oneIn(10) ? prng.below(6000) : 0;
    const counter = Math.max(0, this.#counters[peer] - late);
    const lane = prng.oneIn(40) ? prng.below(20) : 5;
    const identification = flow.version === 4 ? prng.below(65536) : 0;
    const field = flow.version === 4 ? prng.pick([0, 0x4000]) : 0;
    const header = new DataView(new ArrayBuffer(32));
    const flag = prng.oneIn(60) ? prng.pick([1, 2, 3, 7, 15]) : 5;
    const abs = prng.oneIn(60) ? prng.below(16) : 1;
    header.setUint32(0, ((abs << 28) | (flag << 24) | (flow.protocol << 16) | field) >>> 0);
    header.setUint32(4, session.receiverIndex ^ (prng.oneIn(60) ? 0x1000 : 0));
    header.setUint32(8, lane << 24);
    header.setUint32(12, counter);
    const original = transport.length + (flow.version === 4 ? 20 : 0);
    for (const [i, word] of pair.hashIn.entries()) header.setUint32(16 + 4 * i, word);
    header.setUint32(28, ((original << 16) | identification) >>> 0);
    const sealed = seal(session, new Uint8Array(header.buffer), transport);
    const from = prng.oneIn(60) ? this.pairs[prng.below(this.pairs.length)] : pair;
    const outerPair = from.version === flow.version ? from : pair;
    const { remote, local } = outerPair;
    const frame = this.#frame(flow, remote, local, CARRIER_PROTOCOL, sealed, identification);
    return this.#damage(frame, sealed.length);
  }

  /** A transport header with up to 1,400 bytes of payload; some lie about their length. */
  #transport(flow: Flow, sourcePort: number, destinationPort: number): Uint8Array {
    const { prng } = this;
    const payload = prng.bytes(prng.pick([0, 1, 22, 64, prng.below(200), prng.below(1400)]));
    const stranger = prng.oneIn(30) ? 1 : 0; // a flow that nobody knows
    const lie = prng.oneIn(40) ? prng.pick([-1, 1, -9]) : 0;
    if (flow.protocol === TCP) {
      const options = 4 * prng.below(6);
      const head = new DataView(new ArrayBuffer(20 + options));
      head.setUint16(0, sourcePort ^ stranger);
      head.setUint16(2, destinationPort);
      head.setUint32(4, prng.word());
      head.setUint32(8, prng.word());
      const words = prng.oneIn(40) ? prng.below(16) : 5 + options / 4;
      // ACK with or without PSH; now and then nothing that a TCP sends.
      const flags = prng.oneIn(40) ? prng.pick([0, 0x20, 0x28]) : prng.pick([0x10, 0x18]);
      head.setUint16(12, (words << 12) | flags);
      return Buffer.concat([new Uint8Array(head.buffer), payload]);
    }
    const head = new DataView(new ArrayBuffer(8));
    if (flow.protocol === UDP) {
      head.setUint16(0, sourcePort ^ stranger);
      head.setUint16(2, destinationPort);
      head.setUint16(4, Math.max(0, 8 + payload.length + lie));
    } else {
      head.setUint8(0, flow.protocol === ICMP ? prng.pick([0, 8]) : prng.pick([128, 129]));
      head.setUint16(4, sourcePort ^ stranger);
    }
    return Buffer.concat([new Uint8Array(head.buffer), payload]);
  }

  /** Link and IP header around a payload. `identification` undefined: any. */
  #frame(
    flow: Flow,
    source: readonly number[],
    destination: readonly number[],
    protocol: number,
    payload: Uint8Array,
    identification: number | undefined,
  ): Uint8Array {
    const { prng } = this;
    const link = Buffer.concat([
      Uint8Array.of(2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1),
      flow.vlan === 0 ? new Uint8Array(0) : Uint8Array.of(0x81, 0, flow.vlan >> 8, flow.vlan & 255),
      flow.version === 4 ? Uint8Array.of(8, 0) : Uint8Array.of(0x86, 0xdd),
    ]);
    const outer = identification !== undefined;
    if (flow.version === 6) {
      const head = new DataView(new ArrayBuffer(40));
      head.setUint32(0, (0x60000000 | prng.below(0x100000)) >>> 0);
      head.setUint16(4, payload.length);
      head.setUint8(6, protocol);
      head.setUint8(7, 64);
      for (let i = 0; i < 4; i++) {
        head.setUint32(8 + 4 * i, source[i]);
        head.setUint32(24 + 4 * i, destination[i]);
      }
      return Buffer.concat([link, new Uint8Array(head.buffer), payload]);
    }
    const head = new DataView(new ArrayBuffer(20));
    head.setUint16(0, 0x4500 | (prng.below(8) << 2));
    head.setUint16(2, 20 + payload.length);
    head.setUint16(4, identification ?? prng.below(65536));
    head.setUint16(6, outer ? 0x4000 : prng.pick([0, 0x4000]));
    head.setUint8(8, 1 + prng.below(255));
    head.setUint8(9, protocol);
    head.setUint32(12, source[3]);
    head.setUint32(16, destination[3]);
    head.setUint16(10, checksum(head));
    return Buffer.concat([link, new Uint8Array(head.buffer), payload]);
  }

  /** One packet in twelve: a bit turned over, the end cut off, or a header field spoilt. */
  #damage(frame: Uint8Array, textBytes: number): Uint8Array {
    const { prng } = this;
    if (!prng.oneIn(12)) return frame;
    const ipEnd = frame.length;
    const text = Math.max(0, ipEnd - textBytes);
    switch (prng.below(4)) {
      case 0:
        return frame.slice(0, prng.below(frame.length));
      case 1: // a bit of what the proof covers, or of the proof
        frame[Math.min(ipEnd - 1, text + prng.below(textBytes))] ^= 1 << prng.below(8);
        return frame;
      case 2: // version and header length
        frame[14] ^= 1 << prng.below(8);
        return frame;
      default: // total or payload length
        frame[16 + prng.below(2)] ^= 1 << prng.below(8);
        return frame;
    }
  }
}

/** Writes the proof as docs/wire.md "DATA" says, by node:crypto: a third implementation. */
function seal(session: SessionRow, header: Uint8Array, text: Uint8Array): Uint8Array {
  const nonce = Buffer.concat([new Uint8Array(4), header.subarray(8, 16)]);
  const cipher = createCipheriv("aes-128-gcm", session.keyInBytes, nonce);
  const secret = session.confidentialIn === 1;
  cipher.setAAD(secret ? header : Buffer.concat([header, text]));
  const sealedText = secret ? cipher.update(text) : text;
  cipher.final();
  return Buffer.concat([header.subarray(0, 16), cipher.getAuthTag(), sealedText]);
}

function checksum(head: DataView): number {
  let sum = 0;
  for (let i = 0; i < head.byteLength; i += 2) sum += head.getUint16(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
