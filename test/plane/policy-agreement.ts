/**
 * Random policies brought into force in a running agent, random flows sent to it as frames, and
 * four who must say the same of each: the data plane (its decision, its event and what became of
 * the frame), what `abs policy explain` answers, what `abs policy replay` finds in the agent's
 * events, and policy-oracle.ts, written from docs/policy.md.
 */
import { expect } from "bun:test";
import { randomUUID } from "node:crypto";
import { generateKeyPair, generateTag } from "../../src/agent/keys.ts";
import { policyNames } from "../../src/agent/provisioning.ts";
import { type FlowWords, questionOf } from "../../src/cli/policy.ts";
import { F_STATE, FLOW_FREE, FLOW_WORDS } from "../../src/dataplane/flow-record.ts";
import { type CompiledPolicy, ruleName } from "../../src/policy/compile.ts";
import { type PolicyDecision, STAGE_NAMES } from "../../src/policy/decision.ts";
import { explainPolicy, type PolicyQuestion } from "../../src/policy/explain.ts";
import { ObservedFlows } from "../../src/policy/observed-flows.ts";
import { PolicyAnswers } from "../../src/policy/question.ts";
import { replay } from "../../src/policy/replay.ts";
import { formatAddress, parseAddress } from "../../src/wire/ip-text.ts";
import { Prng, seed } from "../prng.ts";
import { type Ends, ipFrame, reversed, TCP, tcp, text, udp } from "./frames.ts";
import { DB_IP, DB_IP6, DB_MAC, type NodeFile, Pair, WEB_TO_DB, WEB_TO_DB6 } from "./pair.ts";
import {
  judge,
  type OracleFacts,
  type OracleFlow,
  type OraclePolicy,
  type OracleRule,
  type OracleVerdict,
} from "./policy-oracle.ts";
import { echo } from "./rare-frames.ts";

const APPS = ["app1", "app2", "app3"] as const;
const PORTS = [1, 22, 80, 85, 90, 443, 5000, 5001, 8000, 65_535] as const;
const OUTSIDERS = ["192.0.2.7", "192.0.2.200", "10.9.1.1", "203.0.113.9", "2001:db8::5"] as const;
const MULTICAST = ["224.0.0.77", "255.255.255.255", "ff02::77"] as const;
const FLOWS_A_POLICY = 4;
const SCTP = 132;
const ROUTER_MAC = Uint8Array.of(2, 0, 0, 0, 0, 9);

interface SentFlow {
  readonly words: OracleFlow;
  readonly isTcp: boolean;
  readonly frame: Uint8Array;
  readonly app: string;
}

/** Random policies and flows by the run's SEED; how often what was compared came out how. */
export async function playAgreement(
  mode: "full" | "quick",
  policies: number,
): Promise<Agreement["counts"]> {
  const agreement = new Agreement(new Prng(seed), mode);
  await agreement.play(policies);
  agreement.close();
  const { counts } = agreement;
  expect(counts.policies).toBe(policies);
  // What is compared is worth comparing: each kind is at least a tenth.
  for (const kind of [counts.allowed, counts.denied, counts.byRule, counts.delivered]) {
    expect(kind).toBeGreaterThan(counts.flows / 10);
  }
  return counts;
}

/** Two agents, of which db's policy is changed at random. */
class Agreement {
  readonly #pair: Pair;
  readonly #isQuick: boolean;
  #groups: readonly string[] = [];
  #port = 10_000;
  /** How often each decided, so that a test sees that none was missed. */
  readonly counts = { policies: 0, flows: 0, allowed: 0, denied: 0, byRule: 0, delivered: 0 };

  constructor(
    readonly prng: Prng,
    mode: "full" | "quick",
  ) {
    this.#isQuick = mode === "quick";
    this.#pair = new Pair({ mode, edit: provisionThreeApps });
    this.#pair.keepsCarried = false;
  }

  close(): void {
    this.#pair.close();
  }

  async play(policies: number): Promise<void> {
    for (let i = 0; i < policies; i++) await this.#one();
  }

