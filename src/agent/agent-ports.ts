/**
 * The two DPDK ports of an agent, with the interface taken over for them where the outside is an
 * interface of the kernel. design/agent.md "the table of ports"; src/takeover does the taking over.
 * Attaching and starting happen in the network namespace where the interface is.
 */
import { addressOf, ealArguments, fixedU8, type Shim } from "../dataplane/shim.ts";
import { AbsError, messageOf } from "../errors.ts";
import { Monitor } from "../takeover/monitor.ts";
import { type Takeover, takeOver } from "../takeover/takeover.ts";
import type { AgentOptions } from "./agent.ts";
import { growthBytes } from "./own-addresses.ts";
import { afPacketArguments, type InsideSpec } from "./port-spec.ts";

const OUTSIDE_DEVICE = "net_af_packet_outside";
const INSIDE_DEVICE = "net_af_packet_inside";
const TAP_DEVICE = "net_tap_inside";
const DESCRIPTORS = 1024;
const DEFAULT_MTU = 1500;

/** What the agent wants to hear while it runs. */
export interface PortFollowers {
  /** Own addresses or the MTU are different now. */
  readonly changed: () => void;
  readonly lost: (error: AbsError) => void;
  readonly refused: (sentence: string) => void;
}

export class AgentPorts {
  #monitor: Monitor | undefined;
  #outsideMtu: number;

  constructor(
    readonly shim: Shim,
    readonly insidePort: number,
    readonly outsidePort: number,
    /** File descriptors to sleep on; empty when a driver has none. */
    readonly descriptors: readonly number[],
    readonly mac: Uint8Array,
    readonly takeover: Takeover | undefined,
    readonly reductionBytes: number,
  ) {
    this.#outsideMtu = takeover?.outsideMtu ?? DEFAULT_MTU;
  }

  /** Largest IP packet of the outside interface. */
  outsideMtu(): number {
    return this.#outsideMtu;
  }

  /** The VM's own addresses, 4 or 16 bytes each. */
  addresses(): readonly Uint8Array[] {
    return this.takeover?.addresses() ?? [];
  }

  /** Follows what DHCP, an administrator or the network change. */
  follow(followers: PortFollowers): void {
    if (this.takeover === undefined) return;
    this.#monitor = new Monitor(this.takeover, this.reductionBytes, {
      addresses: () => followers.changed(),
      link: ({ outsideMtu }) => {
        if (outsideMtu === this.#outsideMtu) return;
        this.#outsideMtu = outsideMtu;
        followers.changed();
      },
      refused: followers.refused,
      lost: followers.lost,
    });
    this.#monitor.start();
  }

  /** Stops both ports and gives the interface back, or leaves the VM cut off. */
  async close(mode: "closed" | "open"): Promise<void> {
    this.#stop();
    await this.takeover?.restore(mode);
  }

  /** Ends a start that failed: as everything was found. */
  async giveUp(): Promise<void> {
    this.#stop();
    await this.takeover?.giveUp();
  }

  #stop(): void {
    this.#monitor?.stop();
    for (const port of [this.outsidePort, this.insidePort]) {
      try {
        this.shim.stopPort(port);
      } catch {
        // A port that never started has nothing to stop.
      }
    }
  }
}

/** Starts EAL, makes the pool, takes the interface over, attaches and starts the ports. */
export async function openPorts(
  shim: Shim,
  options: AgentOptions,
  roomBytes: number,
  keys: number,
): Promise<AgentPorts> {
  const { outside, packets } = options;
  const pciDevices = outside.kind === "pci" ? [outside.address] : [];
  shim.startEal(ealArguments({ packets, roomBytes, pciDevices }));
  shim.createPool(packets, roomBytes);
  shim.createKeys(keys);
  if (outside.kind === "af_packet") return takeOverPorts(shim, options, outside.name);
  return devicePorts(shim, options);
}

