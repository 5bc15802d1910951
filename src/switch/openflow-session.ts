/**
 * One connection with a switch in OpenFlow 1.3, without the socket: hello, features, echo, and
 * what the flow table asks for. Bytes of the switch are hostile: what cannot be right, comes too
 * often, or does not come in time ends the session, and nothing is kept that the switch can make
 * grow. Specification 1.3.5 §6.3 (connection), §7.
 */
import { AbsError } from "../errors.ts";
import {
  type CookieRange,
  DROP_PRIORITY,
  type DropRule,
  type FlowTable,
  HARD_SECONDS_MAX,
  type InstalledRule,
  RULES_MAX,
} from "./flow-table.ts";
import { MessageReader } from "./message-reader.ts";
import * as openflow from "./openflow-message.ts";

/** A switch is probed after so long without a word, and given up after as long again. */
const SILENCE_MS = 5_000;
const ANSWER_MS = 5_000;
/** Of what was not asked for; more is a flood. */
const UNASKED_PER_SECOND_MAX = 2_000;
const REQUESTS_MAX = 64;

export type SessionSeams = {
  readonly send: (bytes: Uint8Array) => void;
  /** The connection is to be closed; called once. */
  readonly ended: (why: string) => void;
  readonly ready: (datapathId: bigint) => void;
  /** The switch has removed a rule of ours: its time is over, or somebody else did it. */
  readonly removed: (cookie: bigint) => void;
};

type Request = {
  readonly deadlineMs: number;
  readonly resolve: (flows: readonly openflow.FlowStats[]) => void;
  readonly reject: (why: AbsError) => void;
  readonly flows: openflow.FlowStats[];
  /** Of the messages that this barrier closes: the first that was refused. */
  readonly covers: ReadonlySet<number>;
  refusal: string | undefined;
};

export class OpenFlowSession implements FlowTable {
  readonly #reader = new MessageReader();
  readonly #requests = new Map<number, Request>();
  #xid = 0;
  #phase: "hello" | "features" | "ready" | "ended" = "hello";
  #heardMs: number;
  #isProbed = false;
  #secondFromMs: number;
  #unasked = 0;