  async #one(): Promise<void> {
    const { prng } = this;
    this.#groups = ["front", "data"].filter(() => prng.oneIn(2));
    const policy = randomPolicy(prng);
    const { enforced } = await this.#pair.update("db", (file) => {
      file.policy = structuredClone(policy) as unknown as NodeFile["policy"];
      (file.peers[0] as Record<string, unknown>)["groups"] = this.#groups;
    });
    const lines: string[] = [];
    for (let i = 0; i < FLOWS_A_POLICY; i++) {
      const flow = this.#randomFlow();
      lines.push(this.#flow(policy, flow, enforced.generation));
    }
    this.#replay(policy, lines);
    this.#forgetFlows();
    this.counts.policies++;
  }

  get #facts(): OracleFacts {
    return {
      id: "db",
      groups: ["data"],
      isQuick: this.#isQuick,
      peers: {
        web: { groups: this.#groups, isQuick: this.#isQuick },
        ghost: { groups: ["front", "data", "spare"], isQuick: false },
      },
      apps: APPS,
      otherTenants: ["10.9.0.0/16"],
    };
  }

  #randomFlow(): SentFlow {
    const { prng } = this;
    const pick = <T>(values: readonly T[]): T => values[prng.below(values.length)] as T;
    const direction = pick(["in", "out"] as const);
    const peer = prng.oneIn(2) ? "web" : undefined;
    const isV6 = prng.oneIn(2);
    const all = direction === "out" ? [...OUTSIDERS, ...MULTICAST] : OUTSIDERS;
    const outsider = pick(all.filter((one) => one.includes(":") === isV6));
    const ends = peer === undefined ? endsOf(outsider) : isV6 ? WEB_TO_DB6 : WEB_TO_DB;
    const address = peer === undefined ? outsider : isV6 ? "fd00::1" : "10.0.0.1";
    const protocols = peer === undefined ? [6, 17, 17, SCTP, isV6 ? 58 : 1] : [6, 17, 17];
    const protocol = pick(protocols);
    const hasPorts = protocol !== 1 && protocol !== 58;
    const port = hasPorts ? pick(PORTS) : 0;
    const app = pick(APPS);
    this.#port = this.#port === 60_000 ? 10_000 : this.#port + 1;
    const way = direction === "in" ? ends : reversed(ends);
    const frame = frameOf(way, protocol, this.#port, port, text(app.toUpperCase()));
    const words = { direction, peer, address, protocol, port, app: undefined };
    return { words, isTcp: protocol === 6, frame, app };
  }

  /** Sends the flow, holds all four against each other, and returns its line of the event log. */
  #flow(policy: OraclePolicy, flow: SentFlow, generation: number): string {
    const { db, dbWire, webKernel, dbKernel } = this.#pair;
    db.events.length = 0;
    this.#pair.web.events.length = 0;
    db.plane.decision.rule = -1;
    const { direction, peer } = flow.words;
    if (direction === "out") dbKernel.send(flow.frame);
    else if (peer === undefined) dbWire.send(flow.frame);
    else webKernel.send(flow.frame);
    this.#pair.run(40_000);
    const arrived = direction === "in" ? dbKernel.receive() : webKernel.receive();
    const seen = this.#seen();
    const expected = this.#expected(policy, flow);
    const { verdict, words } = expected;
    const context = JSON.stringify({ policy, flow: words, groups: this.#groups });
    expect({ ...comparable(words, seen), context }).toEqual({
      ...comparable(words, verdict),
      context,
    });
    this.#explained(words, verdict, context);
    const passes = seen.action === "allow" || seen.stage !== "enforce";
    const reaches = direction === "in" || (peer !== undefined && seen.action === "allow");
    const delivered = arrived.filter((frame) => Buffer.compare(frame, flow.frame) === 0).length;
    if (reaches) expect({ delivered, context }).toEqual({ delivered: passes ? 1 : 0, context });
    this.#count(verdict, delivered);
    const event = db.events.find(({ event }) => event === "flow-allowed" || event === "refused");
    if (seen.action === "deny") {
      expect({ ...event, context }).toMatchObject({ event: "refused", context });
      expect(event?.["enforced"] ?? true).toBe(seen.stage === "enforce");
    }
    if (event === undefined) return lineOf(words, seen.action);
    const { rule, stage } = seen;
    expect({ ...event, context }).toMatchObject({ rule, stage, generation, context });
    return JSON.stringify(event);
  }

  /** Decision that the data plane made last. */
  #seen(): OracleVerdict {
    const { plane, updates } = this.#pair.db;
    const decision = plane.decision as PolicyDecision;
    const compiled: CompiledPolicy = updates.running.policy;
    return {
      action: decision.action === 1 ? "allow" : "deny",
      rule: ruleName(compiled, decision.rule),
      stage: STAGE_NAMES[decision.stage] ?? "enforce",
      refuse: decision.refuse === 1 ? "reject" : "drop",
      serverFirst: decision.action === 1 && decision.serverFirst === 1,
      returnIdentify: decision.returnIdentify === 1,
      midstreamUntil: decision.midstreamUntil,
      contract: compiled.contracts[decision.contract],
    };
  }

  /** What the last question of a flow's first packet is, and its answer. */
  #expected(policy: OraclePolicy, { words, isTcp, app }: SentFlow) {
    const facts = this.#facts;
    const last = (known: string | undefined) => {
      const asked = { ...words, app: known };
      return { words: asked, verdict: judge(policy, facts, asked) };
    };
    if (words.peer === undefined) return last(undefined);
    if (words.direction === "in") {
      if (this.#isQuick) return last("");
      return last(isTcp ? undefined : app);
    }
    const first = last(undefined);
    const isLast = this.#isQuick || isTcp || first.verdict.action === "deny";
    return isLast ? first : last(app);
  }

  /** By the words of the command line. */
  #explained(words: OracleFlow, verdict: OracleVerdict, context: string): void {
    const { provisioning } = this.#pair.db.updates.running;
    const names = policyNames(provisioning);
    const question = questionOf(provisioning, commandWords(words));
    expect(question.peer).toBe(words.peer);
    const answer = new PolicyAnswers(provisioning.policy, names).answer(question);
    const told = explainPolicy(provisioning.policy, names, question);
    const { action, rule, stage, serverFirst, refuse } = verdict;
    const wanted = { action, rule, stage, serverFirst, refuse, context };
    expect(comparable(words, { ...answer, context })).toEqual(comparable(words, wanted));
    const { considered, ...explained } = told;
    const { refuse: _, ...reasons } = wanted;
    expect(comparable(words, { ...explained, context })).toEqual(comparable(words, reasons));
    const deciding = considered.find(({ applies }) => applies);
    expect(deciding?.rule ?? told.rule).toBe(told.rule);
  }

  /** The events of this policy's flows, replayed against it and against the policy before. */
  #replay(policy: OraclePolicy, lines: readonly string[]): void {
    const { provisioning } = this.#pair.db.updates.running;
    const names = policyNames(provisioning);
    const observed = new ObservedFlows(names);
    for (const line of lines) observed.addLine(line);
    expect(observed.counts).toMatchObject({ decisions: lines.length, others: 0, malformed: 0 });
    const answers = new PolicyAnswers(provisioning.policy, names);
    const flows = [...observed.flows.values()];
    const found = replay(flows, answers, answers);
    expect([found.flows, found.same, found.changed.length]).toEqual([
      flows.length,
      flows.length,
      0,
    ]);
    const hits = new Map<string, number>();
    for (const { question, wasAllowed } of flows) {
      const asked = oracleFlowOf(question);
      const verdict = judge(policy, this.#facts, asked);
      expect([verdict.action, asked]).toEqual([wasAllowed ? "allow" : "deny", asked]);
      const { rule } = answers.answer(question);
      if (isPromised(asked, verdict.action)) expect(rule).toBe(verdict.rule);
      hits.set(rule, (hits.get(rule) ?? 0) + 1);
    }
    expect([...found.hits].sort()).toEqual([...hits].sort());
  }

  #count(verdict: OracleVerdict, delivered: number): void {
    this.counts.flows++;
    this.counts.delivered += delivered;
    this.counts[verdict.action === "allow" ? "allowed" : "denied"]++;
    if (verdict.rule.startsWith("rule-")) this.counts.byRule++;
  }

  /** The next policy has no flows to decide again. */
  #forgetFlows(): void {
    for (const { plane } of [this.#pair.web, this.#pair.db]) {
      const { words } = plane.flows;
      for (let at = 0; at < words.length; at += FLOW_WORDS) {
        if ((words[at + F_STATE] & 0xff) !== FLOW_FREE) plane.forgetFlow(at / FLOW_WORDS);
      }
    }
  }
}

