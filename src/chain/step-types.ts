/**
 * What goes into a step of the ledger and what comes out: the seam between the agreement, which is
 * pure, and whoever runs it (the product's process, the simulator). docs/ledger.md "Steps"; design
 * "Shape of the code". participant.ts has createValidator(), createMaster() and step().
 *
 * The runner's duties:
 * - One event at a time for one participant. Outputs are carried out in their order, and before
 *   the next event of the same participant.
 * - A `write` is on the disk, synced, before any `send` after it leaves ("persist before send").
 * - A write that fails ends the participant, as a crash does: what is in memory was not promised.
 * - Timers are named. Setting one again replaces it; all are gone after a crash.
 * - `from` of a message is who the peer channel says it is.
 */
import type { EpochSeconds } from "../units.ts";
import type { Block, SealProof } from "./block.ts";
import type { BlockRules } from "./block-rules.ts";
import type { PreparedCertificate } from "./certificate.ts";
import type { ChainState } from "./chain-state.ts";
import type { LedgerCrypto } from "./crypto-interface.ts";
import type { KeyRing } from "./key-ring.ts";
import type {
  Attempt,
  BlockHash,
  CandidateSequence,
  Hash,
  Height,
  NodeId,
} from "./ledger-units.ts";
import type { Stake } from "./member.ts";
import type {
  AbandonMessage,
  CandidateMessage,
  CommitMessage,
  ForcedRedrawMessage,
  LedgerMessage,
  MasterTermMessage,
  PrePrepareMessage,
  PrepareMessage,
  RoundChangeMessage,
} from "./message-types.ts";

/** Two clocks: `ms` only grows and is for time-outs; `epoch` is the wall's and may jump. */
export type Instant = { readonly ms: number; readonly epoch: EpochSeconds };

export type TimerName =
  /** Rule 5: the leader of the view had its time. */
  | "view"
  /** Rule 4: the leader should have sent its RESULT. */
  | "result"
  /** Own messages of this height again, as they were. */
  | "repeat"
  /** Heights are compared with peers. */
  | "gossip"
  /** The SCD is compared with its root and with peers. */
  | "check"
  /** The successor in the line should have acknowledged this height. */
  | `line ${number}`
  /** Master: candidates and questions again. */
  | "master";

export type StepEvent = { readonly at: Instant } & (
  | { readonly kind: "start" }
  | { readonly kind: "message"; readonly from: NodeId; readonly message: LedgerMessage }
  /** `entropy`: 32 fresh random bytes, for nonces and the choice of peers. */
  | { readonly kind: "timer"; readonly timer: TimerName; readonly entropy: Hash }
  /** A copy of this machine may run elsewhere, or its clock jumped: as after a wiped disk. */
  | { readonly kind: "observe"; readonly reason: string }
  /** The answer to a `recompute`: the root of what is on the disk, and blocks that do not fit. */
  | {
      readonly kind: "recomputed";
      readonly height: Height;
      readonly scdRoot: Hash;
      readonly damaged: readonly Height[];
      readonly asker: DigestAsker | undefined;
    }
  /** Master only: what shall stand in the next blocks. */
  | {
      readonly kind: "propose";
      readonly contracts: readonly Uint8Array[];
      readonly records: readonly Uint8Array[];
    }
  /**
   * Master only: asks all what they hold of the open height, for an operator. With `holdMs` they
   * promise to wait so long without a vote (freeze.ts); undefined: it only asks.
   */
  | { readonly kind: "survey"; readonly nonce: Hash; readonly holdMs: number | undefined }
  /** Master only: the operator lets the survey go; its members vote again. */
  | { readonly kind: "release" }
  /** Master only, by an operator who holds the recovery key. `mayFork`: has read the dangers. */
  | { readonly kind: "redraw"; readonly redraw: ForcedRedrawMessage; readonly mayFork: boolean }
);

/** Numbers of surveys count up with attempts: a FORCED_REDRAW has the attempt of its survey. */
type SurveyPlace = { readonly height: Height; readonly survey: Attempt; readonly nonce: Hash };

export type DigestAsker = { readonly nodeId: NodeId; readonly nonce: Hash };

