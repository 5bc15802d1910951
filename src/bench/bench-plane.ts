/**
 * A data plane of `abs` without main thread: tables filled directly, for `abs bench dataplane` and
 * for the comparison with bench/oracle.c. Its rows are those that oracle_apply.c reads. Everything
 * that is not an allowed flow is refused: no policy rule, no signature.
 */
import { AddressPairs } from "../dataplane/address-pairs.ts";
import { AddressTable } from "../dataplane/address-table.ts";
import { BindingTable } from "../dataplane/binding-table.ts";
import { Counters } from "../dataplane/counters.ts";
import type { Egress } from "../dataplane/egress.ts";
import {
  F_BINDING,
  F_LOCAL0,
  F_LOCAL3,
  F_PORTS,
  F_PROTOCOL,
  F_REMOTE0,
  F_REMOTE3,
  FLOW_IPV6,
  FLOW_WORDS,
  FlowTable,
} from "../dataplane/flow-table.ts";
import { HalfOpen } from "../dataplane/half-open.ts";
import { HoldQueue } from "../dataplane/hold-queue.ts";
import { IDENTIFY_SEATS } from "../dataplane/identification.ts";
import { Ingress } from "../dataplane/ingress.ts";
import { Plane } from "../dataplane/plane.ts";
import type { PlaneConfig } from "../dataplane/plane-state.ts";
import {
  ACTION_DENY,
  type Decision,
  MATCH_NONE,
  REFUSE_DROP,
  STAGE_ENFORCE,
} from "../dataplane/policy-seam.ts";
import { newRing, RecordRing } from "../dataplane/record-ring.ts";
import { ReplayWindow } from "../dataplane/replay-window.ts";
import { Punts } from "../dataplane/reports.ts";
import { SESSION_CAPACITY_MAX, SESSION_LANES, SessionTable } from "../dataplane/session-table.ts";
import type { Shim } from "../dataplane/shim.ts";
import { AES_128_GCM } from "../dataplane/shim-symbols.ts";
import { assert } from "../errors.ts";

/** Tables have the size of an agent's, whatever the load. */
const FLOW_CAPACITY = 1_000_000;
const PEERS = 4096;
const BINDINGS = 2 * PEERS;
const PUNT_RING_BYTES = 65_536;
const HOLD_PACKETS = 1024;

export interface SessionRow {
  readonly slot: number;
  readonly receiverIndex: number;
  readonly state: number;
  readonly peer: number;
  readonly tag: number;
  readonly role: number;
  readonly remoteIndex: number;
  readonly keyOut: number;
  readonly keyIn: number;
  readonly confidentialOut: number;
  readonly confidentialIn: number;
  /** The next counter of our lane. */
  readonly counter: number;
  /** AES-128-GCM keys, 16 bytes each. */
  readonly keyOutBytes: Uint8Array;
  readonly keyInBytes: Uint8Array;
}

export interface PairRow {
  readonly version: 4 | 6;
  readonly peer: number;
  /** Addresses as four words, an IPv4 address in word 3. */
  readonly local: readonly number[];
  readonly remote: readonly number[];
  readonly hashOut: readonly number[];
  readonly hashIn: readonly number[];
}

export interface BenchPlaneOptions {
  readonly shim: Shim;
  readonly memory: DataView;
  readonly insidePort: number;
  readonly outsidePort: number;
  readonly lane: number;
  readonly carrierProtocol: number;
}

export class BenchPlane {
  readonly plane: Plane;
  readonly egress: Egress;
  readonly ingress: Ingress;
  /** The reader's end of its reports. */
  readonly punts: RecordRing;
  readonly #shim: Shim;
  readonly #lane: number;

  constructor(options: BenchPlaneOptions) {
    this.#shim = options.shim;
    this.#lane = options.lane;
    const buffer = newRing(PUNT_RING_BYTES);
    const ring = new RecordRing(buffer);
    this.punts = new RecordRing(buffer);
    this.plane = new Plane(
      {
        memory: options.memory,
        poolAddress: 0,
        shim: options.shim.symbols,
        insidePort: options.insidePort,
        outsidePort: options.outsidePort,
        queue: 0,
        lane: options.lane,
        peers: PEERS,
        tables: {
          flows: new FlowTable(FLOW_CAPACITY),
          sessions: new SessionTable(),
          bindings: new BindingTable(BINDINGS),
          pairs: new AddressPairs(PEERS),
          windows: new ReplayWindow(SESSION_CAPACITY_MAX),
          holds: new HoldQueue(HOLD_PACKETS, BINDINGS + IDENTIFY_SEATS, PEERS),
          halfOpen: new HalfOpen(PEERS),
          counters: new Counters(),
        },
        punts: new Punts(ring, options.memory),
        decision: nothing(),
        firstSeatOwner: BINDINGS,
      },
      refuseAll(options.carrierProtocol),
    );
    // The source of all its frames, as dataplane-load.ts and test/oracle make them.
    this.plane.guard.ownMacHigh = 0x0200;
    this.plane.guard.ownMacLow = 0x0000_0001;
    this.egress = this.plane.egress;
    this.ingress = new Ingress(this.plane);
  }