/** Which of several refusals is named before identification is not promised. */
function isPromised({ app, peer }: OracleFlow, action: "allow" | "deny"): boolean {
  return action === "allow" || app !== undefined || peer === undefined;
}

/** What may be compared of an answer about `flow`. */
function comparable<T extends { readonly action: "allow" | "deny" }>(flow: OracleFlow, answer: T) {
  return isPromised(flow, answer.action) ? answer : { action: answer.action };
}

/** As `abs policy explain` is asked. */
function commandWords({ direction, peer, address, protocol, port, app }: OracleFlow): FlowWords {
  const ends = direction === "in" ? { from: address, to: "db" } : { from: "db", to: address };
  if (peer !== undefined && address.includes(".")) {
    // By its id as well as by its address.
    ends[direction === "in" ? "from" : "to"] = peer;
  }
  return { ...ends, protocol: String(protocol), port: String(port), app };
}

/** The line of an event log, docs/events.md, of a flow that the agent writes no event of. */
function lineOf(flow: OracleFlow, action: "allow" | "deny"): string {
  const { direction, peer, address, protocol, port, app } = flow;
  const ends =
    direction === "in"
      ? { source: address, destination: "10.0.0.2" }
      : { source: "10.0.0.2", destination: address };
  return JSON.stringify({
    event: action === "allow" ? "flow-allowed" : "refused",
    ...(action === "allow" ? {} : { reason: "policy-denied" }),
    ...{ direction, ...ends, protocol, destinationPort: port, peer },
    ...(app === "" ? {} : { app }),
  });
}

