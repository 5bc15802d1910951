/**
 * What people with the recovery key do (docs/ledger.md "Recovery"): a MASTER_TERM for an heir when
 * the master is lost for good or lies until nobody follows it any more, and a FORCED_REDRAW when a
 * committee that bears no fault waits for a member which lost its disk. A patient operator waits
 * until nothing that was said before the loss is under way any more, and all of the committee have
 * told what they hold. A hasty one redraws as soon as the program lets it, while the committee is
 * alive; it never says that the chain may fork.
 */
import type { NodeKeys } from "../chain/crypto-interface.ts";
import type { Attempt, Hash, Height, NodeId, PublicKey, Term } from "../chain/ledger-units.ts";
import type { Master } from "../chain/master-state.ts";
import { signMasterTerm } from "../chain/master-term.ts";
import type { ForcedRedrawMessage, MasterTermMessage } from "../chain/message-types.ts";
import {
  planRedraw,
  type RedrawPlan,
  redrawComplaint,
  signForRecovery,
  signRedraw,
} from "../chain/redraw-plan.ts";
import { FAULTS_END_MS, type Fault, isActive } from "./fault.ts";
import { Prng } from "./prng.ts";
import type { World } from "./world.ts";

/** How often an operator looks. */
export const WATCH_MS = 1000;
/** How often a hasty one does. */
export const HURRY_MS = 100;
/** No block for so long: something is wrong that does not mend itself. */
const REDRAW_AFTER_MS = 8000;
/** The same where a committee was named in haste: it may have liars to wait for. */
const REDRAW_AGAIN_MS = 60_000;
const HEIR_AFTER_MS = 45_000;
/** The longest that a message can be under way, a pause of its reader included. */
const QUIET_FROM_MS = FAULTS_END_MS + 8000;
/** From the question to what is made of the answers. */
const SURVEY_MS = 3000;
/** Members wait so long for a hasty operator, who often forgets them. */
const HASTY_HOLDS_MS = [300, 2000, 15_000];

export const OPERATOR_ACTS = [
  ...(["master-term", "forced-redraw", "hasty-redraw", "release"] as const),
];
export type OperatorAct = (typeof OPERATOR_ACTS)[number];

/** What an operator sees and touches. */
export interface Office {
  readonly nowMs: number;
  readonly lastSealedMs: number;
  /** Whoever is master now; undefined while it is down. */
  readonly master: Master | undefined;
  readonly masterKeys: NodeKeys;
  readonly isMasterLying: boolean;
  ask(nonce: Hash, holdMs: number): void;
  release(): void;
  redraw(redraw: ForcedRedrawMessage, mayFork: boolean): void;
  enthrone(keys: NodeKeys, term: MasterTermMessage): void;
  acted(act: OperatorAct): void;
}

export class Operator {
  private readonly prng: Prng;
  private readonly masters: Set<PublicKey>;
  private readonly redraws: ForcedRedrawMessage[] = [];
  private newestTerm = 1;
  private askedMs: number | undefined;
  private hurriedMs: number | undefined;
  private redrawnMs = 0;
  /** Heights and masters at which a danger was accepted. */
  private readonly accepted = new Set<string>();
  private readonly hasteful: Prng;
  private readonly haste: Fault | undefined;
  private readonly isNeededForDisks: boolean;

  constructor(
    seed: number,
    private readonly world: World,
    private readonly office: Office,
    faults: readonly Fault[],
  ) {
    this.prng = Prng.of(seed, 6);
    this.hasteful = Prng.of(seed, 8);
    this.haste = faults.find(({ kind }) => kind === "hasty-operator");
    this.isNeededForDisks = faults.some(({ kind }) => kind === "needed-disk-lost");
    this.masters = new Set([world.master.signer.publicKey]);
  }

  get isHasty(): boolean {
    return this.haste !== undefined;
  }

  watch(): void {
    const { nowMs, isMasterLying } = this.office;
    const idleMs = nowMs - Math.max(this.office.lastSealedMs, FAULTS_END_MS);
    if (isMasterLying && idleMs > HEIR_AFTER_MS) return this.appoint();
    if (nowMs <= QUIET_FROM_MS || !(this.isNeededForDisks || this.isHasty)) return;
    const patienceMs = this.isNeededForDisks ? REDRAW_AFTER_MS : REDRAW_AGAIN_MS;
    if (idleMs > patienceMs) this.survey(patienceMs);
  }

