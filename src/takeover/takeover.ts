/**
 * Taking over an interface (design/agent.md): the outside interface goes into a private network
 * namespace, its MAC, addresses and routes to the inside one, and back again as `onStop` says.
 * plan.ts has the steps; guard.ts acts when the agent dies, however; monitor.ts follows changes.
 * The driver ports are the agent's business: it attaches them in inPrivateNamespace().
 */
import { closeSync, rmSync } from "node:fs";
import { messageOf } from "../errors.ts";
import { addressBytes } from "./addresses.ts";
import type { AfterStep } from "./configure.ts";
import { guardPidPath } from "./guard.ts";
import { GuardProcess } from "./guard-process.ts";
import { checkName } from "./links.ts";
import { createPrivateNamespace, Namespace, removePrivateNamespace } from "./namespaces.ts";
import {
  configureInside,
  type Intent,
  intentAfresh,
  intentResumed,
  makeInside,
  moveOutside,
  prepareInside,
  verifyIsolation,
} from "./plan.ts";
import { insideMtuOf, sessionWarning } from "./preflight.ts";
import { type Leftover, lockOrRefuse, openLeftover } from "./recovery.ts";
import { FAR_NAME, restoreOutside } from "./restore.ts";
import {
  type InsideSpec,
  namespacePath,
  type OnStop,
  prepareStateDir,
  saveState,
  type TakeoverState,
} from "./state-file.ts";

export type TakeoverOptions = {
  readonly inside: InsideSpec;
  /** Name of the kernel interface that leads to the virtual switch. */
  readonly outside: string;
  readonly stateDir: string;
  readonly onStop: OnStop;
  /** What a packet grows by: 32 bytes, or 40 with the `udp` carrier. */
  readonly mtuReductionBytes: number;
  /** The program that calls runGuard(), without its `--state DIR`. */
  readonly guardCommand: readonly string[];
  /** Makes the TAP; called in the VM's namespace, for `inside.kind` tap only. */
  readonly createInside?: () => void;
  readonly warn?: (sentence: string) => void;
  /** Called after each step: tests kill the process there. */
  readonly afterStep?: AfterStep;
};

/** Takes the interface over, or resumes what an agent that was killed or stopped closed left. */
export async function takeOver(options: TakeoverOptions): Promise<Takeover> {
  const takeover = await prepare(options);
  try {
    await takeover.start();
    return takeover;
  } catch (thrown) {
    await takeover.giveUp();
    throw thrown;
  }
}

/** Everything before the first change: the lock, a look around, the state file. */
async function prepare(options: TakeoverOptions): Promise<Takeover> {
  checkName(options.inside.name);
  checkName(options.outside);
  prepareStateDir(options.stateDir);
  const lock = lockOrRefuse(options.stateDir);
  // It takes a while to start, so it does that while we look around.
  const guard = new GuardProcess(options.guardCommand, options.stateDir);
  let vm: Namespace | undefined;
  try {
    vm = Namespace.own();
    const leftover = leftoverToResume(options, vm);
    const privateNamespace =
      leftover?.privateNamespace ?? createPrivateNamespace(namespacePath(options.stateDir));
    options.afterStep?.("namespace-made");
    const intent = intentOrTidy(options, vm, leftover, privateNamespace);
    saveState(options.stateDir, intent.state);
    options.afterStep?.("state-saved");
    return new Takeover(options, intent, { vm, privateNamespace, lock, guard });
  } catch (thrown) {
    await guard.dismiss();
    vm?.close();
    closeSync(lock);
    throw thrown;
  }
}

function intentOrTidy(
  options: TakeoverOptions,
  vm: Namespace,
  leftover: Leftover | undefined,
  privateNamespace: Namespace,
): Intent {
  try {
    const { id } = privateNamespace;
    if (leftover !== undefined) return intentResumed(options, vm, leftover, id);
    return intentAfresh(options, vm, id);
  } catch (thrown) {
    privateNamespace.close();
    // Nothing has been changed; an older take-over must stay resumable.
    if (leftover === undefined) removePrivateNamespace(namespacePath(options.stateDir));
    throw thrown;
  }
}

/** A leftover of the same interface is resumed; one of another interface is given back first. */
function leftoverToResume(options: TakeoverOptions, vm: Namespace): Leftover | undefined {
  const leftover = openLeftover(options.stateDir, vm);
  if (leftover === undefined || leftover.state.outside.name === options.outside) return leftover;
  restoreOutside(options.stateDir, leftover.state, vm, leftover.privateNamespace, () => {});
  leftover.privateNamespace?.close();
  return undefined;
}

type Holdings = {
  readonly vm: Namespace;
  readonly privateNamespace: Namespace;
  readonly lock: number;
  readonly guard: GuardProcess;
};

/** An interface that has been taken over. */
export class Takeover {
  readonly stateDir: string;
  readonly inside: InsideSpec;
  /** The outside interface; its name is the same in the private namespace. */
  readonly outsideName: string;
  /** The far end of an inside veth, in the private namespace; undefined for a TAP. */
  readonly farName: string | undefined;
  /** MAC address of the VM: 12 hex digits. */
  readonly mac: string;
  /** What an earlier agent left was resumed, not begun afresh. */
  readonly resumed: boolean;
  readonly vm: Namespace;
  readonly privateNamespace: Namespace;
  readonly #options: TakeoverOptions;
  readonly #intent: Intent;
  readonly #lock: number;
  #state: TakeoverState;
  #guard: GuardProcess;
  #outsideMtu = 0;
  #insideMtu = 0;
  #ended = false;

