/**
 * The agent's part in the ledger: a node in a thread of its own, contracts from its SCD into the
 * session machine, and its connections through the data plane. docs/provisioning.md "With a
 * ledger". Nothing waits for the ledger: the agent begins with what its replica holds.
 */
import { join } from "node:path";
import type { AgentMode } from "../chain/discovery.ts";
import type { SignedCertificate } from "../chain/identity-certificate.ts";
import { messageOf } from "../errors.ts";
import type { ScdContract } from "../node/scd-watch.ts";
import type { EventLog } from "../observe/event-log.ts";
import type { Contract } from "../session/contract.ts";
import { loadContracts, saveContracts } from "./contract-memory.ts";
import { ContractSource } from "./contract-source.ts";
import { CutOffPeers } from "./cut-off-peers.ts";
import { LedgerThread } from "./ledger-thread.ts";
import { DataPlanePassage } from "./peer-passage.ts";
import type { Provisioning } from "./provisioning.ts";
import type { LedgerSettings } from "./provisioning-ledger.ts";
import type { WorkerLink } from "./worker-link.ts";

/** To read a long chain takes seconds; what comes later is taken when it comes. */
const READ_WAIT_MS = 20_000;
/** Where it is remembered how contracts stood. */
const REMEMBERED_WAIT_MS = 300;
const MEMORY_FILE = "contracts.json";

/** What the agent wants to hear. */
export interface LedgerChanges {
  /** All, whenever one has changed. */
  contracts(contracts: readonly Contract[]): void;
  /** Ids of application signatures that a block is about. */
  signatures(ids: readonly string[]): void;
  /** A peer is revoked: whoever has this key of sessions, hexadecimal. */
  revoked(sessionPub: string): void;
  /** A node is new, or says another mode of itself. */
  discovered(signed: SignedCertificate, mode: AgentMode | undefined): void;
}

export class AgentLedger {
  #contracts: readonly Contract[] = [];

  private constructor(
    readonly thread: LedgerThread,
    readonly source: ContractSource,
    readonly memoryFile: string,
    readonly events: EventLog,
    readonly cutOff: CutOffPeers,
  ) {}

  /**
   * Starts the node as far as its disk goes; undefined: no ledger is provisioned.
   * @throws AbsError for what is wrong with its folder
   */
  static async open(
    provisioning: Provisioning,
    stateDir: string,
    events: EventLog,
  ): Promise<AgentLedger | undefined> {
    const { ledger } = provisioning;
    if (ledger === undefined) return undefined;
    const cutOff = new CutOffPeers(ledger.directory);
    const thread = new LedgerThread(
      { dir: ledger.directory, listen: ledger.listen, scIds: idsOf(ledger) },
      events,
    );
    const source = new ContractSource(ledger, provisioning, (event) => events.write(event));
    const own = new AgentLedger(thread, source, join(stateDir, MEMORY_FILE), events, cutOff);
    const remembered = loadContracts(own.memoryFile, thread.chainId);
    await thread.untilRead(remembered === undefined ? READ_WAIT_MS : REMEMBERED_WAIT_MS);
    own.#contracts = source.take(thread.contracts ?? remembered ?? []);
    return own;
  }

  /** As they now are, for sessions that begin. */
  get contracts(): readonly Contract[] {
    return this.#contracts;
  }

  /** The data plane forwards, and sessions run. */
  join(worker: WorkerLink, changed: LedgerChanges): void {
    const passage = new DataPlanePassage(worker);
    this.thread.join({
      changed: (scd) => {
        this.#contracts = this.source.take(scd);
        changed.contracts(this.#contracts);
        this.#remember(scd);
      },
      signatures: (ids) => changed.signatures(ids),
      discovered: (signed, mode) => changed.discovered(signed, mode),
      revoked: (sessionPub) => {
        try {
          this.cutOff.add(sessionPub);
        } catch (error) {
          // It counts until the next start.
          this.events.write({ event: "warning", message: messageOf(error) });
        }
        changed.revoked(sessionPub);
      },
      pass: (flow) => passage.open(flow),
      passEnded: (localPort) => passage.close(localPort),
      admit: (port, hosts) => passage.admit(port, hosts),
      lost: () => passage.closeAll(),
    });
  }

  /**
   * Other secrets, peers or tags in the running agent; the node and its folder stay.
   * @returns all contracts, for the session machine
   */
  replace(provisioning: Provisioning): readonly Contract[] {
    const { ledger } = provisioning;
    if (ledger === undefined) return this.#contracts;
    this.thread.watch(idsOf(ledger));
    this.#contracts = this.source.replace(ledger, provisioning);
    return this.#contracts;
  }

  /** For `abs agent status`: height, peers, and how each contract stands. */
  async status(): Promise<Readonly<Record<string, unknown>>> {
    const node = await this.thread.status();
    return { running: node !== undefined, ...node, contracts: this.source.statuses };
  }

  async stop(): Promise<void> {
    await this.thread.stop();
  }

  #remember(scd: readonly ScdContract[]): void {
    try {
      saveContracts(this.memoryFile, this.thread.chainId, scd);
    } catch (error) {
      this.events.write({ event: "warning", message: messageOf(error) }); // the next start waits
    }
  }
}

function idsOf({ contracts }: LedgerSettings): string[] {
  return contracts.map(({ scId }) => scId);
}
