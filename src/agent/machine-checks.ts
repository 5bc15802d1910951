/**
 * What an agent needs from its machine, looked at without changing anything: `abs doctor`. Each
 * check says what was found, and what to do when it is not enough. A `fault` keeps the agent from
 * running; a `warning` costs speed, or will hurt later.
 */
import { dlopen } from "bun:ffi";
import { accessSync, constants, existsSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { openEmbedded } from "../dataplane/shim-library.ts";
import { AbsError, messageOf } from "../errors.ts";
import { freeBytes } from "../store/free-bytes.ts";
import { Namespace } from "../takeover/namespaces.ts";
import { findOutside, readConfiguration, warningsFor } from "../takeover/preflight.ts";

export type CheckState = "ok" | "warning" | "fault";

export type MachineCheck = {
  readonly name: string;
  readonly state: CheckState;
  readonly found: string;
  /** Empty when all is well. */
  readonly remedy: string;
};

export type CheckedMachine = {
  /** Where the agent keeps what it must remember. */
  readonly stateDir: string;
  /** The interface it is to take over, when it was named. */
  readonly outsideInterface?: string | undefined;
};

/** capabilities(7), by their bits. */
const CAPABILITIES = { CAP_NET_ADMIN: 12, CAP_NET_RAW: 13, CAP_IPC_LOCK: 14, CAP_SYS_ADMIN: 21 };
/** An agent with its flow table and packet pool, measured (docs/benchmarks.md), and some air. */
const MEMORY_NEEDED_BYTES = 300e6;
const STATE_NEEDED_BYTES = 100e6;
const TIME_ERROR = 5; // adjtimex(2): the clock is not synchronised
const TIMEX_BYTES = 208;

export function checkMachine(machine: CheckedMachine): MachineCheck[] {
  const { stateDir, outsideInterface } = machine;
  const checks = [
    privileges(),
    processor(),
    nativePart(),
    memory(),
    tunDevice(),
    stateFolder(stateDir),
    clock(),
  ];
  return outsideInterface === undefined ? checks : [...checks, networkInterface(outsideInterface)];
}

function ok(name: string, found: string): MachineCheck {
  return { name, state: "ok", found, remedy: "" };
}

function fault(name: string, found: string, remedy: string): MachineCheck {
  return { name, state: "fault", found, remedy };
}

function warning(name: string, found: string, remedy: string): MachineCheck {
  return { name, state: "warning", found, remedy };
}

function privileges(): MachineCheck {
  const name = "privileges";
  if (process.getuid?.() !== 0) {
    return fault(name, "not root", "Run the agent with sudo, or as a systemd service of root.");
  }
  const effective = /^CapEff:\s*([0-9a-f]+)/m.exec(readFileSync("/proc/self/status", "utf8"));
  const mask = Number.parseInt(effective?.[1]?.slice(-8) ?? "0", 16);
  const missing = Object.entries(CAPABILITIES).flatMap(([word, bit]) =>
    ((mask >>> bit) & 1) === 0 ? [word] : [],
  );
  if (missing.length === 0) return ok(name, "root with all capabilities that are needed");
  return fault(
    name,
    `root without ${missing.join(", ")}`,
    "A container or a service takes them away: add them (docker --cap-add, CapabilityBoundingSet).",
  );
}

function processor(): MachineCheck {
  const name = "processor";
  const flags = /^flags\s*:\s*(.*)$/m.exec(readFileSync("/proc/cpuinfo", "utf8"))?.[1] ?? "";
  const has = (flag: string) => ` ${flags} `.includes(` ${flag} `);
  if (process.arch !== "x64" || !has("sse4_2")) {
    return fault(name, `${process.arch} without SSE4.2`, "Run it on an x86-64-v2 processor.");
  }
  if (has("aes")) return ok(name, `x86-64 with AES-NI${has("avx2") ? " and AVX2" : ""}`);
  return warning(
    name,
    "no AES instructions",
    "Let the hypervisor pass them (QEMU: -cpu host), or use contracts with CHACHA20-POLY1305.",
  );
}

function nativePart(): MachineCheck {
  const name = "native part";
  try {
    openEmbedded();
    return ok(name, "loads");
  } catch (error) {
    return fault(
      name,
      messageOf(error),
      "Use glibc 2.36 or later; sysctl vm.memfd_noexec must be 0 or 1.",
    );
  }
}

function memory(): MachineCheck {
  const name = "memory";
  const line = /^MemAvailable:\s*(\d+) kB/m.exec(readFileSync("/proc/meminfo", "utf8"));
  const available = Number(line?.[1] ?? 0) * 1024;
  const found = `${megabytes(available)} available`;
  if (available >= MEMORY_NEEDED_BYTES) return ok(name, found);
  return warning(
    name,
    found,
    `Give the VM ${megabytes(MEMORY_NEEDED_BYTES)} to spare, or lower --flows and --packets.`,
  );
}

function tunDevice(): MachineCheck {
  const name = "/dev/net/tun";
  if (existsSync("/dev/net/tun")) return ok(name, "there, for --inside tap:NAME");
  return warning(name, "missing", "Load the module `tun`, or use --inside veth:NAME.");
}

function stateFolder(stateDir: string): MachineCheck {
  const name = "state folder";
  let folder = stateDir;
  while (!existsSync(folder)) folder = dirname(folder);
  try {
    accessSync(folder, constants.W_OK);
  } catch {
    return fault(name, `${folder} cannot be written`, "Name another with --state, or run as root.");
  }
  const free = freeBytes(folder);
  const found = `${stateDir}, ${megabytes(free)} free`;
  if (free >= STATE_NEEDED_BYTES) return ok(name, found);
  return warning(name, found, `Free ${megabytes(STATE_NEEDED_BYTES)} there, or name another.`);
}

/** Time stamps keep out replays across restarts, and blocks must be within 30 s. */
function clock(): MachineCheck {
  const name = "clock";
  const { adjtimex } = dlopen("libc.so.6", {
    adjtimex: { args: ["ptr"], returns: "i32" },
  }).symbols;
  // All zero asks and sets nothing.
  if (adjtimex(new Uint8Array(TIMEX_BYTES)) !== TIME_ERROR) return ok(name, "synchronised");
  return warning(
    name,
    "the kernel says that nobody keeps it right",
    "Run chrony or systemd-timesyncd: ledger nodes refuse blocks that are 30 s off.",
  );
}

/** By the agent's own eyes: what it would refuse, and what it would warn of. */
function networkInterface(name: string): MachineCheck {
  const check = `interface ${name}`;
  const vm = Namespace.own();
  try {
    const link = findOutside(vm, name);
    const found = `${link.up ? "up" : "down"}, MTU ${link.mtu}`;
    const sentences = warningsFor(vm, link, readConfiguration(vm, link));
    if (!link.up) sentences.push(`Bring it up: ip link set ${name} up`);
    return sentences.length === 0 ? ok(check, found) : warning(check, found, sentences.join(" "));
  } catch (error) {
    if (!(error instanceof AbsError)) throw error;
    return fault(check, error.message, error.remedy);
  } finally {
    vm.close();
  }
}

function megabytes(bytes: number): string {
  return `${Math.floor(bytes / 1e6)} MB`;
}
