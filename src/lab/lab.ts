/**
 * `abs lab`: the site of lab-plan.ts as something that stays up between commands. What is up is
 * written down in /run/abs-lab-NAME/lab.json, from which `exec`, `status` and `down` work, also
 * when the process that made the lab is long gone.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { ownCommand } from "../agent/own-command.ts";
import { AbsError, messageOf } from "../errors.ts";
import { agentStatus } from "./agents.ts";
import { isRunning, needPrograms } from "./command.ts";
import { LabLedger } from "./lab-ledger.ts";
import {
  APP1_USER,
  APP2_USER,
  CLOSED_PORT,
  DEFAULT_SETTINGS,
  type LabSettings,
  labTenants,
  MANAGER,
  REDIS_PORT,
  VMS,
} from "./lab-plan.ts";
import { PACKAGES, startRedis } from "./programs.ts";
import { removeSite, Site } from "./site.ts";
import { inVm, namespaceOf, namespacesOf, processesIn, type VmPlan } from "./topology.ts";

const NAME_CHARACTERS = /^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/;

/** A VM as `status` shows it. */
export interface VmRecord {
  readonly name: string;
  readonly tenant: string;
  readonly namespace: string;
  readonly ipv4: string;
  readonly ipv6: string;
  /** Process number of its agent; 0 when it has none. */
  readonly agentPid: number;
}

export interface LabRecord {
  readonly name: string;
  readonly directory: string;
  readonly vms: readonly VmRecord[];
  /** Without an agent. */
  readonly machines: readonly Omit<VmRecord, "tenant" | "agentPid">[];
  readonly services: readonly {
    readonly vm: string;
    readonly name: string;
    readonly pid: number;
    readonly port: number;
  }[];
}

export function labPrefix(name: string): string {
  if (NAME_CHARACTERS.test(name)) return `abs-${name}-`;
  throw new AbsError(
    "LAB_NAME",
    `\`${name}\` cannot be a lab's name.`,
    "Use up to 32 lower-case letters, digits and hyphens.",
  );
}

export function labDirectory(name: string): string {
  return `/run/${labPrefix(name).slice(0, -1)}`;
}

/** Refuses early what would fail half way: missing privileges or programs. */
export function checkMachine(): void {
  if (process.platform !== "linux" || process.getuid?.() !== 0) {
    throw new AbsError(
      "LAB_PRIVILEGES",
      "The lab makes network namespaces, which only root may.",
      "Run it with sudo, or in a privileged container.",
    );
  }
  const { ip, curl, ping } = PACKAGES;
  needPrograms({
    ip,
    curl,
    ping,
    nsenter: "util-linux",
    "redis-server": PACKAGES["redis-server"],
    "redis-cli": PACKAGES["redis-cli"],
  });
  if (!existsSync("/proc/sys/net/ipv6")) {
    const remedy = "Boot without `ipv6.disable=1`; some checks use IPv6.";
    throw new AbsError("LAB_IPV6", "This kernel runs without IPv6.", remedy);
  }
}

/** A lab that is up. */
export interface Lab {
  readonly site: Site;
  /** Of tenant A; undefined where the VMs have no agents. */
  readonly ledger: LabLedger | undefined;
}

/**
 * Brings a lab up. What a killed one of that name left is removed first; one that is in use is not
 * touched.
 */
export async function labUp(name: string, settings: LabSettings = DEFAULT_SETTINGS): Promise<Lab> {
  checkMachine();
  refuseInUse(name);
  await labDown(name);
  const directory = labDirectory(name);
  mkdirSync(directory, { mode: 0o711 });
  writeFileSync(ownerFile(name), processMark(process.pid));
  try {
    return await bringUp(name, directory, settings);
  } catch (thrown) {
    await removeSite(labPrefix(name), directory);
    throw thrown;
  }
}

async function bringUp(name: string, directory: string, settings: LabSettings): Promise<Lab> {
  const tenants = labTenants(settings, ledgerDirectory(directory));
  const ledger = settings.agents === "run" ? await initLedger(directory, settings) : undefined;
  const site = await Site.open({
    prefix: labPrefix(name),
    directory,
    abs: ownCommand(),
    tenants,
    machines: [MANAGER],
    agents: settings.agents,
    onStop: settings.onStop,
  });
  try {
    await Promise.all([
      site.keep(startRedis(site.host("db"), REDIS_PORT, [APP1_USER])),
      site.keep(startRedis(site.host("db"), CLOSED_PORT, [APP1_USER])),
      site.keep(startRedis(site.host("cache"), REDIS_PORT, [APP2_USER])),
      ...(ledger === undefined ? [] : [startLedger(site, ledger, settings)]),
    ]);
    for (const vm of settings.ledger.stopped) await site.agent(vm).stop();
    writeFileSync(recordFile(name), `${JSON.stringify(recordOf(name, site), null, 2)}\n`);
    return { site, ledger };
  } catch (thrown) {
    await site.close();
    throw thrown;
  }
}

/** Folders of the ledger's nodes, by VM and `master`. */
export function ledgerDirectory(directory: string): string {
  return `${directory}/ledger`;
}

async function initLedger(directory: string, { ledger }: LabSettings): Promise<LabLedger> {
  return await LabLedger.init({
    abs: ownCommand(),
    directory: ledgerDirectory(directory),
    tenant: "tenant-a",
    master: MANAGER,
    validators: ledger.validators.map((name) => VMS[name]),
  });
}

