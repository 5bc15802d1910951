/**
 * `abs bench policy`: what a policy lookup costs with 10, 1,000 and 100,000 rules, answered by the
 * cache of decisions (`cached`), and by the rules (`new flow`: each question is a new one). Lookups
 * alone, as the data plane makes them, on a snapshot in shared memory; what else a packet costs is
 * the same for any policy and would only make the ratios smaller. docs/benchmarks.md.
 *
 * Processor time, so that other programs take part by their caches only. Within a turn the cases
 * take slices of about 2 ms in turn, so that a machine that slows down slows all of them, and the
 * 10 rules are there twice: how far they are apart is the noise.
 */
import { packSnapshot, unpackSnapshot } from "../dataplane/snapshot.ts";
import { AbsError } from "../errors.ts";
import { compilePolicy } from "../policy/compile.ts";
import { DIRECTION_IN, PEER_NONE, PolicyDecision } from "../policy/decision.ts";
import type { PolicyNames } from "../policy/policy.ts";
import { PolicyView } from "../policy/policy-view.ts";
import { parsePolicy } from "../policy/schema.ts";
import { type PolicySnapshot, policySnapshotFrom } from "../policy/snapshot.ts";
import { describeMachine, type MachineReport, median, rounded } from "./machine.ts";

export const RULES = [10, 1_000, 100_000] as const;
/** Beyond this the run says that it was too noisy. */
export const NOISE_MAX = 1.03;
const WARM_UP = 50_000;
const SLICES = 20;
const PEERS = 200;
const APPS = 50;
/** Questions of flows that go on: fewer than the cache has places for. */
const CACHED_QUESTIONS = 256;
const TCP = 6;
const APP_PORTS = 60_000;
const FIRST_PORT = 1_024;
const NAMES: PolicyNames = {
  own: { id: "own", groups: [], mode: "full" },
  peers: Array.from({ length: PEERS }, (_, i) => ({ id: `vm-${i}`, groups: [], mode: "full" })),
  apps: ["", ...Array.from({ length: APPS }, (_, i) => `app-${i}`)],
  otherTenants: [],
};

export interface PolicyCosts {
  readonly cached_ns: number;
  readonly new_flow_ns: number;
}

export interface PolicyBenchResult {
  readonly rules: Readonly<Record<string, PolicyCosts>>;
  /** The 10 rules against themselves: the larger of both by the smaller. */
  readonly noise: Noise;
  readonly too_noisy: boolean;
  /** The most rules by the fewest. */
  readonly cached_ratio: number;
  readonly new_flow_ratio: number;
  readonly turns: number;
  readonly machine: MachineReport;
}

interface Noise {
  readonly cached: number;
  readonly new_flow: number;
}

interface Case {
  readonly rules: number;
  readonly view: PolicyView;
  readonly cached: number[];
  readonly fresh: number[];
}

export interface PolicyBenchOptions {
  readonly turns: number;
  readonly lookups: number;
  /** Sizes of policies, the smallest first. */
  readonly rules: readonly number[];
  readonly progress: (words: string) => void;
}

export function benchPolicy(options: PolicyBenchOptions): PolicyBenchResult {
  const { turns, lookups, rules: sizes, progress } = options;
  const machine = describeMachine({});
  const cases = [sizes[0] ?? 10, ...sizes].map((rules): Case => {
    progress(`compiling ${rules} rules`);
    return { rules, view: viewWith(rules), cached: [], fresh: [] };
  });
  for (let turn = 0; turn < turns; turn++) {
    progress(`turn ${turn + 1} of ${turns}`);
    const cached = playTurn(cases, lookups, CACHED_QUESTIONS);
    const fresh = playTurn(cases, lookups, WARM_UP + lookups);
    for (const [i, one] of cases.entries()) {
      one.cached.push(cached[i] as number);
      one.fresh.push(fresh[i] as number);
    }
  }
  const costs = cases.map(costsOf);
  const [again, ten, most] = [costs[0], costs[1], costs.at(-1)] as PolicyCosts[];
  const apart = (left: number, right: number) =>
    rounded(Math.max(left, right) / Math.min(left, right), 3);
  const noise = {
    cached: apart(again.cached_ns, ten.cached_ns),
    new_flow: apart(again.new_flow_ns, ten.new_flow_ns),
  };
  return {
    rules: Object.fromEntries(cases.slice(1).map((one) => [one.rules, costsOf(one)])),
    noise,
    too_noisy: Math.max(noise.cached, noise.new_flow) > NOISE_MAX,
    cached_ratio: rounded(most.cached_ns / ten.cached_ns, 3),
    new_flow_ratio: rounded(most.new_flow_ns / ten.new_flow_ns, 3),
    turns,
    machine,
  };
}

