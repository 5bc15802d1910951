/**
 * What a worker's data plane is made of: ports, tables, and policy and peers as they are at the
 * moment. Packets' loops read these fields; what is done with them is plane.ts. Set-up, but for
 * the fields.
 */
import type { AddressPairs } from "./address-pairs.ts";
import type { AddressTable } from "./address-table.ts";
import type { BindingTable } from "./binding-table.ts";
import type { Counters } from "./counters.ts";
import type { FlowTable } from "./flow-table.ts";
import { FragmentTable } from "./fragment-table.ts";
import type { HalfOpen } from "./half-open.ts";
import type { HoldQueue } from "./hold-queue.ts";
import { ManagementFlows } from "./management-flows.ts";
import { NeighbourGuard } from "./neighbour-guard.ts";
import type { Decision, MatcherSeam, PolicySeam } from "./policy-seam.ts";
import type { ReplayWindow } from "./replay-window.ts";
import type { Punts } from "./reports.ts";
import { SendQueue } from "./send-queue.ts";
import type { SessionTable } from "./session-table.ts";
import { addressOf, fixedU8, type ShimSymbols } from "./shim.ts";
import { TokenBuckets } from "./token-bucket.ts";

const LANES = 16;
const MAC1_KEY_BYTES = 32;
const HANDSHAKES_PER_SECOND = 500;
const REJECTS_PER_SECOND = 20;
const UNKNOWN_PER_SECOND = 10;
/** Fragmented packets under reassembly at one time, and fragments held, each way. */
const FRAGMENT_ENTRIES = 1024;
const FRAGMENT_HOLD = 512;

export interface PlaneTables {
  readonly flows: FlowTable;
  readonly sessions: SessionTable;
  readonly bindings: BindingTable;
  readonly pairs: AddressPairs;
  readonly windows: ReplayWindow;
  readonly holds: HoldQueue;
  readonly halfOpen: HalfOpen;
  readonly counters: Counters;
}

export interface PlaneSetup {
  readonly memory: DataView;
  /** Address of the pool's first byte. */
  readonly poolAddress: number;
  readonly shim: ShimSymbols;
  readonly insidePort: number;
  readonly outsidePort: number;
  readonly queue: number;
  readonly lane: number;
  readonly peers: number;
  readonly tables: PlaneTables;
  readonly punts: Punts;
  readonly decision: Decision;
  /** First owner number of the hold queue that is not a binding. */
  readonly firstSeatOwner: number;
}

/** What a snapshot brings: policy, signatures, peers and the agent's own settings. */
export interface PlaneConfig {
  readonly policy: PolicySeam<Decision>;
  readonly matcher: MatcherSeam;
  readonly peerAddresses: AddressTable;
  /** CARRIER_IP or CARRIER_UDP by peer. */
  readonly peerCarrier: Uint8Array;
  readonly peerQuick: Uint8Array;
  /** 1 for each tag this node may claim. */
  readonly ownTags: Uint8Array;
  /** Of each peer, a bit for each tag it may claim: peerTagWords words a peer. */
  readonly peerTags: Uint32Array;
  readonly peerTagWords: number;
  readonly ownQuick: number;
  readonly ownCarrier: number;
  readonly carrierProtocol: number;
  readonly udpPort: number;
  readonly defaultStage: number;
  /** Largest inner IP packet by peer, before the path has said otherwise. */
  readonly innerMtu: number;
  /** 32 bytes for each of our keys, one or two. */
  readonly mac1Keys: Uint8Array;
}

export class PlaneState {
  readonly memory: DataView;
  readonly poolAddress: number;
  readonly shim: ShimSymbols;
  readonly inside: SendQueue;
  readonly outside: SendQueue;
  readonly flows: FlowTable;
  readonly sessions: SessionTable;
  readonly bindings: BindingTable;
  readonly pairs: AddressPairs;
  readonly windows: ReplayWindow;
  readonly holds: HoldQueue;
  readonly halfOpen: HalfOpen;
  readonly counters: Counters;
  readonly fragmentsIn: FragmentTable;
  readonly fragmentsOut: FragmentTable;
  readonly guard = new NeighbourGuard();
  readonly management = new ManagementFlows();
  readonly punts: Punts;
  /** Written by `decide`; valid until the next lookup. */
  readonly decision: Decision;
  readonly lanes = LANES;