  /** @param cookies ours @param wantedId the datapath that must be at the other end, if one must */
  constructor(
    private readonly cookies: CookieRange,
    private readonly wantedId: bigint | undefined,
    private readonly seams: SessionSeams,
    nowMs = performance.now(),
  ) {
    this.#heardMs = nowMs;
    this.#secondFromMs = nowMs;
    seams.send(openflow.encodeHello(this.#nextXid()));
  }

  get isReady(): boolean {
    return this.#phase === "ready";
  }

  take(chunk: Uint8Array, nowMs = performance.now()): void {
    if (this.#phase === "ended") return;
    this.#heardMs = nowMs;
    this.#isProbed = false;
    this.#reader.take(chunk, (message) => this.#takeMessage(message, nowMs));
    if (this.#reader.isBroken) this.end("a message of it is shorter than its header");
  }

  /** To be called about once a second. */
  tick(nowMs = performance.now()): void {
    if (this.#phase === "ended") return;
    const silenceMs = nowMs - this.#heardMs;
    const late = [...this.#requests.values()].some(({ deadlineMs }) => deadlineMs < nowMs);
    if (late || silenceMs > 2 * SILENCE_MS) return this.end("it does not answer");
    if (silenceMs <= SILENCE_MS || this.#isProbed || this.#phase !== "ready") return;
    this.#isProbed = true;
    this.seams.send(openflow.encodeEchoRequest(this.#nextXid()));
  }

  end(why: string): void {
    if (this.#phase === "ended") return;
    this.#phase = "ended";
    const lost = switchLost(why);
    for (const { reject } of this.#requests.values()) reject(lost);
    this.#requests.clear();
    this.seams.ended(why);
  }

  /** @throws AbsError SWITCH_LOST, SWITCH_REFUSED */
  async installed(): Promise<readonly InstalledRule[]> {
    const { first, mask } = this.cookies;
    const flows = await this.#request((xid) => openflow.encodeFlowsRequest(xid, first, mask));
    return flows.filter(({ cookie }) => this.cookies.has(cookie)).map(installedRule);
  }

  /** @throws AbsError SWITCH_LOST, SWITCH_REFUSED */
  async change(adds: readonly DropRule[], removes: readonly InstalledRule[]): Promise<void> {
    if (!this.isReady) throw switchLost("it is not connected");
    const covers = new Set<number>();
    const send = (encode: (xid: number) => Uint8Array): void => {
      const xid = this.#nextXid();
      covers.add(xid);
      this.seams.send(encode(xid));
    };
    for (const { cookie, match, handle } of removes) {
      const [table = 0, priority = 0] = handle.split("/").map(Number);
      const flow = { cookie: cookie ?? this.cookies.first, match, priority, hardSeconds: 0 };
      send((xid) => openflow.encodeDeleteFlow(xid, flow, table));
    }
    for (const { cookie, match, seconds } of adds) {
      const hardSeconds = Math.max(1, Math.min(HARD_SECONDS_MAX, Math.ceil(seconds)));
      const flow = { cookie, match, priority: DROP_PRIORITY, hardSeconds };
      send((xid) => openflow.encodeAddFlow(xid, flow));
    }
    await this.#request((xid) => openflow.encodeBarrier(xid), covers);
  }

  #request(
    encode: (xid: number) => Uint8Array,
    covers: ReadonlySet<number> = new Set(),
  ): Promise<readonly openflow.FlowStats[]> {
    if (!this.isReady) return Promise.reject(switchLost("it is not connected"));
    if (this.#requests.size >= REQUESTS_MAX) return Promise.reject(switchLost("it is too slow"));
    const xid = this.#nextXid();
    return new Promise((resolve, reject) => {
      const deadlineMs = performance.now() + ANSWER_MS;
      const refusal = undefined;
      this.#requests.set(xid, { deadlineMs, resolve, reject, covers, refusal, flows: [] });
      this.seams.send(encode(xid));
    });
  }

  #nextXid(): number {
    this.#xid = (this.#xid + 1) >>> 0;
    return this.#xid;
  }

  #takeMessage(bytes: Uint8Array, nowMs: number): void {
    if (this.#phase === "ended") return;
    const message = openflow.decodeMessage(bytes);
    if (typeof message === "string") return this.end(`a message of it is wrong: ${message}`);
    if (!this.#requests.has(message.xid) && this.#isFlood(nowMs)) {
      return this.end("it sends more than anybody asked for");
    }
    if (this.#phase === "ready") this.#takeAnswer(message);
    else this.#greet(message);
  }

  /** Up to the features reply. */
  #greet(message: openflow.OpenFlowMessage): void {
    if (message.kind === "hello" && this.#phase === "hello") {
      if (!message.speaks13) return this.end("it does not speak OpenFlow 1.3");
      this.#phase = "features";
      this.seams.send(openflow.encodeFeaturesRequest(this.#nextXid()));
    } else if (message.kind === "features" && this.#phase === "features") {
      const { datapathId } = message;
      if (this.wantedId !== undefined && this.wantedId !== datapathId) {
        return this.end(`it is datapath ${datapathText(datapathId)}, which nobody expects here`);
      }
      this.#phase = "ready";
      this.seams.send(openflow.encodeSetAsync(this.#nextXid()));
      this.seams.ready(datapathId);
    } else if (message.kind === "echo-request") this.#echo(message.xid, message.data);
    else if (message.kind === "error") {
      this.end(`it refuses: ${errorText(message.type, message.code)}`);
    }
  }

  #takeAnswer(message: openflow.OpenFlowMessage): void {
    if (message.kind === "echo-request") return this.#echo(message.xid, message.data);
    if (message.kind === "flow-removed") {
      if (this.cookies.has(message.cookie)) this.seams.removed(message.cookie);
      return;
    }
    if (message.kind === "error") return this.#refused(message);
    const request = this.#requests.get(message.xid);
    if (request === undefined) return;
    if (message.kind === "flows") {
      request.flows.push(...message.flows);
      if (request.flows.length > 2 * RULES_MAX) {
        return this.end("it says that it has more rules of ours than we ever make");
      }
      if (!message.hasMore) this.#answer(message.xid, request);
    } else if (message.kind === "barrier") this.#answer(message.xid, request);
  }

  #answer(xid: number, { resolve, reject, refusal, flows }: Request): void {
    this.#requests.delete(xid);
    if (refusal === undefined) return resolve(flows);
    reject(switchRefused(refusal));
  }

  /** A refused message is named by its xid; its barrier comes later and tells who waits. */
  #refused({ xid, type, code }: { xid: number; type: number; code: number }): void {
    const text = errorText(type, code);
    const own = this.#requests.get(xid);
    if (own !== undefined) {
      this.#requests.delete(xid);
      own.reject(switchRefused(text));
      return;
    }
    for (const request of this.#requests.values()) {
      if (request.covers.has(xid)) request.refusal ??= text;
    }
  }

  #echo(xid: number, data: Uint8Array): void {
    this.seams.send(openflow.encodeEchoReply(xid, data));
  }

  #isFlood(nowMs: number): boolean {
    if (nowMs - this.#secondFromMs >= 1000) {
      this.#secondFromMs = nowMs;
      this.#unasked = 0;
    }
    return ++this.#unasked > UNASKED_PER_SECOND_MAX;
  }
}

function installedRule(flow: openflow.FlowStats): InstalledRule {
  const { cookie, match, table, priority, hardSeconds, ageSeconds } = flow;
  const isOurs = table === 0 && priority === DROP_PRIORITY && hardSeconds > 0;
  return {
    ...{ cookie, match, handle: `${table}/${priority}` },
    isWhole: isOurs && !flow.hasOthers && !flow.hasInstructions,
    secondsLeft: Math.max(0, hardSeconds - ageSeconds),
  };
}

/** As `ovs-ofctl show` has it. */
export function datapathText(id: bigint): string {
  return id.toString(16).padStart(16, "0");
}

function errorText(type: number, code: number): string {
  return `OpenFlow error type ${type} code ${code}`;
}

function switchLost(why: string): AbsError {
  return new AbsError("SWITCH_LOST", `The switch is lost: ${why}.`, "It is called again.");
}

function switchRefused(why: string): AbsError {
  const remedy = "Look into the switch's log; `abs manager switch list` shows the state.";
  return new AbsError("SWITCH_REFUSED", `The switch refuses a rule: ${why}.`, remedy);
}
