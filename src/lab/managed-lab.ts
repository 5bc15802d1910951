/**
 * The lab from nothing: machines on a switch, a manager, and VMs that enrol with it, all by
 * commands as README and docs/manager.md show them. Sabotages come in where they belong.
 */
import { randomUUID } from "node:crypto";
import { assert } from "../errors.ts";
import type { AgentProcess } from "./agent-process.ts";
import { waitFor } from "./command.ts";
import { inviteLine, runLine, SIXTH_COMMAND, type TypedLine } from "./five-commands.ts";
import { LabLedger } from "./lab-ledger.ts";
import { LabManager } from "./lab-manager.ts";
import {
  type LabSettings,
  MANAGER,
  policyOf,
  signaturesOf,
  TENANT_A,
  TENANT_B,
  VMS,
  type VmName,
} from "./lab-plan.ts";
import { believesIn, claimsEverything, otherSecrets, writeLies } from "./liars.ts";
import { Machine } from "./machine.ts";
import type { Site } from "./site.ts";
import type { Provisioning } from "./tenant.ts";
import { typeAgent } from "./typed-agent.ts";

const SETTLED_MS = 60_000;
const IN_TENANT_A: readonly VmName[] = ["web", "db", "cache", "rogue"];
/** web, db and cache: whom rogue shall know. */
const ENROLLED_BEFORE = 3;
const DAY_SECONDS = 24 * 3600;

export class Lab {
  readonly manager: LabManager;
  readonly ledger: LabLedger;
  /** What was typed so far, on all machines. */
  readonly typed: TypedLine[] = [];
  readonly #agents = new Map<string, AgentProcess>();

  private constructor(
    readonly site: Site,
    readonly settings: LabSettings,
    private readonly machines: ReadonlyMap<string, Machine>,
    private readonly show: (typed: TypedLine) => void,
  ) {
    const tell = (typed: TypedLine) => this.#tell(typed);
    this.manager = new LabManager(this.machine(MANAGER.name), tell);
    this.ledger = new LabLedger(machines, this.manager);
  }

  /** Boots the machines of a site. With `agents: "none"` that is all there is. */
  static async open(
    site: Site,
    settings: LabSettings,
    show: (typed: TypedLine) => void = () => {},
  ): Promise<Lab> {
    const names = [...site.vms, ...(site.options.machines ?? [])].map(({ name }) => name);
    const booted = await Promise.all(names.map((name) => Machine.boot(site, name)));
    const machines = new Map(booted.map((machine) => [machine.name, machine]));
    const lab = new Lab(site, settings, machines, show);
    if (settings.agents === "none") return lab;
    try {
      await lab.#bringUp();
      return lab;
    } catch (thrown) {
      await lab.close();
      throw thrown;
    }
  }

