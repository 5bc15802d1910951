/**
 * Gives a running ledger something to agree on, and times it. docs/benchmarks.md "abs bench
 * ledger". Contracts are proposed by the master's control socket, as `abs ledger propose` does; a
 * block counts when the master tells of it, which is when it is sealed and on the master's disk.
 * Contracts enter blocks in the order in which they were proposed.
 */
import { randomUUID } from "node:crypto";
import type { JsonObject } from "../chain/canonical-json.ts";
import { type ContractEntry, contractJson } from "../chain/contract-entry.ts";
import type { Hash, ScId } from "../chain/ledger-units.ts";
import { AbsError } from "../errors.ts";
import { propose } from "../node/control-server.ts";
import { fileIn } from "../node/node-folder.ts";
import type { EpochSeconds } from "../units.ts";
import type { BenchSite, NodeEvent } from "./ledger-site.ts";

/** Longer than a view's time-out: a block may need a second one. */
const PATIENCE_MS = 20_000;
/** Contracts of one proposal: it may have 4 MiB. */
const PROPOSED_MAX = 4096;
const DAY_SECONDS = 24 * 3600;

export type LoadResult = {
  readonly blocks: number;
  readonly contracts: number;
  readonly seconds: number;
  /** From the proposal to the block that holds it, ascending. */
  readonly latenciesMs: readonly number[];
};

export function contractOfBench(now: number): ContractEntry {
  return {
    scId: randomUUID() as string as ScId,
    ...{ encryptionAlgo: "aes-128-gcm", hashAlgo: "sha256", quickmode: false, active: true },
    scLifetime: (now + 30 * DAY_SECONDS) as EpochSeconds,
    keyregen: (now + DAY_SECONDS) as EpochSeconds,
    ...{ busySeconds: 600, idleSeconds: 180, protection: "integrity", generation: 1, seq: 0 },
    secretCommitment: Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString(
      "hex",
    ) as Hash,
    scope: { agents: [], applications: [], groups: [] },
  };
}

export class LedgerLoad {
  readonly #socket: string;
  /** When each contract that is in no block yet was proposed. */
  readonly #waiting: number[] = [];
  #blocks: number[] = [];
  #contracts = 0;
  #latencies: number[] = [];
  #onBlock: () => void = () => {};
  #failure: unknown;

  constructor(site: BenchSite) {
    this.#socket = fileIn(site.folder("master"), "control");
    site.listen((event) => this.#take(event));
  }

  /** `window` contracts at the master at any time, each proposed alone. */
  async steadily(window: number, seconds: number): Promise<LoadResult> {
    this.#begin();
    const endMs = performance.now() + seconds * 1000;
    const fill = () => {
      while (this.#waiting.length < window && performance.now() < endMs) this.#propose(1);
    };
    this.#onBlock = fill;
    fill();
    await this.#until(() => performance.now() >= endMs && this.#waiting.length === 0);
    return this.#result();
  }

  /** Full blocks from a queue: they count from when all of it is at the master. */
  async fromQueue(contracts: number): Promise<LoadResult> {
    this.#begin();
    for (let left = contracts; left > 0; left -= PROPOSED_MAX) {
      await this.#propose(Math.min(left, PROPOSED_MAX));
    }
    this.#begin();
    await this.#until(() => this.#waiting.length === 0);
    return this.#result();
  }

  #begin(): void {
    this.#blocks = [];
    this.#contracts = 0;
    this.#latencies = [];
    this.#onBlock = () => {};
  }

  async #propose(count: number): Promise<void> {
    const now = Math.floor(Date.now() / 1000);
    const contracts: JsonObject[] = [];
    const atMs = performance.now();
    for (let i = 0; i < count; i++) {
      contracts.push(contractJson(contractOfBench(now)));
      this.#waiting.push(atMs);
    }
    try {
      await propose(this.#socket, { contracts, records: [] });
    } catch (thrown) {
      this.#failure = thrown;
    }
  }

  #take({ event, contracts }: NodeEvent): void {
    if (event !== "ledger-block" || typeof contracts !== "number") return;
    const nowMs = performance.now();
    this.#blocks.push(nowMs);
    this.#contracts += contracts;
    for (const atMs of this.#waiting.splice(0, contracts)) this.#latencies.push(nowMs - atMs);
    this.#onBlock();
  }

  async #until(isSo: () => boolean): Promise<void> {
    const beginMs = performance.now();
    while (!isSo()) {
      if (this.#failure !== undefined) throw this.#failure;
      const lastMs = this.#blocks.at(-1) ?? beginMs;
      if (performance.now() - lastMs > PATIENCE_MS) {
        throw new AbsError("BENCH_LEDGER", `No block was sealed for ${PATIENCE_MS / 1000} s.`);
      }
      await Bun.sleep(5);
    }
  }

  /** Between the first block and the last: the first one's own time is not known. */
  #result(): LoadResult {
    const [first = 0] = this.#blocks;
    const seconds = ((this.#blocks.at(-1) ?? 0) - first) / 1000;
    const blocks = this.#blocks.length - 1;
    const perBlock = this.#contracts / this.#blocks.length;
    const latenciesMs = [...this.#latencies].sort((one, other) => one - other);
    return { blocks, contracts: Math.round(blocks * perBlock), seconds, latenciesMs };
  }
}
