/**
 * The main thread's end of the agent's ledger node (ledger-worker.ts): starts its thread, starts it
 * again when it died, and hands on what it says. The data plane goes on whatever happens here:
 * contracts stay as they were last known.
 */

import type { AgentMode } from "../chain/discovery.ts";
import {
  decodeSignedCertificate,
  encodeSignedCertificate,
  type SignedCertificate,
} from "../chain/identity-certificate.ts";
import { lockFolder } from "../node/folder-lock.ts";
import { createLedgerCrypto } from "../node/ledger-crypto.ts";
import { loadNode } from "../node/ledger-process.ts";
import { fileIn, loadCertificate } from "../node/node-folder.ts";
import type { ScdContract } from "../node/scd-watch.ts";
import type { EventLog } from "../observe/event-log.ts";
import type { FromLedger, LedgerPlan, PeerFlow, ToLedger } from "./ledger-messages.ts";

/** What the node needs of the running agent. */
export interface LedgerSeams {
  /** Contracts as they now are; called whenever one of them has changed. */
  changed(contracts: readonly ScdContract[]): void;
  /** A block is about these application signatures. */
  signatures(ids: readonly string[]): void;
  /** A peer's node is revoked: key of its sessions, hexadecimal. */
  revoked(sessionPub: string): void;
  /** A node is new, or says another mode of itself. */
  discovered(signed: SignedCertificate, mode: AgentMode | undefined): void;
  /** Lets a call of the node through; false when the data plane does not answer. */
  pass(flow: PeerFlow): Promise<boolean>;
  passEnded(localPort: number): void;
  /** Who may call, and where: nobody before this. */
  admit(port: number, hosts: readonly string[]): void;
  /** The node is gone, and its connections with it. */
  lost(): void;
}

/** Thread entry point: a file of the source tree, or of the compiled program's own file system. */
const WORKER = new URL("./ledger-worker.ts", import.meta.url);
const STATUS_WAIT_MS = 1_000;
const STOP_WAIT_MS = 3_000;
const AGAIN_MS_MIN = 1_000;
const AGAIN_MS_MAX = 60_000;

/** Who writes the folder's key file (agent-identity.ts). */
export type HeldKeys = {
  watch(onChange: () => void): void;
  counts(ledgerPub: string): void;
};

type Status = Readonly<Record<string, unknown>>;

export class LedgerThread {
  /** As last known; undefined before the replica has been read for the first time. */
  contracts: readonly ScdContract[] | undefined;
  readonly #read = Promise.withResolvers<void>();
  readonly #asked = new Map<number, (status: Status | undefined) => void>();
  /** Of the folder's genesis file. */
  readonly chainId: string;
  readonly #unlock: () => void;
  #worker: Worker | undefined;
  #seams: LedgerSeams | undefined;
  #again: ReturnType<typeof setTimeout> | undefined;
  #pauseMs = AGAIN_MS_MIN;
  #startedMs = 0;
  #port = 0;
  #hosts: readonly string[] = [];
  #number = 0;
  #onStopped: () => void = () => {};
  #isOver = false;
  #mode: AgentMode | undefined;
  #held: HeldKeys | undefined;
  #counting: string | undefined;
  /** The node was told of them. */
  readonly #certified = new WeakSet<SignedCertificate>();

  /** @throws AbsError for what is wrong with the folder */
  constructor(
    public plan: LedgerPlan,
    readonly events: EventLog,
  ) {
    this.chainId = loadNode(plan.dir, "validator", createLedgerCrypto()).genesis.chainId;
    loadCertificate(plan.dir);
    this.#unlock = lockFolder(fileIn(plan.dir, "lock"));
    this.#start();
  }

