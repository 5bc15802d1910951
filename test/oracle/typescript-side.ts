/**
 * The TypeScript side of oracle.test.ts, as a program: the same input on standard input and the
 * same output on standard output as `abs-oracle apply`, by the agent's own egress and ingress. A
 * process of its own, because DPDK starts once a process. What is sent comes out of a ring port's
 * far end.
 */
import { BenchPlane } from "../../src/bench/bench-plane.ts";
import { decodeOracleInput, encodePacket, type OracleInput } from "../../src/bench/oracle-input.ts";
import { F_BINDING } from "../../src/dataplane/flow-table.ts";
import { BURST_MAX } from "../../src/dataplane/send-queue.ts";
import { addressOf, ealArguments, fixedU32, openShim } from "../../src/dataplane/shim.ts";
import { KEY_MAX } from "../../src/dataplane/shim-symbols.ts";
import { assert } from "../../src/errors.ts";

const POOL_PACKETS = 4096;
const ROOM_BYTES = 2_176;
const RING_SLOTS = 1024;

const shim = openShim();
shim.startEal(ealArguments({ packets: POOL_PACKETS, roomBytes: ROOM_BYTES }));
shim.createPool(POOL_PACKETS, ROOM_BYTES);
shim.createKeys(KEY_MAX);
const { memory, bytes: pool } = shim.poolView();

function startedPair(name: string): readonly [number, number] {
  const pair = shim.pairPorts(name, RING_SLOTS);
  for (const port of pair) shim.startPort(port);
  return pair;
}

function planeOf(input: OracleInput, insidePort: number, outsidePort: number): BenchPlane {
  const { lane, carrierProtocol } = input;
  const bench = new BenchPlane({ shim, memory, insidePort, outsidePort, lane, carrierProtocol });
  for (const session of input.sessions) bench.addSession(session);
  for (const pair of input.pairs) bench.addPair(pair);
  for (const [peer, mtu] of input.peers.entries()) bench.setMtu(peer, mtu);
  for (const flow of input.flows) {
    const session = input.sessions[input.bindings[flow[F_BINDING] - 1] ?? -1];
    assert(session !== undefined, "every flow of the test has a session");
    bench.addFlow(flow, bench.bindingOf(session));
  }
  return bench;
}

/** What arrives at `port`, as output rows. */
function drain(port: number, out: Uint8Array[]): void {
  const handle = fixedU32(BURST_MAX);
  const offset = fixedU32(BURST_MAX);
  const length = fixedU32(BURST_MAX);
  const [handles, offsets, lengths] = [addressOf(handle), addressOf(offset), addressOf(length)];
  for (;;) {
    const count = shim.symbols.abs_rx_burst(port, 0, handles, offsets, lengths, BURST_MAX);
    if (count === 0) return;
    for (let i = 0; i < count; i++) {
      out.push(encodePacket(pool.slice(offset[i], offset[i] + length[i])));
    }
    shim.symbols.abs_free_burst(handles, count);
  }
}

const [inside, insideFar] = startedPair("inside");
const [outside, outsideFar] = startedPair("outside");
const input = decodeOracleInput(new Uint8Array(await Bun.stdin.arrayBuffer()));
const bench = planeOf(input, inside, outside);
const side = input.direction === "ingress" ? bench.ingress : bench.egress;
const rows: Uint8Array[] = [];
for (let first = 0; first < input.packets.length; first += BURST_MAX) {
  const burst = input.packets.slice(first, first + BURST_MAX);
  const { handle, offset } = side;
  const count = burst.length;
  const got = shim.symbols.abs_alloc_burst(addressOf(handle), addressOf(offset), count);
  assert(got === count, "the pool has packets");
  for (const [i, packet] of burst.entries()) {
    pool.set(packet, offset[i]);
    side.length[i] = packet.length;
  }
  side.process(count);
  drain(input.direction === "ingress" ? insideFar : outsideFar, rows);
}
process.stderr.write(`${JSON.stringify([...bench.plane.counters.read()])}\n`);
const output = Bun.stdout.writer();
for (const row of rows) output.write(row);
await output.end();
process.exit(0);
