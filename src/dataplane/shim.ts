/**
 * The shim as TypeScript uses it. Control calls (start, attach, compile …) are methods that throw
 * an AbsError with DPDK's own reason; the hot path calls `symbols` directly with addresses taken
 * once and reads counts and negative codes itself. c/abs_shim.h is the interface, c/*_shim.c
 * documents each function: shapes, units, ownership, calling thread.
 *
 * Order: main thread `openShim()`, `startEal(ealArguments({…}))`, `createPool`, `createKeys`,
 * ports; then each worker `openShim(path)`, `registerThread()`, `poolView()`. EAL starts once a
 * process.
 */
import { type Pointer, ptr, toArrayBuffer } from "bun:ffi";
import { AbsError, assert } from "../errors.ts";
import { allowedCpus, openEmbedded, openShared } from "./shim-library.ts";
import { SHIM_ABI_VERSION, SHIM_ERROR, type ShimSymbols } from "./shim-symbols.ts";

export type { ShimSymbols } from "./shim-symbols.ts";

/**
 * Bytes kept free in front of each received packet (RTE_PKTMBUF_HEADROOM): room for ABS headers.
 */
export const HEADROOM_BYTES = 128;
/** What one packet costs beside its room: DPDK's object header (64), mbuf (128), rounding (64). */
const PACKET_OVERHEAD_BYTES = 256;
/** Memory for rings, port queues and DPDK's own tables beside the pool. */
const EAL_BASE_MB = 24;
const DRIVER_NAME_BYTES = 32;
const STATS_COUNT = 8;

export interface EalOptions {
  /** Packets and bytes a packet, as for `createPool`: they size EAL's memory. */
  readonly packets: number;
  readonly roomBytes: number;
  /** Use the machine's reserved huge pages instead of ordinary memory. */
  readonly hugePages?: boolean;
  /** PCI addresses ("0000:00:04.0") of devices to drive. None: EAL does not look at the PCI bus. */
  readonly pciDevices?: readonly string[];
}

export interface PortSettings {
  /** Receive queues, and as many to send. */
  readonly queues?: number;
  /** Descriptors of each queue. */
  readonly descriptors?: number;
  /** MTU in bytes; 0 leaves it. */
  readonly mtu?: number;
  readonly promiscuous?: boolean;
}

/** Counts of a port since it was attached. */
export interface PortStats {
  readonly receivedPackets: number;
  readonly sentPackets: number;
  readonly receivedBytes: number;
  readonly sentBytes: number;
  /** Lost before the port's driver took them, kernel drops of an AF_PACKET socket included. */
  readonly missed: number;
  readonly receiveErrors: number;
  readonly sendErrors: number;
  /** Lost because the pool was empty. */
  readonly withoutBuffer: number;
}

/** All packets of the pool as one range: offsets from the shim are offsets into these. */
export interface PoolView {
  readonly memory: DataView;
  readonly bytes: Uint8Array;
}

/**
 * The EAL command line. It opens no file and leaves none: no configuration shared with other
 * processes, no telemetry socket, no lock; so any number of agents run beside each other, also
 * where only glibc is installed and /sys is not mounted.
 */
export function ealArguments(options: EalOptions): string[] {
  const poolBytes = options.packets * (options.roomBytes + PACKET_OVERHEAD_BYTES);
  const memoryMb = Math.ceil(poolBytes / 2 ** 20) + EAL_BASE_MB;
  const pciDevices = options.pciDevices ?? [];
  return [
    "abs",
    // One lcore that may run on any CPU this process may: without it EAL starts a thread a CPU.
    `--lcores=0@(${allowedCpus().join(",")})`,
    // --in-memory means huge pages without files; EAL refuses it together with --no-huge.
    ...(options.hugePages === true ? ["--in-memory"] : ["--no-huge", "--no-shconf"]),
    ...(options.hugePages === true ? [] : ["-m", String(memoryMb), "--iova-mode=va"]),
    "--no-telemetry",
    // Otherwise EAL takes every NIC that has a driver for user space, the machine's own included.
    ...(pciDevices.length === 0 ? ["--no-pci"] : pciDevices.flatMap((device) => ["-a", device])),
  ];
}

/**
 * An array whose memory never moves, so that its address may be kept. (JavaScriptCore moves the
 * content of a small array that was made without a buffer when somebody asks for its `buffer`.)
 */
export function fixedU32(count: number): Uint32Array<ArrayBuffer> {
  return new Uint32Array(new ArrayBuffer(count * 4));
}

/** As fixedU32, of bytes. */
export function fixedU8(count: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new ArrayBuffer(count));
}

/** Address of an array's first element, for the calls of `symbols`; valid while the array lives. */
export function addressOf(array: NodeJS.TypedArray): number {
  return ptr(array);
}

