/**
 * A data-plane worker: one thread, one queue of each port, an endless loop that never awaits.
 * design/README.md "Threads of an agent process": rx burst → verdict → seal or open → tx burst,
 * commands and punts over shared memory. It survives a stalled main thread: sessions keep flowing.
 * Waiting is adaptive: after IDLE_TURNS empty turns it sleeps on the ports' file descriptors.
 */
import { Ingress } from "../dataplane/ingress.ts";
import type { Plane } from "../dataplane/plane.ts";
import { addressOf, openShim, type Shim } from "../dataplane/shim.ts";
import { AbsError, messageOf } from "../errors.ts";
import { CloneWatch } from "../takeover/clone-detector.ts";
import { WorkerCommands } from "./worker-commands.ts";
import { buildPlane, publishCounters } from "./worker-plane.ts";
import type { WorkerReady, WorkerSetup } from "./worker-setup.ts";

/** Empty turns before the worker sleeps: a few microseconds, so that bursts stay together. */
const IDLE_TURNS = 32;
const IDLE_WAIT_US = 100_000;
/** While packets wait for a session or more bytes, so that their time limits are kept. */
const HELD_WAIT_US = 5_000;
/** Without file descriptors to sleep on. */
const BLIND_WAIT_US = 50;
const HOUSEKEEPING_US = 10_000;

class WorkerLoop {
  readonly #ingress: Ingress;
  readonly #commands: WorkerCommands;
  readonly #clones = new CloneWatch();
  readonly #descriptors: Int32Array<ArrayBuffer>;
  readonly #descriptorsPointer: number;
  #housekeepingUs = 0;

  constructor(
    readonly shim: Shim,
    readonly plane: Plane,
    readonly setup: WorkerSetup,
  ) {
    this.#ingress = new Ingress(plane);
    this.#commands = new WorkerCommands(shim, plane, setup);
    this.#descriptors = new Int32Array(new ArrayBuffer(4 * Math.max(1, setup.descriptors.length)));
    this.#descriptors.set(setup.descriptors);
    this.#descriptorsPointer = addressOf(this.#descriptors);
  }

  run(): void {
    const { plane, shim } = this;
    let idleTurns = 0;
    plane.nowUs = shim.symbols.abs_now_us();
    this.#keepHouse(); // the first burst needs the time, too
    while (!this.#commands.isStopped) {
      plane.nowUs = shim.symbols.abs_now_us();
      // Before any packet: a counter must not repeat under one key (docs/wire.md "DATA").
      if (this.#clones.hasSlept(plane.nowUs)) this.#commands.forgetEverything();
      this.#commands.carryOut();
      const moved = plane.egress.poll() + this.#ingress.poll();
      if (plane.nowUs >= this.#housekeepingUs) this.#keepHouse();
      idleTurns = moved === 0 && !this.#commands.isBusy ? idleTurns + 1 : 0;
      if (idleTurns > IDLE_TURNS && !this.setup.busy) this.#sleep();
    }
    this.#commands.drain();
    publishCounters(plane);
  }

  /** Until a packet, a command, or the next time limit. */
  #sleep(): void {
    const { plane, shim } = this;
    const count = this.setup.descriptors.length;
    let waitUs = count === 0 ? BLIND_WAIT_US : IDLE_WAIT_US;
    if (plane.holds.count > 0 || plane.fragmentsIn.heldCount + plane.fragmentsOut.heldCount > 0) {
      if (waitUs > HELD_WAIT_US) waitUs = HELD_WAIT_US;
    }
    publishCounters(plane);
    shim.symbols.abs_wait(this.#descriptorsPointer, count, waitUs);
  }

  /** Time limits, a bounded piece at a time. */
  #keepHouse(): void {
    const { plane } = this;
    this.#housekeepingUs = plane.nowUs + HOUSEKEEPING_US;
    if (this.#clones.hasChanged()) this.#commands.forgetEverything();
    plane.nowSeconds = Math.floor(plane.nowUs / 1e6);
    plane.wallSeconds = Math.floor(Date.now() / 1000);
    plane.keepTimes();
    publishCounters(plane);
  }
}

declare const self: Worker;

self.onmessage = (message: MessageEvent<WorkerSetup>) => {
  const setup = message.data;
  let loop: WorkerLoop;
  try {
    const shim = openShim(setup.shimPath);
    shim.registerThread();
    const built = buildPlane(shim, setup);
    loop = new WorkerLoop(shim, built.plane, setup);
    const ready: WorkerReady = {
      ready: true,
      restoredFlows: built.restoredFlows,
      flowFileIgnored: built.flowFileIgnored,
    };
    self.postMessage(ready);
  } catch (error) {
    const failed: WorkerReady = {
      ready: false,
      code: error instanceof AbsError ? error.code : "WORKER_FAILED",
      message: messageOf(error),
    };
    self.postMessage(failed);
    return;
  }
  loop.run();
  loop.shim.unregisterThread();
  self.postMessage({ stopped: true });
};
