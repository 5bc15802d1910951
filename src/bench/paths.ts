/**
 * The paths that `abs bench e2e` compares, all between machines `a` and `b` over one veth pair
 * without offloads: bare; plain DPDK forwarding and `abs` on the same AF_PACKET ports with a veth
 * pair as the inside; wireguard-go. abs-path.ts holds the one with agents.
 */
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { AbsPath } from "./abs-path.ts";
import { ADDRESS, type BenchNetwork, MACHINES, OUTER_ADDRESS, WIRE } from "./bench-network.ts";
import type { Background } from "./children.ts";

export const PATHS = ["bare", "forward", "abs", "wireguard-go"] as const;
export type PathName = (typeof PATHS)[number];

/** Programs and folders that the paths need. */
export interface Tools {
  readonly abs: readonly string[]; // command line that runs abs
  readonly oracle: string;
  readonly udpLoad: string;
  readonly directory: string; // for keys, configurations and state; removed afterwards
}

/** A path that is up: packets flow between the inside addresses. */
export interface Path {
  readonly name: PathName;
  start(): Promise<void>;
  stop(): Promise<void>;
}

export function makePath(name: PathName, network: BenchNetwork, tools: Tools): Path {
  switch (name) {
    case "bare":
      return new BarePath(network);
    case "forward":
      return new ForwardPath(network, tools);
    case "abs":
      return new AbsPath(network, tools);
    case "wireguard-go":
      return new WireguardPath(network, tools);
  }
}

class BarePath implements Path {
  readonly name = "bare";
  constructor(readonly network: BenchNetwork) {}

  async start(): Promise<void> {
    for (const machine of MACHINES) await this.network.add(machine);
    await this.network.pair("a", WIRE, "b", WIRE);
    for (const machine of MACHINES) {
      await this.network.address(machine, WIRE, ADDRESS[machine]);
    }
  }

  async stop(): Promise<void> {
    await this.network.removeAll();
  }
}

class ForwardPath implements Path {
  readonly name = "forward";
  #forwarders: Background[] = [];

  constructor(
    readonly network: BenchNetwork,
    readonly tools: Tools,
  ) {}

  async start(): Promise<void> {
    const { network } = this;
    for (const machine of MACHINES) {
      await network.add(machine);
      await network.add(`${machine}-private`);
      await network.pair(machine, "inside0", `${machine}-private`, "far0");
      await network.address(machine, "inside0", ADDRESS[machine]);
    }
    await network.pair("a-private", WIRE, "b-private", WIRE);
    for (const machine of MACHINES) {
      const argv = [this.tools.oracle, "forward", "far0", WIRE];
      const inside = network.inside(`${machine}-private`);
      this.#forwarders.push(network.children.start([...inside, ...argv]));
    }
    for (const forwarder of this.#forwarders) await forwarder.ready("ready");
  }

  async stop(): Promise<void> {
    for (const forwarder of this.#forwarders) await forwarder.stop();
    await this.network.removeAll();
  }
}

class WireguardPath implements Path {
  readonly name = "wireguard-go";
  #tunnels: Background[] = [];

  constructor(
    readonly network: BenchNetwork,
    readonly tools: Tools,
  ) {}

  async start(): Promise<void> {
    const { network } = this;
    const publicKey: Record<string, string> = {};
    for (const machine of MACHINES) {
      await network.add(machine);
      publicKey[machine] = await this.#makeKey(machine);
    }
    await network.pair("a", WIRE, "b", WIRE);
    for (const machine of MACHINES) {
      await network.address(machine, WIRE, OUTER_ADDRESS[machine]);
      // It refuses to run where the kernel could do its work, unless told to.
      const environment = {
        WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD: "1",
        LOG_LEVEL: "error",
      };
      const argv = ["wireguard-go", "-f", this.#device(machine)];
      this.#tunnels.push(
        network.children.start([...network.inside(machine), ...argv], environment),
      );
    }
    for (const machine of MACHINES) await this.#configure(machine, publicKey);
  }

  async stop(): Promise<void> {
    for (const tunnel of this.#tunnels) await tunnel.stop();
    for (const machine of MACHINES) rmSync(this.#keyFile(machine), { force: true });
    await this.network.removeAll();
  }

  /** The name also names a socket outside the namespaces: it must differ between machines. */
  #device(machine: string): string {
    return `absb${process.pid % 1_000_000}${machine}`;
  }

  #keyFile(machine: string): string {
    return join(this.tools.directory, `wireguard-${machine}.key`);
  }

  /** Writes a private key and returns the public one. */
  async #makeKey(machine: string): Promise<string> {
    const file = this.#keyFile(machine);
    await Bun.write(file, await this.network.children.run(["wg", "genkey"]), { mode: 0o600 });
    const input = Bun.file(file);
    const child = Bun.spawn(["wg", "pubkey"], { stdin: input, stdout: "pipe" });
    return (await new Response(child.stdout).text()).trim();
  }

  async #configure(machine: "a" | "b", publicKey: Record<string, string>): Promise<void> {
    const { network } = this;
    const other = machine === "a" ? "b" : "a";
    const device = this.#device(machine);
    await this.#waitForSocket(device);
    const peer = ["peer", publicKey[other] ?? "", "allowed-ips", `${ADDRESS[other]}/32`];
    await network.children.run([
      ...network.inside(machine),
      ...["wg", "set", device, "private-key", this.#keyFile(machine), "listen-port", "51820"],
      ...[...peer, "endpoint", `${OUTER_ADDRESS[other]}:51820`],
    ]);
    await network.address(machine, device, ADDRESS[machine]);
    await network.ip(machine, `link set ${device} up`);
  }

  async #waitForSocket(device: string): Promise<void> {
    const socket = `/var/run/wireguard/${device}.sock`;
    for (let attempt = 0; attempt < 200; attempt++) {
      if (existsSync(socket)) return;
      await Bun.sleep(20);
    }
  }
}
