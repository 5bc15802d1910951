/**
 * Lookups against explain.ts, the slow reading of the same rules: random policies, random
 * questions, every field of the decision; and the meanings that matter most as a table.
 */
import { expect, test } from "bun:test";
import { Prng, seed } from "../../test/prng.ts";
import { type AddressWords, cidrRange, parseAddress, parseCidr } from "../wire/ip-text.ts";
import { type CompiledPolicy, compilePolicy, ruleName } from "./compile.ts";
import { DIRECTION_IN, DIRECTION_OUT, PolicyDecision, TAG_UNKNOWN } from "./decision.ts";
import { explainPolicy, type PolicyQuestion } from "./explain.ts";
import type { Policy, PolicyNames } from "./policy.ts";
import { PolicyView } from "./policy-view.ts";
import { parsePolicy } from "./schema.ts";
import { policySnapshotFrom } from "./snapshot.ts";

const NAMES: PolicyNames = {
  own: { id: "db", groups: ["data"], mode: "full" },
  peers: [
    { id: "web", groups: ["front"], mode: "full" },
    { id: "cache", groups: ["front", "data"], mode: "quick" },
    { id: "rogue", groups: [], mode: "full" },
  ],
  apps: ["", "app1", "app2", "app3"],
  otherTenants: [cidrRange(parseCidr("10.9.0.0/16") ?? never())],
};

function never(): never {
  throw new Error("the test's own data is wrong");
}

function address(text: string): AddressWords {
  return (parseAddress(text) ?? never()).words;
}

/** Asks the view; `tag` is an application's name, "" for the tenant, undefined for unknown. */
function ask(view: PolicyView, names: PolicyNames, question: PolicyQuestion): PolicyDecision {
  const decision = new PolicyDecision();
  const { version, words } = question.address;
  view.decide(
    question.direction === "in" ? DIRECTION_IN : DIRECTION_OUT,
    names.peers.findIndex(({ id }) => id === question.peer),
    ...words,
    version,
    question.app === undefined ? TAG_UNKNOWN : names.apps.indexOf(question.app),
    question.protocol,
    question.port,
    decision,
  );
  return decision;
}

const RULES = `
version: 1
defaults: { stage: enforce, refuse: reject }
rules:
  - { id: no-app2, direction: in, app: app2, to: { protocol: tcp, port: 80 }, action: deny }
  - { id: app1-in, direction: in, from: { group: front }, app: app1,
      to: { protocol: tcp, port: [80, "8000-8099"] }, action: allow, serverFirst: true }
  - { id: any-in, direction: in, from: { agent: web }, to: { protocol: udp }, action: allow }
  - { id: office, direction: in, from: { cidr: 192.0.2.0/24 }, to: { protocol: tcp, port: 22 },
      action: allow, refuse: drop, stage: warn }
  - { id: elsewhere, direction: in, to: { agent: web }, action: allow }
  - { id: app1-out, direction: out, to: { agent: [web, cache] }, app: app1, action: allow,
      return: identify, midstream: allow, contract: { protection: confidential } }
  - { id: no-telnet, direction: out, to: { protocol: tcp, port: 23 }, action: deny }
`;

const WEB = { version: 4 as const, words: address("10.1.0.11") };
const OUTSIDE = { version: 4 as const, words: address("192.0.2.7") };
const base = { direction: "in", peer: "web", address: WEB, protocol: 6, port: 80, app: "app1" };