  policy: PolicySeam<Decision>;
  matcher: MatcherSeam;
  peerAddresses: AddressTable;
  peerCarrier: Uint8Array;
  peerQuick: Uint8Array;
  ownTags: Uint8Array;
  peerTags: Uint32Array;
  peerTagWords = 0;
  ownQuick = 0;
  ownCarrier = 0;
  carrierProtocol = 253;
  udpPort = 6253;
  defaultStage = 0;
  /** Largest IP packet that the inside interface takes. */
  insideMtu = 0;
  /** Largest inner IP packet by peer. */
  readonly innerMtu: Uint16Array;
  /** Packets wait that were judged before the last snapshot: they are judged again. */
  judgesHeldAgain = false;
  /** Owner numbers of the hold queue below this are bindings. */
  readonly firstSeatOwner: number;
  readonly mac1Keys = fixedU8(2 * MAC1_KEY_BYTES);
  readonly mac1KeyPointer = addressOf(this.mac1Keys);
  readonly otherMac1KeyPointer = this.mac1KeyPointer + MAC1_KEY_BYTES;
  /** While our key changes, messages to either come. */
  hasOtherMac1Key = false;

  /** Set by the worker before each burst. */
  nowUs = 0;
  nowSeconds = 0;
  wallSeconds = 0;

  /** By peer: no peer can use up what others need. */
  readonly handshakeBuckets: TokenBuckets;
  readonly cookieBuckets: TokenBuckets;
  readonly tooBigBuckets: TokenBuckets;
  readonly rejectBuckets: TokenBuckets;
  readonly unknownBuckets: TokenBuckets;
  keepAlives = 0;
  mac1Checks = 0;

  constructor(setup: PlaneSetup, config: PlaneConfig) {
    this.memory = setup.memory;
    this.poolAddress = setup.poolAddress;
    this.shim = setup.shim;
    this.flows = setup.tables.flows;
    this.sessions = setup.tables.sessions;
    this.bindings = setup.tables.bindings;
    this.pairs = setup.tables.pairs;
    this.windows = setup.tables.windows;
    this.holds = setup.tables.holds;
    this.halfOpen = setup.tables.halfOpen;
    this.counters = setup.tables.counters;
    this.punts = setup.punts;
    this.decision = setup.decision;
    const owners = setup.peers + 1;
    const seed = crypto.getRandomValues(new Uint32Array(2));
    this.fragmentsIn = new FragmentTable(FRAGMENT_ENTRIES, FRAGMENT_HOLD, owners, seed[0]);
    this.fragmentsOut = new FragmentTable(FRAGMENT_ENTRIES, FRAGMENT_HOLD, owners, seed[1]);
    this.handshakeBuckets = new TokenBuckets(owners, HANDSHAKES_PER_SECOND, HANDSHAKES_PER_SECOND);
    this.cookieBuckets = new TokenBuckets(owners, HANDSHAKES_PER_SECOND, HANDSHAKES_PER_SECOND);
    this.tooBigBuckets = new TokenBuckets(owners, REJECTS_PER_SECOND, REJECTS_PER_SECOND);
    this.rejectBuckets = new TokenBuckets(owners, REJECTS_PER_SECOND, REJECTS_PER_SECOND);
    this.unknownBuckets = new TokenBuckets(owners, UNKNOWN_PER_SECOND, UNKNOWN_PER_SECOND);
    this.inside = new SendQueue(setup.shim, setup.memory, setup.insidePort, setup.queue);
    this.outside = new SendQueue(setup.shim, setup.memory, setup.outsidePort, setup.queue);
    this.firstSeatOwner = setup.firstSeatOwner;
    this.innerMtu = new Uint16Array(setup.peers);
    this.policy = config.policy;
    this.matcher = config.matcher;
    this.peerAddresses = config.peerAddresses;
    this.peerCarrier = config.peerCarrier;
    this.peerQuick = config.peerQuick;
    this.ownTags = config.ownTags;
    this.peerTags = config.peerTags;
    this.load(config);
  }

  /**
   * Takes a new snapshot into use, between two bursts. Flows keep their verdicts until
   * flow-redeciding.ts has decided on them again.
   */
  load(config: PlaneConfig): void {
    this.policy = config.policy;
    this.matcher = config.matcher;
    this.peerAddresses = config.peerAddresses;
    this.peerCarrier = config.peerCarrier;
    this.peerQuick = config.peerQuick;
    this.ownTags = config.ownTags;
    this.peerTags = config.peerTags;
    this.peerTagWords = config.peerTagWords;
    this.judgesHeldAgain = this.holds.count > 0;
    this.ownQuick = config.ownQuick;
    this.ownCarrier = config.ownCarrier;
    this.carrierProtocol = config.carrierProtocol;
    this.udpPort = config.udpPort;
    this.defaultStage = config.defaultStage;
    this.#loadMtu(config.innerMtu);
    this.mac1Keys.fill(0);
    this.mac1Keys.set(config.mac1Keys);
    this.hasOtherMac1Key = config.mac1Keys.length > MAC1_KEY_BYTES;
  }

  /** A path MTU that was lowered stays so: the main thread says when it is over. */
  #loadMtu(innerMtu: number): void {
    const mtus = this.innerMtu;
    for (let peer = 0; peer < mtus.length; peer++) {
      if (mtus[peer] === this.insideMtu || mtus[peer] > innerMtu) mtus[peer] = innerMtu;
    }
    this.insideMtu = innerMtu;
  }
}
