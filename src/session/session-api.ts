/**
 * What goes into and comes out of the session machine (sessions.ts): configuration, events,
 * outputs. docs/wire.md "Session, tag, role", "HANDSHAKE", "Lifetimes". The machine is pure: time
 * is an event, randomness is passed in, sending and installing are outputs that the agent carries
 * out in the order given. Times are monotonic microseconds unless they say wall clock.
 */
import type {
  EpochSeconds,
  Micros,
  PeerIndex,
  Role,
  SessionSlot,
  TagIndex,
  WallMillis,
} from "../units.ts";
import type { Contract, ContractRule } from "./contract.ts";
import type { DirectionKeys } from "./data-keys.ts";
import type { Refusal } from "./refusals.ts";

export type TagConfig = { readonly name: string; readonly bytes: Uint8Array };

export type PeerConfig = {
  /** Node id, for events. */
  readonly id: string;
  /** X25519 public key that the manager certified. */
  readonly staticPublic: Uint8Array;
  /** While it changes its key: it may begin a handshake with this one as well. */
  readonly otherPublic?: Uint8Array;
  /** Application tags this node may claim; everybody may use TENANT_TAG. */
  readonly entitledTags: readonly TagIndex[];
  /**
   * Newest generation per SC-ID that this peer announced (DISCOVERY). Absent: it holds what we
   * hold (static provisioning).
   */
  readonly announced?: ReadonlyMap<string, number>;
};

export type SessionLimits = {
  /** At most 4,096, because an index has 12 bits for the slot. */
  readonly sessions: number;
  readonly sessionsPerPeer: number;
  /** A new handshake is due at this many packets under one key. */
  readonly packets: number;
  /** How long a slot (and with it two keys of the shim) rests after it was closed. */
  readonly slotRest: number;
};

export type OwnSecrets = {
  /** Handshakes begin with this one. */
  readonly staticSecret: Uint8Array;
  /** While the key changes: handshakes that peers begin with this one are answered too. */
  readonly otherSecret?: Uint8Array;
};

export type SessionsConfig = {
  readonly identity: OwnSecrets;
  readonly tenantTag: Uint8Array;
  /** Index 0 is TENANT_TAG; its bytes are 16 zeros. */
  readonly tags: readonly TagConfig[];
  readonly peers: readonly PeerConfig[];
  readonly contracts: readonly Contract[];
  /** Whether we have a flow of this application, allowed, with this peer: what role 1 needs. */
  readonly hasAllowedFlow: (peer: PeerIndex, tag: TagIndex) => boolean;
  /** What policy asks of contracts with this peer and tag; absent: any contract will do. */
  readonly contractRule?: (peer: PeerIndex, tag: TagIndex) => ContractRule | undefined;
  readonly limits?: Partial<SessionLimits>;
  /** The last `persist-stamp` of the run before. */
  readonly lastStamp?: Uint8Array;
  readonly random: (sizeBytes: number) => Uint8Array;
};

/** A time event goes first; the others happen at the time that it set. */
export type SessionsEvent =
  | { readonly type: "time"; readonly now: Micros; readonly wall: WallMillis }
  /** A packet waits for a session, or one is wanted at start. `role` is ours. */
  | { readonly type: "need"; readonly peer: PeerIndex; readonly tag: TagIndex; readonly role: Role }
  | {
      readonly type: "handshake";
      /** From the ABS header on. */
      readonly message: Uint8Array;
      /** 4 or 16 bytes. */
      readonly sourceAddress: Uint8Array;
      readonly underLoad: boolean;
      /** The worker has already checked mac1. */
      readonly mac1Checked?: boolean;
    }
  /** The first valid DATA of a session arrived; wanted once for every session, on both sides. */
  | { readonly type: "confirmed"; readonly slot: SessionSlot }
  | SessionActivity
  /** An unauthenticated REJECT; `unknownIndex` is the one it echoes. */
  | { readonly type: "unknown-index"; readonly peer: PeerIndex; readonly unknownIndex: number }
  /** The VM was resumed from a snapshot or cloned: nothing known may be used again. */
  | { readonly type: "forget-all" }
  | { readonly type: "contracts"; readonly contracts: readonly Contract[] }
  /**
   * New lists; positions keep their meaning. A peer that is gone has no entitled tags and a zero
   * key.
   */
  | {
      readonly type: "peers";
      readonly peers: readonly PeerConfig[];
      readonly tags: readonly TagConfig[];
    }
  /** Other keys of our own: sessions go on, and what is begun anew goes by these. */
  | { readonly type: "identity"; readonly identity: OwnSecrets }
  /** The manager reset the greatest stamp known of this peer. */
  | { readonly type: "reset-stamp"; readonly peer: PeerIndex };

