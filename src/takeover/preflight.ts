/**
 * What is looked at before an interface is taken over: whether it can be moved at all (refused with
 * the reason if not), what it carries, and what the administrator should know. Changes nothing.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { AbsError } from "../errors.ts";
import {
  addressBytes,
  addressText,
  isIpv4,
  isLeased,
  readAddresses,
  SCOPE_UNIVERSE,
} from "./addresses.ts";
import { readSettings } from "./interface-settings.ts";
import { ARPHRD_ETHER, findLink, type Link, listLinks } from "./links.ts";
import type { Namespace } from "./namespaces.ts";
import { readNeighbours } from "./neighbours.ts";
import { activeFeatures, mergesPackets } from "./offloads.ts";
import { readRoutes } from "./routes.ts";
import { bootSeconds, type Configuration, type OutsideRecord } from "./state-file.ts";

/** RFC 8200 §5 and RFC 791 §3.2: no link that carries the protocol may have less. */
export const IPV6_MTU_MIN = 1280;
export const IPV4_MTU_MIN = 576;

const SSH_PORT = 22;
const TCP_ESTABLISHED = "01";
/** Queueing disciplines the kernel makes itself; any other was set up by somebody and is lost. */
const DEFAULT_QDISCS = new Set(["", "noqueue", "noop", "mq", "pfifo_fast", "fq_codel", "fq"]);

/** Finds the outside interface in the VM's namespace and refuses what cannot be taken over. */
export function findOutside(vm: Namespace, name: string): Link {
  const link = findLink(vm.netlink, name);
  if (link === undefined) {
    throw new AbsError(
      "OUTSIDE_MISSING",
      `There is no interface ${name} in this network namespace.`,
      "Name the interface that leads to the virtual switch: `--outside af_packet:IFACE`.",
    );
  }
  if (link.loopback || link.hardwareType !== ARPHRD_ETHER) {
    throw refused(link, "is not an Ethernet interface", "Choose one that is.");
  }
  const links = listLinks(vm.netlink);
  if (link.master !== undefined) {
    const master = links.find((other) => other.index === link.master)?.name ?? "another interface";
    const remedy = `Take over ${master} itself if it is a bond, or remove ${name} from it first.`;
    throw refused(link, `is a part of ${master}`, remedy);
  }
  if (link.kind === "bridge") {
    const remedy = "Take over the interface that leads out of the machine instead.";
    throw refused(link, "is a bridge, which cannot leave its namespace", remedy);
  }
  const carried = carriedInterfaces(link, links);
  if (carried.length > 0) {
    const remedy = "Remove them first; they would go around the agent.";
    throw refused(link, `carries ${carried.join(", ")}`, remedy);
  }
  return link;
}

/** VLANs, macvlans and the like on top of an interface. */
export function carriedInterfaces(link: Link, links: readonly Link[]): string[] {
  const stacked = (other: Link): boolean =>
    other.below === link.index && !other.belowIsElsewhere && other.kind !== "veth";
  const names = new Set(links.filter(stacked).map((other) => other.name));
  const folder = `/sys/class/net/${link.name}`;
  // sysfs may show another namespace than ours: its number tells.
  if (existsSync(folder) && readFileSync(`${folder}/ifindex`, "utf8").trim() === `${link.index}`) {
    for (const entry of readdirSync(folder)) {
      if (entry.startsWith("upper_")) names.add(entry.slice("upper_".length));
    }
  }
  return [...names];
}

function refused(link: Link, why: string, remedy: string): AbsError {
  return new AbsError("OUTSIDE_REFUSED", `${link.name} cannot be taken over: it ${why}.`, remedy);
}

/** All that must be put back later. */
export function recordOutside(vm: Namespace, link: Link): OutsideRecord {
  return {
    name: link.name,
    index: link.index,
    mac: link.mac,
    mtu: link.mtu,
    up: link.up,
    promiscuous: link.promiscuous,
    offloads: activeFeatures(vm.control, link.name, mergesPackets),
    settings: vm.run(() => readSettings(link.name)),
  };
}

