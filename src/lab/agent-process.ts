/**
 * An agent in a VM, however it was started: its process, which may end and start again, the events
 * that it writes, and its own status.
 */
import { AbsError } from "../errors.ts";
import { type Background, waitFor } from "./command.ts";
import { type AgentEvent, EventReader } from "./event-reader.ts";

const READY_TIMEOUT_MS = 60_000;
const STOP_GRACE_MS = 5_000;

/** Numbers of `abs agent status --output json` that the lab looks at. */
export interface AgentStatus {
  readonly [field: string]: unknown;
}

export interface AgentWays {
  /** The VM, for messages. */
  readonly vm: string;
  readonly eventsFile: string;
  readonly logFile: string;
  /** Starts its process, and again. */
  readonly spawn: () => Background;
  readonly askStatus: () => Promise<AgentStatus>;
}

export class AgentProcess {
  readonly events: EventReader;
  readonly #ways: AgentWays;
  #process: Background;
  #startedAt = 0;

  /** Starts it and returns at once; see ready(). */
  constructor(ways: AgentWays) {
    this.#ways = ways;
    this.#process = ways.spawn();
    this.events = new EventReader(ways.eventsFile);
  }

  get vm(): string {
    return this.#ways.vm;
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** What the agent printed outside its event file. */
  output(): string {
    return this.#process.output();
  }

  /** Waits for `agent-ready`; an agent that ends before is an error with its last words. */
  async ready(timeoutMs = READY_TIMEOUT_MS): Promise<AgentEvent> {
    let ended: number | undefined;
    void this.#process.exited.then((code) => {
      ended = code;
    });
    return await waitFor(
      `the agent of ${this.vm} to be ready`,
      () => {
        const isReady = (event: AgentEvent) => event.event === "agent-ready";
        const found = this.events.since(this.#startedAt).find(isReady);
        if (found === undefined && ended !== undefined) throw this.#startFailure(ended);
        return found;
      },
      timeoutMs,
      10,
    );
  }

  #startFailure(code: number): AbsError {
    const words = this.output().trim().split("\n").slice(-6).join("\n");
    const message = `The agent of ${this.vm} ended with code ${code} before it was ready:`;
    return new AbsError("LAB_AGENT", `${message}\n${words}`, `Its log is ${this.#ways.logFile}.`);
  }

  /** Ends the agent in order. */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<number> {
    return await this.#process.stop(signal, STOP_GRACE_MS);
  }

  /** Ends the agent without warning. */
  async kill(): Promise<void> {
    await this.#process.stop("SIGKILL");
  }

  signal(signal: NodeJS.Signals): void {
    process.kill(this.pid, signal);
  }

  /** Starts the agent again. */
  startAgain(spawn: () => Background = this.#ways.spawn): void {
    this.#startedAt = this.events.all().length;
    this.#process = spawn();
  }

  async status(): Promise<AgentStatus> {
    return await this.#ways.askStatus();
  }
}
