/**
 * The ledger of tenant A in the lab: its master is the manager, its validators are nodes of the
 * VMs' agents. Everything goes by the commands that are typed on those machines; only waiting asks
 * the control sockets (docs/ledger.md "Folders").
 */
import { AbsError } from "../errors.ts";
import { askStatus } from "../node/control-server.ts";
import { fileIn } from "../node/node-folder.ts";
import { waitFor } from "./command.ts";
import type { LabManager } from "./lab-manager.ts";
import { MANAGER, TENANT_A } from "./lab-plan.ts";
import type { Machine } from "./machine.ts";

const AGREED_TIMEOUT_MS = 60_000;
export const MASTER = MANAGER.name;
const FOLDERS = {
  agent: "/var/lib/abs/agent",
  master: `/var/lib/abs/manager/ledgers/${TENANT_A}`,
} as const;

/** What a running node says of itself. */
export interface NodeStatus {
  readonly height: number;
  readonly block_hash: string;
  readonly committee: number;
  readonly quorum: number;
  readonly reachable: number;
}

/** One line of `abs ledger blocks --output json`. */
export interface BlockRow {
  readonly height: number;
  readonly contracts: number;
  readonly records: number;
  readonly votes: number;
}

/** One line of `abs ledger contracts --output json`. */
export interface ScdRow {
  readonly "sc-id": string;
  readonly active: boolean;
}

export class LabLedger {
  constructor(
    private readonly machines: ReadonlyMap<string, Machine>,
    private readonly manager: LabManager,
  ) {}

  #machine(name: string): Machine {
    const found = this.machines.get(name);
    if (found !== undefined) return found;
    throw new AbsError("LAB_LEDGER", `${name} is no machine of the lab.`);
  }

  #folder(name: string): string {
    return name === MASTER ? FOLDERS.master : FOLDERS.agent;
  }

  /** A node's folder, outside of its machine. */
  folder(name: string): string {
    return this.#machine(name).path(this.#folder(name));
  }

  /** undefined: it does not run, or not yet. */
  async status(name: string): Promise<NodeStatus | undefined> {
    try {
      return (await askStatus(fileIn(this.folder(name), "control"))) as unknown as NodeStatus;
    } catch {
      return undefined;
    }
  }

  async height(name: string): Promise<number> {
    return (await this.status(name))?.height ?? 0;
  }

  /** Waits until each of these nodes answers so. */
  async until(
    names: readonly string[],
    isDone: (status: NodeStatus) => boolean,
    timeoutMs = AGREED_TIMEOUT_MS,
  ): Promise<NodeStatus[]> {
    return await waitFor(
      `the ledger's nodes ${names.join(", ")}`,
      async () => {
        const found = await Promise.all(names.map((name) => this.status(name)));
        const done = found.filter((status) => status !== undefined && isDone(status));
        return done.length === names.length ? (done as NodeStatus[]) : undefined;
      },
      timeoutMs,
      25,
    );
  }

  /** `abs ledger …` on the machine of `name`, with its folder; what it prints is read as JSON. */
  async ask<T>(name: string, words: string): Promise<T> {
    const line = `abs ledger ${words} --dir ${this.#folder(name)} --output json`;
    return JSON.parse(await this.#machine(name).type(line)) as T;
  }

  /** SC-IDs in force, by the replica of `name`. */
  async active(name: string): Promise<string[]> {
    const rows = await this.ask<readonly ScdRow[]>(name, "contracts");
    return rows.filter((row) => row.active).map((row) => row["sc-id"]);
  }

  /** A new contract of the manager's; its SC-ID. */
  async issue(): Promise<string> {
    return await this.manager.type(`abs manager contract issue --tenant ${TENANT_A}`);
  }

  /** Until each of these replicas has the contract in force, or has it no more. */
  async untilHeld(
    names: readonly string[],
    scId: string,
    isHeld = true,
    timeoutMs = AGREED_TIMEOUT_MS,
  ): Promise<void> {
    // A replica that is just being repaired says nothing.
    const isDone = async (name: string) => {
      const active = await this.active(name).catch(() => undefined);
      return active?.includes(scId) === isHeld;
    };
    const areDone = async () => (await Promise.all(names.map(isDone))).every(Boolean) || undefined;
    const what = `the contract ${scId.slice(0, 8)}… ${isHeld ? "on" : "off"} the ledger`;
    await waitFor(what, areDone, timeoutMs, 100);
  }
}
