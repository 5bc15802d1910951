/**
 * Open vSwitch of the distribution, as it is: `ovsdb-server` and `ovs-vswitchd` with a database,
 * sockets and logs in a folder of their own, in a network namespace of their own, with the datapath
 * in user space; and VMs, each a namespace with one interface at the bridge. Names have the
 * process's id in them, so that several may run side by side.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type Background,
  mustRun,
  runCommand,
  startBackground,
  waitFor,
} from "../../src/lab/command.ts";

export const BRIDGE = "br0";
const SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema";
const START_MS = 20_000;

export type Vm = {
  readonly name: string;
  readonly address: string;
  readonly mac: string;
  readonly port: number;
};

export class OvsBed {
  readonly dir = mkdtempSync(join(tmpdir(), "ovs-"));
  readonly namespace = `ovs${process.pid}`;
  #isApart = true;
  readonly vms: Vm[] = [];
  #database: Background | undefined;
  #switch: Background | undefined;
  #starts = 0;

  /**
   * @param count of VMs: 10.79.0.1 and so on, at the ports 1 and so on
   * @param isApart in a network namespace of its own; else it has no VMs, and Open vSwitch's dummy
   *     datapath, which makes no interface on this machine
   */
  static async open(count: number, { isApart = true } = {}): Promise<OvsBed> {
    const bed = new OvsBed();
    bed.#isApart = isApart;
    try {
      if (isApart) {
        await mustRun(["ip", "netns", "add", bed.namespace]);
        await bed.run("ip", "link", "set", "lo", "up");
      }
      await mustRun(["ovsdb-tool", "create", join(bed.dir, "conf.db"), SCHEMA]);
      await bed.start();
      const datapath = isApart ? "netdev" : "dummy";
      const bridge = ["--", "set", "bridge", BRIDGE, `datapath_type=${datapath}`];
      await bed.vsctl("add-br", BRIDGE, ...bridge);
      await bed.untilUp();
      for (let i = 1; i <= count; i++) await bed.#addVm(i);
    } catch (thrown) {
      await bed.close();
      throw thrown;
    }
    return bed;
  }

  get #place(): string[] {
    return this.#isApart ? ["ip", "netns", "exec", this.namespace] : [];
  }

  /** The socket by which the bridge takes OpenFlow from this machine. */
  get management(): string {
    return join(this.dir, `${BRIDGE}.mgmt`);
  }

  async start(): Promise<void> {
    const socket = `unix:${this.dir}/db.sock`;
    const init = ["ovs-vsctl", `--db=${socket}`, "--timeout=2", "--no-wait", "init"];
    const database = [join(this.dir, "conf.db"), `--remote=punix:${this.dir}/db.sock`];
    this.#database = this.#daemon("ovsdb-server", database);
    await this.#until("ovsdb-server", () => runCommand(init));
    this.#switch = this.#daemon(
      "ovs-vswitchd",
      this.#isApart ? [socket] : [socket, "--enable-dummy"],
    );
    const control = `--target=${this.dir}/ovs-vswitchd.ctl`;
    await this.#until("ovs-vswitchd", () => this.#inside(["ovs-appctl", control, "version"]));
  }

  /** The bridge takes OpenFlow: after a start that found one in the database. */
  async untilUp(): Promise<void> {
    const target = `unix:${this.management}`;
    const show = ["ovs-ofctl", "-O", "OpenFlow13", "show", target];
    await this.#until("the bridge", () => runCommand(show));
  }

  /** Rules are lost with it, as they are in Open vSwitch. */
  async stop(): Promise<void> {
    await this.#switch?.stop("SIGKILL");
    await this.#database?.stop();
  }

  #daemon(program: string, words: readonly string[]): Background {
    const control = `--unixctl=${this.dir}/${program}.ctl`;
    const argv = [program, ...words, control, "-vconsole:warn"];
    const logFile = join(this.dir, `${program}-${++this.#starts}.log`);
    const environment = ["env", `OVS_RUNDIR=${this.dir}`, `OVS_LOGDIR=${this.dir}`];
    return startBackground([...this.#place, ...environment, ...argv], { logFile });
  }

  async #until(what: string, ask: () => Promise<{ code: number }>): Promise<void> {
    await waitFor(what, async () => ((await ask()).code === 0 ? true : undefined), START_MS);
  }

  async #addVm(number: number): Promise<void> {
    const name = `${this.namespace}v${number}`;
    const hex = number.toString(16).padStart(2, "0");
    const vm = { name, address: `10.79.0.${number}`, mac: `02:ab:0f:00:00:${hex}`, port: number };
    this.vms.push(vm);
    const port = `vm${number}`;
    await mustRun(["ip", "netns", "add", name]);
    const inside = ["peer", "name", "eth0", "netns", name, "address", vm.mac];
    await this.run("ip", "link", "add", port, "type", "veth", ...inside);
    await this.run("ip", "link", "set", port, "up");
    await this.in(vm, "ip", "link", "set", "lo", "up");
    await this.in(vm, "ip", "link", "set", "eth0", "up");
    await this.in(vm, "ip", "addr", "add", `${vm.address}/24`, "dev", "eth0");
    // The datapath in user space reads packets whose checksums the kernel left out.
    await this.in(vm, "ethtool", "-K", "eth0", "tx", "off");
    const request = ["--", "set", "interface", port, `ofport_request=${number}`];
    await this.vsctl("add-port", BRIDGE, port, ...request);
  }

  async #inside(argv: readonly string[]) {
    return runCommand([...this.#place, ...argv]);
  }

  /** In the namespace of the switch. */
  async run(...argv: string[]): Promise<string> {
    return (await mustRun(["ip", "netns", "exec", this.namespace, ...argv])).stdout;
  }

  /** In that of a VM. */
  async in(vm: Vm, ...argv: string[]): Promise<string> {
    return (await mustRun(["ip", "netns", "exec", vm.name, ...argv])).stdout;
  }

  async vsctl(...words: string[]): Promise<string> {
    const client = ["ovs-vsctl", `--db=unix:${this.dir}/db.sock`, "--timeout=20"];
    return (await mustRun([...client, ...words])).stdout;
  }

  async ofctl(command: string, ...words: string[]): Promise<string> {
    const client = ["ovs-ofctl", "-O", "OpenFlow13", command, `unix:${this.management}`];
    return (await mustRun([...client, ...words])).stdout;
  }

  /** Rules as the switch prints them, without counters and ages, in order. */
  async rules(): Promise<string[]> {
    const text = await this.ofctl("dump-flows", "--no-stats");
    return text
      .split("\n")
      .map((line) => line.trim())
      .filter(Boolean)
      .sort();
  }

  async pings(from: Vm, to: Vm, timeoutSeconds = 1): Promise<boolean> {
    const words = ["ping", "-n", "-c", "1", "-W", `${timeoutSeconds}`, to.address];
    return (await runCommand(["ip", "netns", "exec", from.name, ...words])).code === 0;
  }

  async close(): Promise<void> {
    await this.stop();
    for (const { name } of this.vms) await runCommand(["ip", "netns", "del", name]);
    if (this.#isApart) await runCommand(["ip", "netns", "del", this.namespace]);
    rmSync(this.dir, { recursive: true, force: true });
  }
}