  #tell(typed: TypedLine): void {
    this.typed.push(typed);
    this.show(typed);
  }

  machine(name: string): Machine {
    const found = this.machines.get(name);
    assert(found !== undefined, `the lab has a machine ${name}`);
    return found;
  }

  agent(vm: string): AgentProcess {
    const found = this.#agents.get(vm);
    assert(found !== undefined, `the VM ${vm} has an agent`);
    return found;
  }

  agents(): readonly AgentProcess[] {
    return [...this.#agents.values()];
  }

  /** Types the line that starts a VM's agent; wait for its ready(). */
  startAgent(vm: string, line: string): AgentProcess {
    this.#tell({ machine: vm, line });
    const agent = typeAgent(this.machine(vm), line);
    this.#agents.set(vm, agent);
    return agent;
  }

  async #bringUp(): Promise<void> {
    const { manager, settings } = this;
    await manager.serve();
    const forWeb = await manager.invite("web", settings.webApps);
    const forDb = await manager.invite("db", ["ping"]);
    const onStop = settings.onStop === undefined ? [] : [`--on-stop ${settings.onStop}`];
    this.startAgent("web", runLine(forWeb, ...onStop));
    this.startAgent("db", runLine(forDb));
    await this.#enrolCache();
    await this.#publish();
    await this.#enrolRogue();
    await this.#enrolOther();
    await Promise.all(this.agents().map((agent) => agent.ready()));
    await manager.type(this.#modeLine());
    await this.#settle();
  }

  async #enrolCache(): Promise<void> {
    const token = await this.manager.invite("cache", ["ping"]);
    if (this.#isValidator("cache")) this.startAgent("cache", runLine(token));
    else await this.#enrol("cache", token);
  }

  /** Enrolled like the others, but it starts with lies. */
  async #enrolRogue(): Promise<void> {
    const { manager, settings } = this;
    const token = await manager.invite("rogue", settings.rogueApps);
    const haveEnrolled = async () => {
      const rows = await manager.ask<readonly unknown[]>("agents list");
      return rows.length === ENROLLED_BEFORE || undefined;
    };
    await waitFor("web, db and cache to enrol", haveEnrolled, SETTLED_MS, 100);
    await this.#enrol("rogue", token);
    if (this.#isValidator("rogue")) {
      this.#startLiar("rogue", claimsEverything(signaturesOf(settings)));
    }
  }

  async #enrolOther(): Promise<void> {
    const { manager, settings } = this;
    const apps = ["app1", "ping"];
    if (settings.otherIsTenantA) {
      this.startAgent("other", runLine(await manager.invite("other", apps)));
      return;
    }
    await manager.type(`abs manager tenant add ${TENANT_B}`);
    const line = inviteLine("other", apps, `--tenant ${TENANT_B}`);
    await this.#enrol("other", await manager.type(line));
    const db = await manager.ask<Provisioning>(`agents show db --tenant ${TENANT_A}`);
    this.#startLiar("other", believesIn(db, signaturesOf(settings)));
  }

  #isValidator(vm: VmName): boolean {
    return this.settings.ledger.validators.includes(vm);
  }

  async #enrol(vm: VmName, token: string): Promise<void> {
    const { ipv4, ipv6 } = VMS[vm];
    const line = `abs agent enroll ${token} --address ${ipv4},${ipv6}`;
    this.#tell({ machine: vm, line });
    await this.machine(vm).type(line);
  }

  /** Signatures, policy and contracts of tenant A. */
  async #publish(): Promise<void> {
    const { manager, settings } = this;
    const of = `--tenant ${TENANT_A}`;
    await manager.type(`abs manager sig add --publish ${of}`, signaturesOf(settings));
    await manager.type(`abs manager policy apply ${of}`, policyOf(settings));
    const rows = await manager.ask<readonly { "sc-id": string }[]>(`contract list ${of}`);
    const before = rows.map((row) => row["sc-id"]);
    const wanted = settings.constantProof ? 0 : settings.ledger.contracts;
    if (settings.constantProof) {
      await manager.type(`abs manager contract add ${of}`, constantTerms());
    }
    for (let i = before.length; i < wanted; i++) await this.ledger.issue();
    for (const scId of before.slice(wanted)) {
      await manager.type(`abs manager contract expire ${scId} ${of}`);
    }
  }

  #modeLine(): string {
    const { line } = SIXTH_COMMAND;
    return this.settings.constantProof ? line.replace("full", "quick") : line;
  }

  #startLiar(vm: VmName, lies: (truth: Provisioning) => Provisioning): void {
    const words = writeLies(this.machine(vm), lies);
    const ports = "--inside veth:abs0 --outside af_packet:eth0";
    this.startAgent(vm, `abs agent run ${words.join(" ")} ${ports}`);
  }

  /** Until everybody has everything; then what a sabotage takes away. */
  async #settle(): Promise<void> {
    const { manager, settings, ledger } = this;
    const { validators, stopped, master, webSecrets } = settings.ledger;
    await manager.untilSealed(TENANT_A, signaturesOf(settings).length);
    const followers = ["web", "db", "cache"].filter((name) => this.#agents.has(name));
    await manager.untilEnforced(TENANT_A, followers);
    const count = IN_TENANT_A.filter((vm) => this.#agents.has(vm)).length;
    await waitFor("the members' stake", () => this.#haveStake(count), SETTLED_MS, 100);
    const ofManager = await manager.ask<readonly { "sc-id": string; active: unknown }[]>(
      `contract list --tenant ${TENANT_A}`,
    );
    for (const row of ofManager) {
      await ledger.untilHeld(validators, row["sc-id"], row.active === true);
    }
    if (webSecrets === "wrong") {
      await this.agent("web").stop();
      this.#startLiar("web", otherSecrets);
      await this.agent("web").ready();
    }
    if (master === "killed") await manager.kill();
    for (const vm of stopped) await this.agent(vm).stop();
  }

  async #haveStake(count: number): Promise<true | undefined> {
    const rows = await this.ledger.ask<readonly { weight: number }[]>("web", "members");
    return rows.filter(({ weight }) => weight > 0).length >= count || undefined;
  }

  /** Ends everything in order, and removes it. Safe to call twice. */
  async close(): Promise<void> {
    await Promise.all(this.agents().map((agent) => agent.stop()));
    await this.manager.stop();
    await this.site.close();
  }
}

/** The paper's Fig. 6 with a proof that never changes. */
function constantTerms(): Provisioning {
  const now = Math.floor(Date.now() / 1_000);
  return {
    "sc-id": randomUUID(),
    ...{ encryption_algo: "aes-128-gcm", hash_algo: "sha256", quickmode: "true", active: "true" },
    "sc-lifetime": now + 90 * DAY_SECONDS,
    lifetime: { keyregen: now + 30 * DAY_SECONDS, busytime: 3_600, idletime: 600 },
  };
}
