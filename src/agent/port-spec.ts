/**
 * The ports an agent can own, as the command line names them: `KIND:ARGUMENT`. design/agent.md, the
 * table of ports. A spec says which DPDK device is attached, and whether the agent takes an
 * interface over for it (outside `af_packet`, inside `tap` or `veth`).
 */
import { AbsError } from "../errors.ts";

export type InsideSpec =
  | { readonly kind: "tap" | "veth"; readonly name: string }
  | { readonly kind: "device"; readonly driver: string; readonly argument: string };

export type OutsideSpec =
  | { readonly kind: "af_packet"; readonly name: string }
  | { readonly kind: "pci"; readonly address: string }
  | { readonly kind: "device"; readonly driver: string; readonly argument: string };

/** Virtual devices that need no interface of the kernel: tests, benches and virtual switches. */
const DEVICES: ReadonlyMap<string, string> = new Map([
  ["null", "net_null"],
  ["pcap", "net_pcap"],
  ["memif", "net_memif"],
  ["ring", "net_ring"],
]);
const INTERFACE = /^[^\s/:]{1,15}$/;
const PCI_ADDRESS = /^[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/i;

/**
 * AF_PACKET ring sizes that were measured best for one queue (shared/prototype,
 * docs/benchmarks.md): frames of 2 KiB in blocks of 64 KiB, 4 MiB each way.
 */
export function afPacketArguments(name: string): string {
  return `iface=${name},blocksz=65536,framesz=2048,framecnt=2048`;
}

export function parseInside(text: string): InsideSpec {
  const [kind, argument] = split(text, "--inside");
  if (kind === "tap" || kind === "veth") {
    return { kind, name: interfaceName(argument, `--inside ${kind}:NAME`) };
  }
  const driver = DEVICES.get(kind);
  if (driver !== undefined) return { kind: "device", driver, argument };
  throw unknownKind("--inside", kind, "tap:NAME or veth:NAME");
}

export function parseOutside(text: string): OutsideSpec {
  const [kind, argument] = split(text, "--outside");
  if (kind === "af_packet") {
    return { kind, name: interfaceName(argument, "--outside af_packet:IFACE") };
  }
  if (kind === "pci") {
    if (PCI_ADDRESS.test(argument)) return { kind, address: argument.toLowerCase() };
    throw new AbsError(
      "PORT_INVALID",
      `"${argument}" is not a PCI address.`,
      "Write it as `lspci -D` does: --outside pci:0000:00:04.0.",
    );
  }
  const driver = DEVICES.get(kind);
  if (driver !== undefined) return { kind: "device", driver, argument };
  throw unknownKind("--outside", kind, "af_packet:IFACE or pci:ADDRESS");
}

function split(text: string, flag: string): [string, string] {
  const colon = text.indexOf(":");
  if (colon > 0) return [text.slice(0, colon), text.slice(colon + 1)];
  if (DEVICES.has(text)) return [text, ""];
  throw new AbsError(
    "PORT_INVALID",
    `${flag} "${text}" does not say which kind of port it is.`,
    `Write KIND:NAME, for example ${flag === "--inside" ? "veth:abs0" : "af_packet:eth0"}.`,
  );
}

function interfaceName(name: string, usage: string): string {
  if (INTERFACE.test(name)) return name;
  throw new AbsError(
    "PORT_INVALID",
    `"${name}" cannot be the name of an interface.`,
    `Give 1 to 15 characters without spaces, "/" or ":" (${usage}).`,
  );
}

function unknownKind(flag: string, kind: string, usual: string): AbsError {
  const others = [...DEVICES.keys()].join(", ");
  return new AbsError(
    "PORT_INVALID",
    `${flag}: there is no kind of port "${kind}".`,
    `Use ${usual}; for tests also ${others}.`,
  );
}
