/**
 * Keeps one switch as it should be: compares what it has with what it should have whenever either
 * side comes back, something changes, the switch removes a rule, and every half minute. One
 * comparison at a time; a switch that never does as asked is asked less and less often.
 */
import { messageOf } from "../errors.ts";
import { type CookieRange, type DropRule, type FlowTable, RULES_MAX } from "./flow-table.ts";
import { OnosTable } from "./onos-table.ts";
import { OpenFlowLink, type TlsFiles } from "./openflow-link.ts";
import { datapathText } from "./openflow-session.ts";
import { difference } from "./reconciliation.ts";
import type { RestAccess } from "./rest-request.ts";
import { RyuTable } from "./ryu-table.ts";
import type { SwitchPlace } from "./switch-place.ts";

const AGAIN_MS = 30_000;
const PAUSE_MS_MIN = 20;
const FAILED_MS_MIN = 250;
const FAILED_MS_MAX = 15_000;
/** Nobody says that a REST controller is back: it is asked this often at the least. */
const REST_MS = 5_000;

export type KeeperOptions = {
  readonly place: SwitchPlace;
  readonly tls: TlsFiles | undefined;
  readonly access: Omit<RestAccess, "url">;
  readonly datapathId: bigint | undefined;
  readonly cookies: CookieRange;
  /** The rules that should be there now. */
  readonly wanted: () => readonly DropRule[];
  readonly connected: (datapath: string) => void;
  readonly lost: (why: string) => void;
  /** The rules are not as they should be; told once until they are. */
  readonly failed: (why: string) => void;
};

export type SwitchStatus = {
  readonly state: "as-wanted" | "not-connected" | "behind";
  /** Ours, at the last comparison. */
  readonly rules: number;
  readonly datapath: string;
  readonly why: string;
};

export class SwitchKeeper {
  readonly #table: FlowTable;
  readonly #link: OpenFlowLink | undefined;
  #status: SwitchStatus = { state: "not-connected", rules: 0, datapath: "", why: "" };
  #timer: Timer | undefined;
  #dueMs = Number.POSITIVE_INFINITY;
  #isBusy = false;
  #isAsked = false;
  #isClosed = false;
  #failedMs = FAILED_MS_MIN;
  #idle: (() => void)[] = [];

  constructor(private readonly options: KeeperOptions) {
    const { place, tls, access, datapathId, cookies } = options;
    if (place.kind === "rest") {
      const whole = { ...access, url: place.url };
      const Table = place.controller === "ryu" ? RyuTable : OnosTable;
      this.#table = new Table(whole, datapathId ?? 0n, cookies);
      this.change();
      return;
    }
    this.#link = new OpenFlowLink({
      ...{ place, tls, datapathId, cookies },
      ready: (id) => this.#connected(datapathText(id)),
      lost: (why) => this.#lost(why),
      removed: () => this.#plan(FAILED_MS_MIN),
    });
    this.#table = this.#link;
  }

  get status(): SwitchStatus {
    return this.#status;
  }

  /** What the switch should have is another now. */
  change(): void {
    this.#plan(0);
  }

  /** Resolves when it was compared after this call, `timeoutMs` are over, or it is not there. */
  settled(timeoutMs: number): Promise<void> {
    if (this.#link !== undefined && !this.#link.isReady) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, timeoutMs);
      this.#idle.push(() => {
        clearTimeout(timer);
        resolve();
      });
      this.#plan(0);
    });
  }

  /** Removes every rule of ours, if the switch can be reached now. */
  async clear(): Promise<void> {
    this.stop(false);
    try {
      await this.#table.change([], await this.#table.installed());
    } finally {
      this.#link?.close();
    }
  }

  stop(closes = true): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    if (closes) this.#link?.close();
  }

  #plan(pauseMs: number): void {
    if (this.#isClosed) return;
    if (this.#isBusy) {
      this.#isAsked = true;
      return;
    }
    const dueMs = performance.now() + Math.max(PAUSE_MS_MIN, pauseMs);
    if (dueMs >= this.#dueMs) return;
    this.#dueMs = dueMs;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#compare(), dueMs - performance.now());
  }

  async #compare(): Promise<void> {
    this.#dueMs = Number.POSITIVE_INFINITY;
    if (this.#link !== undefined && !this.#link.isReady) return;
    this.#isBusy = true;
    this.#isAsked = false;
    const waiting = this.#idle.splice(0);
    let nextMs = this.#link === undefined ? REST_MS : AGAIN_MS;
    try {
      const count = await this.#bringAbout();
      this.#asWanted(count);
    } catch (thrown) {
      this.#behind(messageOf(thrown));
      nextMs = this.#failedMs;
      this.#failedMs = Math.min(FAILED_MS_MAX, 2 * this.#failedMs);
    }
    this.#isBusy = false;
    for (const resolve of waiting) resolve();
    if (this.#isAsked || this.#idle.length > 0) this.#plan(PAUSE_MS_MIN);
    else this.#plan(nextMs);
  }

  /** @returns how many rules of ours there are now */
  async #bringAbout(): Promise<number> {
    const installed = await this.#table.installed();
    const wanted = this.options.wanted().slice(0, RULES_MAX);
    const { adds, removes } = difference(wanted, installed);
    if (adds.length + removes.length > 0) await this.#table.change(adds, removes);
    return wanted.length;
  }

  #connected(datapath: string): void {
    this.#status = { ...this.#status, state: "behind", datapath, why: "" };
    this.#failedMs = FAILED_MS_MIN;
    this.options.connected(datapath);
    this.change();
  }

  #lost(why: string): void {
    this.#status = { ...this.#status, state: "not-connected", why };
    this.options.lost(why);
  }

  #asWanted(rules: number): void {
    const isBack = this.#status.state === "not-connected";
    this.#failedMs = FAILED_MS_MIN;
    const datapath = this.#status.datapath || datapathText(this.options.datapathId ?? 0n);
    this.#status = { state: "as-wanted", rules, datapath, why: "" };
    if (isBack) this.options.connected(datapath);
  }

  #behind(why: string): void {
    const { state } = this.#status;
    // A lost connection was told of already; a REST controller has none.
    if (this.#link !== undefined && !this.#link.isReady) return;
    if (this.#link === undefined) {
      if (state !== "not-connected" || this.#status.why === "") this.options.lost(why);
      this.#status = { ...this.#status, state: "not-connected", why };
      return;
    }
    if (this.#status.why === "") this.options.failed(why);
    this.#status = { ...this.#status, state: "behind", why };
  }
}
