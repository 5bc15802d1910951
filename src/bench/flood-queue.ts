/**
 * One queue of `abs bench flood`: a pair of DPDK ring ports, a generator at the far end, and the
 * agent's own ingress at the near one. A burst of the flood is 60 packets: 24 without a header, 18
 * with a proof that does not hold, 18 that hold and meet no rule.
 */
import type { RecordRing } from "../dataplane/record-ring.ts";
import { addressOf, fixedU32, type Shim } from "../dataplane/shim.ts";
import { BenchPlane } from "./bench-plane.ts";
import { fillTables, LoadFiller, setPeerAddresses } from "./dataplane-load.ts";

const SESSIONS = 100;
const FLOWS = 10_000;
const PAYLOAD = 64;
const RING_SLOTS = 1_024;
const BURST = 60;
const BARE = 24;
const FORGED = 18;
/** Bursts that are made in one turn at most, however late it is. */
const BURSTS_A_TURN_MAX = 4;
const TIMES_EVERY_US = 10_000;
const CARRIER_PROTOCOL = 253;

/** Buffers of one kind of packets. */
class Buffers {
  readonly handle: Uint32Array<ArrayBuffer>;
  readonly offset: Uint32Array<ArrayBuffer>;
  readonly length: Uint32Array<ArrayBuffer>;

  constructor(readonly size: number) {
    this.handle = fixedU32(size);
    this.offset = fixedU32(size);
    this.length = fixedU32(size);
  }
}

export class FloodQueue {
  /** Packets that the port has taken since the start. */
  offered = 0;
  /** Reports of the data plane, for whoever tells of them. */
  readonly punts: RecordRing;
  readonly #bench: BenchPlane;
  readonly #filler: LoadFiller;
  readonly #far: number;
  readonly #bare = new Buffers(BARE);
  readonly #forged = new Buffers(FORGED);
  readonly #proven: Buffers;
  #startUs = 0;
  #rate = 0;
  #made = 0;
  #timesUs = 0;

  /** @param isEstablished its flows are known and allowed; otherwise it is the flood's */
  constructor(
    readonly shim: Shim,
    name: string,
    readonly isEstablished: boolean,
  ) {
    const [near, far] = shim.pairPorts(name, RING_SLOTS);
    shim.startPort(near);
    shim.startPort(far);
    this.#far = far;
    const inside = shim.attachPort(`net_null_${name}`, "size=64");
    shim.startPort(inside);
    this.#proven = new Buffers(isEstablished ? BURST : BURST - BARE - FORGED);
    const { memory } = shim.poolView();
    this.#bench = new BenchPlane({
      ...{ shim, memory, insidePort: inside, outsidePort: near },
      ...{ lane: 0, carrierProtocol: CARRIER_PROTOCOL },
    });
    this.punts = this.#bench.punts;
    const shape = { flows: FLOWS, sessions: SESSIONS };
    fillTables(this.#bench, isEstablished ? shape : { ...shape, flows: 0 });
    setPeerAddresses(this.#bench, SESSIONS);
    this.#filler = new LoadFiller(shim.symbols, memory, shape);
  }

  /** Packets that were delivered since the start. */
  get delivered(): number {
    return this.#bench.plane.inside.sentPackets;
  }

  /** Packets in drop counters since the start. */
  get refused(): number {
    const { dropsIn, dropsOut } = this.#bench.plane.counters;
    let sum = 0;
    for (let code = 0; code < dropsIn.length; code++) sum += dropsIn[code] + dropsOut[code];
    return sum;
  }

  drops(): Map<string, number> {
    return this.#bench.plane.counters.read();
  }

  /** From `nowUs` on, `rate` packets a second; Infinity: a burst a turn. */
  begin(nowUs: number, rate: number): void {
    this.#startUs = nowUs;
    this.#rate = rate;
    this.#made = 0;
  }

  /** Makes the bursts that are due, and has the data plane take them. */
  turn(nowUs: number): void {
    const plane = this.#bench.plane;
    plane.nowUs = nowUs;
    plane.nowSeconds = Math.floor(nowUs / 1e6);
    const due = ((nowUs - this.#startUs) * this.#rate) / 1e6;
    let bursts = this.#rate === Infinity ? 1 : BURSTS_A_TURN_MAX;
    for (; bursts > 0 && (this.#rate === Infinity || this.#made + BURST <= due); bursts--) {
      if (!this.isEstablished) {
        this.#send(this.#bare);
        this.#send(this.#forged);
      }
      this.#send(this.#proven);
      this.#made += BURST;
    }
    this.drain(nowUs);
  }

  /** Has the data plane take what lies in its port. */
  drain(nowUs: number): void {
    const plane = this.#bench.plane;
    while (this.#bench.ingress.poll() > 0);
    if (nowUs < this.#timesUs) return;
    this.#timesUs = nowUs + TIMES_EVERY_US;
    plane.keepTimes();
  }

  #send(buffers: Buffers): void {
    const { symbols } = this.shim;
    const handles = addressOf(buffers.handle);
    const { offset, length } = buffers;
    const count = symbols.abs_alloc_burst(handles, addressOf(offset), buffers.size);
    if (count <= 0) return;
    if (buffers === this.#bare) this.#filler.fillBare(offset, length, count, PAYLOAD);
    else if (buffers === this.#forged) this.#filler.fillForged(offset, length, count, PAYLOAD);
    else this.#filler.fillIngress(offset, length, count, PAYLOAD);
    const lengths = addressOf(length);
    const sent = symbols.abs_tx_burst(this.#far, 0, handles, addressOf(offset), lengths, count);
    this.offered += sent;
    if (sent < count) symbols.abs_free_burst(handles + 4 * sent, count - sent);
  }
}