const CASES: readonly {
  name: string;
  ask: Partial<PolicyQuestion>;
  action: number;
  rule: string;
}[] = [
  { name: "the named application", ask: {}, action: 1, rule: "app1-in" },
  { name: "last port of a range", ask: { port: 8099 }, action: 1, rule: "app1-in" },
  { name: "one past the range", ask: { port: 8100 }, action: 0, rule: "default-inbound" },
  { name: "another application", ask: { app: "app3" }, action: 0, rule: "default-inbound" },
  { name: "deny names it", ask: { app: "app2" }, action: 0, rule: "no-app2" },
  { name: "payload under the tenant", ask: { app: "" }, action: 0, rule: "default-inbound" },
  { name: "not yet identified", ask: { app: undefined }, action: 1, rule: "app1-in" },
  { name: "a peer of no group", ask: { peer: "rogue" }, action: 0, rule: "default-inbound" },
  { name: "any application", ask: { protocol: 17, app: "app3" }, action: 1, rule: "any-in" },
  { name: "any is not none", ask: { protocol: 17, app: "" }, action: 0, rule: "default-inbound" },
  {
    name: "from outside by cidr",
    ask: { peer: undefined, address: OUTSIDE, port: 22, app: "" },
    action: 1,
    rule: "office",
  },
  {
    name: "from outside otherwise",
    ask: { peer: undefined, address: OUTSIDE, protocol: 17, app: "" },
    action: 0,
    rule: "default-outside",
  },
  { name: "ICMP has no ports", ask: { protocol: 1 }, action: 0, rule: "default-inbound" },
  { name: "out", ask: { direction: "out" }, action: 1, rule: "app1-out" },
  {
    name: "out to a quick peer, unidentified",
    ask: { direction: "out", peer: "cache", app: "" },
    action: 1,
    rule: "app1-out",
  },
  {
    name: "out to a full peer, unidentified payload",
    ask: { direction: "out", app: "" },
    action: 0,
    rule: "default-outbound",
  },
  {
    name: "outside",
    ask: { direction: "out", peer: undefined, app: "" },
    action: 1,
    rule: "default-non-inter-vm",
  },
  {
    name: "deny to any holds outside too",
    ask: { direction: "out", peer: undefined, app: "", port: 23 },
    action: 0,
    rule: "no-telnet",
  },
  {
    name: "another tenant",
    ask: {
      direction: "out",
      peer: undefined,
      app: "",
      address: { version: 4, words: address("10.9.255.255") },
    },
    action: 0,
    rule: "default-other-tenant",
  },
  {
    name: "multicast",
    ask: {
      direction: "out",
      peer: undefined,
      app: "",
      address: { version: 6, words: address("ff02::fb") },
    },
    action: 0,
    rule: "default-multicast",
  },
];

const compiledRules = compilePolicy(parsePolicy(RULES, "test.yaml"), NAMES);

test.each([...CASES])("decide: $name", ({ ask: change, action, rule }) => {
  const view = new PolicyView(policySnapshotFrom(compiledRules.snapshot));
  const question = { ...base, ...change } as PolicyQuestion;
  const decision = ask(view, NAMES, question);
  expect(ruleName(compiledRules, decision.rule)).toBe(rule);
  expect(decision.action).toBe(action);
  // Asked again, the cache answers the same.
  expect(ask(view, NAMES, question)).toEqual(decision);
  expect([view.cacheHits, view.cacheMisses]).toEqual([1, 1]);
});

test("decide: every field of the deciding rule is written", () => {
  const view = new PolicyView(compiledRules.snapshot);
  const out = ask(view, NAMES, { ...base, direction: "out" } as PolicyQuestion);
  const { returnIdentify, midstreamUntil, contract, stage, refuse, serverFirst } = out;
  expect({ returnIdentify, midstreamUntil, contract, stage, refuse, serverFirst }).toEqual({
    returnIdentify: 1,
    midstreamUntil: Infinity,
    contract: 0,
    stage: 2,
    refuse: 1,
    serverFirst: 0,
  });
  expect(compiledRules.contracts[out.contract]).toEqual({ protection: "confidential" });
  const office = { ...base, peer: undefined, address: OUTSIDE, port: 22, app: "" };
  const { stage: warn, refuse: drop, contract: none } = ask(view, NAMES, office as PolicyQuestion);
  expect({ warn, drop, none }).toEqual({ warn: 1, drop: 0, none: -1 });
});

test("opensPort: a port is open to a peer when some application may use it", () => {
  const view = new PolicyView(compiledRules.snapshot);
  const out = new PolicyDecision();
  const opens = (peer: number, port: number) => view.opensPort(peer, ...WEB.words, 4, 6, port, out);
  expect(opens(0, 80)).toBe(true);
  expect(out.serverFirst).toBe(1);
  expect(opens(0, 81)).toBe(false);
  expect(opens(2, 80)).toBe(false);
});