  constructor(options: TakeoverOptions, intent: Intent, holdings: Holdings) {
    this.#options = options;
    this.#intent = intent;
    this.#state = intent.state;
    this.#lock = holdings.lock;
    this.#guard = holdings.guard;
    this.vm = holdings.vm;
    this.privateNamespace = holdings.privateNamespace;
    this.stateDir = options.stateDir;
    this.inside = options.inside;
    this.outsideName = options.outside;
    this.farName = options.inside.kind === "veth" ? FAR_NAME : undefined;
    this.mac = intent.state.outside.mac;
    this.resumed = intent.resumes;
  }

  get outsideMtu(): number {
    return this.#outsideMtu;
  }

  get insideMtu(): number {
    return this.#insideMtu;
  }

  /** What is on disk: what was found and what has been followed since. */
  get state(): TakeoverState {
    return this.#state;
  }

  get guardPid(): number {
    return this.#guard.pid;
  }

  /**
   * Calls `fn` with this thread in the private namespace, where the outside interface and the far
   * end are: driver ports are attached and started here. `fn` must not await.
   */
  inPrivateNamespace<T>(fn: () => T): T {
    return this.privateNamespace.run(fn);
  }

  /** The VM's own addresses, 4 or 16 bytes each. */
  addresses(): Uint8Array[] {
    return this.#state.configuration.addresses.map(addressBytes);
  }

  /** Changes what happens when the agent stops or dies from now on. */
  setOnStop(onStop: OnStop): void {
    if (this.#state.onStop !== onStop) this.saveState({ ...this.#state, onStop });
  }

  /** For monitor.ts: what has been followed is on disk before anybody relies on it. */
  saveState(state: TakeoverState): void {
    saveState(this.stateDir, state);
    this.#state = state;
  }

  /** Runs the plan; used by takeOver(). */
  async start(): Promise<void> {
    const afterStep = this.#options.afterStep ?? (() => {});
    const { vm, privateNamespace } = this;
    for (const warning of this.#intent.warnings) this.#warn(warning);
    await this.#sendGuard(this.#guard);
    afterStep("guard-started");
    const outside = moveOutside(this.#state, vm, privateNamespace, afterStep);
    const { mtuReductionBytes, createInside } = this.#options;
    this.#outsideMtu = outside.mtu;
    this.#insideMtu = insideMtuOf(outside.mtu, mtuReductionBytes, this.#state.configuration);
    const mtu = { outside: this.#outsideMtu, inside: this.#insideMtu };
    if (this.#intent.insideStands) {
      prepareInside(this.#state, vm, privateNamespace, mtu);
    } else {
      const link = makeInside(this.#state, vm, privateNamespace, createInside);
      afterStep("inside-made");
      prepareInside(this.#state, vm, privateNamespace, mtu);
      for (const problem of configureInside(this.#state, vm, link, afterStep)) this.#warn(problem);
    }
    verifyIsolation(this.#state, vm, privateNamespace);
    this.saveState({ ...this.#state, phase: "taken" });
    afterStep("taken");
    setTimeout(() => this.#warnAboutSessions(), 0);
  }

  #warnAboutSessions(): void {
    if (this.#ended) return;
    const warning = sessionWarning(this.vm, this.outsideName, this.#state.configuration);
    if (warning !== undefined) this.#warn(warning);
  }

  /**
   * Ends the take-over of an agent that stops cleanly; its ports must be closed before. `open`
   * gives the interface back as it was, with the changes made since. `closed` leaves the VM cut
   * off: the guard, and the mount, hold everything until the next start.
   */
  async restore(mode: OnStop): Promise<void> {
    if (this.#ended) return;
    if (mode === "closed") {
      this.setOnStop("closed");
      this.#guard.leaveOnDuty();
    } else {
      const afterStep = this.#options.afterStep ?? (() => {});
      const { vm, privateNamespace } = this;
      const problems = restoreOutside(this.stateDir, this.#state, vm, privateNamespace, afterStep);
      for (const problem of problems) this.#warn(problem);
      await this.#guard.dismiss();
      rmSync(guardPidPath(this.stateDir), { force: true });
    }
    this.#release();
  }

  /** Ends a take-over that failed on the way: as it was found; when resuming, as `onStop` says. */
  async giveUp(): Promise<void> {
    try {
      await this.restore(this.#intent.resumes ? this.#options.onStop : "open");
    } catch (thrown) {
      // The guard is still there and tries again when this process ends.
      this.#warn(`The interface could not be given back yet: ${messageOf(thrown)}`);
      this.#guard.leaveOnDuty();
      this.#release();
    }
  }

  async #sendGuard(guard: GuardProcess): Promise<void> {
    this.#guard = guard;
    await guard.go(() => {
      if (this.#ended) return;
      this.#warn("The guard process died; another one is started.");
      const next = new GuardProcess(this.#options.guardCommand, this.stateDir);
      this.#sendGuard(next).catch((thrown: unknown) => this.#warn(messageOf(thrown)));
    });
  }

  #warn(sentence: string): void {
    this.#options.warn?.(sentence);
  }

  #release(): void {
    this.#ended = true;
    this.vm.close();
    this.privateNamespace.close();
    closeSync(this.#lock);
  }
}
