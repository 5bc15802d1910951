/**
 * Offloads of an interface by the ethtool ioctl (linux/ethtool.h, "features"): which ones would
 * hand the agent merged packets or unfinished checksums, turning them off and checking it, turning
 * the same ones on again. Acts in the namespace of the control socket.
 */
import { AbsError } from "../errors.ts";
import { ethtoolIoctl } from "./libc.ts";

const ETHTOOL_GSTRINGS = 0x1b;
const ETHTOOL_GSSET_INFO = 0x37;
const ETHTOOL_GFEATURES = 0x3a;
const ETHTOOL_SFEATURES = 0x3b;
const ETH_SS_FEATURES = 4;
const NAME_BYTES = 32;
const FEATURES_MAX = 1024;

/** One feature bit as the driver has it. */
export type Feature = {
  readonly name: string;
  readonly bit: number;
  /** The user can change it. */
  readonly changeable: boolean;
  readonly active: boolean;
};

/** Where packets are received from: merging makes packets larger than any frame. */
export function mergesPackets(feature: string): boolean {
  return ["rx-gro", "rx-gro-hw", "rx-gro-list", "rx-udp-gro-forwarding", "rx-lro"].includes(
    feature,
  );
}

/** Where the VM's kernel sends: segmentation and checksums must be done before we see packets. */
export function leavesWorkUndone(feature: string): boolean {
  return (
    feature.startsWith("tx-checksum-") ||
    feature === "tx-generic-segmentation" ||
    feature.startsWith("tx-gso-") ||
    /^tx-.*-segmentation$/.test(feature)
  );
}

export function readFeatures(control: number, interfaceName: string): Feature[] {
  const names = featureNames(control, interfaceName);
  const words = (names.length + 31) >>> 5;
  const data = new Uint8Array(8 + 16 * words);
  const view = new DataView(data.buffer);
  view.setUint32(0, ETHTOOL_GFEATURES, true);
  view.setUint32(4, words, true);
  ethtoolIoctl(control, interfaceName, data);
  const isSet = (bit: number, field: number): boolean =>
    ((view.getUint32(8 + 16 * (bit >>> 5) + 4 * field, true) >>> (bit & 31)) & 1) === 1;
  return names.map((name, bit) => ({
    name,
    bit,
    // available (0) and not among the never changed (3); active (2)
    changeable: isSet(bit, 0) && !isSet(bit, 3),
    active: isSet(bit, 2),
  }));
}

/** Names of all features this kernel knows, by bit. */
function featureNames(control: number, interfaceName: string): string[] {
  const info = new Uint8Array(20);
  const infoView = new DataView(info.buffer);
  infoView.setUint32(0, ETHTOOL_GSSET_INFO, true);
  infoView.setBigUint64(8, 1n << BigInt(ETH_SS_FEATURES), true);
  ethtoolIoctl(control, interfaceName, info);
  const count = Math.min(infoView.getUint32(16, true), FEATURES_MAX);
  const data = new Uint8Array(12 + NAME_BYTES * count);
  const view = new DataView(data.buffer);
  view.setUint32(0, ETHTOOL_GSTRINGS, true);
  view.setUint32(4, ETH_SS_FEATURES, true);
  view.setUint32(8, count, true);
  ethtoolIoctl(control, interfaceName, data);
  const names: string[] = [];
  for (let i = 0; i < count; i++) {
    const field = data.subarray(12 + NAME_BYTES * i, 12 + NAME_BYTES * (i + 1));
    const end = field.indexOf(0);
    names.push(new TextDecoder().decode(end < 0 ? field : field.subarray(0, end)));
  }
  return names;
}

/** Names of the active features that `selects` picks: what turnOff() would change. */
export function activeFeatures(
  control: number,
  interfaceName: string,
  selects: (feature: string) => boolean,
): string[] {
  const features = readFeatures(control, interfaceName);
  return features.filter((feature) => feature.active && selects(feature.name)).map((f) => f.name);
}

/** Turns off the features that `selects` picks, and checks it; refuses when one stays on. */
export function turnOff(
  control: number,
  interfaceName: string,
  selects: (feature: string) => boolean,
): void {
  const before = readFeatures(control, interfaceName);
  const unwanted = before.filter((feature) => feature.active && selects(feature.name));
  if (unwanted.length === 0) return;
  setFeatures(control, interfaceName, before.length, unwanted, false);
  const still = activeFeatures(control, interfaceName, selects);
  if (still.length === 0) return;
  throw new AbsError(
    "OFFLOAD_FIXED",
    `${interfaceName} keeps ${still.join(", ")} on, which would hand the agent broken packets.`,
    "Use another driver or a PCI port (`--outside pci:…`), or turn it off at the virtual switch.",
  );
}

/** Turns features on again; returns the names that did not come back. */
export function turnOn(control: number, interfaceName: string, names: readonly string[]): string[] {
  if (names.length === 0) return [];
  const before = readFeatures(control, interfaceName);
  const wanted = before.filter((feature) => names.includes(feature.name));
  setFeatures(control, interfaceName, before.length, wanted, true);
  const after = readFeatures(control, interfaceName);
  return names.filter((name) => !after.some((feature) => feature.name === name && feature.active));
}

function setFeatures(
  control: number,
  interfaceName: string,
  count: number,
  features: readonly Feature[],
  on: boolean,
): void {
  const words = (count + 31) >>> 5;
  const data = new Uint8Array(8 + 8 * words);
  const view = new DataView(data.buffer);
  view.setUint32(0, ETHTOOL_SFEATURES, true);
  view.setUint32(4, words, true);
  for (const { bit, changeable } of features) {
    if (!changeable) continue; // the kernel refuses the whole request for one of these
    const offset = 8 + 8 * (bit >>> 5);
    const mask = 1 << (bit & 31);
    view.setUint32(offset, (view.getUint32(offset, true) | mask) >>> 0, true);
    if (on) view.setUint32(offset + 4, (view.getUint32(offset + 4, true) | mask) >>> 0, true);
  }
  ethtoolIoctl(control, interfaceName, data);
}
