/**
 * The contracts an agent holds: which it may name, which it accepts, which are over.
 * docs/wire.md "HANDSHAKE" (choice and generations) and "Lifetimes". Expiry is by our own clock and
 * for ever: a contract seen expired stays so when the clock is set back.
 */
import { toHex } from "../bytes.ts";
import type { EpochSeconds, WallMillis } from "../units.ts";
import {
  type Contract,
  type ContractCarried,
  type ContractRule,
  type ContractUse,
  contractFits,
  endOfUse,
  type GenerationSecret,
} from "./contract.ts";

/** A contract whose end is nearer than this is named only when there is no other. */
const NEAR_END_SECONDS = 30;

export type ContractWish = ContractCarried & {
  readonly rule: ContractRule | undefined;
  /** Newest generations that the peer announced; undefined: nothing is announced here. */
  readonly announced: ReadonlyMap<string, number> | undefined;
  /** Newest generations that the peer's own messages proved that it holds. */
  readonly proven?: ReadonlyMap<string, number>;
  /** Asked where the newest generation is not proven and an older one will do as well. */
  readonly takesOlder?: () => boolean;
  /** Contracts that brought no answer lately: named when there is no other. */
  readonly avoids?: (scId: string) => boolean;
};

export class ContractBook {
  private contracts: readonly Contract[] = [];
  private byId = new Map<string, Contract>();
  private readonly expired = new Set<string>();
  private seconds = 0 as EpochSeconds;

  constructor(contracts: readonly Contract[]) {
    this.replace(contracts);
  }

  replace(contracts: readonly Contract[]): void {
    this.contracts = contracts;
    this.byId = new Map(contracts.map((contract) => [toHex(contract.scIdBytes), contract]));
    for (const { scId, state } of contracts) if (state === "expired") this.expired.add(scId);
  }

  /** Takes the time; returns the contracts that have just come to their end. */
  keepTime(wall: WallMillis): Contract[] {
    this.seconds = Math.floor(wall / 1000) as EpochSeconds;
    const over = this.contracts.filter(
      ({ scId, scLifetime }) => scLifetime <= this.seconds && !this.expired.has(scId),
    );
    for (const { scId } of over) this.expired.add(scId);
    return over;
  }

  /** What a message names by id and generation, if it may be used now. */
  find(
    scIdBytes: Uint8Array,
    generation: number,
  ): ContractUse | "contract-unknown" | "contract-inactive" {
    const contract = this.byId.get(toHex(scIdBytes));
    if (contract === undefined) return "contract-unknown";
    if (!this.isActive(contract)) return "contract-inactive";
    const secret = contract.secrets.find((known) => known.generation === generation);
    if (secret === undefined || !this.isRunning(secret)) return "contract-unknown";
    return { contract, generation: secret };
  }

  /** Whether a session may go on under this contract and generation. */
  isUsable(use: ContractUse): boolean {
    const found = this.find(use.contract.scIdBytes, use.generation.generation);
    return typeof found !== "string";
  }

  /** A contract to name in our own message: any that policy allows, `pick` chooses the position. */
  choose(wish: ContractWish, pick: (count: number) => number): ContractUse | undefined {
    const all: ContractUse[] = [];
    for (const contract of this.contracts) {
      if (!this.isActive(contract) || !contractFits(contract, wish, wish.rule)) continue;
      const generation = this.generationFor(contract, wish);
      if (generation !== undefined) all.push({ contract, generation });
    }
    const lasting = all.filter((use) => endOfUse(use) > this.seconds + NEAR_END_SECONDS);
    const usable = lasting.length > 0 ? lasting : all;
    const untried = usable.filter(({ contract }) => wish.avoids?.(contract.scId) !== true);
    const uses = untried.length > 0 ? untried : usable;
    return uses[uses.length < 2 ? 0 : pick(uses.length)];
  }

  private isActive(contract: Contract): boolean {
    return contract.state === "true" && !this.expired.has(contract.scId);
  }

  private isRunning(secret: GenerationSecret): boolean {
    return secret.endsAt === undefined || secret.endsAt > this.seconds;
  }

  /** Whether there is no newer generation, of those the peer announced if it does announce. */
  isNewest(
    { contract, generation }: ContractUse,
    announced?: ReadonlyMap<string, number> | undefined,
  ): boolean {
    const known = this.byId.get(toHex(contract.scIdBytes));
    const limit = announced === undefined ? Infinity : (announced.get(contract.scId) ?? 0);
    const newest = known?.secrets.findLast(
      (secret) => secret.generation <= limit && this.isRunning(secret),
    );
    return newest === undefined || newest.generation <= generation.generation;
  }

  /** The newest generation that both sides hold, as far as that is known. */
  private generationFor(contract: Contract, wish: ContractWish): GenerationSecret | undefined {
    const { scId, secrets } = contract;
    const limit = wish.announced === undefined ? Infinity : wish.announced.get(scId);
    if (limit === undefined) return undefined;
    const newest = secrets.findLast(
      (secret) => secret.generation <= limit && this.isRunning(secret),
    );
    const isHeld = (wish.proven?.get(scId) ?? 0) >= (newest?.generation ?? 0);
    if (newest === undefined || isHeld || wish.announced !== undefined) return newest;
    const older = secrets.findLast(
      (secret) => secret.generation < newest.generation && this.isLasting(secret),
    );
    return older !== undefined && wish.takesOlder?.() === true ? older : newest;
  }

  private isLasting({ endsAt }: GenerationSecret): boolean {
    return endsAt === undefined || endsAt > this.seconds + NEAR_END_SECONDS;
  }
}
