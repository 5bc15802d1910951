/**
 * A ledger for the e2e tests: its members are the agents of a site, its master runs at the switch,
 * where no agent is in between. Contracts are drawn here, so that the agents can be given their
 * secrets before the ledger has them.
 */
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { toHex } from "../../src/bytes.ts";
import { type ContractEntry, contractJson } from "../../src/chain/contract-entry.ts";
import type { ScId } from "../../src/chain/ledger-units.ts";
import { recordJson } from "../../src/chain/record-schema.ts";
import { secretCommitment } from "../../src/chain/secret-commitment.ts";
import { type Background, mustRun, startBackground, waitFor } from "../../src/lab/command.ts";
import type { Site } from "../../src/lab/site.ts";
import type { Provisioning } from "../../src/lab/tenant.ts";
import { BRIDGE, inVm, namespaceOf, type VmPlan } from "../../src/lab/topology.ts";
import { kernelRandom } from "../../src/native/kernel-random.ts";
import { askContract, propose } from "../../src/node/control-server.ts";
import { initLedger, MASTER_FOLDER } from "../../src/node/ledger-init.ts";
import { epochNow } from "../../src/node/ledger-runner.ts";
import { fileIn } from "../../src/node/node-folder.ts";
import type { EpochSeconds } from "../../src/units.ts";
import { ABS } from "./harness.ts";

export const MASTER_ADDRESS = "10.78.0.1";
/** At the switch as well, and nobody's. */
export const STRANGER_ADDRESS = "10.78.0.98";
export const PEER_PORT = 6254;
const YEAR_SECONDS = 31_536_000;
const SEALED_MS = 20_000;

/** A contract with the secrets of its generations, of which agents are given the first `held`. */
export class BedContract {
  readonly scId = randomUUID() as string as ScId;
  readonly secrets = Array.from({ length: 4 }, () => kernelRandom(32));

  constructor(readonly held: number) {}

  commitment(generation: number) {
    return secretCommitment(this.scId, generation, this.secrets[generation - 1] as Uint8Array);
  }

  provisioning(): Provisioning {
    const secrets = this.secrets
      .slice(0, this.held)
      .map((secret, i) => ({ generation: i + 1, secret: toHex(secret) }));
    return { "sc-id": this.scId, secrets };
  }

  entry(): ContractEntry {
    const later = (epochNow() + YEAR_SECONDS) as EpochSeconds;
    return {
      ...{ scId: this.scId, encryptionAlgo: "aes-128-gcm", hashAlgo: "sha256", seq: 0 },
      ...{ quickmode: false, active: true, scLifetime: later, keyregen: later },
      ...{ busySeconds: 3_600, idleSeconds: 600, protection: "integrity", generation: 1 },
      secretCommitment: this.commitment(1),
      scope: { agents: [], applications: [], groups: [] },
    };
  }
}

export class LedgerBed {
  readonly dir = mkdtempSync(join(tmpdir(), "abst-ledger-"));
  #master: Background | undefined;

  constructor(
    vms: readonly VmPlan[],
    readonly contracts: readonly BedContract[],
  ) {
    initLedger({
      ...{ dir: this.dir, tenant: "tenant-e", timestamp: epochNow() },
      master: { host: MASTER_ADDRESS, port: PEER_PORT },
      members: vms.map(({ name, ipv4 }) => ({
        ...{ name, host: ipv4, port: PEER_PORT, vcpu: 2, ramMib: 4096, securityScore: 50 },
      })),
    });
  }

  folder(name: string): string {
    return join(this.dir, name);
  }

  /** As a plan's `lies`: the same provisioning, with contracts from the ledger. */
  readonly provisioned = (truth: Provisioning): Provisioning => {
    const { id } = truth["node"] as { readonly id: string };
    return {
      ...truth,
      ledger: { directory: this.folder(id), overlap: 3_600 },
      contracts: this.contracts.map((contract) => contract.provisioning()),
    };
  };

  async startMaster(site: Site): Promise<void> {
    const namespace = namespaceOf(site.options.prefix, "switch");
    if (this.#master === undefined) {
      for (const address of [MASTER_ADDRESS, STRANGER_ADDRESS]) {
        await mustRun(["ip", "-n", namespace, "address", "add", `${address}/24`, "dev", BRIDGE]);
      }
      // A wire takes whole checksums only; the bridge would leave them to a NIC.
      await mustRun(inVm(namespace, ["ethtool", "-K", BRIDGE, "tx", "off"]));
    }
    const command = [...ABS, "ledger", "master", "run", "--dir", this.folder(MASTER_FOLDER)];
    const logFile = join(this.dir, "master.log");
    this.#master = startBackground(inVm(namespace, command), { logFile });
  }

  async stopMaster(): Promise<void> {
    await this.#master?.stop();
  }

  /** Until the master's own state has every contract. */
  async createContracts(): Promise<void> {
    const contracts = this.contracts.map((contract) => contractJson(contract.entry()));
    await waitFor("the master", async () => {
      try {
        await propose(this.#control, { contracts, records: [] });
        return true;
      } catch {
        return undefined; // it does not listen yet
      }
    });
    for (const { scId } of this.contracts) {
      const isThere = async () => await askContract(this.#control, scId);
      await waitFor(`${scId} in the ledger`, isThere, SEALED_MS);
    }
  }

  /** SC_UPDATE, until it is sealed. */
  async update(
    contract: BedContract,
    change: Partial<Pick<ContractEntry, "active" | "generation">>,
  ): Promise<void> {
    const now = await askContract(this.#control, contract.scId);
    if (now === undefined) throw new Error(`${contract.scId} is not in the ledger`);
    const { scId, generation, active } = { ...now, ...change };
    const seq = now.seq + 1;
    const record = recordJson({
      ...{ kind: "SC_UPDATE", scId, seq, active, generation, keyregen: now.keyregen },
      secretCommitment: contract.commitment(generation),
    });
    await propose(this.#control, { contracts: [], records: [record] });
    const isDone = async () => {
      const then = await askContract(this.#control, scId);
      return then === undefined || then.seq >= seq ? true : undefined;
    };
    await waitFor(`the update of ${scId}`, isDone, SEALED_MS, 20);
  }

  async close(): Promise<void> {
    await this.stopMaster();
    rmSync(this.dir, { recursive: true, force: true });
  }

  get #control(): string {
    return fileIn(this.folder(MASTER_FOLDER), "control");
  }
}
