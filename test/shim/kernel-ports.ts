/**
 * Run in a network namespace of its own by test/shim-ports.test.ts: DPDK ports on the kernel's
 * interfaces. Prints one JSON object of what was seen. @param argv[2] af_packet | tap | memif
 */
import { AbsError } from "../../src/errors.ts";
import { ShimBench } from "./shim-bench.ts";

const FRAME = Uint8Array.from({ length: 100 }, (_, i) => (i < 6 ? 0xff : i < 12 ? 2 : i));
FRAME.set([0x88, 0xb5], 12); // local experimental EtherType

const bench = new ShimBench();
const { shim } = bench;

/** A frame from one port to the other, found by waiting on the other's descriptor. */
function cross(from: number, to: number, descriptor: number) {
  const wait = new Int32Array(new ArrayBuffer(4));
  wait[0] = descriptor;
  bench.alloc(3, FRAME);
  const began = shim.symbols.abs_now_us();
  const sent = bench.send(from, 3);
  const ready = shim.symbols.abs_wait(wait, 1, 1_000_000);
  const waitedUs = shim.symbols.abs_now_us() - began;
  const received = bench.receiveAll(to, 3);
  const whole = received > 0 && Buffer.from(bench.packet(0)).equals(Buffer.from(FRAME));
  if (received > 0) bench.free(received);
  const idle = shim.symbols.abs_wait(wait, 1, 2000);
  return { sent, ready, waitedUs, received, whole, idle };
}

function afPacket() {
  const options = "blocksz=65536,framesz=2048,framecnt=2048";
  const one = shim.attachPort("net_af_packet0", `iface=one,${options}`);
  const two = shim.attachPort("net_af_packet1", `iface=two,${options}`);
  shim.startPort(one, { promiscuous: true });
  shim.startPort(two, { mtu: 1400 });
  const crossing = cross(one, two, shim.portDescriptor(two, 0));
  const stats = shim.portStats(two);
  const mac = Buffer.from(shim.portMac(one)).toString("hex");
  const distinct = shim.portDescriptor(one, 0) !== shim.portDescriptor(two, 0);
  // More than the receive ring holds, nobody receiving: the kernel's drops are counted.
  for (let i = 0; i < 64; i++) {
    bench.alloc(64, FRAME);
    const sent = bench.send(one, 64);
    if (sent < 64) shim.symbols.abs_free_burst(bench.at.handle + 4 * sent, 64 - sent);
  }
  const missed = shim.portStats(two).missed;
  shim.stopPort(one);
  shim.stopPort(two);
  return { ...crossing, mac, stats, distinct, missed, free: shim.symbols.abs_pool_available() };
}

function tap() {
  const port = shim.attachPort("net_tap0", "iface=abst0,mac=02:00:00:00:00:07");
  shim.startPort(port, { mtu: 1460 });
  const descriptor = shim.portDescriptor(port, 0);
  Bun.spawnSync(["ip", "link", "set", "abst0", "up"]); // the kernel then sends neighbour messages
  const wait = new Int32Array(new ArrayBuffer(4));
  wait[0] = descriptor;
  const ready = shim.symbols.abs_wait(wait, 1, 2_000_000);
  const received = bench.receiveAll(port, 1);
  const etherType = Buffer.from(bench.packet(0)).readUInt16BE(12);
  bench.free(received);
  const mtu = Bun.spawnSync(["cat", "/sys/class/net/abst0/mtu"]).stdout.toString().trim();
  const mac = Buffer.from(shim.portMac(port)).toString("hex");
  shim.stopPort(port);
  return { descriptor, ready, received, etherType, mtu, mac };
}

function memif(socket: string) {
  const server = shim.attachPort("net_memif0", `role=server,id=0,socket=${socket}`);
  const client = shim.attachPort("net_memif1", `role=client,id=0,socket=${socket}`);
  shim.startPort(server);
  shim.startPort(client);
  bench.alloc(3, FRAME);
  let sent = 0;
  for (let turn = 0; turn < 2000 && sent === 0; turn++) {
    shim.symbols.abs_wait(0, 0, 1000); // the two find each other in DPDK's own thread
    sent = bench.send(client, 3);
  }
  const received = bench.receiveAll(server, 3);
  const whole = Buffer.from(bench.packet(0)).equals(Buffer.from(FRAME));
  return { sent, received, whole };
}

const kinds: Record<string, () => object> = {
  af_packet: afPacket,
  tap,
  memif: () => memif(process.argv[3] ?? ""),
};
const run = kinds[process.argv[2] ?? ""];
if (run === undefined) throw new AbsError("TEST_USAGE", "af_packet | tap | memif");
console.log(JSON.stringify(run()));
process.exit(0);
