/**
 * `abs lab`: the site of lab-plan.ts as something that stays up between commands. What is up is
 * written down in /run/abs-lab-NAME/lab.json, from which `exec`, `status` and `down` work, also
 * when the process that made the lab is long gone.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { ownCommand } from "../agent/own-command.ts";
import { AbsError, messageOf } from "../errors.ts";
import { isRunning, mustRun, needPrograms } from "./command.ts";
import type { TypedLine } from "./five-commands.ts";
import {
  APP1_USER,
  APP2_USER,
  CLOSED_PORT,
  DEFAULT_SETTINGS,
  type LabSettings,
  MANAGER,
  REDIS_PORT,
  TENANT_A,
  TENANT_B,
  THIEF,
  VMS,
} from "./lab-plan.ts";
import { atPrompt, haltMachines } from "./machine.ts";
import { Lab } from "./managed-lab.ts";
import { PACKAGES, startRedis } from "./programs.ts";
import { removeSite, Site } from "./site.ts";
import { namespaceOf, namespacesOf, processesIn, type VmPlan } from "./topology.ts";

const MANAGER_PORT = 7022;
const STATUS_TIMEOUT_MS = 5_000;
const NAME_CHARACTERS = /^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/;

/** A VM as `status` shows it. */
export interface VmRecord {
  readonly name: string;
  readonly tenant: string;
  readonly namespace: string;
  readonly ipv4: string;
  readonly ipv6: string;
  /** Process number of its first process. */
  readonly pid: number;
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

/**
 * Brings a lab up. What a killed one of that name left is removed first; one that is in use is not
 * touched.
 */
export async function labUp(
  name: string,
  settings: LabSettings = DEFAULT_SETTINGS,
  tell: (typed: TypedLine) => void = () => {},
): Promise<Lab> {
  checkMachine();
  refuseInUse(name);
  await labDown(name);
  const directory = labDirectory(name);
  mkdirSync(directory, { mode: 0o711 });
  writeFileSync(ownerFile(name), processMark(process.pid));
  try {
    return await bringUp(name, settings, tell);
  } catch (thrown) {
    await haltMachines(directory);
    await removeSite(labPrefix(name), directory);
    throw thrown;
  }
}

async function bringUp(
  name: string,
  settings: LabSettings,
  tell: (typed: TypedLine) => void,
): Promise<Lab> {
  const site = await Site.open({
    prefix: labPrefix(name),
    directory: labDirectory(name),
    abs: ownCommand(),
    tenants: [],
    vms: Object.values(VMS),
    machines: [MANAGER, THIEF],
  });
  try {
    const [lab] = await Promise.all([
      Lab.open(site, settings, tell),
      site.keep(startRedis(site.host("db"), REDIS_PORT, [APP1_USER])),
      site.keep(startRedis(site.host("db"), CLOSED_PORT, [APP1_USER])),
      site.keep(startRedis(site.host("cache"), REDIS_PORT, [APP2_USER])),
    ]);
    writeFileSync(recordFile(name), `${JSON.stringify(recordOf(name, lab), null, 2)}\n`);
    return lab;
  } catch (thrown) {
    await site.close();
    throw thrown;
  }
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

function recordOf(name: string, lab: Lab): LabRecord {
  const { prefix, directory, machines = [] } = lab.site.options;
  const machineOf = ({ name: vm, ipv4, ipv6 }: VmPlan) => ({
    name: vm,
    namespace: namespaceOf(prefix, vm),
    ipv4,
    ipv6,
    pid: lab.machine(vm).pid,
  });
  const agents = lab.agents();
  const hasAgent = ({ name: vm }: VmPlan) => agents.some((agent) => agent.vm === vm);
  const vms = lab.site.vms.filter(hasAgent).map((vm) => ({
    ...machineOf(vm),
    tenant: vm.name === VMS.other.name && !lab.settings.otherIsTenantA ? TENANT_B : TENANT_A,
    agentPid: lab.agent(vm.name).pid,
  }));
  const bare = [...lab.site.vms.filter((vm) => !hasAgent(vm)), ...machines];
  const services = lab.site.services().map((service) => ({
    vm: service.vm,
    name: `${service.name}-${service.port}`,
    pid: service.process.pid,
    port: service.port,
  }));
  const { pid } = lab.manager;
  const manager = { vm: MANAGER.name, name: "manager", pid, port: MANAGER_PORT };
  return {
    ...{ name, directory, vms, machines: bare.map(machineOf) },
    services: pid === 0 ? services : [...services, manager],
  };
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
  if (found !== undefined) return atPrompt(found.pid, command);
  const names = machines.map((candidate) => candidate.name).join(", ");
  throw new AbsError("LAB_VM", `The lab has no VM \`${vm}\`.`, `Its VMs are ${names}.`);
}

/** A lab's state: each VM with its agent's own status, or why there is none. */
export async function labStatus(record: LabRecord) {
  const vms = await Promise.all(
    record.vms.map(async (vm) => {
      const running = vm.agentPid > 0 && isRunning(vm.agentPid);
      return { ...vm, running, agent: running ? await statusOf(vm) : null };
    }),
  );
  const services = record.services.map((service) => ({
    ...service,
    running: isRunning(service.pid),
  }));
  const { name, directory, machines } = record;
  return { name, directory, vms, machines, services };
}

async function statusOf(vm: VmRecord): Promise<unknown> {
  try {
    const line = ["abs", "agent", "status", "--output", "json"];
    const result = await mustRun(atPrompt(vm.pid, line), { timeoutMs: STATUS_TIMEOUT_MS });
    return JSON.parse(result.stdout);
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
  await haltMachines(directory);
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