function costsOf({ cached, fresh }: Case): PolicyCosts {
  return { cached_ns: rounded(median(cached), 2), new_flow_ns: rounded(median(fresh), 2) };
}

/** The rules of a fleet: for agents and applications, ports, ranges of ports, and networks. */
function ruleOf(i: number): object {
  const port = portOf(i);
  const by = i % 10;
  const from =
    by === 9
      ? { cidr: `10.${(i >>> 8) & 255}.${i & 255}.0/24` }
      : { agent: [`vm-${i % PEERS}`, `vm-${(i * 7) % PEERS}`] };
  const range = by === 8 ? `${port}-${Math.min(port + 3, FIRST_PORT + APP_PORTS)}` : port;
  return {
    id: `rule-${i}`,
    direction: "in",
    from,
    ...(by === 9 ? {} : { app: `app-${i % APPS}` }),
    to: { protocol: "tcp", port: range },
    action: by === 7 ? "deny" : "allow",
  };
}

function portOf(i: number): number {
  return FIRST_PORT + ((i * 7_919) % APP_PORTS);
}

function viewWith(rules: number): PolicyView {
  const list = Array.from({ length: rules }, (_, i) => ruleOf(i));
  const policy = parsePolicy(JSON.stringify({ version: 1, rules: list }), "bench.json");
  const packed = packSnapshot(compilePolicy(policy, NAMES).snapshot);
  const shared = new SharedArrayBuffer(packed.length);
  new Uint8Array(shared).set(packed);
  return new PolicyView(policySnapshotFrom(unpackSnapshot(shared, 0) as PolicySnapshot));
}

/** ns a lookup of each case, of `distinct` questions in turn. */
function playTurn(cases: readonly Case[], lookups: number, distinct: number): number[] {
  const spent = cases.map(() => 0);
  for (const { view } of cases) lookUp(view, 0, WARM_UP, distinct);
  const slice = Math.ceil(lookups / SLICES);
  for (let done = 0; done < lookups; done += slice) {
    const next = Math.min(done + slice, lookups);
    for (let i = 0; i < cases.length; i++) {
      // Each case follows each other equally often.
      const at = (i + done / slice) % cases.length;
      const { view } = cases[at] as Case;
      spent[at] = (spent[at] as number) + lookUp(view, WARM_UP + done, WARM_UP + next, distinct);
    }
  }
  return spent.map((ns) => ns / lookups);
}

/** ns for the questions from `first` to `end`: one in eight of nobody of the tenant. */
function lookUp(view: PolicyView, first: number, end: number, distinct: number): number {
  const out = new PolicyDecision();
  let allowed = 0;
  const start = process.cpuUsage();
  for (let i = first; i < end; i++) {
    const question = i % distinct;
    const number = Math.imul(question, 0x9e3779b1) >>> 0;
    const isPeer = (number & 7) !== 0;
    view.decide(
      DIRECTION_IN,
      isPeer ? number % PEERS : PEER_NONE,
      0,
      0,
      0,
      0x0a000000 + (number >>> 8),
      4,
      isPeer ? 1 + (question % APPS) : 0,
      TCP,
      FIRST_PORT + ((number >>> 3) % APP_PORTS),
      out,
    );
    allowed += out.action;
  }
  const { user, system } = process.cpuUsage(start);
  if (allowed < 0) throw new AbsError("BENCH_OUTPUT", "unreachable: keeps the loop alive");
  return (user + system) * 1_000;
}