function oracleFlowOf(question: PolicyQuestion): OracleFlow {
  return { ...question, address: formatAddress(question.address) };
}

function endsOf(outsider: string): Ends {
  const { version, words } = parseAddress(outsider) ?? { version: 4, words: [0, 0, 0, 0] };
  const bytes = new Uint8Array(16);
  words.forEach((word, i) => {
    new DataView(bytes.buffer).setUint32(4 * i, word);
  });
  const from = version === 4 ? bytes.slice(12) : bytes;
  return { fromMac: ROUTER_MAC, toMac: DB_MAC, from, to: version === 4 ? DB_IP : DB_IP6 };
}

/** The first packet of a flow: a datagram with its payload, or a SYN. */
function frameOf(ends: Ends, protocol: number, from: number, to: number, payload: Uint8Array) {
  if (protocol === 6) return tcp(ends, from, to, { flags: TCP.syn });
  if (protocol === 17) return udp(ends, from, to, payload);
  if (protocol !== SCTP) return echo(ends, false, from, payload);
  const body = new Uint8Array(16);
  new DataView(body.buffer).setUint16(0, from);
  new DataView(body.buffer).setUint16(2, to);
  return ipFrame(ends, SCTP, body);
}

function provisionThreeApps(web: NodeFile, db: NodeFile): void {
  const third = { name: "app3", tag: generateTag() };
  const known = { id: "ghost", addresses: ["10.0.0.99"], staticKey: generateKeyPair().publicKey };
  for (const file of [web, db]) {
    file.tags = [...file.tags, third];
    file.node["tags"] = [...APPS];
    for (const peer of file.peers) peer["tags"] = [...APPS];
    const [signature] = file.signatures;
    file.signatures = APPS.map((app) => ({
      ...signature,
      sig_id: randomUUID(),
      app_name: app,
      contents: [{ offset: 0, depth: 4, expr: app.toUpperCase() }],
    }));
  }
  db.node["groups"] = ["data"];
  db.node["stage"] = undefined;
  db.peers.push({ ...known, groups: ["front", "data", "spare"], tags: [], mode: "full" });
  db["otherTenants"] = ["10.9.0.0/16"];
  web.policy.defaults["inbound"] = "allow";
}

