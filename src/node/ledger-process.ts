/**
 * A validator or a master with its folder, disk, peers and participant joined: a process of its own
 * (src/validator), or a thread of an agent. docs/architecture.md "One block's path". What it tells
 * goes to the event log, what it is asked comes by the control socket (control-server.ts) and the
 * peer channel.
 */
import { existsSync, writeFileSync } from "node:fs";
import type { ChainState } from "../chain/chain-state.ts";
import type { LedgerCrypto } from "../chain/crypto-interface.ts";
import { certificateHash } from "../chain/identity-certificate.ts";
import type { NodeId } from "../chain/ledger-units.ts";
import type { Output } from "../chain/step-types.ts";
import { AbsError, messageOf } from "../errors.ts";
import type { PeerPassage } from "../peer/peer-passage.ts";
import { committeeReach } from "./committee-reach.ts";
import { ControlServer } from "./control-server.ts";
import { type CryptoWork, countedCrypto, countedRing, noWork } from "./crypto-work.ts";
import { lockFolder } from "./folder-lock.ts";
import { createLedgerCrypto } from "./ledger-crypto.ts";
import type { OpenJournal } from "./ledger-journal.ts";
import type { LedgerRunner } from "./ledger-runner.ts";
import { loadCheckpoint } from "./node-checkpoint.ts";
import { NodeEvents, type NodeLog } from "./node-events.ts";
import { fileIn, loadCertificate, loadGenesis, loadMasterTerm } from "./node-folder.ts";
import { loadKeys, type OwnKeys } from "./node-keys.ts";
import { NodeLife } from "./node-life.ts";
import { NodePeers, type OnDiscovered } from "./node-peers.ts";

export const CHECK_PERIOD_MS = 30_000;

export type ProcessOptions = {
  readonly role: "validator" | "master";
  readonly dir: string;
  /** Instead of the certificate's first address and port. */
  readonly listen: { readonly host: string; readonly port: number } | undefined;
  readonly events: NodeLog;
  readonly openJournal: OpenJournal;
  /** Instead of those in the folder: the manager's are sealed in its database. */
  readonly keys?: OwnKeys;
  /** How often the disk and peers are compared. */
  readonly checkPeriodMs?: number;
  /** Whoever starts it holds the folder's lock already: a thread that died would keep its own. */
  readonly isLocked?: boolean;
  /** How calls get out and in, where the network is behind an agent's data plane. */
  readonly passage?: PeerPassage;
  /** A node is revoked: sessions with it, under this key if it is known, end at once. */
  readonly onRevoked?: (nodeId: NodeId, sessionPub: string | undefined) => void;
  readonly onDiscovered?: OnDiscovered;
  /** The state at the tip is new, and on the disk. */
  readonly onBlock?: (output: BlockOutput) => void;
  /** After a repair: another runner, with a journal of its own, perhaps at a lower height. */
  readonly onBeginning?: () => void;
};
type BlockOutput = Extract<Output, { kind: "block" }>;

export class LedgerProcess {
  /** Settles when the process is over; rejects when it failed. */
  readonly ended: Promise<void>;
  readonly peers: NodePeers;
  readonly #life: NodeLife;
  #control: ControlServer | undefined;
  #end: () => void = () => {};
  #fail: (thrown: unknown) => void = () => {};
  readonly #events: NodeEvents;

