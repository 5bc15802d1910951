/**
 * Updates of a running agent: policy, signatures, peers, tags, contracts, own mode and stage, all
 * at once or not at all. design/agent.md "Policy", design/manager.md "Life of an agent" 4. The new
 * set is read and compiled by children (preparation.ts) while the old one serves; the worker takes
 * it between two bursts, decides on every flow again and answers, and only then it is called
 * enforced and the old one is freed. What does not parse, compile or fit is refused, and the old
 * set stays.
 */

import type { Shim } from "../dataplane/shim.ts";
import { AbsError, messageOf } from "../errors.ts";
import type { EventLog } from "../observe/event-log.ts";
import type { Contract } from "../session/contract.ts";
import type { PeerConfig } from "../session/session-api.ts";
import type { Micros, PeerIndex, WallMillis } from "../units.ts";
import { deliveredIds } from "./committed-signatures.ts";
import { PARTS, type Part } from "./part-digests.ts";
import type { Prepared } from "./preparation.ts";
import type { Provisioning } from "./provisioning.ts";
import { peerWithKey, sharesKey, sharesOwnKey } from "./provisioning-fields.ts";
import type { PuntReader } from "./punt-reader.ts";
import type { Remembered } from "./remembered.ts";
import type { SessionDriver } from "./session-driver.ts";
import type { SnapshotFields } from "./snapshot-fields.ts";
import { type Changes, changesOf, requireChangeable } from "./update-changes.ts";
import type { WorkerLink } from "./worker-link.ts";

/** A block is on the disk within 10 ms; a node that catches up applies many. */
const SIGNATURES_PAUSE_MS = 200;

/** What is in force, or about to be. */
export interface Running extends Prepared {
  /** Number of the signatures' database in the shim. */
  readonly database: number | undefined;
  /** Counts the snapshots since the start, from 0. */
  readonly generation: number;
  readonly since: Date;
}

export interface UpdateResult {
  readonly state: "enforced" | "unchanged";
  readonly changes: Changes;
  readonly enforced: Enforced;
}

/** In words for status, reload and the manager: which versions the data plane works by. */
export interface Enforced {
  readonly generation: number;
  /** ISO 8601. */
  readonly since: string;
  /** SHA-256 in hex by part. */
  readonly versions: Readonly<Record<Part, string>>;
}

export interface UpdateParts {
  readonly shim: Shim;
  readonly worker: Pick<WorkerLink, "pack" | "load">;
  readonly driver: SessionDriver;
  readonly reader: PuntReader;
  readonly remembered: Remembered;
  readonly events: EventLog;
  /** Saved flows mean nothing from now on; `moved` says what they mean again. */
  readonly moving: () => void;
  readonly moved: (provisioning: Provisioning) => void;
  /** With a ledger: those that its SCD and the secrets of the file give. */
  readonly contractsOf: (provisioning: Provisioning) => readonly Contract[];
  /** As the session machine takes them, without those that are revoked. */
  readonly peersOf: (provisioning: Provisioning) => PeerConfig[];
  readonly snapshotOf: (running: Running) => SnapshotFields;
  /** The worker goes by this set. */
  readonly inForce: (provisioning: Provisioning) => void;
  /** Reads and compiles a provisioning file: the running one anew, or one to be. */
  readonly prepare: (
    files: { readonly file: string; readonly place?: string },
    running: Running,
    signal: AbortSignal,
  ) => Promise<Prepared>;
  /** Number of the signatures' database in the shim; undefined when they have no contents. */
  readonly openDatabase: (prepared: Prepared) => Promise<number | undefined>;
  /** The data plane no longer answers: the agent stops. */
  readonly failed: (error: unknown) => void;
  readonly clock: () => { readonly now: Micros; readonly wall: WallMillis };
}

/** A provisioning file, with what it names, that stands beside the place that it shall take. */
export interface StagedFiles {
  readonly provisioning: string;
  readonly place: string;
  /** Puts it there; throws when it cannot be. */
  readonly settle: () => void;
}

export class AgentUpdates {
  readonly #aborting = new AbortController();
  /** Updates happen one after the other. */
  #last: Promise<unknown> = Promise.resolve();

