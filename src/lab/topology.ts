/**
 * The lab's wires: each VM is a network namespace with one interface `eth0`; one more namespace is
 * the virtual switch, a Linux bridge with a port for each VM, named like the VM. Nothing is made in
 * the namespace the lab was started in. Names carry the lab's name, so that several can run at
 * once.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { closeDescriptor, openControlSocket } from "../takeover/libc.ts";
import { leavesWorkUndone, turnOff } from "../takeover/offloads.ts";
import { mustRun, runCommand } from "./command.ts";
import { interfaceIndex, withNamespace } from "./namespace.ts";

export const VM_INTERFACE = "eth0";
export const BRIDGE = "switch0";
/** How long a killed process may take to be gone. */
const KILL_GRACE_MS = 5_000;

/** One machine on the switch. Prefix lengths are /24 and /64. */
export interface VmPlan {
  /** One word without hyphens. */
  readonly name: string;
  readonly ipv4: string;
  readonly ipv6: string;
  readonly mac: string;
}

export interface TopologyPlan {
  /** Begins every namespace's name; `abs-lab-` for the lab of the default name. */
  readonly prefix: string;
  readonly vms: readonly VmPlan[];
  /** Machines without an agent. */
  readonly bare?: readonly VmPlan[];
  readonly mtu?: number;
}

/** The namespace of a VM, or of the switch when `vm` is "switch". */
export function namespaceOf(prefix: string, vm: string): string {
  return `${prefix}${vm}`;
}

/** The arguments that run a command inside a VM. */
export function inVm(namespace: string, command: readonly string[]): string[] {
  return ["ip", "netns", "exec", namespace, ...command];
}

/** Makes namespaces, bridge, wires and addresses; they must not exist yet. */
export async function createTopology(plan: TopologyPlan): Promise<void> {
  const switchNamespace = namespaceOf(plan.prefix, "switch");
  const mtu = plan.mtu ?? 1_500;
  const machines = [...plan.vms, ...(plan.bare ?? [])];
  const make = [`netns add ${switchNamespace}`];
  for (const vm of machines) make.push(`netns add ${namespaceOf(plan.prefix, vm.name)}`);
  await ipBatch([], make);
  quietIpv6(switchNamespace);
  const wires = [
    // Without snooping the bridge floods multicast, so neighbour discovery needs no querier.
    `link add ${BRIDGE} type bridge forward_delay 0 stp_state 0 mcast_snooping 0`,
    `link set ${BRIDGE} mtu ${mtu} up`,
  ];
  for (const vm of machines) {
    const namespace = namespaceOf(plan.prefix, vm.name);
    wires.push(
      `link add name ${vm.name} mtu ${mtu} type veth peer name ${VM_INTERFACE} ` +
        `netns ${namespace} mtu ${mtu} address ${vm.mac}`,
      `link set ${vm.name} master ${BRIDGE} up`,
    );
  }
  await ipBatch(["-n", switchNamespace], wires);
  await Promise.all(machines.map((vm) => addressVm(plan.prefix, vm)));
  for (const vm of plan.bare ?? []) finishPackets(namespaceOf(plan.prefix, vm.name));
}

/**
 * A veth leaves checksums and segmentation to a NIC that is not there; agents turn that off for
 * their own VM, and take no unfinished packet from another.
 */
function finishPackets(namespace: string): void {
  withNamespace(namespace, () => {
    const control = openControlSocket();
    try {
      turnOff(control, VM_INTERFACE, leavesWorkUndone);
    } finally {
      closeDescriptor(control);
    }
  });
}

async function addressVm(prefix: string, vm: VmPlan): Promise<void> {
  await ipBatch(
    ["-n", namespaceOf(prefix, vm.name)],
    [
      "link set lo up",
      `address add ${vm.ipv4}/24 dev ${VM_INTERFACE}`,
      `address add ${vm.ipv6}/64 dev ${VM_INTERFACE} nodad`,
      `link set ${VM_INTERFACE} up`,
    ],
  );
}

/** The switch itself must not speak: no IPv6 addresses, no neighbour discovery of its own. */
function quietIpv6(namespace: string): void {
  withNamespace(namespace, () => {
    for (const which of ["all", "default"]) {
      try {
        writeFileSync(`/proc/sys/net/ipv6/conf/${which}/disable_ipv6`, "1");
      } catch {
        return; // A kernel without IPv6 has nothing to quieten.
      }
    }
  });
}

/** Runs several `ip` commands in one process. */
export async function ipBatch(flags: readonly string[], lines: readonly string[]): Promise<void> {
  await mustRun(["ip", ...flags, "-batch", "-"], { input: `${lines.join("\n")}\n` });
}

/**
 * The namespaces of `prefix`: what follows it is one word, so that the lab `lab` does not take
 * those of a lab `lab-2` for its own.
 */
export function namespacesOf(prefix: string): string[] {
  try {
    const names = readdirSync("/run/netns");
    return names.filter((name) => name.startsWith(prefix) && !name.includes("-", prefix.length));
  } catch {
    return []; // Nobody made a namespace since the machine started.
  }
}

/**
 * Process numbers of everything that runs in a namespace. Not ours: who lists one while its own
 * thread is in there for a moment (`withNamespace`) is a visitor, and what is listed may be killed.
 */
export async function processesIn(namespace: string): Promise<number[]> {
  const listed = await runCommand(["ip", "netns", "pids", namespace]);
  const pids = listed.stdout.split("\n").filter(Boolean).map(Number);
  return pids.filter((pid) => pid !== process.pid);
}

/**
 * Removes every namespace of `prefix` and what runs inside. Safe to call again, and after a lab
 * that was killed half way up. The wires go with the switch's namespace.
 */
export async function destroyTopology(prefix: string): Promise<void> {
  const namespaces = namespacesOf(prefix);
  const end = performance.now() + KILL_GRACE_MS;
  // Again and again: what is killed may just have started another, as an agent does its guard.
  while (performance.now() < end) {
    const left = (await Promise.all(namespaces.map(processesIn))).flat();
    if (left.length === 0) break;
    for (const pid of left) killQuietly(pid);
    await Bun.sleep(20);
  }
  for (const namespace of namespaces) await runCommand(["ip", "netns", "delete", namespace]);
}

export function killQuietly(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It ended by itself meanwhile.
  }
}

/** Interface numbers of the switch's ports by VM name: what packet sockets speak of. */
export function switchPorts(prefix: string, vms: readonly string[]): Map<string, number> {
  return withNamespace(namespaceOf(prefix, "switch"), () => {
    return new Map(vms.map((vm) => [vm, interfaceIndex(vm)]));
  });
}

/** Names of the interfaces in a namespace, by number, loopback left out. */
export function interfacesIn(namespace: string): Map<number, string> {
  return withNamespace(namespace, () => {
    const lines = readFileSync("/proc/thread-self/net/dev", "utf8").split("\n").slice(2);
    const found = new Map<number, string>();
    for (const line of lines) {
      const name = line.split(":")[0]?.trim() ?? "";
      if (name !== "" && name !== "lo") found.set(interfaceIndex(name), name);
    }
    return found;
  });
}
