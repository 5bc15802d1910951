/**
 * A validator or a master with its folder, disk, peers and participant joined: a process of its own
 * (src/validator), or a thread of an agent. docs/architecture.md "One block's path". What it tells
 * goes to the event log, what it is asked comes by the control socket (control-server.ts) and the
 * peer channel.
 */
import { existsSync, writeFileSync } from "node:fs";
import type { ChainState } from "../chain/chain-state.ts";
import { chainConflict } from "../chain/checkpoint.ts";
import type { LedgerCrypto } from "../chain/crypto-interface.ts";
import { masterId } from "../chain/ledger-node.ts";
import type { NodeId } from "../chain/ledger-units.ts";
import { createMaster, createValidator, type Participant } from "../chain/participant.ts";
import type { Checkpoint, Output } from "../chain/step-types.ts";
import { AbsError, messageOf } from "../errors.ts";
import type { PeerPassage } from "../peer/peer-passage.ts";
import { ControlServer } from "./control-server.ts";
import { lockFolder } from "./folder-lock.ts";
import { createLedgerCrypto } from "./ledger-crypto.ts";
import type { JournalContents, LedgerJournal } from "./ledger-journal.ts";
import { LedgerRunner } from "./ledger-runner.ts";
import { loadCheckpoint } from "./node-checkpoint.ts";
import { NodeEvents, type NodeLog } from "./node-events.ts";
import { fileIn, loadGenesis, loadMasterTerm } from "./node-folder.ts";
import { loadKeys, type OwnKeys } from "./node-keys.ts";
import { NodePeers } from "./node-peers.ts";

export const CHECK_PERIOD_MS = 30_000;

export type OpenJournal = (
  file: string,
  genesis: ChainState,
  crypto: LedgerCrypto,
) => { readonly journal: LedgerJournal; readonly contents: JournalContents };

export type ProcessOptions = {
  readonly role: "validator" | "master";
  readonly dir: string;
  /** Instead of the certificate's first address and port. */
  readonly listen: { readonly host: string; readonly port: number } | undefined;
  readonly events: NodeLog;
  readonly openJournal: OpenJournal;
  /** Whoever starts it holds the folder's lock already: a thread that died would keep its own. */
  readonly isLocked?: boolean;
  /** How calls get out and in, where the network is behind an agent's data plane. */
  readonly passage?: PeerPassage;
  /** The master has revoked a node: sessions with it end at once. */
  readonly onRevoked?: (nodeId: NodeId) => void;
  /** The state at the tip is new, and on the disk. */
  readonly onBlock?: (output: BlockOutput) => void;
};
type BlockOutput = Extract<Output, { kind: "block" }>;

export class LedgerProcess {
  /** Settles when the process is over; rejects when it failed. */
  readonly ended: Promise<void>;
  readonly runner: LedgerRunner;
  readonly peers: NodePeers;
  readonly #journal: LedgerJournal;
  #control: ControlServer | undefined;
  #end: () => void = () => {};
  #fail: (thrown: unknown) => void = () => {};
  readonly #events: NodeEvents;

