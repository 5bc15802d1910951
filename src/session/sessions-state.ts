/**
 * The tables of the session machine and what every phase does with them: taking and giving slots,
 * choosing contracts, emitting outputs, counting refusals. docs/wire.md "HANDSHAKE", "Lifetimes".
 * All tables are bounded: by the slots, by the peers, or by what peers may claim. The phases are
 * initiating.ts, responding.ts, lifetimes.ts and liveness.ts; sessions.ts dispatches to them.
 */
import { equalBytes, toHex } from "../bytes.ts";
import { assert } from "../errors.ts";
import type { EpochSeconds, Micros, PeerIndex, Role, SessionSlot, WallMillis } from "../units.ts";
import { type TagIndex, TENANT_TAG } from "../units.ts";
import type { HandshakeForm } from "../wire/handshake-message.ts";
import { type ContractCarried, type ContractUse, endOfUse } from "./contract.ts";
import { ContractBook, type ContractWish } from "./contract-book.ts";
import { CookieIssuer } from "./cookies.ts";
import type { Identity } from "./key-agreement.ts";
import { mac1Holds, mac1KeyOf } from "./mac.ts";
import type { HandshakeState } from "./noise.ts";
import { REFUSALS, type Refusal, type Refused } from "./refusals.ts";
import type {
  CloseReason,
  OwnSecrets,
  PeerConfig,
  SessionLimits,
  SessionsConfig,
  SessionsNotice,
  SessionsOutput,
} from "./session-api.ts";
import { Slots } from "./slots.ts";
import { SourceBuckets } from "./source-buckets.ts";
import { ReceivedStamps, StampClock } from "./stamps.ts";
import { isZero, KeyPair } from "./x25519.ts";

export const MICROS_PER_SECOND = 1_000_000;
export const NEVER = Number.POSITIVE_INFINITY as Micros;

const DEFAULT_LIMITS: SessionLimits = {
  sessions: 4096,
  sessionsPerPeer: 256,
  packets: 2 ** 40,
  slotRest: 10 * MICROS_PER_SECOND,
};
const SOURCE_LIMITS = { perSecond: 20, burst: 40 };
const COOKIE_LIMITS = { perSecond: 1000, burst: 1000 };
const NOTICE_LIMITS = { perSecond: 50, burst: 100 };

/** Sessions move to other contracts this long before theirs end; the second part is random. */
const MOVE_SECONDS = 15;
const MOVE_SPREAD_SECONDS = 10;

/** Whose packets a session carries in which role: what the data plane looks a session up by. */
export type Binding = { readonly peer: PeerIndex; readonly tag: TagIndex; readonly role: Role };

/** A session with keys. The other fields of time are set by the phases. */
export type Session = Binding & {
  readonly slot: SessionSlot;
  readonly receiverIndex: number;
  readonly remoteIndex: number;
  readonly initiator: boolean;
  /** Came of a handshake that the peer marked as the first since its start. */
  readonly isPeerFirst: boolean;
  /** The stamp of the peer's message in that handshake. */
  readonly peerStamp: Uint8Array;
  /** When the handshake began as seen here: what is older than a marked handshake is ended. */
  readonly begunAt: Micros;
  /** From 1, as they are installed. */
  readonly order: number;
  readonly createdAt: Micros;
  readonly myUse: ContractUse;
  readonly peerUse: ContractUse;
  readonly idleMicros: number;
  /** From here on it has been replaced, or stops sending. */
  readonly busyEnd: Micros;
  /** By our wall clock, when the first of its contracts or generations is over. */
  endsAt: EpochSeconds;
  /** By our wall clock, when it moves to other contracts; Infinity: there is nowhere to move. */
  movesAt: number;
  /**
   * Unconfirmed: receives only, until the first valid DATA. Retiring: receives, no longer sends.
   */
  phase: "unconfirmed" | "live" | "retiring";
  /** When the first valid DATA arrived under it; NEVER: none yet. */
  provenAt: Micros;
  /** The initiator renegotiates then. */
  renewAt: Micros;
  closeAt: Micros;
  closeReason: CloseReason;
  /** When the last packet with payload passed in either direction. */
  usedAt: Micros;
  lastHeard: Micros;
  /** When the last packet of any kind was sent, as far as known here. */
  lastSpoke: Micros;
  /** Since when something sent has had no answer of any kind; 0: nothing is open. */
  unansweredSince: Micros;
  /** Since when something received has had no packet back; 0: nothing is open. */
  owedSince: Micros;
  /** Keep-alives sent to have it confirmed. */
  proofTries: number;
  /** When the next handshake because of silence may begin. */
  silenceAt: Micros;
};

