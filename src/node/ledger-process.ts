/**
 * A validator or a master with its folder, disk, peers and participant joined: a process of its own
 * (src/validator), or a thread of an agent. docs/architecture.md "One block's path". What it tells
 * goes to the event log, what it is asked comes by the control socket (control-server.ts) and the
 * peer channel.
 */
import { existsSync, writeFileSync } from "node:fs";
import { type ChainState, isChangePending } from "../chain/chain-state.ts";
import type { LedgerCrypto } from "../chain/crypto-interface.ts";
import { encodeSignedCertificate, type SignedCertificate } from "../chain/identity-certificate.ts";
import type { NodeId } from "../chain/ledger-units.ts";
import { decodeMessage, encodeMessage } from "../chain/message-codec.ts";
import { type LedgerMessage, MESSAGE_CODES } from "../chain/message-types.ts";
import { createMaster, createValidator, type Participant } from "../chain/participant.ts";
import type { Output } from "../chain/step-types.ts";
import { AbsError, messageOf } from "../errors.ts";
import { kernelRandom } from "../native/kernel-random.ts";
import { PeerChannel } from "../peer/peer-channel.ts";
import type { PeerPassage } from "../peer/peer-passage.ts";
import { PEER_FLAG, type PeerFrame } from "../wire/peer-frame.ts";
import { ControlServer } from "./control-server.ts";
import { lockFolder } from "./folder-lock.ts";
import { createLedgerCrypto } from "./ledger-crypto.ts";
import type { JournalContents, LedgerJournal } from "./ledger-journal.ts";
import { epochNow, LedgerRunner } from "./ledger-runner.ts";
import { NodeEvents, type NodeLog } from "./node-events.ts";
import { fileIn, loadCertificate, loadGenesis, loadPeers } from "./node-folder.ts";
import { loadKeys, type OwnKeys } from "./node-keys.ts";
import { PeerIdentities } from "./peer-identities.ts";
import { peerNoise } from "./peer-noise-ik.ts";

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
  /** Instead of those in the folder: the manager's are sealed in its database. */
  readonly keys?: OwnKeys;
  /** Whoever starts it holds the folder's lock already: a thread that died would keep its own. */
  readonly isLocked?: boolean;
  /** How calls get out and in, where the network is behind an agent's data plane. */
  readonly passage?: PeerPassage;
  /** The state at the tip is new, and on the disk. */
  readonly onBlock?: (output: BlockOutput) => void;
};
type BlockOutput = Extract<Output, { kind: "block" }>;