async function takeOverPorts(
  shim: Shim,
  options: AgentOptions,
  outsideName: string,
): Promise<AgentPorts> {
  const { inside, provisioning, events } = options;
  if (inside.kind === "device") {
    throw new AbsError(
      "PORT_INVALID",
      `An interface taken over needs an inside of the kernel too, not ${inside.driver}.`,
      "Use --inside veth:NAME or tap:NAME.",
    );
  }
  let tapPort: number | undefined;
  const reductionBytes = growthBytes(provisioning);
  const takeover = await takeOver({
    inside,
    outside: outsideName,
    stateDir: options.stateDir,
    onStop: options.onStop,
    mtuReductionBytes: reductionBytes,
    guardCommand: options.guardCommand,
    warn: (sentence) => events.write({ event: "warning", message: sentence }),
    createInside: () => {
      tapPort = shim.attachPort(TAP_DEVICE, `iface=${inside.name}`);
      shim.startPort(tapPort, { descriptors: DESCRIPTORS });
    },
  });
  try {
    return takeover.inPrivateNamespace(() => attach(shim, takeover, tapPort, reductionBytes));
  } catch (error) {
    await takeover.giveUp();
    throw error;
  }
}

/** In the private namespace: the outside port, and the far end of an inside veth. */
function attach(
  shim: Shim,
  takeover: Takeover,
  tapPort: number | undefined,
  reductionBytes: number,
): AgentPorts {
  const outsidePort = shim.attachPort(OUTSIDE_DEVICE, afPacketArguments(takeover.outsideName));
  shim.startPort(outsidePort, { descriptors: DESCRIPTORS, promiscuous: true });
  let insidePort = tapPort;
  if (takeover.farName !== undefined) {
    insidePort = shim.attachPort(INSIDE_DEVICE, afPacketArguments(takeover.farName));
    shim.startPort(insidePort, { descriptors: DESCRIPTORS, promiscuous: true });
  }
  if (insidePort === undefined) {
    throw new AbsError(
      "PORT_MISSING",
      "The inside port was not made.",
      "Report this: it is a bug.",
    );
  }
  const mac = Uint8Array.from(Buffer.from(takeover.mac, "hex"));
  const descriptors = sleepable(shim, [outsidePort, insidePort]);
  return new AgentPorts(shim, insidePort, outsidePort, descriptors, mac, takeover, reductionBytes);
}

/** Ports that are no interface of the kernel: nothing to take over, addresses from the file. */
function devicePorts(shim: Shim, options: AgentOptions): AgentPorts {
  const { outside, inside, provisioning } = options;
  if (provisioning.node.addresses === undefined) {
    throw new AbsError(
      "ADDRESSES_MISSING",
      "The outside port has no addresses of its own.",
      `List this VM's addresses in ${provisioning.file} under node.addresses.`,
    );
  }
  const insidePort = insideDevice(shim, inside);
  let outsidePort: number;
  if (outside.kind === "pci") outsidePort = shim.findPort(outside.address);
  else if (outside.kind === "device") {
    outsidePort = shim.attachPort(`${outside.driver}_outside`, outside.argument);
  } else throw new AbsError("PORT_INVALID", "The outside port is of the kernel.", "");
  for (const port of [insidePort, outsidePort]) {
    shim.startPort(port, { descriptors: DESCRIPTORS, promiscuous: true });
  }
  const mac = fixedU8(6);
  shim.check(shim.symbols.abs_port_mac(outsidePort, addressOf(mac)), "Reading the MAC failed");
  const descriptors = sleepable(shim, [outsidePort, insidePort]);
  return new AgentPorts(
    shim,
    insidePort,
    outsidePort,
    descriptors,
    mac,
    undefined,
    growthBytes(provisioning),
  );
}

function insideDevice(shim: Shim, inside: InsideSpec): number {
  if (inside.kind === "device") {
    return shim.attachPort(`${inside.driver}_inside`, inside.argument);
  }
  if (inside.kind === "tap") return shim.attachPort(TAP_DEVICE, `iface=${inside.name}`);
  throw new AbsError(
    "PORT_INVALID",
    "An inside veth needs an outside interface of the kernel.",
    "Use --inside tap:NAME with this outside port.",
  );
}

/** Descriptors of all ports, or none when one of them cannot be waited for. */
function sleepable(shim: Shim, ports: readonly number[]): number[] {
  try {
    const descriptors = ports.map((port) => shim.portDescriptor(port, 0));
    return descriptors.includes(-1) ? [] : descriptors;
  } catch (error) {
    if (error instanceof AbsError) return [];
    throw new Error(messageOf(error));
  }
}