  addSession(row: SessionRow): void {
    const sessions = this.plane.sessions;
    const slot = sessions.open(row.receiverIndex, row.state, 0);
    assert(slot === row.slot, `session ${row.slot} is taken`);
    sessions.peer[slot] = row.peer;
    sessions.tag[slot] = row.tag;
    sessions.role[slot] = row.role;
    sessions.remoteIndex[slot] = row.remoteIndex;
    sessions.keyOut[slot] = row.keyOut;
    sessions.keyIn[slot] = row.keyIn;
    sessions.confidentialOut[slot] = row.confidentialOut;
    sessions.confidentialIn[slot] = row.confidentialIn;
    sessions.counters[slot * SESSION_LANES + this.#lane] = row.counter;
    this.#shim.setKey(row.keyOut, AES_128_GCM, row.keyOutBytes);
    this.#shim.setKey(row.keyIn, AES_128_GCM, row.keyInBytes);
    const binding = this.plane.bindings.of(row.peer, row.tag, row.role);
    this.plane.bindings.sendSession[binding] = slot;
  }

  /** The binding of a session, for the F_BINDING of its flows. */
  bindingOf(row: Pick<SessionRow, "peer" | "tag" | "role">): number {
    return this.plane.bindings.of(row.peer, row.tag, row.role);
  }

  addPair(row: PairRow): void {
    const { pairs } = this.plane;
    const [local0, local1, local2, local3] = fourOf(row.local);
    const [remote0, remote1, remote2, remote3] = fourOf(row.remote);
    const pair =
      row.version === 4
        ? pairs.add4(local3, remote3, row.peer)
        : pairs.add6(local3, remote3, local0, local1, local2, remote0, remote1, remote2, row.peer);
    assert(pair >= 0, "no room for the address pair");
    pairs.hashOut.set(row.hashOut, 3 * pair);
    pairs.hashIn.set(row.hashIn, 3 * pair);
  }

  /** @param words a flow record; `binding` replaces its F_BINDING */
  addFlow(words: Uint32Array, binding: number): void {
    const { flows } = this.plane;
    const key: KeyWords = [
      words[F_LOCAL3],
      words[F_REMOTE3],
      words[F_PORTS],
      words[F_PROTOCOL],
      words[F_LOCAL0],
      words[F_LOCAL0 + 1],
      words[F_LOCAL0 + 2],
      words[F_REMOTE0],
      words[F_REMOTE0 + 1],
      words[F_REMOTE0 + 2],
    ];
    const hash =
      (words[F_PROTOCOL] & FLOW_IPV6) === 0
        ? flows.hash.of4(key[0], key[1], key[2], key[3])
        : flows.hash.of6(...key);
    const flow = flows.insert6(hash, ...key, 0);
    assert(flow >= 0, "no room for the flow");
    // State to F_SEEN; the key is there already, and F_LINK is the table's own.
    const at = flow * FLOW_WORDS;
    for (let word = F_BINDING - 1; word < FLOW_WORDS - 1; word++) {
      flows.words[at + word] = words[word];
    }
    flows.words[at + F_BINDING] = binding + 1;
  }

  /** Greatest inner IP packet, by peer. */
  setMtu(peer: number, bytes: number): void {
    this.plane.innerMtu[peer] = bytes;
  }
}

type KeyWords = [number, number, number, number, number, number, number, number, number, number];

function fourOf(words: readonly number[]): [number, number, number, number] {
  return [words[0] ?? 0, words[1] ?? 0, words[2] ?? 0, words[3] ?? 0];
}

function nothing(): Decision {
  return {
    action: ACTION_DENY,
    rule: 0,
    stage: STAGE_ENFORCE,
    serverFirst: 0,
    refuse: REFUSE_DROP,
    midstreamUntil: 0,
  };
}

function refuseAll(carrierProtocol: number): PlaneConfig {
  return {
    policy: {
      decide(_direction, _peer, _0, _1, _2, _3, _version, _tag, _protocol, _port, out) {
        out.action = ACTION_DENY;
        out.stage = STAGE_ENFORCE;
        out.refuse = REFUSE_DROP;
      },
      exception: () => -1,
    },
    matcher: { hasCandidate: () => false, match: () => MATCH_NONE, tagOf: () => -1 },
    peerAddresses: new AddressTable(PEERS),
    peerCarrier: new Uint8Array(PEERS),
    peerQuick: new Uint8Array(PEERS),
    ownTags: new Uint8Array(1),
    peerTags: new Uint32Array(PEERS),
    peerTagWords: 1,
    ownQuick: 0,
    ownCarrier: 0,
    carrierProtocol,
    udpPort: 6253,
    defaultStage: STAGE_ENFORCE,
    innerMtu: 1468,
    mac1Keys: new Uint8Array(32),
  };
}
