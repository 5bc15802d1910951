/**
 * Questions in words, answered by the data plane's own function (policy-view.ts): what
 * `abs policy explain`, `replay` and `suggest` say is what a worker would do. explain.ts tells the
 * reasons, and is the oracle of the tests.
 */
import { type CompiledPolicy, compilePolicy, ruleName } from "./compile.ts";
import {
  ACTION_ALLOW,
  DIRECTION_IN,
  DIRECTION_OUT,
  PEER_NONE,
  PolicyDecision,
  REFUSE_REJECT,
  STAGE_NAMES,
  TAG_UNKNOWN,
} from "./decision.ts";
import type { PolicyQuestion } from "./explain.ts";
import type { Action, Policy, PolicyNames, Refuse, Stage } from "./policy.ts";
import { PolicyView } from "./policy-view.ts";

export interface PolicyAnswer {
  readonly action: Action;
  /** Id of the deciding rule, or the name of a reserved one. */
  readonly rule: string;
  readonly stage: Stage;
  readonly serverFirst: boolean;
  readonly refuse: Refuse;
}

export class PolicyAnswers {
  readonly #compiled: CompiledPolicy;
  readonly #view: PolicyView;
  readonly #decision = new PolicyDecision();
  readonly #peers: ReadonlyMap<string, number>;

  /** Throws AbsError `POLICY_INVALID`. */
  constructor(
    policy: Policy,
    readonly names: PolicyNames,
  ) {
    this.#compiled = compilePolicy(policy, names);
    this.#view = new PolicyView(this.#compiled.snapshot);
    this.#peers = new Map(names.peers.map(({ id }, i) => [id, i]));
  }

  answer(question: PolicyQuestion): PolicyAnswer {
    const { version, words } = question.address;
    const decision = this.#decision;
    this.#view.decide(
      question.direction === "in" ? DIRECTION_IN : DIRECTION_OUT,
      this.#peers.get(question.peer ?? "") ?? PEER_NONE,
      ...words,
      version,
      question.app === undefined ? TAG_UNKNOWN : this.names.apps.indexOf(question.app),
      question.protocol,
      question.port,
      decision,
    );
    return {
      action: decision.action === ACTION_ALLOW ? "allow" : "deny",
      rule: ruleName(this.#compiled, decision.rule),
      stage: STAGE_NAMES[decision.stage] ?? "enforce",
      serverFirst: decision.action === ACTION_ALLOW && decision.serverFirst === 1,
      refuse: decision.refuse === REFUSE_REJECT ? "reject" : "drop",
    };
  }
}