/** A handshake of ours that waits for a response. */
export type Pending = Binding & {
  readonly slot: SessionSlot;
  readonly startedAt: Micros;
  /** The session it is to replace, unless that is gone by then. */
  readonly replaces: Session | undefined;
  attempts: number;
  attemptAt: Micros;
  nextAttemptAt: Micros;
  /** The newest attempt only: an answer to an older one is of no use to the responder either. */
  senderIndex: number;
  use: ContractUse | undefined;
  /** SC-IDs of the attempts so far, until each that there is has had its turn. */
  readonly tried: Set<string>;
  noise: HandshakeState | undefined;
  /** The peer's key that it was written to. */
  to: PeerKey;
  token: Uint8Array;
  form: HandshakeForm;
  message: Uint8Array;
  wrongAnswers: number;
  cookieAnswers: number;
};

/** A key of ours, with what strangers' bytes are checked by. */
export type OwnIdentity = Identity & { readonly mac1Key: Uint8Array };

/** A static key of a peer, and the key of mac1 in messages to its owner. */
export type PeerKey = { readonly staticPublic: Uint8Array; readonly mac1Key: Uint8Array };

/** What is known of a peer beside its sessions. */
export type PeerState = {
  readonly config: PeerConfig;
  /** The first is what handshakes with it begin to. */
  readonly keys: readonly [PeerKey, ...PeerKey[]];
  cookie: Uint8Array | undefined;
  cookieAt: Micros;
  /** A handshake with it has been completed since our start. */
  isCompleted: boolean;
  sessionCount: number;
  hintAt: Micros;
  /** Until then handshakes with it begin with the older of two generations. */
  olderUntil: Micros;
};

export class SessionsState {
  readonly limits: SessionLimits;
  readonly random: (sizeBytes: number) => Uint8Array;
  readonly contracts: ContractBook;
  readonly stamps: StampClock;
  readonly received = new ReceivedStamps();
  readonly cookies: CookieIssuer;
  readonly sources: SourceBuckets;
  readonly cookieReplies: SourceBuckets;
  readonly slots: Slots;
  readonly sessions = new Map<SessionSlot, Session>();
  readonly pending = new Map<number, Pending>();
  readonly pendingBySlot = new Map<SessionSlot, Pending>();
  /** The session that a binding's packets are sent under. */
  readonly current = new Map<number, Session>();
  /** Sessions installed so far. */
  installs = 0;
  readonly refusals = new Map<Refusal, number>(REFUSALS.map((reason) => [reason, 0]));
  /** The first begins handshakes; all answer them. */
  identities: readonly [OwnIdentity, ...OwnIdentity[]];
  peers: PeerState[] = [];
  now = 0 as Micros;
  wall = 0 as WallMillis;
  tagIndexOf = new Map<string, TagIndex>();
  private peerIndexOf = new Map<string, PeerIndex>();
  private outputs: SessionsOutput[] = [];
  private readonly notices: SourceBuckets;

  constructor(public config: SessionsConfig) {
    this.identities = this.identitiesOf(config.identity);
    this.limits = { ...DEFAULT_LIMITS, ...config.limits };
    this.random = config.random;
    this.contracts = new ContractBook(config.contracts);
    this.stamps = new StampClock(config.lastStamp);
    this.cookies = new CookieIssuer(config.random, this.now);
    this.sources = new SourceBuckets(config.random(32), SOURCE_LIMITS);
    this.cookieReplies = new SourceBuckets(config.random(32), COOKIE_LIMITS);
    this.notices = new SourceBuckets(config.random(32), NOTICE_LIMITS);
    this.slots = new Slots(this.limits.sessions, this.limits.slotRest, config.random);
    this.setPeers(config);
  }

