/**
 * Everything that members, master and peers of a ledger say to each other: one type a message, in
 * the order of their codes. docs/ledger.md "Messages" has the bytes; message-codec.ts writes and
 * reads them. Roles and order as in Castro & Liskov (OSDI '99): CANDIDATE is the client's request,
 * PRE_PREPARE, PREPARE, COMMIT are theirs, ROUND_CHANGE is VIEW-CHANGE and the NEW-VIEW is a
 * PRE_PREPARE with its justification. Attempts (ABANDON) replace a whole committee.
 *
 * A signed message covers header and body; an attachment comes after the signature and is bound by
 * a hash in the body, so that votes and certificates stay small. Messages that nobody passes on are
 * not signed: the peer channel proves who sent them.
 */
import type { BlockBody, BlockCore, SealedHeader, SealProof } from "./block.ts";
import type {
  CommittedCertificate,
  Committee,
  PreparedCertificate,
  Quorum,
} from "./certificate.ts";
import type {
  Attempt,
  BlockHash,
  CandidateSequence,
  ChainId,
  Hash,
  Height,
  NodeId,
  PublicKey,
  Signature,
  Term,
  View,
  VrfProof,
} from "./ledger-units.ts";

/** The type byte. Published: never renumbered. */
export const MESSAGE_CODES = {
  CANDIDATE: 1,
  PRE_PREPARE: 2,
  PREPARE: 3,
  COMMIT: 4,
  REJECT: 5,
  ROUND_CHANGE: 6,
  RESULT: 7,
  NO_QUORUM: 8,
  ABANDON: 9,
  SEAL: 10,
  FORCED_REDRAW: 11,
  MASTER_TERM: 12,
  QC_FETCH: 13,
  QC_STATE: 14,
  DIGEST_RESP: 15,
  DIGEST_REQ: 32,
  REPL_ACK: 33,
  LINK_DOWN: 34,
  HEADERS_REQ: 35,
  HEADERS_RESP: 36,
  BODY_REQ: 37,
  BODY_RESP: 38,
  EVIDENCE: 39,
} as const;
export type MessageKind = keyof typeof MESSAGE_CODES;
/** Codes from here on carry no signature. */
export const FIRST_UNSIGNED_CODE = 32;

/** What every message begins with. */
export type MessageHeader = {
  readonly chainId: ChainId;
  /**
   * PRE_PREPARE, PREPARE, COMMIT, REJECT and RESULT: the term of the core they speak of, so that a
   * quorum signs one text. All others: the term the sender knows.
   */
  readonly term: Term;
  readonly height: Height;
  readonly attempt: Attempt;
  readonly view: View;
  /** A member's node id, or that of the master or recovery key (nodeIdOf). */
  readonly signer: NodeId;
};
type Signed = MessageHeader & { readonly signature: Signature };

/** Master → committee. `view` is 0. What binds the hash of attempts > 0 comes with it. */
export type CandidateMessage = Signed & {
  readonly kind: "CANDIDATE";
  readonly sequence: CandidateSequence;
  readonly core: BlockCore;
  readonly body: BlockBody;
  /** The parent's seal, for a validator that the line has not reached; undefined above genesis. */
  readonly parent: SealProof | undefined;
  /** q ABANDONs of the attempt before; empty at attempt 0 and after a forced redraw. */
  readonly abandons: readonly AbandonMessage[];
  readonly redraw: ForcedRedrawMessage | undefined;
};

/** Leader → committee. */
export type PrePrepareMessage = Signed & {
  readonly kind: "PRE_PREPARE";
  readonly blockHash: BlockHash;
  readonly committeeHash: Hash;
  readonly vrfProof: VrfProof;
  /** Of `justification`; NO_HASH in view 0. */
  readonly justificationHash: Hash;
  readonly committee: Committee;
  /** q ROUND_CHANGEs to this view (rule 7). */
  readonly justification: readonly RoundChangeMessage[];
};

export type PrepareMessage = Signed & { readonly kind: "PREPARE"; readonly blockHash: BlockHash };
export type CommitMessage = Signed & { readonly kind: "COMMIT"; readonly blockHash: BlockHash };

/** `reason` is the code of a BlockFault (block-fault.ts) or a later, unknown one. */
export type RejectMessage = Signed & {
  readonly kind: "REJECT";
  readonly blockHash: BlockHash;
  readonly reason: number;
};

/** `view` is the target. Frozen once sent. */
export type RoundChangeMessage = Signed & {
  readonly kind: "ROUND_CHANGE";
  /** Highest prepared by (attempt, view); undefined: none. */
  readonly prepared: PreparedCertificate | undefined;
};

/** Leader, or after a delay anyone → master. attempt and view are the quorum's. */
export type ResultMessage = Signed & {
  readonly kind: "RESULT";
  readonly blockHash: BlockHash;
  readonly quorum: Quorum;
  readonly vrfProof: VrfProof;
};

/** Leader → master: "agreement couldn't be reached" (paper §3.3.2). */
export type NoQuorumMessage = Signed & {
  readonly kind: "NO_QUORUM";
  readonly blockHash: BlockHash;
  readonly refusals: readonly RejectMessage[];
};

/** Validator → master: leaves `attempt` for good. `view` is the one it had reached. */
export type AbandonMessage = Signed & {
  readonly kind: "ABANDON";
  /** Highest by (attempt, view), own or inherited. */
  readonly highest: PreparedCertificate | undefined;
};

