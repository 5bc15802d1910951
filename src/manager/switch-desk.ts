/**
 * Quarantine as it happens: keeps every switch as the database says (src/switch/switch-keeper.ts),
 * ends what has had its time, and tells of all of it. docs/manager.md "Quarantine", "Switches".
 */
import type { AbsEvent } from "../observe/event-record.ts";
import { CookieRange } from "../switch/flow-table.ts";
import { SwitchKeeper, type SwitchStatus } from "../switch/switch-keeper.ts";
import { parsePlace } from "../switch/switch-place.ts";
import type { ManagerState } from "./manager-state.ts";
import { quarantineRules } from "./quarantine-rules.ts";
import type { Quarantine } from "./quarantines.ts";
import type { SwitchEntry } from "./switches.ts";

/** How often time-outs are looked for; a switch has its own clock for them. */
const TICK_MS = 500;
/** A command waits so long for the switches. */
const SETTLE_MS = 2_000;

/** By the names of the switches. */
type SwitchStates = Readonly<Record<string, SwitchStatus["state"]>>;

export class SwitchDesk {
  readonly #keepers = new Map<string, SwitchKeeper>();
  readonly #cookies: CookieRange;
  #ticker: Timer | undefined;

  constructor(
    private readonly state: ManagerState,
    private readonly write: (event: AbsEvent) => void,
  ) {
    this.#cookies = new CookieRange(Number.parseInt(state.manager.keys.nodeId.slice(0, 8), 16));
  }

  start(): void {
    this.#endTimely();
    for (const entry of this.state.switches.list()) this.call(entry);
    this.#ticker = setInterval(() => this.#endTimely(), TICK_MS);
  }

  stop(): void {
    clearInterval(this.#ticker);
    for (const keeper of this.#keepers.values()) keeper.stop();
  }

  /** One that was added, or whose log-in has changed. */
  call(entry: SwitchEntry): void {
    const { name, tls, datapath } = entry;
    this.#keepers.get(name)?.stop();
    const { certificate, key, ca } = tls;
    const hasAll = certificate !== undefined && key !== undefined && ca !== undefined;
    const keeper = new SwitchKeeper({
      place: parsePlace(entry.place),
      tls: hasAll ? { certificate, key, ca } : undefined,
      access: { login: this.state.switches.loginOf(name), ca },
      datapathId: datapath === undefined ? undefined : BigInt(`0x${datapath}`),
      cookies: this.#cookies,
      wanted: () => this.#rulesOf(name),
      connected: (id) => this.write({ event: "switch-connected", switch: name, datapath: id }),
      lost: (reason) => this.write({ event: "switch-lost", switch: name, reason }),
      failed: (reason) => this.write({ event: "switch-refuses", switch: name, reason }),
    });
    this.#keepers.set(name, keeper);
  }

  /** Takes our rules from it, where it can be reached. @returns whether they are gone */
  async leave(name: string): Promise<boolean> {
    const keeper = this.#keepers.get(name);
    this.#keepers.delete(name);
    try {
      await keeper?.clear();
      return true;
    } catch {
      // It is removed all the same: its rules end by their time-out.
      return false;
    }
  }

  status(name: string): SwitchStatus | undefined {
    return this.#keepers.get(name)?.status;
  }

  /** A quarantine began. @returns the state of each switch after it was told */
  async began(one: Quarantine): Promise<SwitchStates> {
    const { number, tenant, nodeId: node, name, addresses, reason, author } = one;
    const until = one.endsAt === undefined ? undefined : new Date(one.endsAt * 1000).toISOString();
    const who = { quarantine: number, tenant, node, host: name, addresses };
    this.write({ event: "quarantine-began", ...who, reason, by: author, until });
    return this.#settle();
  }

  /** One is over. */
  async over(one: Quarantine, why: string): Promise<SwitchStates> {
    const { number, tenant, nodeId: node, name, addresses } = one;
    const who = { quarantine: number, tenant, node, host: name, addresses };
    this.write({ event: "quarantine-over", ...who, reason: why });
    return this.#settle();
  }

  async #settle(): Promise<SwitchStates> {
    const all = [...this.#keepers];
    await Promise.all(all.map(([, keeper]) => keeper.settled(SETTLE_MS)));
    return Object.fromEntries(all.map(([name, keeper]) => [name, keeper.status.state]));
  }

  #rulesOf(switchName: string) {
    const { quarantines, now } = this.state;
    const at = { switchName, cookies: this.#cookies, now: now() };
    return quarantineRules(quarantines.active(), at);
  }

  #endTimely(): void {
    const { quarantines, now } = this.state;
    const over = quarantines
      .active()
      .filter(({ endsAt }) => endsAt !== undefined && endsAt <= now());
    for (const one of over) {
      this.state.transaction(() => {
        quarantines.end(one.number, "time-out", now());
        if (one.tenant !== undefined) this.state.tenants.countUp(one.tenant);
      });
      void this.over(one, "time-out");
    }
  }
}