  setIdentity(secrets: OwnSecrets): void {
    this.identities = this.identitiesOf(secrets);
  }

  private identitiesOf({ staticSecret, otherSecret }: OwnSecrets): [OwnIdentity, ...OwnIdentity[]] {
    const first = this.identityOf(staticSecret);
    return otherSecret === undefined ? [first] : [first, this.identityOf(otherSecret)];
  }

  private identityOf(secret: Uint8Array): OwnIdentity {
    const keys = new KeyPair(secret);
    return { keys, tenantTag: this.config.tenantTag, mac1Key: mac1KeyOf(keys.publicKey) };
  }

  /** What handshakes begin with. */
  get identity(): OwnIdentity {
    return this.identities[0];
  }

  /**
   * Which of our keys a message was written to, by its mac1; undefined: none. `isChecked`: the
   * worker has found mac1 right for one of them.
   */
  identityMeant(
    form: HandshakeForm,
    message: Uint8Array,
    isChecked: boolean,
  ): OwnIdentity | undefined {
    const { identities } = this;
    if (isChecked && identities.length === 1) return identities[0];
    return identities.find(({ mac1Key }) => mac1Holds(form, message, mac1Key));
  }

  /** Takes new lists of peers and tags; a peer that keeps one of its keys keeps what is known. */
  setPeers(lists: Pick<SessionsConfig, "peers" | "tags">): void {
    this.config = { ...this.config, peers: lists.peers, tags: lists.tags };
    const peers = lists.peers.map((config, i) => this.peerStateOf(config, this.peers[i]));
    // Positions keep their meaning: a peer that is left out has a zero key from now on.
    for (const { config } of this.peers.slice(peers.length)) {
      const gone = { id: config.id, staticPublic: new Uint8Array(32), entitledTags: [] };
      peers.push(this.peerStateOf(gone, this.peers[peers.length]));
    }
    this.peers = peers;
    this.peerIndexOf = new Map();
    lists.peers.forEach((peer, i) => {
      for (const key of publicKeysOf(peer)) {
        if (!isZero(key)) this.peerIndexOf.set(toHex(key), i as PeerIndex);
      }
    });
    this.tagIndexOf = new Map(lists.tags.map((tag, i) => [toHex(tag.bytes), i as TagIndex]));
  }

  private peerStateOf(config: PeerConfig, before: PeerState | undefined): PeerState {
    const [first, ...others] = publicKeysOf(config).map(
      (staticPublic) => keyIn(before, staticPublic) ?? peerKeyOf(staticPublic),
    );
    const keys: PeerState["keys"] = [first ?? peerKeyOf(config.staticPublic), ...others];
    if (before !== undefined && sharesKey(before, keys)) return { ...before, config, keys };
    return {
      config,
      keys,
      cookie: undefined,
      cookieAt: 0 as Micros,
      isCompleted: false,
      sessionCount: before?.sessionCount ?? 0,
      hintAt: Number.NEGATIVE_INFINITY as Micros,
      olderUntil: 0 as Micros,
    };
  }

  /** What is known of this peer, or undefined when there is none at this position. */
  peerAt(peer: PeerIndex): PeerState | undefined {
    const state = this.peers[peer];
    return state === undefined || isZero(state.config.staticPublic) ? undefined : state;
  }

  peerOfKey(staticPublic: Uint8Array): PeerIndex | undefined {
    return this.peerIndexOf.get(toHex(staticPublic));
  }

  /** Whether this node may claim this application: the tenant's tag is everybody's. */
  isEntitled(peer: PeerIndex, tag: TagIndex): boolean {
    if (tag === TENANT_TAG) return true;
    return this.peers[peer]?.config.entitledTags.includes(tag) ?? false;
  }

  emit(output: SessionsOutput): void {
    this.outputs.push(output);
  }