  private constructor(
    readonly options: ProcessOptions,
    readonly keys: OwnKeys,
    genesis: ChainState,
    crypto: LedgerCrypto,
  ) {
    const { dir, role } = options;
    this.#events = new NodeEvents(options.events);
    this.ended = new Promise((resolve, reject) => {
      this.#end = resolve;
      this.#fail = reject;
    });
    // It may fail before anybody waits for it.
    this.ended.catch(() => {});
    const wasWiped = isWiped(dir);
    const { journal, contents } = options.openJournal(fileIn(dir, "store"), genesis, crypto);
    this.#journal = journal;
    const checkpoint = loadCheckpoint(dir);
    requireHistory(checkpoint, contents.chain, journal);
    const config = {
      ...{ keys: keys.ledger, crypto, history: journal.history, checkpoint },
      ...contents,
    };
    const masterTerm = role === "master" ? loadMasterTerm(dir, genesis, crypto) : undefined;
    const participant: Participant =
      role === "master"
        ? createMaster({ ...config, masterTerm })
        : createValidator({ ...config, wasWiped, checkPeriodMs: CHECK_PERIOD_MS });
    if (role === "master") requireReign(participant, journal);
    this.runner = new LedgerRunner(participant, {
      journal,
      send: (to, message) => this.peers.send(to, message),
      onReport: (code, detail) => this.#events.writeLimited(`ledger-${code}`, detail),
      onBlock: (output) => this.#onBlock(output),
      onFailure: (thrown) => this.#onFailure(thrown),
    });
    this.peers = new NodePeers({
      ...{ dir, keys, genesis, masterTerm, verifier: crypto.signatures, events: this.#events },
      ...{ listen: options.listen, passage: options.passage },
      view: () => this.runner.participant,
      onMessage: (from, message) => this.runner.take({ kind: "message", from, message }),
      onRevoked: (nodeId) => options.onRevoked?.(nodeId),
    });
  }

  /** @throws AbsError for anything wrong with the folder or the port */
  static async start(options: ProcessOptions): Promise<LedgerProcess> {
    const process = LedgerProcess.open(options);
    await process.join();
    return process;
  }

  /** Everything but the network: the state is that of the disk. @throws AbsError */
  static open(options: ProcessOptions): LedgerProcess {
    const { dir, role } = options;
    const crypto = createLedgerCrypto();
    const { keys, genesis } = loadNode(dir, role, crypto);
    if (options.isLocked !== true) lockFolder(fileIn(dir, "lock"));
    return new LedgerProcess(options, keys, genesis, crypto);
  }

  /** Listens, calls its peers and takes part. @throws AbsError PEER_PORT_BUSY */
  async join(): Promise<void> {
    const { dir, role } = this.options;
    const port = await this.peers.join();
    this.#control = new ControlServer(fileIn(dir, "control"), this);
    writeFileSync(fileIn(dir, "started"), "");
    const { chain } = this.runner.participant;
    const { nodeId } = this.keys;
    this.#events.write("ledger-ready", { role, node: nodeId, height: chain.height, port });
    this.peers.meet();
    this.runner.start();
  }

  stop(): void {
    this.runner.close();
    this.#control?.close();
    this.peers.close();
    this.#journal.close();
    this.#end();
  }

  /** What `abs ledger status` shows of a running node. */
  status(): Record<string, unknown> {
    const { participant } = this.runner;
    const { chain, term, stoppedBy } = participant;
    return {
      role: this.options.role,
      node_id: this.keys.nodeId,
      chain_id: chain.chainId,
      tenant: chain.genesis.file.tenant,
      height: chain.height,
      block_hash: chain.blockHash,
      timestamp: chain.core.timestamp,
      term,
      ...(stoppedBy === undefined ? {} : { stopped: stoppedBy }),
      ...(participant.kind === "validator"
        ? { is_observing: participant.observing !== undefined }
        : { waiting: participant.contracts.length + participant.records.length }),
      bad_frames: this.peers.badFrames,
      peers: this.peers.status(),
    };
  }

  #onBlock(output: BlockOutput): void {
    const { block, next } = output;
    const { contracts, records } = block.body;
    this.#events.write("ledger-block", {
      ...{ height: next.height, hash: next.blockHash },
      ...{ contracts: contracts.length, records: records.length },
      ...{ attempt: block.proof.quorum.attempt, view: block.proof.quorum.view },
    });
    this.peers.onBlock(output);
    this.options.onBlock?.(output);
  }

  #onFailure(thrown: unknown): void {
    this.#control?.close();
    this.peers.close();
    this.#journal.close();
    this.#fail(
      thrown instanceof AbsError
        ? thrown
        : new AbsError(
            "LEDGER_FAILED",
            `The node stopped, as what it must not forget could not be kept: ${messageOf(thrown)}.`,
            "Look at the disk of its folder, then start it again: nothing was promised.",
            thrown,
          ),
    );
  }
}

/**
 * Keys and genesis of a folder that this role may run with.
 * @throws AbsError NODE_KEYS_ABSENT, LEDGER_ROLE_WRONG and what else may be wrong with it
 */
export function loadNode(
  dir: string,
  role: ProcessOptions["role"],
  crypto: LedgerCrypto,
): { readonly keys: OwnKeys; readonly genesis: ChainState } {
  const keys = loadKeys(fileIn(dir, "keys"));
  const genesis = loadGenesis(dir, crypto);
  requireRole(role, keys, genesis, dir);
  return { keys, genesis };
}

/** @throws AbsError CHECKPOINT_CONFLICT: the chain on its disk is not the one vouched for */
function requireHistory(
  checkpoint: Checkpoint | undefined,
  chain: ChainState,
  journal: LedgerJournal,
): void {
  const conflict = chainConflict(checkpoint, chain, journal.history);
  if (conflict === undefined) return;
  journal.close();
  throw new AbsError(
    "CHECKPOINT_CONFLICT",
    `The chain on this disk is another history than the one vouched for: ${conflict}.`,
    "Ask the manager which is right; if the disk is wrong, move scd.sqlite aside and start again.",
  );
}

/** @throws AbsError MASTER_SUPERSEDED: the chain on its disk has another master's term */
function requireReign(participant: Participant, journal: LedgerJournal): void {
  if (masterId(participant) === participant.nodeId) return;
  journal.close();
  throw new AbsError(
    "MASTER_SUPERSEDED",
    `Term ${participant.term} is the reign of another master, ${masterId(participant)}.`,
    "Run the new master from its own folder; this one's keys seal nothing any more.",
  );
}

/** Keys that have run before, and a disk that knows nothing of it. */
function isWiped(dir: string): boolean {
  return existsSync(fileIn(dir, "started")) && !existsSync(fileIn(dir, "store"));
}

function requireRole(
  role: ProcessOptions["role"],
  keys: OwnKeys,
  genesis: ChainState,
  dir: string,
): void {
  const isMasterKey = keys.ledger.signer.publicKey === genesis.genesis.file.masterPub;
  if (role === "validator" && isMasterKey) {
    throw new AbsError(
      "LEDGER_ROLE_WRONG",
      `${dir} is the master's folder.`,
      "Run `abs ledger master run` with it, or name a member's folder.",
    );
  }
  const isHeir = existsSync(fileIn(dir, "term"));
  if (role === "master" && !isMasterKey && !isHeir && !genesis.members.has(keys.nodeId)) {
    throw new AbsError(
      "LEDGER_ROLE_WRONG",
      `The keys in ${dir} are not the master's, and no master-term.json makes them so.`,
      "Name the master's folder; `abs ledger recover master-term --help` tells how to make one.",
    );
  }
  if (role === "master" && genesis.members.has(keys.nodeId)) {
    throw new AbsError(
      "LEDGER_ROLE_WRONG",
      `${dir} is a member's folder, not the master's.`,
      "Run `abs validator run` with it, or name the master's folder.",
    );
  }
}