  private constructor(
    readonly options: ProcessOptions,
    readonly keys: OwnKeys,
    genesis: ChainState,
    crypto: LedgerCrypto,
    readonly work: CryptoWork,
  ) {
    const { dir, role } = options;
    this.#events = new NodeEvents(options.events);
    this.ended = new Promise((resolve, reject) => {
      this.#end = resolve;
      this.#fail = reject;
    });
    // It may fail before anybody waits for it.
    this.ended.catch(() => {});
    const { openJournal, checkPeriodMs = CHECK_PERIOD_MS } = options;
    const masterTerm = role === "master" ? loadMasterTerm(dir, genesis, crypto) : undefined;
    this.#life = new NodeLife({
      ...{
        role,
        keys: countedRing(keys.ring, work),
        genesis,
        crypto,
        openJournal,
        checkPeriodMs,
        events: this.#events,
      },
      ...{ masterTerm, checkpoint: loadCheckpoint(dir) },
      file: fileIn(dir, "store"),
      hasRun: () => existsSync(fileIn(dir, "started")),
      send: (to, message) => this.peers.send(to, message),
      onBlock: (output) => this.#onBlock(output),
      onBeginning: () => {
        this.peers.meet();
        options.onBeginning?.();
      },
      onFailure: (thrown) => this.#onFailure(thrown),
    });
    this.peers = new NodePeers({
      ...{ dir, keys, genesis, masterTerm, verifier: crypto.signatures, events: this.#events },
      ...{ listen: options.listen, passage: options.passage },
      view: () => this.runner.participant,
      onMessage: (from, message) => this.runner.take({ kind: "message", from, message }),
      onDiscovered: (signed, mode) => options.onDiscovered?.(signed, mode),
      onRevoked: (nodeId, sessionPub) => options.onRevoked?.(nodeId, sessionPub),
    });
  }

  /** @throws AbsError for anything wrong with the folder or the port */
  static async start(options: ProcessOptions): Promise<LedgerProcess> {
    const process = LedgerProcess.open(options);
    await process.join();
    return process;
  }

  /** The one at present: another takes its place after a repair. */
  get runner(): LedgerRunner {
    return this.#life.runner;
  }

  /** A block is fetched that its disk lacks: the state is one that was passed already. */
  get isRepairing(): boolean {
    return this.#life.isRepairing;
  }

  get isPaused(): boolean {
    return this.#life.pausedBy !== undefined;
  }

  /** Everything but the network: the state is that of the disk. @throws AbsError */
  static open(options: ProcessOptions): LedgerProcess {
    const { dir, role } = options;
    const work = noWork();
    const crypto = countedCrypto(createLedgerCrypto(), work);
    const { keys, genesis } = loadNode(dir, role, crypto, options.keys);
    if (options.isLocked !== true) lockFolder(fileIn(dir, "lock"));
    return new LedgerProcess(options, keys, genesis, crypto, work);
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
    this.#life.start();
  }

  /** The folder holds other keys: what is signed from now on is by those. @throws AbsError */
  takeKeys(): void {
    const { ring, sessions } = loadKeys(fileIn(this.options.dir, "keys"));
    this.runner.participant.ring.replace(countedRing(ring, this.work).sets);
    this.peers.takeKeys(sessions);
  }

  stop(): void {
    this.#control?.close();
    this.peers.close();
    this.#life.stop();
    this.#end();
  }

  /** What `abs ledger status` shows of a running node. */
  status(): Record<string, unknown> {
    const { participant } = this.runner;
    const { nodeId } = this.keys;
    const { chain, term, stoppedBy } = participant;
    const { pausedBy, isRepairing } = this.#life;
    return {
      role: this.options.role,
      node_id: nodeId,
      chain_id: chain.chainId,
      tenant: chain.genesis.file.tenant,
      height: chain.height,
      block_hash: chain.blockHash,
      timestamp: chain.core.timestamp,
      term,
      ...(stoppedBy === undefined ? {} : { stopped: stoppedBy }),
      ...(pausedBy === undefined ? {} : { paused: pausedBy }),
      ...(isRepairing ? { is_repairing: true } : {}),
      ...(participant.kind === "validator"
        ? { is_observing: participant.observing !== undefined }
        : { waiting: participant.contracts.length + participant.records.length }),
      ...committeeReach(chain, nodeId, this.peers.reached()),
      work: { ...this.work },
      sent: this.peers.sent(),
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
    this.#life.stop();
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
  given?: OwnKeys,
): { readonly keys: OwnKeys; readonly genesis: ChainState } {
  const keys = given ?? loadKeys(fileIn(dir, "keys"));
  const genesis = loadGenesis(dir, crypto);
  requireRole(role, keys, genesis, dir);
  requireOwnChain(keys, genesis, dir);
  return { keys, genesis };
}

/** The folder's certificate is of the chain that its genesis file makes, or nobody would listen. */
function requireOwnChain(keys: OwnKeys, { chainId, members }: ChainState, dir: string): void {
  const { certificate } = loadCertificate(dir);
  if (certificate.chainId === chainId) return;
  // Those of the genesis file's members are older than the chain's name.
  const [first] = members.get(keys.nodeId)?.keys ?? [];
  if (first?.certificate === certificateHash(certificate)) return;
  throw new AbsError(
    "LEDGER_CHAIN_OTHER",
    `${dir}: certificate.json is not of chain ${chainId}, which genesis.json makes.`,
    "Put the tenant's genesis.json back: all its nodes have the same, byte for byte.",
  );
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
