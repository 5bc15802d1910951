/**
 * What people with the recovery key do (docs/ledger.md "Recovery"): a MASTER_TERM for an heir when
 * the master is lost for good or lies until nobody follows it any more, and a FORCED_REDRAW when a
 * committee that bears no fault waits for a member which lost its disk. An operator is patient: the
 * redraw waits until nothing that was said before the loss is under way any more, and until all of
 * the committee have told what they hold.
 */
import type { NodeKeys } from "../chain/crypto-interface.ts";
import type { Attempt, Hash, Height, NodeId, PublicKey, Term } from "../chain/ledger-units.ts";
import type { Master } from "../chain/master-state.ts";
import { signMasterTerm } from "../chain/master-term.ts";
import type { ForcedRedrawMessage, MasterTermMessage } from "../chain/message-types.ts";
import { planRedraw, signForRecovery, signRedraw } from "../chain/redraw-plan.ts";
import { FAULTS_END_MS } from "./fault.ts";
import { Prng } from "./prng.ts";
import type { World } from "./world.ts";

/** How often an operator looks. */
export const WATCH_MS = 1000;
/** No block for so long: something is wrong that does not mend itself. */
const REDRAW_AFTER_MS = 8000;
const HEIR_AFTER_MS = 45_000;
/** The longest that a message can be under way, a pause of its reader included. */
const QUIET_FROM_MS = FAULTS_END_MS + 8000;
/** From the question to what is made of the answers. */
const SURVEY_MS = 3000;

export const OPERATOR_ACTS = ["master-term", "forced-redraw"] as const;
export type OperatorAct = (typeof OPERATOR_ACTS)[number];

/** What an operator sees and touches. */
export interface Office {
  readonly nowMs: number;
  readonly lastSealedMs: number;
  /** Whoever is master now; undefined while it is down. */
  readonly master: Master | undefined;
  readonly masterKeys: NodeKeys;
  readonly isMasterLying: boolean;
  ask(nonce: Hash): void;
  redraw(redraw: ForcedRedrawMessage): void;
  enthrone(keys: NodeKeys, term: MasterTermMessage): void;
  acted(act: OperatorAct): void;
}

export class Operator {
  private readonly prng: Prng;
  private readonly masters: Set<PublicKey>;
  private readonly redraws: ForcedRedrawMessage[] = [];
  private newestTerm = 1;
  private askedMs: number | undefined;
  private redrawnMs = 0;

  constructor(
    seed: number,
    private readonly world: World,
    private readonly office: Office,
    /**
     * Only where a committee waits for a member without its votes: there nothing can be decided
     * between the answers and the redraw. Elsewhere it might, and the redraw would contradict it.
     */
    private readonly isNeededForDisks: boolean,
  ) {
    this.prng = Prng.of(seed, 6);
    this.masters = new Set([world.master.signer.publicKey]);
  }

  watch(): void {
    const { nowMs, isMasterLying } = this.office;
    const idleMs = nowMs - Math.max(this.office.lastSealedMs, FAULTS_END_MS);
    if (isMasterLying && idleMs > HEIR_AFTER_MS) return this.appoint();
    if (this.isNeededForDisks && nowMs > QUIET_FROM_MS && idleMs > REDRAW_AFTER_MS) this.survey();
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

  private survey(): void {
    const { office } = this;
    if (this.askedMs === undefined) {
      if (office.master === undefined || office.nowMs - this.redrawnMs < REDRAW_AFTER_MS) return;
      this.askedMs = office.nowMs;
      return office.ask(this.prng.bytes(32).toHex() as Hash);
    }
    if (office.nowMs - this.askedMs < SURVEY_MS) return;
    this.askedMs = undefined;
    if (office.master !== undefined) this.forceRedraw(office.master);
  }

  private forceRedraw(master: Master): void {
    const plan = planRedraw(master, undefined);
    if ("refusal" in plan || plan.silent.length > 0) return;
    const { office, world } = this;
    // Once it is named the member votes: from then on the same holds for this height.
    const { height, signer } = plan.words;
    if (this.redraws.some((one) => one.height === height && one.signer === signer)) return;
    const signature = signForRecovery(world.recovery.signer, plan.words);
    const redraw = signRedraw(office.masterKeys.signer, plan.words, signature);
    this.redraws.push(redraw);
    this.redrawnMs = office.nowMs;
    office.acted("forced-redraw");
    office.redraw(redraw);
  }
}

/** All that a simulation's checks know from the operator. */
export type Appointed = Pick<Operator, "isMaster" | "committeeAt">;
