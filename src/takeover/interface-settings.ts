/**
 * Settings of one interface under /proc/sys/net (rp_filter, accept_ra, addr_gen_mode, ARP timers…).
 * The kernel resets them when an interface changes namespace, so they are read before, given to the
 * stand-in, and put back after. Acts in the calling thread's namespace (Namespace.run()).
 */
import { existsSync, readdirSync } from "node:fs";
import { messageOf } from "../errors.ts";
import { readSetting, writeSetting } from "./namespaces.ts";

const FOLDERS = ["ipv4/conf", "ipv6/conf", "ipv4/neigh", "ipv6/neigh"];
/** Owned by others (the MTU follows the interface) or read-only. */
const NOT_OURS = new Set(["ipv6/conf/mtu", "ipv4/conf/mc_forwarding", "ipv6/conf/mc_forwarding"]);
/** Two spellings of one value; the one in ms is exact. */
const DUPLICATES = new Set(["base_reachable_time", "retrans_time"]);

const ACCEPT_DAD = "ipv6/conf/accept_dad";

/** Values by setting: `ipv6/conf/accept_ra` stands for ipv6/conf/INTERFACE/accept_ra. */
export type InterfaceSettings = Readonly<Record<string, string>>;

export function readSettings(interfaceName: string): InterfaceSettings {
  const settings: Record<string, string> = {};
  for (const folder of FOLDERS) {
    const path = `/proc/sys/net/${folder}/${interfaceName}`;
    if (!existsSync(path)) continue; // no IPv6 in this kernel
    for (const name of readdirSync(path)) {
      const key = `${folder}/${name}`;
      if (NOT_OURS.has(key) || DUPLICATES.has(name)) continue;
      const value = readSetting(`${folder}/${interfaceName}/${name}`);
      if (value !== undefined) settings[key] = value;
    }
  }
  return settings;
}

/**
 * Makes the interface's settings equal to `wanted`, except that duplicate address detection stays
 * off until finishSettings(): the addresses were in use a moment ago, and must be usable at once.
 * Returns a sentence for each value that could not be set.
 */
export function applySettings(interfaceName: string, wanted: InterfaceSettings): string[] {
  const present = readSettings(interfaceName);
  const problems: string[] = [];
  for (const [key, value] of Object.entries(wanted)) {
    if (key === ACCEPT_DAD || present[key] === value) continue;
    writeOne(interfaceName, key, value, problems);
  }
  if (present[ACCEPT_DAD] !== undefined) writeOne(interfaceName, ACCEPT_DAD, "0", problems);
  return problems;
}

export function finishSettings(interfaceName: string, wanted: InterfaceSettings): string[] {
  const problems: string[] = [];
  const value = wanted[ACCEPT_DAD];
  if (value !== undefined) writeOne(interfaceName, ACCEPT_DAD, value, problems);
  return problems;
}

function writeOne(interfaceName: string, key: string, value: string, problems: string[]): void {
  const slash = key.lastIndexOf("/");
  const path = `${key.slice(0, slash)}/${interfaceName}/${key.slice(slash + 1)}`;
  try {
    writeSetting(path, value);
  } catch (thrown) {
    problems.push(`/proc/sys/net/${path} could not be set to ${value}: ${messageOf(thrown)}`);
  }
}