/** Addresses, routes and neighbours as they are now on an interface. */
export function readConfiguration(
  vm: Namespace,
  link: { readonly index: number; readonly name: string },
): Configuration {
  const addresses = readAddresses(vm.netlink, link.index, link.name);
  const sources = new Set(addresses.map((record) => addressBytes(record).toHex()));
  return {
    readAtSeconds: bootSeconds(),
    addresses,
    routes: readRoutes(vm.netlink, link.index, sources),
    neighbours: readNeighbours(vm.netlink, link.index),
  };
}

/** The inside MTU, or a refusal when the protocols in use could not live with it. */
export function insideMtuOf(
  outsideMtu: number,
  reductionBytes: number,
  configuration: Configuration,
): number {
  const mtu = outsideMtu - reductionBytes;
  const lowest = configuration.addresses.some((record) => !isIpv4(record))
    ? IPV6_MTU_MIN
    : IPV4_MTU_MIN;
  if (mtu >= lowest) return mtu;
  throw new AbsError(
    "MTU_TOO_SMALL",
    `The outside MTU of ${outsideMtu} leaves ${mtu} bytes inside; ${lowest} are needed.`,
    `Raise the outside MTU to ${lowest + reductionBytes} or more` +
      (lowest === IPV6_MTU_MIN ? ", or remove its IPv6 addresses." : "."),
  );
}

/** Sentences for the administrator: nothing here stops the agent. */
export function warningsFor(vm: Namespace, link: Link, configuration: Configuration): string[] {
  const warnings: string[] = [];
  for (const record of configuration.addresses) {
    if (!isLeased(record) || !isIpv4(record)) continue;
    warnings.push(
      `${addressText(record)} on ${link.name} is leased for ${record.validSeconds} s: let the ` +
        "DHCP client serve the inside interface, or it ends then.",
    );
  }
  if (!DEFAULT_QDISCS.has(link.qdisc)) {
    warnings.push(`The queueing discipline ${link.qdisc} of ${link.name} is lost.`);
  }
  const others = listLinks(vm.netlink).filter(
    (other) => other.index !== link.index && other.up && !other.loopback && other.carrier,
  );
  if (others.length > 0) {
    const names = others.map((other) => other.name).join(", ");
    warnings.push(`${names}: traffic by other interfaces does not pass the agent.`);
  }
  return warnings;
}

/**
 * A sentence about running SSH sessions, or undefined. Apart from the other warnings because the
 * kernel takes 30 ms to list its connections, which would lengthen the interruption.
 */
export function sessionWarning(
  vm: Namespace,
  outsideName: string,
  configuration: Configuration,
): string | undefined {
  const sessions = vm.run(() => countSshSessions(configuration));
  if (sessions === 0) return undefined;
  return `${outsideName} carries ${sessions} SSH session(s): they go on if the policy allows it.`;
}

/** Established connections to port 22 of one of the addresses (proc_net(5) tcp and tcp6). */
function countSshSessions(configuration: Configuration): number {
  const locals = new Set(
    configuration.addresses
      .filter((record) => record.scope === SCOPE_UNIVERSE)
      .map((record) => procAddress(addressBytes(record))),
  );
  let count = 0;
  for (const file of ["tcp", "tcp6"]) {
    const path = `/proc/thread-self/net/${file}`;
    if (!existsSync(path)) continue;
    for (const line of readFileSync(path, "utf8").split("\n")) {
      const [, local, , state] = line.trim().split(/\s+/);
      const [address, port] = (local ?? "").split(":");
      if (state !== TCP_ESTABLISHED || Number.parseInt(port ?? "", 16) !== SSH_PORT) continue;
      // An IPv4 session of a listener for both families shows as ::ffff:a.b.c.d.
      const tail = (address ?? "").slice(-8);
      if (locals.has(address ?? "") || (address?.length === 32 && locals.has(tail))) count++;
    }
  }
  return count;
}

/** Words of four bytes in host order, as /proc prints them. */
function procAddress(bytes: Uint8Array): string {
  let text = "";
  for (let i = 0; i < bytes.length; i += 4) {
    text += bytes
      .slice(i, i + 4)
      .reverse()
      .toHex();
  }
  return text.toUpperCase();
}