/** A random policy in its file's form; few values, so that rules overlap. */
function randomPolicy(prng: Prng): OraclePolicy {
  const pick = <T>(values: readonly T[]): T => values[prng.below(values.length)] as T;
  return {
    version: 1,
    defaults: {
      inbound: pick(["allow", "deny"]),
      outbound: pick(["allow", "deny"]),
      nonInterVm: pick(["allow", "deny"]),
      refuse: pick(["drop", "reject"]),
      stage: pick(["observe", "warn", "enforce", "enforce"]),
      midstream: pick(["allow", "deny", { until: "2030-01-31T12:00:00Z" }]),
    },
    rules: Array.from({ length: prng.below(12) }, (_, i) => randomRule(prng, i)),
  };
}

const OTHERS = [
  "any",
  { agent: "web" },
  { agent: ["ghost", "web"] },
  { agent: "ghost" },
  { group: "front" },
  { group: ["data", "spare"] },
  { cidr: "10.0.0.0/24" },
  { cidr: "fd00::/64" },
  { cidr: ["192.0.2.0/25", "2001:db8::/32", "ff00::/8", "224.0.0.0/4"] },
  { cidr: ["0.0.0.0/0", "10.9.1.1"] },
] as const;
const OWN_ENDS = [{ agent: "db" }, { agent: ["web", "ghost"] }, { group: "data" }] as const;
const PROTOCOL_SETS = ["any", "tcp", "udp", "icmp", "icmpv6", ["tcp", "udp"], "sctp"] as const;
const PORT_SETS = [80, "80-90", [22, 443], "0-65535", "5000-5001", [1, "8000-65535"]] as const;
const CONTRACTS = ["random", { protection: "integrity" }, { maxBusySeconds: 600 }] as const;

function randomRule(prng: Prng, number: number): OracleRule {
  const pick = <T>(values: readonly T[]): T => values[prng.below(values.length)] as T;
  const maybe = <T>(key: string, values: readonly T[], turns = 3) =>
    prng.oneIn(turns) ? { [key]: pick(values) } : {};
  const direction = pick(["in", "out"] as const);
  const action = pick(["allow", "allow", "deny"] as const);
  const other = pick(OTHERS);
  const own = prng.oneIn(6) ? pick(OWN_ENDS) : undefined;
  const protocol = prng.oneIn(2) ? pick(PROTOCOL_SETS) : undefined;
  const hasPorts = protocol !== "icmp" && protocol !== "icmpv6" && prng.oneIn(2);
  const what = {
    ...(protocol === undefined ? {} : { protocol }),
    ...(hasPorts ? { port: pick(PORT_SETS) } : {}),
  };
  const far = other === "any" ? {} : other;
  const ends =
    direction === "in"
      ? { from: other, to: { ...own, ...what } }
      : { ...(own === undefined ? {} : { from: own }), to: { ...far, ...what } };
  return {
    id: `rule-${number}`,
    ...{ direction, ...ends, action },
    ...maybe("app", [...APPS, "any"], 2),
    ...maybe("stage", ["observe", "warn", "enforce"]),
    ...maybe("refuse", ["drop", "reject"]),
    ...(action === "deny"
      ? {}
      : {
          ...maybe("serverFirst", [true, false]),
          ...maybe("return", ["inherit", "identify"]),
          ...maybe("midstream", ["allow", "deny", { until: "2031-05-05T00:00:00Z" }]),
          ...maybe("contract", CONTRACTS),
        }),
  };
}
