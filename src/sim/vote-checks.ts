/**
 * What no honest node may ever say, whatever it lost in a crash: two hashes in one view, a vote
 * below its ROUND_CHANGE or in an attempt it abandoned, a ROUND_CHANGE rewritten, anything that
 * binds it before it is synced to disk, a vote between its answer to a survey and what ends that.
 * Rules 2 to 8 of design/ledger.md "Agreement", judged from outside by messages and writes alone;
 * nothing here is the product's own code but encodings.
 */
import type { PreparedCertificate } from "../chain/certificate.ts";
import type { Attempt, ChainId, Hash, Height, NodeId, Term, View } from "../chain/ledger-units.ts";
import { encodeMessage } from "../chain/message-codec.ts";
import { signingHash } from "../chain/message-signing.ts";
import type {
  AbandonMessage,
  CommitMessage,
  LedgerMessage,
  PrePrepareMessage,
  PrepareMessage,
  RoundChangeMessage,
} from "../chain/message-types.ts";
import type { LogEntry, OwnVote } from "../chain/step-types.ts";

type Vote = PrePrepareMessage | PrepareMessage | CommitMessage;

/** What one node said at one height. */
type Spoken = {
  /** Block hash by kind, attempt and view; a PRE_PREPARE is a PREPARE. */
  readonly votes: Map<string, string>;
  /** Highest target view of its ROUND_CHANGEs, by attempt. */
  readonly changed: Map<number, number>;
  /** ROUND_CHANGE and ABANDON as they were first sent. */
  readonly kept: Map<string, string>;
  abandoned: number;
  /** Surveys that it has promised to wait upon, by their nonces. */
  readonly frozen: Map<Hash, Attempt>;
};

export class VoteChecks {
  /** By node and height. */
  private readonly spoken = new Map<string, Spoken>();
  /** What is or was on a disk, synced. */
  private readonly durable = new Set<string>();
  private readonly looked = new Set<string>();

  /**
   * An entry of a node's log was synced; what rule it breaks, or undefined. Votes are made in the
   * order of the log: after a crash an older one may be sent behind a newer one.
   */
  saved(nodeId: NodeId, entry: LogEntry): string | undefined {
    if (entry.kind === "lock") this.durable.add(lockKey(nodeId, entry.certificate));
    if (entry.kind === "freeze") this.freezeVotes(nodeId, entry);
    if (entry.kind === "redraw") {
      this.thaw(this.at(nodeId, entry.message.height), entry.message.attempt);
    }
    if (entry.kind !== "sent") return undefined;
    this.durable.add(keyOf(nodeId, entry.message));
    return this.checkRules(entry.message);
  }

  private freezeVotes(nodeId: NodeId, entry: Extract<LogEntry, { kind: "freeze" }>): void {
    const { frozen } = this.at(nodeId, entry.height);
    if (entry.isOn) frozen.set(entry.nonce, entry.survey);
    else frozen.delete(entry.nonce);
  }

  private thaw({ frozen }: Spoken, redrawn: Attempt): void {
    for (const [nonce, survey] of frozen) if (survey <= redrawn) frozen.delete(nonce);
  }

  /** What is wrong with an honest node's sending this, or undefined. */
  check(nodeId: NodeId, message: LedgerMessage): string | undefined {
    if (message.signer !== nodeId) return undefined;
    return this.checkDurable(nodeId, message) ?? this.checkPlace(message);
  }

  private checkDurable(nodeId: NodeId, message: LedgerMessage): string | undefined {
    if (!isBinding(message)) return undefined;
    if (!this.durable.has(keyOf(nodeId, message))) {
      return `${name(message)}: sent before it was synced (rule 2)`;
    }
    if (message.kind !== "COMMIT" || this.durable.has(lockKey(nodeId, message))) return undefined;
    return `${name(message)}: sent before its lock was synced (rule 3)`;
  }

  /** A vote of one place must not be one of another: looked at once a kind of message. */
  private checkPlace(message: LedgerMessage): string | undefined {
    if (!isBinding(message) || this.looked.has(message.kind)) return undefined;
    this.looked.add(message.kind);
    const hash = signingHash(message).toHex();
    const moved: OwnVote[] = [
      { ...message, height: (message.height + 1) as Height },
      { ...message, view: (message.view + 1) as View },
      { ...message, attempt: (message.attempt + 1) as Attempt },
      { ...message, term: (message.term + 1) as Term },
      { ...message, chainId: "0".repeat(64) as ChainId },
    ];
    const same = moved.some((other) => signingHash(other).toHex() === hash);
    return same ? `${name(message)}: its signature holds in another place (replay)` : undefined;
  }