function cString(text: string): Uint8Array {
  assert(!text.includes("\0"), `text for the shim holds a NUL: ${JSON.stringify(text)}`);
  return Buffer.from(`${text}\0`);
}

/** Opens the shim: without a path in the main thread, with the main thread's `path` in a worker. */
export function openShim(path?: string): Shim {
  const opened = path === undefined ? openEmbedded() : { path, symbols: openShared(path) };
  const version = opened.symbols.abs_abi_version();
  if (version !== SHIM_ABI_VERSION) {
    throw new AbsError(
      "SHIM_VERSION",
      `The native part has interface ${version}; this program needs ${SHIM_ABI_VERSION}.`,
      "Build again with `make build`.",
    );
  }
  return new Shim(opened.path, opened.symbols);
}

const ERROR_CODES = new Map<number, string>([
  [SHIM_ERROR.argument, "SHIM_ARGUMENT"],
  [SHIM_ERROR.dpdk, "DPDK_REFUSED"],
  [SHIM_ERROR.memory, "SHIM_MEMORY"],
  [SHIM_ERROR.state, "SHIM_STATE"],
  [SHIM_ERROR.crypto, "CRYPTO_REFUSED"],
  [SHIM_ERROR.match, "EXPRESSION_REFUSED"],
]);

/** The opened shim of one thread. */
export class Shim {
  constructor(
    /** What a worker of this process gives to `openShim`. */
    readonly path: string,
    /** Every function of c/abs_shim.h, for the hot path. */
    readonly symbols: ShimSymbols,
  ) {}

  /** Words of this thread's last failed call. */
  lastError(): string {
    return this.symbols.abs_last_error().toString();
  }

  /** Names and versions of the linked libraries. */
  versions(): string {
    return this.symbols.abs_versions().toString();
  }

  /** `result`, or an AbsError that says what was tried and why it failed. */
  check(result: number, tried: string, remedy = ""): number {
    if (result >= 0) return result;
    const code = ERROR_CODES.get(result) ?? "SHIM_FAILED";
    throw new AbsError(code, `${tried}: ${this.lastError()}`, remedy);
  }

  startEal(list: readonly string[]): void {
    this.check(
      this.symbols.abs_eal_start(cString(list.join("\n"))),
      "Starting DPDK failed",
      "With huge pages: reserve them first (vm.nr_hugepages). A PCI device: bind it to vfio-pci.",
    );
  }

  /** @param roomBytes of a packet, HEADROOM_BYTES of it in front of what is received */
  createPool(packets: number, roomBytes: number): void {
    this.check(
      this.symbols.abs_pool_create(packets, roomBytes),
      `Making a pool of ${packets} packets of ${roomBytes} bytes failed`,
      "Lower the number of packets, or reserve more huge pages.",
    );
  }

  /** One view over the pool; make it once a thread. */
  poolView(): PoolView {
    const place = new BigUint64Array(new ArrayBuffer(16));
    this.check(
      this.symbols.abs_pool_map(ptr(place), ptr(place) + 8),
      "The packet pool cannot be mapped",
    );
    const base = Number(place[0]) as Pointer; // user addresses are below 2^47
    const buffer = toArrayBuffer(base, 0, Number(place[1]));
    return { memory: new DataView(buffer), bytes: new Uint8Array(buffer) };
  }

  /** Attaches a virtual device in the network namespace this thread is in; returns the port. */
  attachPort(name: string, driverArguments: string): number {
    return this.check(
      this.symbols.abs_port_attach(cString(name), cString(driverArguments)),
      `Attaching port ${name} (${driverArguments}) failed`,
      "Check that the interface exists in this network namespace and that you are root.",
    );
  }

  /** The port of a device that was named to EAL. */
  findPort(name: string): number {
    return this.check(
      this.symbols.abs_port_find(cString(name)),
      `Port ${name} was not found`,
      "Check the address with `lspci -D` and that the device is bound to vfio-pci.",
    );
  }

  /** Two ports joined back to back. */
  pairPorts(name: string, slots: number): readonly [number, number] {
    const out = new Uint16Array(new ArrayBuffer(4));
    this.check(
      this.symbols.abs_port_pair(cString(name), slots, ptr(out)),
      `Making the port pair ${name} failed`,
    );
    return [out[0], out[1]];
  }

  startPort(port: number, settings: PortSettings = {}): void {
    const { queues = 1, descriptors = 1024, mtu = 0, promiscuous = false } = settings;
    this.check(
      this.symbols.abs_port_start(port, queues, descriptors, mtu, promiscuous ? 1 : 0),
      `Starting port ${port} failed`,
    );
  }