  #told: ReadonlySet<string> = new Set();
  #again: Timer | undefined;

  /** What the worker goes by, for every packet and flow. */
  enforced: Enforced;

  constructor(
    readonly parts: UpdateParts,
    /** What sessions go by now: that, or the update under way. */
    public running: Running,
  ) {
    this.enforced = enforcedOf(running);
  }

  /** Reads the provisioning file again and brings it into force. Throws AbsError. */
  reload(): Promise<UpdateResult> {
    return this.#inTurn(async () => {
      const { file } = this.running.provisioning;
      return await this.#apply(await this.#prepare({ file }));
    });
  }

  /**
   * Brings files into force that stand beside the running ones. They take their places when nothing
   * refuses them any more, and before the first packet goes by them: who is killed in between
   * starts with what it was about to do. Throws AbsError, and then all is as before.
   */
  adopt(stage: () => StagedFiles): Promise<UpdateResult> {
    return this.#inTurn(async () => {
      const { provisioning, place, settle } = stage();
      return await this.#apply(await this.#prepare({ file: provisioning, place }), settle);
    });
  }

  /**
   * Brings parts into force that came another way, as contracts from the ledger: the rest stays.
   * The digests of `prepared` must be those of its parts.
   */
  applyUpdate(change: (running: Running) => Prepared): Promise<UpdateResult> {
    return this.#inTurn(() => this.#apply(change(this.running)));
  }

  async #prepare(files: Parameters<UpdateParts["prepare"]>[0]): Promise<Prepared> {
    const prepared = await this.parts.prepare(files, this.running, this.#aborting.signal);
    this.tellUnused(prepared.provisioning);
    return prepared;
  }

  /** Those that were delivered and the ledger does not hold; each once, until it is used. */
  tellUnused({ unused = [] }: Provisioning): void {
    const told = new Map(unused.map((one) => [`${one.id}/${one.version}: ${one.reason}`, one]));
    for (const [words, { id, version, reason }] of told) {
      if (this.#told.has(words)) continue;
      this.parts.events.write({ event: "signature-unused", signature: id, version, reason });
    }
    this.#told = new Set(told.keys());
  }

  /** A block is about these: what may be used is asked anew, once for blocks that come together. */
  signaturesChanged(ids: readonly string[]): void {
    const delivered = deliveredIds(this.running.provisioning);
    if (!ids.some((id) => delivered.has(id))) return;
    clearTimeout(this.#again);
    this.#again = setTimeout(() => {
      if (this.#aborting.signal.aborted) return;
      this.reload().catch(() => undefined); // it is an event
    }, SIGNATURES_PAUSE_MS);
  }

  /** A peer is revoked: its sessions end now, and no other begins, whatever the files say. */
  cutOff(sessionPub: string): void {
    const { driver, events, peersOf, clock } = this.parts;
    const { provisioning } = this.running;
    const { peers, tags } = provisioning;
    const peer = peerWithKey(peers, sessionPub);
    if (peer === undefined) return;
    const { now, wall } = clock();
    driver.step({ type: "peers", peers: peersOf(provisioning), tags }, now, wall);
    events.write({ event: "peer-cut-off", peer: peer.id });
  }

  /** An update under way ends; none begins any more. */
  close(): void {
    clearTimeout(this.#again);
    this.#aborting.abort();
  }

  /** Brings the running set to the worker again, as when an interface has changed. */
  async loadAgain(): Promise<void> {
    const { worker, snapshotOf } = this.parts;
    await worker.load(worker.pack(snapshotOf(this.running)), this.running.generation);
  }

  #inTurn(work: () => Promise<UpdateResult>): Promise<UpdateResult> {
    const { events } = this.parts;
    const done = this.#last.then(async () => {
      try {
        const result = await work();
        events.write({ event: "update-enforced", ...countsOf(result) });
        return result;
      } catch (error) {
        const code = error instanceof AbsError ? error.code : "UPDATE_FAILED";
        events.write({ event: "update-refused", code, message: messageOf(error) });
        throw error;
      }
    });
    this.#last = done.catch(() => undefined);
    return done;
  }

  async #apply(prepared: Prepared, settle = () => {}): Promise<UpdateResult> {
    const before = this.running;
    const changes = changesOf(before.digests, prepared.digests);
    if (Object.keys(changes).length === 0) {
      settle();
      return { state: "unchanged", changes, enforced: this.enforced };
    }
    const isSameNode = sharesOwnKey(before.provisioning.node, prepared.provisioning.node);
    requireChangeable(changes, isSameNode);
    const { next, packed } = await this.#nextOf(prepared, settle);
    // Nothing refuses from here on.
    try {
      await this.#bringIntoForce(next, packed, changes);
    } catch (error) {
      this.parts.failed(error);
      throw error;
    }
    const { shim } = this.parts;
    const isOldFree = before.database !== undefined && before.database !== next.database;
    if (isOldFree) shim.releaseDatabase(before.database ?? 0);
    this.enforced = enforcedOf(next);
    this.parts.inForce(next.provisioning);
    return { state: "enforced", changes, enforced: this.enforced };
  }

  /** The next set with its database, and as the worker takes it; throws when it does not fit. */
  async #nextOf(
    prepared: Prepared,
    settle: () => void,
  ): Promise<{ next: Running; packed: Uint8Array }> {
    const { shim, worker, snapshotOf, openDatabase } = this.parts;
    const before = this.running;
    const isSame = before.digests.signatures.whole === prepared.digests.signatures.whole;
    const database = isSame ? before.database : await openDatabase(prepared);
    const generation = before.generation + 1;
    const next: Running = { ...prepared, database, generation, since: new Date() };
    try {
      const packed = worker.pack(snapshotOf(next));
      settle();
      return { next, packed };
    } catch (error) {
      if (!isSame && database !== undefined) shim.releaseDatabase(database);
      throw error;
    }
  }

  /** Resolves when the worker has taken the set and decided on every flow by it. */
  async #bringIntoForce(next: Running, packed: Uint8Array, changes: Changes): Promise<void> {
    const { worker, moving, moved } = this.parts;
    const isMoved = this.running.provisioning.digest !== next.provisioning.digest;
    if (isMoved) moving();
    this.#tellSessions(next, changes);
    await worker.load(packed, next.generation);
    if (isMoved) moved(next.provisioning);
  }

  /** Sessions of who is gone end before the worker hears of it; those of new peers may begin. */
  #tellSessions(next: Running, changes: Changes): void {
    const { driver, reader, remembered, clock } = this.parts;
    const before = this.running.provisioning;
    const after = next.provisioning;
    this.running = next;
    driver.parts.provisioning = after;
    remembered.provisioning = after;
    reader.expect(next.generation, next);
    const { now, wall } = clock();
    if (changes.node !== undefined)
      driver.step({ type: "identity", identity: after.node }, now, wall);
    const lists = { peers: this.parts.peersOf(after), tags: after.tags };
    driver.step({ type: "peers", ...lists }, now, wall);
    driver.parts.routes.change(after);
    after.peers.forEach((peer, i) => {
      const known = before.peers[i];
      if (known !== undefined && !sharesKey(known, peer)) reader.forgetPeer(i as PeerIndex);
    });
    // Scopes of the ledger's contracts name peers and tags.
    const { contracts, peers, tags, node } = changes;
    if ([contracts, peers, tags, node].every((part) => part === undefined)) return;
    driver.step({ type: "contracts", contracts: this.parts.contractsOf(after) }, now, wall);
  }
}

function enforcedOf({ generation, since, digests }: Running): Enforced {
  const versions = Object.fromEntries(PARTS.map((part) => [part, digests[part].whole]));
  return { generation, since: since.toISOString(), versions: versions as Record<Part, string> };
}

/** For the event: how much changed, not each entry. */
function countsOf({ state, changes, enforced }: UpdateResult): Record<string, unknown> {
  const counts = Object.entries(changes).map(([part, { added, removed, changed }]) => [
    part,
    { added: added.length, removed: removed.length, changed: changed.length },
  ]);
  return { state, changes: Object.fromEntries(counts), generation: enforced.generation };
}