  /** Resolves when the replica has been read, cannot be read, or takes longer than this. */
  async untilRead(timeoutMs: number): Promise<void> {
    await Promise.race([this.#read.promise, Bun.sleep(timeoutMs)]);
  }

  /** The data plane forwards: the node takes part. */
  join(seams: LedgerSeams): void {
    this.#seams = seams;
    if (this.contracts !== undefined) seams.changed(this.contracts);
    this.#tell({ kind: "join" });
  }

  /** The node signs with what is held here, and says which of it the chain counts. */
  hold(held: HeldKeys): void {
    this.#held = held;
    held.watch(() => this.#tell({ kind: "keys" }));
    if (this.#counting !== undefined) held.counts(this.#counting);
  }

  /** Peers are told which mode this agent is in, once for each change. */
  announce(mode: AgentMode): void {
    if (mode === this.#mode) return;
    this.#mode = mode;
    this.#tell({ kind: "mode", mode });
  }

  /**
   * Renewed certificates: this node's own is shown from now on, the others' are known by it. Those
   * that were never renewed it has from its folder.
   */
  certify(own: SignedCertificate, others: readonly SignedCertificate[]): void {
    const renewed = [own, ...others].filter(({ certificate }) => certificate.seq > 0);
    const fresh = renewed.filter((signed) => !this.#certified.has(signed));
    if (fresh.length === 0) return;
    for (const signed of fresh) this.#certified.add(signed);
    const encoded = fresh.filter((signed) => signed !== own).map(encodeSignedCertificate);
    this.#tell({ kind: "certify", own: encodeSignedCertificate(own), others: encoded });
  }

  /** Other contracts count from now on. */
  watch(scIds: readonly string[]): void {
    this.plan = { ...this.plan, scIds };
    this.#tell({ kind: "watch", scIds });
  }

  /**
   * This VM may be a copy of another: two would vote with one key (docs/ledger.md "Return after a
   * lost disk").
   */
  observe(reason: string): void {
    this.#tell({ kind: "observe", reason });
  }

  /** What `abs ledger status` shows; undefined when the node does not run, or is busy. */
  async status(): Promise<Status | undefined> {
    if (this.#worker === undefined) return undefined;
    const number = ++this.#number;
    const answered = new Promise<Status | undefined>((resolve) => {
      this.#asked.set(number, resolve);
      setTimeout(() => resolve(undefined), STATUS_WAIT_MS);
    });
    this.#tell({ kind: "status", number });
    const status = await answered;
    this.#asked.delete(number);
    return status;
  }

  /** Ends the node; resolves when its thread is gone. */
  async stop(): Promise<void> {
    if (this.#isOver) return;
    this.#isOver = true;
    clearTimeout(this.#again);
    if (this.#worker !== undefined) {
      const stopped = new Promise<void>((resolve) => {
        this.#onStopped = resolve;
        setTimeout(resolve, STOP_WAIT_MS);
      });
      this.#tell({ kind: "stop" });
      await stopped;
      this.#worker.terminate();
      this.#worker = undefined;
    }
    this.#unlock();
  }

  #start(): void {
    const worker = new Worker(WORKER.href);
    this.#worker = worker;
    this.#startedMs = performance.now();
    const lost = (message: string): void => {
      if (this.#worker === worker) this.#lost("LEDGER_THREAD_DIED", message);
    };
    worker.onmessage = ({ data }: MessageEvent<FromLedger>) => {
      if (this.#worker === worker) this.#take(data);
    };
    worker.onerror = (event) => lost(event.message);
    worker.addEventListener("close", () => lost("its thread ended"));
    this.#tell({ kind: "open", plan: this.plan });
    if (this.#mode !== undefined) this.#tell({ kind: "mode", mode: this.#mode });
    if (this.#seams !== undefined) this.#tell({ kind: "join" });
  }

  #tell(message: ToLedger): void {
    this.#worker?.postMessage(message);
  }

  #take(message: FromLedger): void {
    switch (message.kind) {
      case "contracts":
        this.contracts = message.contracts;
        this.#read.resolve();
        this.#seams?.changed(message.contracts);
        break;
      case "signatures":
        this.#seams?.signatures(message.ids);
        break;
      case "discovered": {
        const read = decodeSignedCertificate(message.signed);
        if ("signed" in read) this.#seams?.discovered(read.signed, message.mode);
        break;
      }
      case "counts":
        this.#counting = message.ledgerPub;
        this.#held?.counts(message.ledgerPub);
        break;
      case "revoked":
        this.#seams?.revoked(message.sessionPub);
        break;
      case "event":
        this.events.write(message.event);
        break;
      case "status":
        this.#asked.get(message.number)?.(message.status);
        break;
      case "pass":
        void this.#pass(message.number, message.flow);
        break;
      case "passEnded":
        this.#seams?.passEnded(message.localPort);
        break;
      case "listening":
        this.#port = message.port;
        this.#admit();
        break;
      case "callers":
        this.#hosts = message.hosts;
        this.#admit();
        break;
      case "failed":
        this.#lost(message.code, message.message);
        break;
      case "stopped":
        this.#onStopped();
    }
  }

  #admit(): void {
    if (this.#port !== 0) this.#seams?.admit(this.#port, this.#hosts);
  }

  async #pass(number: number, flow: PeerFlow): Promise<void> {
    const worker = this.#worker;
    const isOpen = (await this.#seams?.pass(flow)) ?? false;
    // Another thread by now has numbers of its own.
    if (this.#worker === worker) this.#tell({ kind: "passed", number, isOpen });
  }

  /** The node is gone: it is started again, after a pause that doubles while it keeps failing. */
  #lost(code: string, message: string): void {
    const worker = this.#worker;
    this.#worker = undefined;
    worker?.terminate();
    this.#read.resolve();
    this.#onStopped();
    if (this.#isOver) return;
    this.#port = 0;
    this.#hosts = [];
    this.#seams?.lost();
    if (performance.now() - this.#startedMs > AGAIN_MS_MAX) this.#pauseMs = AGAIN_MS_MIN;
    const againMs = this.#pauseMs;
    this.#pauseMs = Math.min(AGAIN_MS_MAX, 2 * againMs);
    this.events.write({
      event: "ledger-node-failed",
      code,
      message,
      againSeconds: againMs / 1_000,
    });
    this.#again = setTimeout(() => this.#start(), againMs);
  }
}