async function startLedger(
  site: Site,
  ledger: LabLedger,
  { ledger: settings }: LabSettings,
): Promise<void> {
  if (settings.master === "none") return;
  await site.keep(ledger.startMaster((command) => site.inside(MANAGER.name, command)));
  await ledger.issue(site.options.tenants[0]?.contracts ?? [], settings.commitments);
}

function refuseInUse(name: string): void {
  const record = readLab(name);
  const owner = readQuietly(ownerFile(name));
  const owned = owner !== "" && owner === processMark(Number(owner.split(" ")[0]));
  if (!owned && (record === undefined || !isWhole(record))) return;
  throw new AbsError(
    "LAB_IN_USE",
    `A lab \`${name}\` is up${owned ? ` (process ${owner.split(" ")[0]} works with it)` : ""}.`,
    "Run `abs lab down` first, or choose another name with --name.",
  );
}

/** A process's number and start time: tells it from a later one of the same number. */
function processMark(pid: number): string {
  const stat = readQuietly(`/proc/${pid}/stat`);
  return `${pid} ${stat.slice(stat.lastIndexOf(")")).split(" ")[20] ?? "gone"}`;
}

function readQuietly(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return ""; // Not there: nobody's.
  }
}

function ownerFile(name: string): string {
  return `${labDirectory(name)}/owner`;
}

function recordOf(name: string, site: Site): LabRecord {
  const { prefix, directory, tenants, machines = [] } = site.options;
  const machineOf = ({ name: vm, ipv4, ipv6 }: VmPlan) => ({
    name: vm,
    namespace: namespaceOf(prefix, vm),
    ipv4,
    ipv6,
  });
  const vms = tenants.flatMap((tenant) =>
    tenant.plan.agents.map(({ vm }) => ({
      ...machineOf(vm),
      tenant: tenant.plan.name,
      agentPid: site.agents().find((agent) => agent.launch.vm === vm.name)?.pid ?? 0,
    })),
  );
  const services = site.services().map((service) => ({
    vm: service.vm,
    name: `${service.name}-${service.port}`,
    pid: service.process.pid,
    port: service.port,
  }));
  return { name, directory, vms, machines: machines.map(machineOf), services };
}

function recordFile(name: string): string {
  return `${labDirectory(name)}/lab.json`;
}

/** What is written down of a lab that is up, or undefined. */
export function readLab(name: string): LabRecord | undefined {
  try {
    return JSON.parse(readFileSync(recordFile(name), "utf8"));
  } catch {
    return undefined; // Not up, or only half way.
  }
}

export function needLab(name: string): LabRecord {
  const record = readLab(name);
  if (record !== undefined) return record;
  throw new AbsError("LAB_NOT_UP", `No lab \`${name}\` is up.`, "Run `abs lab up` first.");
}

/** Whether everything a lab consists of is running. */
export function isWhole(record: LabRecord): boolean {
  const processes = [...record.vms.map((vm) => vm.agentPid), ...record.services.map((s) => s.pid)];
  return processes.every((pid) => pid > 0 && isRunning(pid));
}

/** The command line that runs `command` in a VM of a lab that is up. */
export function commandInVm(record: LabRecord, vm: string, command: readonly string[]): string[] {
  const machines = [...record.vms, ...record.machines];
  const found = machines.find((candidate) => candidate.name === vm);
  if (found !== undefined) return inVm(found.namespace, command);
  const names = machines.map((candidate) => candidate.name).join(", ");
  throw new AbsError("LAB_VM", `The lab has no VM \`${vm}\`.`, `Its VMs are ${names}.`);
}

/** A lab's state: each VM with its agent's own status, or why there is none. */
export async function labStatus(record: LabRecord) {
  const vms = await Promise.all(
    record.vms.map(async (vm) => {
      const running = vm.agentPid > 0 && isRunning(vm.agentPid);
      return { ...vm, running, agent: running ? await statusOf(record, vm) : null };
    }),
  );
  const services = record.services.map((service) => ({
    ...service,
    running: isRunning(service.pid),
  }));
  const { name, directory, machines } = record;
  return { name, directory, vms, machines, services };
}

async function statusOf(record: LabRecord, vm: VmRecord): Promise<unknown> {
  try {
    return await agentStatus(ownCommand(), `${record.directory}/${vm.name}`);
  } catch (thrown) {
    return { error: messageOf(thrown) };
  }
}

/**
 * Takes a lab down, whoever brought it up: agents are asked to end first, so that they undo what
 * they did outside their namespaces; then everything left is removed. Returns whether there was
 * one.
 */
export async function labDown(name: string): Promise<boolean> {
  const prefix = labPrefix(name);
  const directory = labDirectory(name);
  const record = readLab(name);
  const there = existsSync(directory) || namespacesOf(prefix).length > 0;
  const agents = record === undefined ? [] : await agentsOf(record);
  for (const pid of agents) endQuietly(pid);
  const end = performance.now() + STOP_GRACE_MS;
  while (agents.some(isRunning) && performance.now() < end) await Bun.sleep(20);
  await removeSite(prefix, directory);
  return there;
}

const STOP_GRACE_MS = 5_000;

/** Agents that still run in their VM: a number alone may have passed to another process. */
async function agentsOf(record: LabRecord): Promise<number[]> {
  const inVms = await Promise.all(record.vms.map((vm) => processesIn(vm.namespace)));
  return record.vms.map((vm) => vm.agentPid).filter((pid, i) => inVms[i]?.includes(pid));
}

function endQuietly(pid: number): void {
  try {
    process.kill(pid, "SIGTERM");
  } catch {
    // It has ended already.
  }
}