  /** A new key reigns from the next term on. */
  appoint(): void {
    const { office, world } = this;
    this.newestTerm++;
    const heir = world.moreKeys();
    const masterPub = heir.signer.publicKey;
    const { chainId } = world.genesis;
    const words = { chainId, term: this.newestTerm as Term, masterPub };
    this.masters.add(masterPub);
    office.acted("master-term");
    office.enthrone(heir, signMasterTerm(world.recovery.signer, words));
  }

  /** Whether a key was ever given the office. */
  isMaster(publicKey: PublicKey): boolean {
    return this.masters.has(publicKey);
  }

  /** The committee that an operator named; undefined: nobody did. */
  committeeAt(height: Height, attempt: Attempt): readonly NodeId[] | undefined {
    return this.redraws.find((one) => one.height === height && one.attempt === attempt)?.committee;
  }

  /** The master has ordered it. */
  noteRedraw(redraw: ForcedRedrawMessage): void {
    this.redraws.push(redraw);
  }

  private survey(patienceMs: number): void {
    const { office } = this;
    if (this.askedMs === undefined) {
      if (office.master === undefined || office.nowMs - this.redrawnMs < patienceMs) return;
      this.askedMs = office.nowMs;
      return office.ask(this.nonce(this.prng), 2 * SURVEY_MS);
    }
    if (office.nowMs - this.askedMs < SURVEY_MS) return;
    this.askedMs = undefined;
    if (office.master !== undefined) this.forceRedraw(office.master);
  }

  private forceRedraw(master: Master): void {
    const plan = planRedraw(master, undefined);
    if ("refusal" in plan) return;
    const { height, signer } = plan.words;
    const isSafe = plan.dangers.length === 0;
    if (isSafe) return this.order(master, plan, "forced-redraw", false);
    // Where the only member of a committee lost its disk nobody can vouch for it. All have answered
    // and nothing that was said before the loss is under way any more: once a height.
    const place = `${height} ${signer}`;
    const isDisk = this.isNeededForDisks && plan.silent.length === 0;
    if (!isDisk || this.accepted.has(place)) return;
    this.accepted.add(place);
    this.order(master, plan, "forced-redraw", true);
  }

  private order(master: Master, plan: RedrawPlan, act: OperatorAct, mayFork: boolean): void {
    const { office, world } = this;
    const signature = signForRecovery(world.recovery.signer, plan.words);
    const redraw = signRedraw(office.masterKeys.signer, plan.words, signature);
    if (redrawComplaint(master, redraw, mayFork) !== undefined) return;
    this.redrawnMs = office.nowMs;
    office.acted(act);
    office.redraw(redraw, mayFork);
  }

  /** Asks, looks at the answers again and again, and redraws by the first that are enough. */
  hurry(): void {
    const { office, haste, hasteful } = this;
    if (haste === undefined || !isActive(haste, office.nowMs)) return;
    const { master, nowMs } = office;
    if (this.hurriedMs === undefined) {
      if (master === undefined || !hasteful.oneIn(5)) return;
      this.hurriedMs = nowMs;
      return office.ask(this.nonce(hasteful), hasteful.pick(HASTY_HOLDS_MS));
    }
    const plan = master === undefined ? undefined : this.hastyPlan(master);
    if (master !== undefined && plan !== undefined) {
      this.hurriedMs = undefined;
      return this.order(master, plan, "hasty-redraw", false);
    }
    if (nowMs - this.hurriedMs < SURVEY_MS / 2) return;
    this.hurriedMs = undefined;
    if (hasteful.oneIn(2)) return;
    office.acted("release");
    office.release();
  }

  /** Of all who answered, or of some. */
  private hastyPlan(master: Master): RedrawPlan | undefined {
    const { hasteful } = this;
    const answered = [...(master.survey?.answers.keys() ?? [])];
    const isNamed = answered.length > 0 && hasteful.oneIn(3);
    const some = hasteful.some(answered, hasteful.between(1, Math.max(1, answered.length)));
    const plan = planRedraw(master, isNamed ? some : undefined);
    return "refusal" in plan || plan.dangers.length > 0 ? undefined : plan;
  }

  private nonce(prng: Prng): Hash {
    return prng.bytes(32).toHex() as Hash;
  }
}

/** All that a simulation's checks know from the operator. */
export type Appointed = Pick<Operator, "isMaster" | "committeeAt">;
