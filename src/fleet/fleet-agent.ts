/**
 * One agent of a fleet: all of an agent but its data plane. It draws keys, enrols with its token,
 * writes its folder, follows its manager and puts in its folder whatever comes, by the code that
 * `abs agent` runs (src/channel); a member runs the node of the ledger too (src/node), another one
 * holds headers.
 */
import { loadProvisioning } from "../agent/provisioning.ts";
import { type AgentKeys, ensureKeys } from "../channel/agent-folder.ts";
import { AgentIdentity } from "../channel/agent-identity.ts";
import type { AgentState } from "../channel/agent-state.ts";
import { enrol } from "../channel/enrolment-client.ts";
import {
  decodeToken,
  type EnrolmentToken,
  fingerprintOfDigest,
} from "../channel/enrolment-token.ts";
import { ManagerLink } from "../channel/manager-link.ts";
import { takeState } from "../channel/state-taking.ts";
import { AbsError, messageOf } from "../errors.ts";
import { createLedgerCrypto } from "../node/ledger-crypto.ts";
import { LedgerProcess } from "../node/ledger-process.ts";
import { loadCertificate, loadGenesis } from "../node/node-folder.ts";
import { openJournal } from "../node/store-journal.ts";
import type { AgentHeight, AgentOrder, FleetWord } from "./fleet-words.ts";
import { HeaderHolder } from "./header-holder.ts";

const TRIES_MAX = 30;
const PAUSE_MS = 500;
/** As `abs agent enroll` would find on a small VM. */
const MACHINE = { carrier: "ip", macs: [], vcpu: 2, ramMib: 2048, capabilities: [] } as const;
/** What a manager with too many strangers does to one of them: it may try again. */
const BUSY = ["MANAGER_UNREACHABLE", "MANAGER_SILENT"];

export class FleetAgent {
  #link: ManagerLink | undefined;
  #node: LedgerProcess | undefined;
  #holder: HeaderHolder | undefined;
  #retries = 0;
  #isOver = false;

  constructor(
    readonly order: AgentOrder,
    private readonly tell: (word: FleetWord) => void,
  ) {}

  /** Resolves when it is enrolled and follows its manager. */
  async start(): Promise<void> {
    const { number, dir, token: text } = this.order;
    const token = decodeToken(text);
    const own = ensureKeys(dir);
    const state = await this.#enrol(token, own);
    this.tell({ said: "enrolled", number, retries: this.#retries });
    const manager = { ...token, hostFingerprint: fingerprintOfDigest(token.hostDigest) };
    const { secrets } = own;
    const put = async (next: AgentState): Promise<void> => {
      await takeState(dir, next, { manager, secrets, check: loadProvisioning });
      this.#meet(next);
    };
    await put(state);
    if (this.#isOver) return;
    const identity = AgentIdentity.in(dir, secrets);
    identity.watch(() => this.#node?.takeKeys());
    this.#link = new ManagerLink({
      ...{ manager, identity, version: state.version, localAddress: this.order.address },
      apply: put,
      notice: (event, { version, reason }) => {
        if (event === "manager-update-enforced") {
          this.tell({ said: "applied", number, version: Number(version) });
        }
        if (event === "manager-update-refused") this.#fail(`a state was refused: ${reason}`);
      },
    });
    await this.#joinLedger(own);
    this.#meet(state);
  }

  get height(): AgentHeight {
    const { number, tenant } = this.order;
    const height = this.#holder?.height ?? this.#node?.runner.participant.chain.height ?? 0;
    return {
      number,
      tenant,
      holds: this.order.source === undefined ? "ledger" : "headers",
      height,
    };
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    this.#holder?.close();
    this.#node?.stop();
    await this.#link?.stop();
  }

  async #enrol(token: EnrolmentToken, { keys, secrets }: AgentKeys): Promise<AgentState> {
    const { address, peerPort } = this.order;
    const sshSeed = Uint8Array.fromHex(secrets.ssh_secret);
    for (;;) {
      try {
        return await enrol({
          ...{ token, keys, sshSeed, localAddress: address },
          machine: (localAddress) => ({ ...MACHINE, addresses: [localAddress], peerPort }),
        });
      } catch (thrown) {
        const isBusy = thrown instanceof AbsError && BUSY.includes(thrown.code);
        if (!isBusy || ++this.#retries >= TRIES_MAX || this.#isOver) throw thrown;
        await Bun.sleep(PAUSE_MS * (0.5 + Math.random()));
      }
    }
  }

  async #joinLedger({ keys }: AgentKeys): Promise<void> {
    const { dir, source, address, peerPort } = this.order;
    if (source === undefined) {
      this.#node = await LedgerProcess.start({
        ...{ role: "validator", dir, openJournal, keys, isLocked: true },
        listen: { host: address, port: peerPort },
        events: { write: () => {} },
      });
      this.#node.ended.catch((error) => this.#fail(messageOf(error)));
      return;
    }
    const crypto = createLedgerCrypto();
    const [own, genesis] = [loadCertificate(dir), loadGenesis(dir, crypto)];
    this.#holder = new HeaderHolder({ keys, own, genesis, crypto });
  }

  /** A holder asks its member; the members find each other. */
  #meet({ neighbours }: AgentState): void {
    const member = neighbours.find(({ name }) => name === this.order.source);
    if (member !== undefined) this.#holder?.meet(member.certificate);
  }

  #fail(reason: string): void {
    this.tell({ said: "failed", number: this.order.number, reason });
  }
}