/** Master → chain. attempt and view are the quorum's; the signature is Fig. 8's block_signature. */
export type SealMessage = Signed & {
  readonly kind: "SEAL";
  readonly blockHash: BlockHash;
  /** Over quorum, VRF proof, redraw and masterTerm: quorumHash() in message-parts.ts. */
  readonly quorumHash: Hash;
  readonly core: BlockCore;
  readonly quorum: Quorum;
  readonly vrfProof: VrfProof | undefined;
  readonly redraw: ForcedRedrawMessage | undefined;
  readonly masterTerm: MasterTermMessage | undefined;
  readonly body: BlockBody;
};

/** Opens `attempt` without q ABANDONs; signer is the master, and the recovery key signs too. */
export type ForcedRedrawMessage = Signed & {
  readonly kind: "FORCED_REDRAW";
  readonly committee: Committee;
  /** What the attempt must carry on; undefined: nothing was prepared anywhere reachable. */
  readonly carriedHash: BlockHash | undefined;
  /** The certificate of the carried hash where one was found: inherited by the committee. */
  readonly carried: PreparedCertificate | undefined;
  /** Of the same text with the recovery key's id as signer. */
  readonly recoverySignature: Signature;
};

/** Signed by the recovery key; height, attempt and view are 0. Acts on receipt. */
export type MasterTermMessage = Signed & {
  readonly kind: "MASTER_TERM";
  /** `term` of the header begins with this key. */
  readonly masterPub: PublicKey;
};

/** Why the master asks; the order is the code. freeze.ts acts on the last two. */
export const QC_PURPOSES = ["question", "survey", "release"] as const;
export type QcPurpose = (typeof QC_PURPOSES)[number];

/**
 * Master → nodes: what do you hold of this height? A survey asks for a promise too, a release gives
 * it back: `attempt` and `nonce` are then the survey's, else `attempt` is the master's.
 */
export type QcFetchMessage = Signed & {
  readonly kind: "QC_FETCH";
  readonly nonce: Hash;
  readonly purpose: QcPurpose;
  /** Of the newest FORCED_REDRAW of the height that the master knows; 0: none. */
  readonly redrawn: Attempt;
};

/** The answer: `attempt` and `view` are those the node has reached at `height`. */
export type QcStateMessage = Signed & {
  readonly kind: "QC_STATE";
  readonly nonce: Hash;
  /** The node's tip. */
  readonly sealedHeight: Height;
  readonly sealedHash: BlockHash;
  /** Whether it has left `attempt` by ABANDON. */
  readonly abandoned: boolean;
  /** The highest survey that it waits upon without a vote (freeze.ts); 0: none. */
  readonly frozen: Attempt;
  /** Whether the one it answers is among them. */
  readonly isPromised: boolean;
  /** Whether it knows all that it ever signed at this height; not after a lost disk (rule 8). */
  readonly remembers: boolean;
  readonly prepared: PreparedCertificate | undefined;
  readonly committed: CommittedCertificate | undefined;
};

/** `height` is the answerer's tip. */
export type DigestResponse = Signed & {
  readonly kind: "DIGEST_RESP";
  readonly nonce: Hash;
  readonly blockHash: BlockHash;
  /** Recomputed from its own database, not copied from the header. */
  readonly scdRoot: Hash;
};

export type DigestRequest = MessageHeader & { readonly kind: "DIGEST_REQ"; readonly nonce: Hash };
export type ReplAckMessage = MessageHeader & {
  readonly kind: "REPL_ACK";
  readonly blockHash: BlockHash;
};
/** Node → master: its successor in the line did not acknowledge. */
export type LinkDownMessage = MessageHeader & {
  readonly kind: "LINK_DOWN";
  readonly nodeId: NodeId;
  readonly blockHash: BlockHash;
};
/** `count` headers from `height` on; 0 asks for the tip only. */
export type HeadersRequest = MessageHeader & {
  readonly kind: "HEADERS_REQ";
  readonly nonce: Hash;
  readonly count: number;
};
/** `height` is the answerer's tip, at the time of the question that had this nonce. */
export type HeadersResponse = MessageHeader & {
  readonly kind: "HEADERS_RESP";
  readonly nonce: Hash;
  readonly headers: readonly SealedHeader[];
};
/** Bodies, or a candidate's (core and body) that is not sealed yet. */
export type BodyRequest = MessageHeader & {
  readonly kind: "BODY_REQ";
  readonly blockHashes: readonly BlockHash[];
};
export type BodyResponse = MessageHeader & {
  readonly kind: "BODY_RESP";
  readonly blocks: readonly { readonly core: BlockCore; readonly body: BlockBody }[];
};
export type EvidenceMessage = MessageHeader & {
  readonly kind: "EVIDENCE";
  readonly evidence: Evidence;
};

/**
 * Two signed texts, each the signed part of a message and its signature (docs/ledger.md
 * "Evidence"), so that attachments are not carried. evidence.ts says what is evidence.
 */
export type Evidence = { readonly first: Uint8Array; readonly second: Uint8Array };

export type SignedMessage =
  | CandidateMessage
  | PrePrepareMessage
  | PrepareMessage
  | CommitMessage
  | RejectMessage
  | RoundChangeMessage
  | ResultMessage
  | NoQuorumMessage
  | AbandonMessage
  | SealMessage
  | ForcedRedrawMessage
  | MasterTermMessage
  | QcFetchMessage
  | QcStateMessage
  | DigestResponse;

export type UnsignedMessage =
  | DigestRequest
  | ReplAckMessage
  | LinkDownMessage
  | HeadersRequest
  | HeadersResponse
  | BodyRequest
  | BodyResponse
  | EvidenceMessage;

export type LedgerMessage = SignedMessage | UnsignedMessage;
export type MessageOf<Kind extends MessageKind> = Extract<LedgerMessage, { kind: Kind }>;
/** A message before its owner signs it (signMessage in message-signing.ts). */
export type Draft<M extends SignedMessage = SignedMessage> = M extends SignedMessage
  ? Omit<M, "signature">
  : never;