/** A random policy in its file's form; few values, so that rules overlap. */
function randomPolicy(prng: Prng): Policy {
  const pick = <T>(values: readonly T[]): T => values[prng.below(values.length)];
  const remotes = [
    "any",
    { agent: "web" },
    { agent: ["cache", "rogue"] },
    { group: "front" },
    { cidr: "10.1.0.0/24" },
    { cidr: ["192.0.2.0/25", "2001:db8::/32"] },
  ];
  const rules = Array.from({ length: prng.below(14) }, (_, i) => {
    const direction = pick(["in", "out"]);
    const action = pick(["allow", "allow", "deny"]);
    const remote = pick(remotes);
    const to: Record<string, unknown> = {};
    const protocol = pick(["any", "tcp", "udp", "icmp", ["tcp", "udp"], "sctp"]);
    if (prng.oneIn(2)) to["protocol"] = protocol;
    if (to["protocol"] !== "icmp" && prng.oneIn(2)) {
      to["port"] = pick([80, "80-90", [22, 81], "0-65535", 85, "1-5"]);
    }
    const own = prng.oneIn(8) ? { agent: pick(["db", "web"]) } : {};
    const ends =
      direction === "in"
        ? { from: remote, to: { ...to, ...own } }
        : { from: own, to: typeof remote === "string" ? to : { ...remote, ...to } };
    return {
      id: `rule-${i}`,
      direction,
      ...ends,
      action,
      ...(prng.oneIn(2) ? { app: pick(["app1", "app2", "app3", "any"]) } : {}),
      ...(action === "allow" ? { serverFirst: prng.oneIn(3) } : {}),
      ...(prng.oneIn(3) ? { stage: pick(["observe", "warn", "enforce"]) } : {}),
    };
  });
  const defaults = {
    inbound: pick(["allow", "deny"]),
    outbound: pick(["allow", "deny"]),
    nonInterVm: pick(["allow", "deny"]),
  };
  return parsePolicy(JSON.stringify({ version: 1, defaults, rules }), "random.json");
}

function randomQuestion(prng: Prng): PolicyQuestion {
  const pick = <T>(values: readonly T[]): T => values[prng.below(values.length)];
  const text = pick([
    "10.1.0.11",
    "10.1.1.1",
    "192.0.2.7",
    "192.0.2.200",
    "2001:db8::5",
    "10.9.1.1",
  ]);
  return {
    direction: pick(["in", "out"]),
    peer: pick(["web", "cache", "rogue", undefined]),
    address: parseAddress(text) ?? never(),
    protocol: pick([6, 6, 17, 1, 132]),
    port: pick([80, 81, 85, 90, 91, 22, 0, 65_535, 3]),
    app: pick(["", "app1", "app2", "app3", undefined]),
  };
}

function expectAgreement(policy: Policy, names: PolicyNames, compiled: CompiledPolicy, prng: Prng) {
  const view = new PolicyView(compiled.snapshot);
  for (let i = 0; i < 300; i++) {
    const question = randomQuestion(prng);
    const told = explainPolicy(policy, names, question);
    const decision = ask(view, names, question);
    const context = JSON.stringify({ policy: policy.rules, question });
    expect([decision.action, context]).toEqual([Number(told.action === "allow"), context]);
    const mayDiffer = question.app === undefined && decision.action === 0;
    if (mayDiffer) continue; // which of several refusals is named is not promised
    const seen = {
      rule: ruleName(compiled, decision.rule),
      serverFirst: decision.serverFirst === 1 && decision.action === 1,
      stage: (["observe", "warn", "enforce"] as const)[decision.stage],
    };
    const { rule, serverFirst, stage } = told;
    expect({ ...seen, context }).toEqual({ rule, serverFirst, stage, context });
  }
}

test(`decide agrees with explain on random policies (SEED=${seed})`, () => {
  const prng = new Prng(seed);
  for (let round = 0; round < 350; round++) {
    const mode = prng.oneIn(3) ? "quick" : "full";
    const names: PolicyNames = { ...NAMES, own: { ...NAMES.own, mode } };
    const policy = randomPolicy(prng);
    expectAgreement(policy, names, compilePolicy(policy, names), prng);
  }
});

test("a policy without rules decides by its defaults", () => {
  const policy = parsePolicy("version: 1", "empty.yaml");
  const compiled = compilePolicy(policy, { ...NAMES, peers: [] });
  const view = new PolicyView(compiled.snapshot);
  const question: PolicyQuestion = {
    direction: "in",
    peer: undefined,
    address: OUTSIDE,
    protocol: 6,
    port: 80,
    app: "",
  };
  const decision = ask(view, NAMES, question);
  expect(ruleName(compiled, decision.rule)).toBe("default-outside");
});