  private checkRules(message: OwnVote): string | undefined {
    if (this.of(message).frozen.size > 0)
      return `${name(message)}: after it answered a survey (freeze)`;
    switch (message.kind) {
      case "PRE_PREPARE":
      case "PREPARE":
      case "COMMIT":
        return this.checkVote(message);
      case "ROUND_CHANGE":
        return this.checkChange(message);
      case "ABANDON":
        return this.checkAbandon(message);
      default:
        return undefined;
    }
  }

  private checkVote(vote: Vote): string | undefined {
    const spoken = this.of(vote);
    const { attempt, view, blockHash } = vote;
    const kind = vote.kind === "COMMIT" ? "COMMIT" : "PREPARE";
    const place = `${kind} ${attempt} ${view}`;
    const before = spoken.votes.get(place);
    // A repeat of what was said is always allowed, as after a restart.
    if (before === blockHash) return undefined;
    if (before !== undefined) return `${name(vote)}: two hashes in one view (rule 2)`;
    spoken.votes.set(place, blockHash);
    if (view < (spoken.changed.get(attempt) ?? 0)) {
      return `${name(vote)}: a vote below its ROUND_CHANGE (rule 6)`;
    }
    if (attempt <= spoken.abandoned) return `${name(vote)}: a vote after ABANDON`;
    return undefined;
  }

  private checkChange(change: RoundChangeMessage): string | undefined {
    const spoken = this.of(change);
    const { attempt, view } = change;
    const rewritten = this.freeze(spoken, `ROUND_CHANGE ${attempt} ${view}`, change);
    if (rewritten !== undefined) return rewritten;
    spoken.changed.set(attempt, Math.max(view, spoken.changed.get(attempt) ?? 0));
    const lowest = (change.prepared?.attempt ?? 0) * 65_536 + (change.prepared?.view ?? -1);
    for (const [place, blockHash] of spoken.votes) {
      const [kind, ofAttempt, ofView] = place.split(" ");
      const isLock = kind === "COMMIT" && Number(ofAttempt) === attempt && Number(ofView) < view;
      if (!isLock || Number(ofAttempt) * 65_536 + Number(ofView) < lowest) continue;
      if (change.prepared?.blockHash !== blockHash) {
        return `${name(change)}: hides the lock of view ${ofView} (rule 7)`;
      }
    }
    return undefined;
  }

  private checkAbandon(abandon: AbandonMessage): string | undefined {
    const spoken = this.of(abandon);
    const rewritten = this.freeze(spoken, `ABANDON ${abandon.attempt}`, abandon);
    spoken.abandoned = Math.max(spoken.abandoned, abandon.attempt);
    return rewritten;
  }

  private freeze(
    spoken: Spoken,
    place: string,
    message: RoundChangeMessage | AbandonMessage,
  ): string | undefined {
    const bytes = encodeMessage(message).toHex();
    const before = spoken.kept.get(place);
    if (before === undefined) spoken.kept.set(place, bytes);
    return before === undefined || before === bytes
      ? undefined
      : `${name(message)}: rewritten after it was sent (rule 7)`;
  }

  private of({ signer, height }: LedgerMessage): Spoken {
    return this.at(signer, height);
  }

  private at(nodeId: NodeId, height: Height): Spoken {
    const key = `${nodeId} ${height}`;
    let spoken = this.spoken.get(key);
    if (spoken === undefined) {
      const said = { votes: new Map(), changed: new Map(), kept: new Map() };
      spoken = { ...said, abandoned: -1, frozen: new Map() };
      this.spoken.set(key, spoken);
    }
    return spoken;
  }
}

export function isBinding(message: LedgerMessage): message is OwnVote {
  const { kind } = message;
  const isVote = kind === "PRE_PREPARE" || kind === "PREPARE" || kind === "COMMIT";
  return isVote || kind === "ROUND_CHANGE" || kind === "ABANDON";
}

function keyOf(nodeId: NodeId, message: OwnVote): string {
  return `${nodeId} ${message.signature.toHex()}`;
}

function lockKey(nodeId: NodeId, lock: PreparedCertificate | CommitMessage): string {
  return `${nodeId} lock ${lock.height} ${lock.attempt} ${lock.view} ${lock.blockHash}`;
}

function name({ kind, height, attempt, view, signer }: LedgerMessage): string {
  return `${kind} of ${signer.slice(0, 8)} at height ${height}, attempt ${attempt}, view ${view}`;
}
