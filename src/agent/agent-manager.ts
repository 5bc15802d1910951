/**
 * The running agent and its manager (paper §3.6): what the manager changes is written beside the
 * files of the agent's folder, checked, put in their place and in force, without losing a packet,
 * and the version in force is reported. docs/manager.md "Updates". Only an agent whose folder was
 * enrolled has a manager; nothing of it waits for one.
 */
import { existsSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import {
  AGENT_FOLDER,
  agentFile,
  ensureKeys,
  type FolderOwner,
  type KnownManager,
  keepManager,
  loadManager,
  stageAgentFolder,
} from "../channel/agent-folder.ts";
import { AgentIdentity } from "../channel/agent-identity.ts";
import type { AgentState } from "../channel/agent-state.ts";
import { committedOf } from "../channel/appdb-file.ts";
import { requireCommitted } from "../channel/commitment-check.ts";
import { flowsFrame } from "../channel/flow-report.ts";
import { stageNextSessionKey } from "../channel/folder-amendment.ts";
import { ManagerLink, type ManagerLinkStatus } from "../channel/manager-link.ts";
import { type Violations, violationsFrame } from "../channel/violation-report.ts";
import type { EventLog } from "../observe/event-log.ts";
import type { PeerPassage } from "../peer/peer-passage.ts";
import type { AgentLedger } from "./agent-ledger.ts";
import { Discoveries } from "./discoveries.ts";
import type { FlowTally } from "./flow-tally.ts";
import { MANAGER_PORTS, randomPort } from "./management-ports.ts";
import { DataPlanePassage } from "./peer-passage.ts";
import type { AgentUpdates } from "./updates.ts";
import type { ViolationCounts } from "./violation-counts.ts";
import type { WorkerLink } from "./worker-link.ts";

/**
 * From `quick` to `full` peers go first: who still sends under the tenant alone is refused. All
 * hear of it in the same second, and take the time that reading and compiling takes.
 */
const PEERS_FIRST_MS = 2_000;

/** How often the manager is told whom something is held against. */
const TELLING_MS = 250;
/** How often it is told what was decided. */
const FLOWS_MS = 1_000;

export interface ManagerParts {
  readonly updates: AgentUpdates;
  readonly worker: WorkerLink;
  readonly events: EventLog;
  /** An enrolled agent has one. */
  readonly ledger: AgentLedger | undefined;
  readonly violations: ViolationCounts;
  readonly flows: FlowTally;
}

export class AgentManager {
  readonly discoveries: Discoveries;
  readonly #link: ManagerLink;
  readonly #telling: readonly Timer[];

  private constructor(
    readonly dir: string,
    readonly manager: KnownManager & { readonly version: number },
    readonly parts: ManagerParts,
  ) {
    const identity = AgentIdentity.in(dir, ensureKeys(dir).secrets);
    parts.ledger?.thread.hold(identity);
    this.discoveries = new Discoveries({
      ...{ dir, updates: parts.updates, events: parts.events },
      isManagerNear: () => this.#link.status.state === "connected",
      isCutOff: (key) => parts.ledger?.cutOff.has(key) === true,
    });
    this.#link = new ManagerLink({
      ...{ manager, identity, version: manager.version, passage: passageOf(parts.worker) },
      ...{ hostKeyMoved: (moved) => keepManager(dir, moved) },
      apply: (state) => {
        const { secrets } = identity;
        return this.#apply(state, { manager: this.#link.manager, secrets });
      },
      sessionKeyDrawn: async () => {
        await parts.updates.adopt(() => stageNextSessionKey(dir, identity.secrets));
      },
      notice: (event, fields) => parts.events.write({ event, ...fields }),
    });
    const tell = (list: readonly Violations[]) => this.#link.tell(violationsFrame(list));
    this.#telling = [
      setInterval(() => parts.violations.flush(tell), TELLING_MS),
      setInterval(() => parts.flows.flush((rows) => this.#link.tell(flowsFrame(rows))), FLOWS_MS),
    ];
  }

  /**
   * Calls the manager from now on; undefined: the provisioning file is of no enrolled folder.
   * @throws AbsError AGENT_NOT_ENROLLED where `manager.json` is there and cannot be read
   */
  static follow(provisioningFile: string, parts: ManagerParts): AgentManager | undefined {
    const dir = dirname(resolve(provisioningFile));
    if (basename(provisioningFile) !== AGENT_FOLDER.provisioning) return undefined;
    if (!existsSync(agentFile(dir, "manager"))) return undefined;
    return new AgentManager(dir, loadManager(dir), parts);
  }

  /** For `abs agent status`. */
  get status(): ManagerLinkStatus & { readonly host: string; readonly port: number } {
    const { host, port } = this.manager;
    return { host, port, ...this.#link.status };
  }

  async #apply(state: AgentState, owner: FolderOwner): Promise<void> {
    const { updates } = this.parts;
    await requireCommitted(this.dir, state.signatures.map(committedOf));
    const adopt = (next: AgentState) =>
      updates.adopt(() => stageAgentFolder(this.dir, next, owner));
    const { mode, stage } = updates.running.provisioning.node;
    if (mode === "quick" && state.own.mode === "full") {
      const own = { ...state.own, mode, stage: stage ?? state.own.stage };
      await adopt({ ...state, own, version: this.#link.version });
      this.parts.ledger?.thread.announce(state.own.mode);
      await Bun.sleep(PEERS_FIRST_MS);
    }
    await adopt(state);
    const { own, neighbours } = state;
    // The ledger's node shows the one, and knows the others by theirs.
    this.parts.ledger?.thread.certify(
      own.certificate,
      neighbours.map((one) => one.certificate),
    );
  }

  /** Nobody waits for a manager that is away. */
  close(): void {
    this.discoveries.close();
    for (const timer of this.#telling) clearInterval(timer);
    void this.#link.stop();
  }
}

/** A way out through the own data plane, for one call at a time. */
function passageOf(worker: WorkerLink): Pick<PeerPassage, "open" | "close"> {
  const passage = new DataPlanePassage(worker);
  return {
    async open(host, port) {
      const localPort = randomPort(MANAGER_PORTS);
      return (await passage.open({ localPort, host, port })) ? localPort : undefined;
    },
    close: (localPort) => passage.close(localPort),
  };
}
