/**
 * The thread of an agent's ledger node: its disk syncs block, and packets and handshakes do not
 * wait for it. design/README.md "Threads of an agent process". It runs what `abs validator run`
 * runs; events, the state of contracts and what the data plane must let through go to the main
 * thread (ledger-messages.ts).
 */

import { memberKeysAt, nextHeight } from "../chain/chain-state.ts";
import {
  decodeSignedCertificate,
  encodeSignedCertificate,
  type SignedCertificate,
} from "../chain/identity-certificate.ts";
import { signatureOf } from "../chain/signature-entry.ts";
import { AbsError, messageOf } from "../errors.ts";
import { LedgerProcess } from "../node/ledger-process.ts";
import { ScdWatch } from "../node/scd-watch.ts";
import { openJournal } from "../node/store-journal.ts";
import type { PeerPassage } from "../peer/peer-passage.ts";
import type { FromLedger, LedgerPlan, ToLedger } from "./ledger-messages.ts";
import { LEDGER_PORTS, randomPort } from "./management-ports.ts";

declare const self: Worker;

function tell(message: FromLedger): void {
  self.postMessage(message);
}

/** Calls are announced to the data plane, which answers when it knows of them. */
class MainThreadPassage implements PeerPassage {
  readonly #asked = new Map<number, (isOpen: boolean) => void>();
  readonly #localPorts = new Set<number>();
  #number = 0;

  async open(host: string, port: number): Promise<number | undefined> {
    const localPort = this.#freePort();
    this.#localPorts.add(localPort);
    const number = ++this.#number;
    const answered = new Promise<boolean>((resolve) => this.#asked.set(number, resolve));
    tell({ kind: "pass", number, flow: { localPort, host, port } });
    if (await answered) return localPort;
    this.#localPorts.delete(localPort);
    return undefined;
  }

  close(localPort: number): void {
    this.#localPorts.delete(localPort);
    tell({ kind: "passEnded", localPort });
  }

  listen(port: number): void {
    tell({ kind: "listening", port });
  }

  meet(hosts: readonly string[]): void {
    tell({ kind: "callers", hosts: [...new Set(hosts)] });
  }

  answered(number: number, isOpen: boolean): void {
    this.#asked.get(number)?.(isOpen);
    this.#asked.delete(number);
  }

  #freePort(): number {
    for (;;) {
      const port = randomPort(LEDGER_PORTS);
      if (!this.#localPorts.has(port)) return port;
    }
  }
}

class LedgerWorker {
  readonly passage = new MainThreadPassage();
  readonly process: LedgerProcess;
  #watch: ScdWatch;
  #scIds: readonly string[];
  #counting: string | undefined;

  constructor(plan: LedgerPlan) {
    const { dir, listen } = plan;
    this.#scIds = plan.scIds;
    this.process = LedgerProcess.open({
      ...{ role: "validator", dir, listen, openJournal, isLocked: true, passage: this.passage },
      events: { write: (event) => tell({ kind: "event", event }) },
      onDiscovered: (signed, mode) => {
        const bytes = encodeSignedCertificate(signed);
        tell({ kind: "discovered", signed: bytes, ...(mode === undefined ? {} : { mode }) });
      },
      onRevoked: (_, sessionPub) => {
        if (sessionPub !== undefined) tell({ kind: "revoked", sessionPub });
      },
      onBlock: ({ block }) => {
        this.#tellCounting();
        if (this.#watch.note(block) && !this.process.isRepairing) this.#tellContracts();
        const records = block.body.records.flatMap((bytes) => signatureOf(bytes) ?? []);
        const ids = records.map(({ signatureId }) => signatureId);
        if (ids.length > 0) tell({ kind: "signatures", ids });
      },
      onBeginning: () => {
        this.#watch = this.#watchOf();
        this.#tellCounting();
        // What the agent knows is newer than the state of a node that repairs its disk.
        if (!this.process.isRepairing) this.#tellContracts();
      },
    });
    this.#watch = this.#watchOf();
    this.#tellContracts();
    this.#tellCounting();
    // Whoever waits for the end of a node that failed is the main thread.
    this.process.ended.catch(fail);
  }

  take(message: ToLedger): void {
    switch (message.kind) {
      case "join":
        this.process.join().catch(fail);
        break;
      case "watch":
        this.#scIds = message.scIds;
        this.#watch = this.#watchOf();
        this.#tellContracts();
        break;
      case "status":
        tell({ kind: "status", number: message.number, status: this.process.status() });
        break;
      case "observe":
        this.process.runner.take({ kind: "observe", reason: message.reason });
        break;
      case "mode":
        this.process.peers.gossip.announce(message.mode);
        break;
      case "keys":
        this.process.takeKeys();
        break;
      case "certify":
        this.process.peers.certify(signedOf(message.own), message.others.map(signedOf));
        break;
      case "passed":
        this.passage.answered(message.number, message.isOpen);
        break;
      case "stop":
        this.process.stop();
        tell({ kind: "stopped" });
    }
  }

  /** Above the tip, which is on the disk: all heights of keys before these are sealed. */
  #tellCounting(): void {
    const { chain, nodeId } = this.process.runner.participant;
    const ledgerPub = memberKeysAt(chain, nodeId, nextHeight(chain))?.ledgerPub;
    if (ledgerPub === undefined || ledgerPub === this.#counting) return;
    this.#counting = ledgerPub;
    tell({ kind: "counts", ledgerPub });
  }

  #watchOf(): ScdWatch {
    const { participant, options } = this.process.runner;
    return new ScdWatch(this.#scIds, participant.chain, options.journal.history);
  }

  #tellContracts(): void {
    const contracts = this.#watch.contracts(this.process.runner.participant.chain);
    tell({ kind: "contracts", contracts });
  }
}

/** Of the main thread's making. */
function signedOf(bytes: Uint8Array): SignedCertificate {
  const read = decodeSignedCertificate(bytes);
  if ("signed" in read) return read.signed;
  throw new AbsError("INTERNAL", read.complaint, "");
}

function fail(thrown: unknown): void {
  const code = thrown instanceof AbsError ? thrown.code : "LEDGER_FAILED";
  tell({ kind: "failed", code, message: messageOf(thrown) });
}

let worker: LedgerWorker | undefined;

self.onmessage = ({ data }: MessageEvent<ToLedger>) => {
  if (data.kind !== "open") return worker?.take(data);
  try {
    worker = new LedgerWorker(data.plan);
  } catch (thrown) {
    fail(thrown);
  }
};