/** What the data plane saw on a session so far. Empty DATA is a keep-alive or a confirmation. */
export type SessionActivity = {
  readonly type: "activity";
  readonly slot: SessionSlot;
  /** When the newest packet with payload was sent; 0: never. Empty DATA does not count. */
  readonly lastSent: Micros;
  /** When the newest valid packet with payload arrived; 0: never. Empty DATA does not count. */
  readonly lastReceived: Micros;
  /** When the newest valid packet arrived, empty or not; 0: never. */
  readonly lastHeard: Micros;
  readonly packetsSent: number;
};

export type CloseReason =
  | "replaced"
  | "idle"
  | "busytime"
  | "unconfirmed"
  | "peer-restarted"
  | "contract-ended"
  | "peer-changed"
  | "forgotten"
  | "packet-limit";

export type FailReason = "no-answer" | "no-contract" | "no-slot" | "unknown-peer" | "forgotten";

/**
 * All that a data plane needs to use a session. Shim keys are numbered by the agent from `slot`.
 */
export type InstallOutput = {
  readonly type: "install";
  readonly slot: SessionSlot;
  /** What incoming packets carry. */
  readonly receiverIndex: number;
  /** What outgoing packets carry. */
  readonly remoteIndex: number;
  readonly peer: PeerIndex;
  readonly tag: TagIndex;
  /** The role of what we send; always 0 for TENANT_TAG, whose directions have no roles. */
  readonly myRole: Role;
  readonly initiator: boolean;
  /** What it is under: our choice and the peer's, which may be the same. */
  readonly under: readonly { readonly scId: string; readonly generation: number }[];
  readonly out: DirectionKeys;
  readonly in: DirectionKeys;
  /** The initiator sends under it at once; a responder waits for `use`. */
  readonly sendNow: boolean;
  /** Sessions are numbered from 1 in the order that they are installed. */
  readonly order: number;
  /**
   * Its first valid DATA proves that the peer started again: no packet goes to that peer any more
   * under sessions of a smaller order. 0: it proves no such thing.
   */
  readonly endsBefore: number;
};

export type SessionsOutput =
  /** `address` set: answer to where the message came from; else to the peer's own address. */
  | {
      readonly type: "send";
      readonly peer: PeerIndex | undefined;
      readonly address: Uint8Array | undefined;
      readonly message: Uint8Array;
    }
  | InstallOutput
  /** Send this binding's packets under this session from now on, in place of any other. */
  | {
      readonly type: "use";
      readonly slot: SessionSlot;
      readonly peer: PeerIndex;
      readonly tag: TagIndex;
      readonly myRole: Role;
    }
  /** Stop sending under it; it still receives. */
  | { readonly type: "retire"; readonly slot: SessionSlot }
  | { readonly type: "close"; readonly slot: SessionSlot; readonly reason: CloseReason }
  /** Send one empty DATA (lane 15) now, whether or not the session is its binding's. */
  | { readonly type: "keepalive"; readonly slot: SessionSlot }
  /** No session for this binding is to be had now: what waits for it is dropped and counted. */
  | {
      readonly type: "failed";
      readonly peer: PeerIndex;
      readonly tag: TagIndex;
      readonly role: Role;
      readonly reason: FailReason;
    }
  /** Save this before carrying out what follows; it is `lastStamp` after a restart. */
  | { readonly type: "persist-stamp"; readonly stamp: Uint8Array }
  /** This contract is over for ever, by our own clock. */
  | { readonly type: "contract-expired"; readonly scId: string; readonly at: EpochSeconds }
  | SessionsNotice;

/** For the event log; nothing depends on it. */
export type SessionsNotice = {
  readonly type: "event";
  readonly name:
    | "session-established"
    | "session-closed"
    | "handshake-refused"
    | "handshake-failed"
    | "peer-restarted"
    | "peer-silent";
  readonly fields: {
    readonly peer?: PeerIndex;
    readonly tag?: TagIndex;
    readonly slot?: SessionSlot;
    readonly reason?: Refusal | CloseReason | FailReason;
    readonly initiator?: boolean;
  };
};
