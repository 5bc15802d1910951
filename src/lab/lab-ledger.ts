/**
 * The ledger of tenant A in the lab: made by `abs ledger init`, its master a process of its own on
 * the switch, its validators nodes of the VMs' agents. Contracts are agreed before the story
 * begins. Everything goes by the commands an administrator has; only waiting asks the control
 * sockets (docs/ledger.md "Folders").
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { fromHex } from "../bytes.ts";
import type { JsonObject } from "../chain/canonical-json.ts";
import { contractJson } from "../chain/contract-entry.ts";
import type { ScId } from "../chain/ledger-units.ts";
import { secretCommitment } from "../chain/secret-commitment.ts";
import { AbsError, assert } from "../errors.ts";
import { askStatus } from "../node/control-server.ts";
import { MASTER_FOLDER } from "../node/ledger-init.ts";
import { epochNow } from "../node/ledger-runner.ts";
import { fileIn } from "../node/node-folder.ts";
import { PEER_PORT } from "../peer/peer-channel.ts";
import { PSK_BYTES } from "../session/contract.ts";
import type { EpochSeconds } from "../units.ts";
import { type CommandResult, mustRun, runCommand, startBackground, waitFor } from "./command.ts";
import type { Service } from "./programs.ts";
import type { IssuedContract } from "./tenant.ts";
import type { VmPlan } from "./topology.ts";

const YEAR_SECONDS = 365 * 24 * 3600;
const AGREED_TIMEOUT_MS = 20_000;

export interface LedgerPlan {
  /** The program and leading arguments that make `abs`. */
  readonly abs: readonly string[];
  readonly directory: string;
  readonly tenant: string;
  readonly master: VmPlan;
  readonly validators: readonly VmPlan[];
}

/** What a running node says of itself; undefined: it does not answer. */
export interface NodeStatus {
  readonly height: number;
  readonly block_hash: string;
  /** Of a master: contracts and records that wait for a block. */
  readonly waiting?: number;
  readonly peers: readonly { readonly node_id: string; readonly is_connected: boolean }[];
}

/** One line of `abs ledger blocks --output json`. */
export interface BlockRow {
  readonly height: number;
  readonly block_hash: string;
  readonly contracts: number;
  readonly records: number;
  readonly votes: number;
}

export class LabLedger {
  private constructor(readonly plan: LedgerPlan) {}

  /** Draws keys and writes the folders of master and validators. */
  static async init(plan: LedgerPlan): Promise<LabLedger> {
    const { abs, directory, tenant, master, validators } = plan;
    mkdirSync(directory, { mode: 0o700 });
    const place = ["--dir", directory, "--tenant", tenant, "--master", placeOf(master)];
    const members = validators.map((vm) => `${vm.name}=${placeOf(vm)},vcpu=2,ram=2048`);
    await mustRun([...abs, "ledger", "init", ...place, ...members]);
    return new LabLedger(plan);
  }

  folder(name: string): string {
    return `${this.plan.directory}/${name}`;
  }

  /** `wrap` brings a command onto the master's machine. */
  async startMaster(wrap: (command: readonly string[]) => string[]): Promise<Service> {
    const directory = this.folder(MASTER_FOLDER);
    const run = [...this.plan.abs, "ledger", "master", "run", "--dir", directory];
    const command = wrap([...run, "--events", `${directory}/events.ndjson`]);
    const process = startBackground(command, { logFile: `${directory}/log`, directory });
    const service = {
      vm: this.plan.master.name,
      name: "ledger",
      port: PEER_PORT,
      process,
      directory,
    };
    let code: number | undefined;
    void process.exited.then((ended) => {
      code = ended;
    });
    await waitFor("the ledger's master", async () => {
      if (code !== undefined) throw new AbsError("LAB_LEDGER", `The master: ${process.output()}`);
      return await this.status(MASTER_FOLDER);
    });
    return service;
  }

  /** Brings contracts onto the ledger, and waits until every node in `validators` has them. */
  async issue(contracts: readonly IssuedContract[], commitments: "right" | "wrong"): Promise<void> {
    const file = this.folder("contracts.json");
    const entries = contracts.map((contract) => ledgerEntry(contract, commitments));
    writeFileSync(file, JSON.stringify({ contracts: entries, records: [] }));
    const names = this.plan.validators.map((vm) => vm.name);
    await this.until(names, (status) => status.peers.every((peer) => peer.is_connected));
    const dir = ["--dir", this.folder(MASTER_FOLDER)];
    await mustRun([...this.plan.abs, "ledger", "propose", file, ...dir]);
    await this.until(names, (status) => status.height >= 1);
  }

  async status(name: string): Promise<NodeStatus | undefined> {
    try {
      return (await askStatus(fileIn(this.folder(name), "control"))) as unknown as NodeStatus;
    } catch {
      return undefined; // It does not run, or not yet.
    }
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

  /** `abs ledger …` with the folder of `name`. */
  async command(name: string, words: readonly string[], timeoutMs?: number) {
    const command = [...this.plan.abs, "ledger", ...words, "--dir", this.folder(name)];
    return await runCommand(command, timeoutMs === undefined ? {} : { timeoutMs });
  }

  /** As command(), but what it prints is read as JSON. */
  async ask<T>(name: string, words: readonly string[]): Promise<T> {
    const result = await this.command(name, [...words, "--output", "json"]);
    if (result.code === 0) return JSON.parse(result.stdout) as T;
    throw new AbsError("LAB_LEDGER", `\`${result.command}\`: ${result.stderr.trim()}`);
  }

  /** `abs ledger contract create` at the master; secret and all, it is of no use to anybody. */
  async create(waitSeconds: number): Promise<CommandResult> {
    const words = ["contract", "create", "--wait", String(waitSeconds), "--output", "json"];
    return await this.command(MASTER_FOLDER, words, 1_000 * waitSeconds + 5_000);
  }
}

function placeOf(vm: VmPlan): string {
  return `${vm.ipv4}:${PEER_PORT}`;
}

/** The contract as the master proposes it; everyone of the tenant may use it. */
export function ledgerEntry(
  { terms, scId, secret }: IssuedContract,
  commitments: "right" | "wrong",
): JsonObject {
  const bytes = fromHex(secret);
  assert(bytes?.length === PSK_BYTES, "a drawn secret is hex");
  const committed = commitments === "right" ? bytes : new Uint8Array(PSK_BYTES);
  const now = epochNow();
  return contractJson({
    scId: scId as ScId,
    encryptionAlgo: "aes-128-gcm",
    hashAlgo: "sha256",
    quickmode: terms.quickmode ?? false,
    active: true,
    scLifetime: (now + 2 * YEAR_SECONDS) as EpochSeconds,
    keyregen: (now + YEAR_SECONDS) as EpochSeconds,
    busySeconds: terms.busySeconds ?? 3_600,
    idleSeconds: terms.idleSeconds ?? 600,
    protection: terms.protection ?? "integrity",
    generation: terms.generation ?? 1,
    secretCommitment: secretCommitment(scId as ScId, terms.generation ?? 1, committed),
    scope: { agents: [], applications: [], groups: [] },
    seq: 0,
  });
}