/** What a participant must not forget: read back by createValidator() and createMaster(). */
export type LogEntry =
  | { readonly kind: "candidate"; readonly message: CandidateMessage }
  | { readonly kind: "sent"; readonly message: OwnVote }
  /** Rule 3: prepared; written together with the COMMIT. */
  | { readonly kind: "lock"; readonly height: Height; readonly certificate: PreparedCertificate }
  | { readonly kind: "redraw"; readonly message: ForcedRedrawMessage }
  | { readonly kind: "term"; readonly message: MasterTermMessage }
  /** A survey was answered: no vote in this height; or was given back. freeze.ts */
  | ({ readonly kind: "freeze"; readonly isOn: boolean } & SurveyPlace)
  /** Master: a survey, before anybody is asked. */
  | ({ readonly kind: "survey" } & SurveyPlace)
  /** Rule 8: from here on it does not vote, or votes again. */
  | { readonly kind: "observing"; readonly isOn: boolean }
  /** Master: this hash and no other is sealed at this height. */
  | { readonly kind: "sealed"; readonly height: Height; readonly blockHash: BlockHash }
  /** Master: lines it took off the Trusted Nodes List, for their return; the last counts. */
  | { readonly kind: "parked"; readonly lines: readonly Stake[] }
  /** Two sealed hashes at one height, or the like: nothing is applied any more. */
  | { readonly kind: "stopped"; readonly reason: string };

export type OwnVote =
  | PrePrepareMessage
  | PrepareMessage
  | CommitMessage
  | RoundChangeMessage
  | AbandonMessage;

export type Output =
  | { readonly kind: "write"; readonly entry: LogEntry }
  /** The block and all that follows from it; log entries up to its height may be dropped. */
  | { readonly kind: "block"; readonly block: Block; readonly next: ChainState }
  /** A stored block was damaged, or is sealed by another quorum now: replace it. */
  | { readonly kind: "restore"; readonly block: Block }
  /** The SCD's tables do not give the sealed root: replace them by this state's. */
  | { readonly kind: "repair"; readonly chain: ChainState }
  | { readonly kind: "send"; readonly to: readonly NodeId[]; readonly message: LedgerMessage }
  | { readonly kind: "timer"; readonly timer: TimerName; readonly afterMs: number }
  | { readonly kind: "cancel"; readonly timer: TimerName }
  /** Recompute the SCD's root from the disk and answer with `recomputed`. */
  | { readonly kind: "recompute"; readonly asker: DigestAsker | undefined }
  | { readonly kind: "report"; readonly code: ReportCode; readonly detail: string };

export const REPORT_CODES = [
  "observing",
  "voting-again",
  "conflict",
  "evidence",
  "link-down",
  "peer-differs",
  "own-root-differs",
  "repaired",
  "refused",
  "no-quorum",
  "forced-redraw",
  "new-term",
  "behind",
  "unseen",
  "seen-again",
  "keys-absent",
] as const;
export type ReportCode = (typeof REPORT_CODES)[number];

/** Sealed blocks on the disk, for peers that catch up. */
export interface BlockHistory {
  at(height: Height): Block | undefined;
  find(blockHash: BlockHash): Block | undefined;
}

export type ParticipantConfig = {
  readonly keys: KeyRing;
  readonly crypto: LedgerCrypto;
  /** BLOCK_RULES without. */
  readonly rules?: BlockRules;
  /** The state at the tip of the sealed chain on this disk: genesisState() at first. */
  readonly chain: ChainState;
  /** The state below the tip, and the tip's seal; undefined at genesis. */
  readonly below: ChainState | undefined;
  readonly tipProof: SealProof | undefined;
  readonly history: BlockHistory;
  /** In the order they were written. */
  readonly log: readonly LogEntry[];
  /** From enrolment or renewal: nothing that conflicts with it is accepted. */
  readonly checkpoint: Checkpoint | undefined;
};

export type Checkpoint = { readonly height: Height; readonly blockHash: BlockHash };

export type ValidatorConfig = ParticipantConfig & {
  /** The disk was lost while the keys were not: rule 8. */
  readonly wasWiped: boolean;
  readonly checkPeriodMs: number;
  /** Later blocks are on the disk already, and what was signed above them: it only catches up. */
  readonly onlyCatchesUp?: boolean;
};

export type MasterConfig = ParticipantConfig & {
  /** Brought along by a new term's master; undefined for the term that the chain has recorded. */
  readonly masterTerm: MasterTermMessage | undefined;
  /** Of a CANDIDATE: above any that a lost disk may have held. */
  readonly firstSequence?: CandidateSequence;
  /** Its disk may lack blocks that it has sealed: docs/ledger.md "A master's copy". */
  readonly mayHaveForgotten?: boolean;
};
