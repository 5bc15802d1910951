/**
 * A test bed for takeover.test.ts: a VM and its switch as two network namespaces joined by a veth
 * pair (`eth0` in the VM, `port` at the switch), and the programs that run in them. iproute2,
 * ethtool and nsenter are the oracle: what they print before and after must be the same.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AgentArguments } from "./takeover-agent.ts";

export type AgentEvent = { readonly event: string } & Readonly<Record<string, unknown>>;

const AGENT = join(import.meta.dir, "takeover-agent.ts");
export const VM_MAC = "02:00:00:00:09:02";
const WAIT_MS = 30_000;
const POLL_MS = 5;

let beds = 0;

export class Bed {
  readonly vm: string;
  readonly switch: string;
  readonly stateDir: string;
  readonly #agents: Agent[] = [];

  constructor() {
    const number = `${process.pid}-${beds++}`;
    this.vm = `abst-takeover-${number}v`;
    this.switch = `abst-takeover-${number}s`;
    this.stateDir = mkdtempSync(join(tmpdir(), "abs-takeover-"));
    run("ip", "netns", "add", this.vm);
    run("ip", "netns", "add", this.switch);
    const peer = ["peer", "name", "port", "netns", this.switch];
    this.inVm("ip", "link", "add", "eth0", "address", VM_MAC, "type", "veth", ...peer);
    this.inVm("ip", "link", "set", "lo", "up");
    this.inSwitch("ip", "link", "set", "port", "up");
    this.inSwitch("ip", "addr", "add", "10.9.0.1/24", "dev", "port");
    this.inSwitch("ip", "addr", "add", "fd09::1/64", "dev", "port", "nodad");
    this.inVm("ethtool", "-K", "eth0", "gro", "on");
    this.inVm("ip", "link", "set", "eth0", "up");
    this.batch(`
      addr add 10.9.0.2/24 dev eth0 brd +
      addr add 10.9.0.3/24 dev eth0 label eth0:1
      addr add 10.9.5.2/24 dev eth0 noprefixroute
      addr add 10.9.6.2 peer 10.9.6.1 dev eth0
      addr add fd09::2/64 dev eth0 nodad
      addr add fd09::3/64 dev eth0 nodad
      route add default via 10.9.0.1 metric 100 src 10.9.0.3
      route add 10.77.0.0/16 via 10.200.0.1 dev eth0 onlink mtu 1300
      route add 10.78.0.0/16 nexthop via 10.9.0.1 weight 2 nexthop via 10.9.0.7 weight 1
      route add default via 10.9.0.1 table 100
      route add blackhole 10.79.0.0/16
      -6 route add default via fd09::1 metric 50
      -6 route add fd77::/32 via fe80::1 dev eth0
      -6 route add fd78::/32 dev eth0 table 100
      neigh add 10.9.0.99 lladdr 02:00:00:00:00:99 dev eth0 nud permanent
      neigh add proxy 10.9.0.98 dev eth0
    `);
    this.inVm("sysctl", "-qw", "net.ipv4.conf.eth0.rp_filter=2", "net.ipv6.conf.eth0.accept_ra=2");
    this.settled();
  }

  inVm(...command: string[]): string {
    return run("ip", "netns", "exec", this.vm, ...command);
  }

  inSwitch(...command: string[]): string {
    return run("ip", "netns", "exec", this.switch, ...command);
  }

  /** Names of the VM's interfaces. */
  interfaces(): string[] {
    const links = JSON.parse(this.inVm("ip", "-j", "link")) as { ifname: string }[];
    return links.map((link) => link.ifname).sort();
  }

  /** Commands of `ip`, one a line, in the VM. */
  batch(commands: string): void {
    for (const line of commands.trim().split("\n")) this.inVm("ip", ...line.trim().split(/\s+/));
  }

  /** Runs in the private namespace of the running or stopped agent. */
  inPrivate(...command: string[]): string {
    const guard = readFileSync(join(this.stateDir, "guard.pid"), "utf8").trim();
    const mount = join(this.stateDir, "netns");
    const state = JSON.parse(readFileSync(join(this.stateDir, "takeover.json"), "utf8")) as {
      privateNamespace: string;
    };
    const inode = state.privateNamespace.split(":")[1] ?? "";
    // The guard may live in another mount namespace: then look through its descriptors.
    const seen = run("stat", "-L", "-c", "%i", mount).trim() === inode;
    const path = seen ? mount : descriptorOf(guard, inode);
    return run("nsenter", `--net=${path}`, ...command);
  }

  /** Waits until the kernel has made the VM's link-local address and announced everything. */
  settled(): void {
    const ready = (): boolean => {
      const text = this.inVm("ip", "-6", "addr", "show", "dev", "eth0", "scope", "link");
      return text.includes("fe80::") && !text.includes("tentative") && this.#isUp("eth0");
    };
    waitFor("eth0 to be ready", ready);
  }

  #isUp(name: string): boolean {
    return this.inVm("ip", "link", "show", "dev", name).includes("state UP");
  }

  /** All that the VM has by interface `name`, the name itself and its number left out. */
  snapshot(name = "eth0"): string {
    const parts = [
      ["ip", "-j", "addr", "show", "dev", name],
      ["ip", "-j", "-4", "route", "show", "table", "all"],
      ["ip", "-j", "-6", "route", "show", "table", "all"],
      ["ip", "-j", "neigh", "show", "nud", "permanent"],
      ["ip", "-j", "neigh", "show", "proxy"],
    ].map((command) => this.inVm(...command));
    return parts.join("\n");
  }

  /** Addresses and routes only, comparable between interfaces of different names. */
  configuration(name: string): string {
    const addresses = JSON.parse(this.inVm("ip", "-j", "addr", "show", "dev", name)) as [
      { addr_info: unknown },
    ];
    const rest = [
      ["ip", "-j", "-4", "route", "show", "table", "all"],
      ["ip", "-j", "-6", "route", "show", "table", "all"],
      ["ip", "-j", "neigh", "show", "nud", "permanent"],
      ["ip", "-j", "neigh", "show", "proxy"],
    ].map((command) => this.inVm(...command));
    const all = [JSON.stringify(addresses[0].addr_info), ...rest].join("\n");
    return all.replaceAll(`"${name}`, '"IFACE');
  }

  features(name: string): string {
    return this.inVm("ethtool", "-k", name);
  }

  /** Settings that differ from what an untouched interface would have are among these. */
  settings(name: string): string {
    const folders = ["ipv4/conf", "ipv6/conf", "ipv4/neigh", "ipv6/neigh"];
    const paths = folders.map((folder) => `/proc/sys/net/${folder}/${name}`);
    return this.inVm("sh", "-c", `grep -sr . ${paths.join(" ")} | sort`).replaceAll(name, "IFACE");
  }

  /**
   * Starts an agent in the VM. `ownMounts` runs it as `ip netns exec` does, in a mount namespace of
   * its own that ends with it (and its guard); `through` is a program that runs it.
   */
  start(
    options: Partial<AgentArguments> = {},
    ownMounts = false,
    through: readonly string[] = [],
  ): Agent {
    const all: AgentArguments = {
      kind: "veth",
      name: "abs0",
      outside: "eth0",
      stateDir: this.stateDir,
      onStop: "open",
      ...options,
    };
    const agent = new Agent([...this.#entering(ownMounts), ...through], [JSON.stringify(all)]);
    this.#agents.push(agent);
    return agent;
  }

  /** `abs agent restore`, as far as this test has it. */
  async restore(): Promise<AgentEvent> {
    const agent = new Agent(this.#entering(false), ["restore", "--state", this.stateDir]);
    this.#agents.push(agent);
    await agent.process.exited;
    return agent.events.at(-1) ?? { event: "nothing" };
  }

  #entering(ownMounts: boolean): string[] {
    if (ownMounts) return ["ip", "netns", "exec", this.vm];
    return ["nsenter", `--net=/run/netns/${this.vm}`];
  }

  guardPid(): number {
    return Number(readFileSync(join(this.stateDir, "guard.pid"), "utf8"));
  }

  /** Whether nothing but the lock and the log is left of a take-over. */
  clean(): boolean {
    return !["takeover.json", "netns", "guard.pid"].some((f) => existsSync(join(this.stateDir, f)));
  }

  async remove(): Promise<void> {
    for (const agent of this.#agents) agent.kill();
    for (const agent of this.#agents) await agent.process.exited;
    if (existsSync(join(this.stateDir, "takeover.json"))) await this.restore();
    Bun.spawnSync(["umount", "-l", join(this.stateDir, "netns")], { stderr: "ignore" });
    run("ip", "netns", "del", this.vm);
    run("ip", "netns", "del", this.switch);
    rmSync(this.stateDir, { recursive: true, force: true });
  }
}

/** A running takeover-agent.ts and what it has said so far. */
export class Agent {
  readonly process: Bun.Subprocess<"pipe", "pipe", "inherit">;
  readonly events: AgentEvent[] = [];

  constructor(entering: readonly string[], args: readonly string[]) {
    this.process = Bun.spawn([...entering, process.execPath, AGENT, ...args], {
      stdin: "pipe",
      stdout: "pipe",
      stderr: "inherit",
    });
    void this.#read();
  }

  async #read(): Promise<void> {
    let text = "";
    for await (const chunk of this.process.stdout) {
      text += new TextDecoder().decode(chunk);
      const lines = text.split("\n");
      text = lines.pop() ?? "";
      for (const line of lines) this.events.push(JSON.parse(line) as AgentEvent);
    }
  }

  /** The first event of a kind since `from`; an `error` event fails the test with its message. */
  async event(name: string, from = 0): Promise<AgentEvent> {
    const deadline = performance.now() + WAIT_MS;
    for (;;) {
      const found = this.events.slice(from).find((event) => event.event === name);
      if (found !== undefined) return found;
      const error = this.events.find((event) => event.event === "error");
      if (error !== undefined && name !== "error") throw new Error(JSON.stringify(error));
      if (performance.now() > deadline) {
        throw new Error(`no ${name} in ${JSON.stringify(this.events.slice(-8))}`);
      }
      await Bun.sleep(POLL_MS);
    }
  }

  async stop(mode: "open" | "closed"): Promise<void> {
    this.process.stdin.write(`${mode}\n`);
    await this.process.stdin.flush();
    await this.event("stopped");
    await this.process.exited;
  }

  kill(): void {
    this.process.kill("SIGKILL");
  }
}

/** Runs a program to its end; its words when it fails. */
export function run(...command: string[]): string {
  const result = Bun.spawnSync(command);
  if (result.exitCode === 0) return result.stdout.toString();
  throw new Error(`${command.join(" ")}: ${result.stderr.toString()}`);
}

/** Waits for the kernel or another process; returns the milliseconds it took. */
export function waitFor(what: string, condition: () => boolean): number {
  const startedAt = performance.now();
  while (!condition()) {
    if (performance.now() - startedAt > WAIT_MS) throw new Error(`waited for ${what} in vain`);
    Bun.sleepSync(POLL_MS);
  }
  return performance.now() - startedAt;
}

function descriptorOf(pid: string, inode: string): string {
  for (let i = 3; i < 64; i++) {
    const path = `/proc/${pid}/fd/${i}`;
    if (!existsSync(path)) continue;
    if (run("stat", "-L", "-c", "%i", path).trim() === inode) return path;
  }
  throw new Error(`process ${pid} does not hold the private namespace`);
}