export class LedgerProcess {
  /** Settles when the process is over; rejects when it failed. */
  readonly ended: Promise<void>;
  readonly runner: LedgerRunner;
  readonly #identities: PeerIdentities;
  readonly #journal: LedgerJournal;
  readonly #channel: PeerChannel;
  #control: ControlServer | undefined;
  #end: () => void = () => {};
  #fail: (thrown: unknown) => void = () => {};
  readonly #events: NodeEvents;
  #badFrames = 0;
  /** A change of members waits for its height. */
  #wasPending = true;

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
    const config = {
      ...{ keys: keys.ledger, crypto, history: journal.history, checkpoint: undefined },
      ...contents,
    };
    const participant: Participant =
      role === "master"
        ? createMaster({ ...config, masterTerm: undefined })
        : createValidator({ ...config, wasWiped, checkPeriodMs: CHECK_PERIOD_MS });
    this.runner = new LedgerRunner(participant, {
      journal,
      send: (to, message) => this.#send(to, message),
      onReport: (code, detail) => this.#events.writeLimited(`ledger-${code}`, detail),
      onBlock: (output) => this.#onBlock(output),
      onFailure: (thrown) => this.#onFailure(thrown),
    });
    this.#identities = new PeerIdentities(keys.nodeId, () => ({
      chain: this.runner.participant.chain,
      masterPub: this.runner.participant.masterPub,
      verifier: crypto.signatures,
      now: epochNow(),
    }));
    this.#channel = this.#openChannel(genesis);
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
    const { keys, genesis } = loadNode(dir, role, crypto, options.keys);
    if (options.isLocked !== true) lockFolder(fileIn(dir, "lock"));
    return new LedgerProcess(options, keys, genesis, crypto);
  }

  /** Listens, calls its peers and takes part. @throws AbsError PEER_PORT_BUSY */
  async join(): Promise<void> {
    const { dir, role } = this.options;
    const port = await this.#channel.listen();
    for (const signed of loadPeers(dir)) this.#identities.learn(signed);
    this.#control = new ControlServer(fileIn(dir, "control"), this);
    writeFileSync(fileIn(dir, "started"), "");
    const { chain } = this.runner.participant;
    const { nodeId } = this.keys;
    this.#events.write("ledger-ready", { role, node: nodeId, height: chain.height, port });
    this.#channel.meet(this.#identities.callees());
    this.runner.start();
  }

  /** Nodes that have got certificates since: they may call, and are called. */
  learn(certificates: readonly SignedCertificate[]): void {
    for (const signed of certificates) this.#identities.learn(signed);
    this.#channel.meet(this.#identities.callees());
  }

  /** Peers whose connection stands. */
  connected(): NodeId[] {
    const peers = this.#channel.status().filter(({ isConnected }) => isConnected);
    return peers.map(({ nodeId }) => nodeId as NodeId);
  }

  stop(): void {
    this.runner.close();
    this.#control?.close();
    this.#channel.close();
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
      bad_frames: this.#badFrames,
      peers: this.#channel.status().map(({ nodeId, isConnected, lost }) => ({
        ...{ node_id: nodeId, is_connected: isConnected, frames_lost: lost },
      })),
    };
  }

  #openChannel(genesis: ChainState): PeerChannel {
    const { dir } = this.options;
    const own = loadCertificate(dir);
    const [host = "0.0.0.0"] = own.certificate.addresses;
    const listen = this.options.listen ?? { host, port: own.certificate.peerPort };
    return new PeerChannel({
      ...{ self: this.keys.nodeId, listen, random: kernelRandom },
      noise: peerNoise(genesis.chainId, this.keys.session),
      certificate: encodeSignedCertificate(own),
      authenticate: (certificate, key) => this.#identities.authenticate(certificate, key),
      onFrame: (from, frame) => this.#receive(from as NodeId, frame),
      onNotice: (code, detail) => this.#events.writeLimited(code, detail),
      ...(this.options.passage === undefined ? {} : { passage: this.options.passage }),
    });
  }

  #send(to: readonly NodeId[], message: LedgerMessage): void {
    const body = encodeMessage(message);
    const frame = { flag: PEER_FLAG.ledger, type: MESSAGE_CODES[message.kind], body };
    for (const nodeId of to) this.#channel.send(nodeId, frame);
  }

  /** Anything at all may be in the frame; that it came from `from` is proven. */
  #receive(from: NodeId, { flag, type, body }: PeerFrame): void {
    if (flag !== PEER_FLAG.ledger) return;
    const read = decodeMessage(body);
    if ("fault" in read || MESSAGE_CODES[read.message.kind] !== type) {
      this.#badFrames++;
      return;
    }
    this.runner.take({ kind: "message", from, message: read.message });
  }

  #onBlock(output: BlockOutput): void {
    const { block, next } = output;
    const { contracts, records } = block.body;
    this.#events.write("ledger-block", {
      ...{ height: next.height, hash: next.blockHash },
      ...{ contracts: contracts.length, records: records.length },
      ...{ attempt: block.proof.quorum.attempt, view: block.proof.quorum.view },
    });
    // Records let somebody in, or revoke somebody: two heights later.
    const isPending = isChangePending(next);
    if (records.length > 0 || isPending || this.#wasPending) {
      this.#channel.meet(this.#identities.callees());
    }
    this.#wasPending = isPending;
    this.options.onBlock?.(output);
  }

  #onFailure(thrown: unknown): void {
    this.#control?.close();
    this.#channel.close();
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
  given?: OwnKeys,
): { readonly keys: OwnKeys; readonly genesis: ChainState } {
  const keys = given ?? loadKeys(fileIn(dir, "keys"));
  const genesis = loadGenesis(dir, crypto);
  requireRole(role, keys, genesis, dir);
  return { keys, genesis };
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
  if (role === "master" && genesis.members.has(keys.nodeId)) {
    throw new AbsError(
      "LEDGER_ROLE_WRONG",
      `${dir} is a member's folder, not the master's.`,
      "Run `abs validator run` with it, or name the master's folder.",
    );
  }
}