  /** A notice for the event log, unless there were too many of late. */
  notice(name: SessionsNotice["name"], fields: SessionsNotice["fields"]): void {
    if (this.notices.takeFrom(0, this.now)) this.outputs.push({ type: "event", name, fields });
  }

  refuse({ reason, peer }: Refused): void {
    this.refusals.set(reason, (this.refusals.get(reason) ?? 0) + 1);
    this.notice("handshake-refused", peer === undefined ? { reason } : { reason, peer });
  }

  takeOutputs(): SessionsOutput[] {
    const outputs = this.outputs;
    this.outputs = [];
    return outputs;
  }

  /** A uniform number in [0, 1) with 32 bits. */
  fraction(): number {
    const [a = 0, b = 0, c = 0, d = 0] = this.random(4);
    return (((a << 24) | (b << 16) | (c << 8) | d) >>> 0) / 2 ** 32;
  }

  /** A slot for a session with this peer, within its share and ours. */
  takeSlot(peer: PeerIndex): SessionSlot | undefined {
    const state = this.peers[peer];
    if (state === undefined || state.sessionCount >= this.limits.sessionsPerPeer) return undefined;
    const slot = this.slots.take(this.now);
    if (slot !== undefined) state.sessionCount++;
    return slot;
  }

  giveSlot(peer: PeerIndex, slot: SessionSlot, wasInstalled: boolean): void {
    const state = this.peers[peer];
    assert(state !== undefined && state.sessionCount > 0, "each slot is counted at its peer");
    state.sessionCount--;
    this.slots.give(slot, this.now, wasInstalled);
  }

  /**
   * A contract to name in a message to this peer about this tag. `takesOlder` is asked where the
   * peer may not hold the newest generation.
   */
  chooseContract(
    { peer, tag }: ContractCarried,
    preferences: Pick<ContractWish, "takesOlder" | "avoids"> = {},
  ): ContractUse | undefined {
    return this.contracts.choose(
      {
        ...{ peer, tag, ...preferences },
        rule: this.config.contractRule?.(peer, tag),
        announced: this.peers[peer]?.config.announced,
      },
      (count) => Math.floor(this.fraction() * count),
    );
  }

  tagBytes(tag: TagIndex): Uint8Array {
    const config = this.config.tags[tag];
    assert(config !== undefined, "a tag in use has bytes");
    return config.bytes;
  }
}

function publicKeysOf({ staticPublic, otherPublic }: PeerConfig): Uint8Array[] {
  return otherPublic === undefined ? [staticPublic] : [staticPublic, otherPublic];
}

function peerKeyOf(staticPublic: Uint8Array): PeerKey {
  return { staticPublic, mac1Key: mac1KeyOf(staticPublic) };
}

function keyIn(peer: PeerState | undefined, staticPublic: Uint8Array): PeerKey | undefined {
  return peer?.keys.find((key) => equalBytes(key.staticPublic, staticPublic));
}

/** Whether one of these is a key that the peer has: then it is the same peer. */
export function sharesKey(
  before: Pick<PeerState, "keys">,
  keys: readonly PeerKey[] | undefined,
): boolean {
  return keys?.some((key) => before.keys.includes(key)) ?? false;
}

/** One number for a binding. Directions of TENANT_TAG have no roles, so both are role 0. */
export function bindingKey(binding: Binding): number {
  const role = binding.tag === TENANT_TAG ? 0 : binding.role;
  return (binding.peer * 65536 + binding.tag) * 2 + role;
}

/** When the first of a session's contracts or generations is over. */
export function endOfSession(session: Pick<Session, "myUse" | "peerUse">): EpochSeconds {
  return Math.min(endOfUse(session.myUse), endOfUse(session.peerUse)) as EpochSeconds;
}

/** When a session that ends then begins to move to other contracts, by our wall clock. */
export function moveTimeOf(state: SessionsState, endsAt: EpochSeconds): number {
  return endsAt - MOVE_SECONDS - MOVE_SPREAD_SECONDS * state.fraction();
}
