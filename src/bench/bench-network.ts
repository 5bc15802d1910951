/**
 * Network namespaces of `abs bench e2e`: two virtual machines `a` and `b`, and a private namespace
 * for each where a path needs one; and the folder of a bench. Named `absb-<pid>-…`, so that benches
 * can run side by side and what a killed one left behind is known and removed by the next.
 * The host's own interfaces are never touched.
 */
import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { releaseMounts } from "../lab/mounts.ts";
import { processesIn, VM_INTERFACE } from "../lab/topology.ts";
import type { Children } from "./children.ts";

const PREFIX = "absb";
const NAMESPACES = "/run/netns";
const RUN_DIRECTORY = "/run";

/** The machines' network interface, at both ends of the wire between them. */
export const WIRE = VM_INTERFACE;
const SUBNET_BITS = 24;
/** Addresses measured to: on the inside of whatever path there is. */
export const ADDRESS = { a: "10.99.0.1", b: "10.99.0.2" } as const;
/** Addresses of the tunnel's ends, where the path is a tunnel. */
export const OUTER_ADDRESS = { a: "10.98.0.1", b: "10.98.0.2" } as const;

export const MACHINES = ["a", "b"] as const;
export type Machine = (typeof MACHINES)[number];

export class BenchNetwork {
  readonly #made = new Set<string>();

  constructor(readonly children: Children) {}

  /** The name of a namespace; `role` is a machine, or a machine and `-private`. */
  name(role: string): string {
    return `${PREFIX}-${process.pid}-${role}`;
  }

  /** Prefix of a command line that runs in a namespace. */
  inside(role: string): string[] {
    return ["ip", "netns", "exec", this.name(role)];
  }

  async add(role: string): Promise<void> {
    const name = this.name(role);
    this.#made.add(name);
    await this.children.run(["ip", "netns", "add", name]);
    await this.ip(role, "link set lo up");
  }

  /** `ip` inside a namespace; words are split at blanks. */
  async ip(role: string, words: string): Promise<void> {
    await this.children.run(["ip", "-n", this.name(role), ...words.split(" ")]);
  }

  /** A veth pair with one end in each of two namespaces; both ends plain and up. */
  async pair(left: string, leftName: string, right: string, rightName: string) {
    const peer = `peer name ${rightName} netns ${this.name(right)}`;
    await this.ip(left, `link add ${leftName} type veth ${peer}`);
    await this.#plain(left, leftName);
    await this.#plain(right, rightName);
  }

  async address(role: string, device: string, address: string): Promise<void> {
    await this.ip(role, `addr add ${address}/${SUBNET_BITS} dev ${device}`);
  }

  /** Whole packets with finished checksums, and no neighbour discovery in the measurement. */
  async #plain(role: string, device: string): Promise<void> {
    const features = "gro off gso off tso off tx off rx off".split(" ");
    await this.children.run([...this.inside(role), "ethtool", "-K", device, ...features]);
    const setting = `net.ipv6.conf.${device}.disable_ipv6=1`;
    await this.children.run([...this.inside(role), "sysctl", "-qw", setting]);
    await this.ip(role, `link set ${device} up`);
  }

  /** Ends what still runs in the namespaces (an agent's guard outlives it) and removes them. */
  async removeAll(): Promise<void> {
    for (const name of this.#made) await removeNamespace(name);
    this.#made.clear();
  }
}

/** A folder of this bench for keys, configurations and agents' state; only root reads it. */
export function makeBenchDirectory(): string {
  const directory = join(RUN_DIRECTORY, `${PREFIX}-${process.pid}`);
  mkdirSync(directory, { mode: 0o700 });
  return directory;
}

/** Agents mount a namespace in their state: it goes first. */
export function removeBenchDirectory(directory: string): void {
  releaseMounts(directory);
  rmSync(directory, { recursive: true, force: true });
}

/** Removes namespaces, programs and folders of benches whose process is gone. */
export async function removeLeftovers(): Promise<void> {
  for (const name of leftoversIn(NAMESPACES)) await removeNamespace(name);
  for (const name of leftoversIn(RUN_DIRECTORY)) removeBenchDirectory(join(RUN_DIRECTORY, name));
}

/** Entries named after a bench that no longer runs. */
function leftoversIn(directory: string): string[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory).filter((name) => {
    const pid = new RegExp(`^${PREFIX}-(\\d+)(-|$)`).exec(name)?.[1];
    return pid !== undefined && !existsSync(`/proc/${pid}`);
  });
}

/** Not by `Children`: it must work after an interruption too. */
async function removeNamespace(name: string): Promise<void> {
  for (const pid of await processesIn(name)) killNow(pid);
  await Bun.spawn(["ip", "netns", "del", name], { stdout: "ignore", stderr: "ignore" }).exited;
}

function killNow(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It ended by itself meanwhile.
  }
}