  stopPort(port: number): void {
    this.check(this.symbols.abs_port_stop(port), `Stopping port ${port} failed`);
  }

  /** What `abs_wait` polls for a queue, or -1 when its driver has no file descriptor. */
  portDescriptor(port: number, queue: number): number {
    const result = this.symbols.abs_port_descriptor(port, queue);
    if (result === SHIM_ERROR.state) return -1;
    return this.check(result, `Queue ${queue} of port ${port} is not there`);
  }

  portMac(port: number): Uint8Array {
    const out = fixedU8(6);
    this.check(this.symbols.abs_port_mac(port, ptr(out)), `The MAC of port ${port} is not known`);
    return out;
  }

  portDriver(port: number): string {
    const out = fixedU8(DRIVER_NAME_BYTES);
    this.check(
      this.symbols.abs_port_driver(port, ptr(out), out.length),
      `The driver of port ${port} is not known`,
    );
    return Buffer.from(out.subarray(0, out.indexOf(0))).toString("latin1");
  }

  portStats(port: number): PortStats {
    const out = new Float64Array(new ArrayBuffer(STATS_COUNT * 8));
    this.check(
      this.symbols.abs_port_stats(port, ptr(out)),
      `The counts of port ${port} are not known`,
    );
    return {
      receivedPackets: out[0],
      sentPackets: out[1],
      receivedBytes: out[2],
      sentBytes: out[3],
      missed: out[4],
      receiveErrors: out[5],
      sendErrors: out[6],
      withoutBuffer: out[7],
    };
  }

  /** A ring of packets between workers; its number is for abs_ring_put and abs_ring_take. */
  createRing(name: string, slots: number): number {
    return this.check(
      this.symbols.abs_ring_create(cString(name), slots),
      `Making the ring ${name} of ${slots} failed`,
    );
  }

  /** In each worker, before its first burst. */
  registerThread(): void {
    this.check(this.symbols.abs_thread_register(), "Registering the thread failed");
  }

  /** In each worker, before it ends. */
  unregisterThread(): void {
    this.check(this.symbols.abs_thread_unregister(), "Unregistering the thread failed");
  }

  createKeys(capacity: number): void {
    this.check(this.symbols.abs_keys_create(capacity), `Making room for ${capacity} keys failed`);
  }

  /** @param algorithm AES_128_GCM … of shim-symbols.ts. @param bytes the key, 16 or 32 bytes */
  setKey(key: number, algorithm: number, bytes: Uint8Array): void {
    assert(bytes.length === (algorithm === 1 ? 16 : 32), `a key of ${bytes.length} bytes`);
    this.check(
      this.symbols.abs_key_set(key, algorithm, ptr(bytes)),
      `Setting key ${key} of algorithm ${algorithm} failed`,
    );
  }

  clearKey(key: number): void {
    this.check(this.symbols.abs_key_clear(key), `Clearing key ${key} failed`);
  }

  /** Whether Hyperscan takes an expression: undefined, or its reason against it. */
  refusalOf(expression: string, flags: number): string | undefined {
    const result = this.symbols.abs_match_check(cString(expression), flags);
    return result < 0 ? this.lastError() : undefined;
  }

  /** @param entries as abs_match_compile documents them, of `count` contents. Returns the set. */
  compileExpressions(entries: Uint8Array, count: number): number {
    return this.check(
      this.symbols.abs_match_compile(entries, entries.length, count),
      `Compiling ${count} contents failed`,
      "Correct the expression named above; `abs sig lint` checks a file before it is used.",
    );
  }

  /**
   * As compileExpressions, from what saveExpressions gave for the same entries; undefined when
   * this machine or this version of Hyperscan does not take it.
   */
  loadExpressions(entries: Uint8Array, count: number, saved: Uint8Array): number | undefined {
    const result = this.symbols.abs_match_load(entries, entries.length, count, saved, saved.length);
    if (result === SHIM_ERROR.match) return undefined;
    return this.check(result, `Loading ${count} compiled contents failed`);
  }

  /** What loadExpressions takes. */
  saveExpressions(database: number): Uint8Array {
    const tried = `Saving database ${database} failed`;
    const bytes = this.check(this.symbols.abs_match_save(database, 0, 0), tried);
    const saved = fixedU8(bytes);
    this.check(this.symbols.abs_match_save(database, saved, bytes), tried);
    return saved;
  }

  /** In each thread that scans with `database`. */
  prepareDatabase(database: number): void {
    this.check(this.symbols.abs_match_prepare(database), `Preparing database ${database} failed`);
  }

  releaseDatabase(database: number): void {
    this.check(this.symbols.abs_match_release(database), `Releasing database ${database} failed`);
  }
}
