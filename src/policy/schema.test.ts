/** Policies that are read, and those refused: each refusal names place and remedy. */
import { expect, test } from "bun:test";
import { AbsError } from "../errors.ts";
import { cidrRange, parseCidr } from "../wire/ip-text.ts";
import { compilePolicy } from "./compile.ts";
import { EXCEPTION_NAMES, type PolicyNames } from "./policy.ts";
import { parsePolicy } from "./schema.ts";

const NAMES: PolicyNames = {
  own: { id: "db", groups: ["data"], mode: "full" },
  peers: [{ id: "web", groups: ["front"], mode: "full" }],
  apps: ["", "app1"],
  otherTenants: [],
};

test("the example of design/agent.md", () => {
  const policy = parsePolicy(
    `version: 1
defaults: { inbound: deny, outbound: deny, refuse: drop, stage: observe, nonInterVm: allow }
rules:
  - id: web-to-db
    direction: in
    from: { group: web }            # agent, group, cidr, or any
    app: app1                       # application name from AppDB, or any
    to: { protocol: tcp, port: 3306 }
    action: allow
    serverFirst: true
    contract: { protection: confidential, maxBusySeconds: 600 }   # or scId, or random (default)
  - id: dns-out
    direction: out
    to: { cidr: 10.0.0.53/32, protocol: udp, port: 53 }
    action: allow
`,
    "policy.yaml",
  );
  const host = parseCidr("10.0.0.53/32");
  expect(policy.defaults.exceptions).toEqual(EXCEPTION_NAMES);
  expect(policy.rules).toEqual([
    {
      id: "web-to-db",
      place: "policy.yaml:4:5",
      direction: "in",
      from: { kind: "group", names: ["web"] },
      to: { kind: "any" },
      protocols: [6],
      ports: [{ low: 3306, high: 3306 }],
      app: "app1",
      action: "allow",
      serverFirst: true,
      returnMode: "inherit",
      contract: { protection: "confidential", maxBusySeconds: 600 },
    },
    {
      id: "dns-out",
      place: "policy.yaml:12:5",
      direction: "out",
      from: { kind: "any" },
      to: { kind: "cidr", ranges: host === undefined ? [] : [cidrRange(host)] },
      protocols: [17],
      ports: [{ low: 53, high: 53 }],
      action: "allow",
      serverFirst: false,
      returnMode: "inherit",
    },
  ]);
});

const RIGHT = { id: "r", direction: "in", action: "allow" };

/** One rule with `change` over a rule that is right. */
function rule(change: Record<string, unknown>): string {
  return JSON.stringify({ version: 1, rules: [{ ...RIGHT, ...change }] });
}

const REFUSED: readonly { name: string; text: string; message: string }[] = [
  { name: "no version", text: "rules: []", message: 'p.yaml:1:1: the key "version" is missing' },
  {
    name: "another version",
    text: "version: 2",
    message: "p.yaml:1:10: version: unknown version.",
  },
  {
    name: "an unknown key",
    text: "version: 1\nrule: []",
    message: 'p.yaml:2:1: rule: unknown key "rule".',
  },
  {
    name: "an unknown default",
    text: "version: 1\ndefaults: { inbnd: deny }",
    message: "p.yaml:2:13: defaults.inbnd",
  },
  {
    name: "a default's value",
    text: "version: 1\ndefaults: { stage: on }",
    message: 'defaults.stage: "on" is not',
  },
  {
    name: "an unknown exception",
    text: "version: 1\ndefaults: { exceptions: [ntp] }",
    message: "exceptions[0]",
  },
  {
    name: "an unknown key in a rule",
    text: rule({ port: 80 }),
    message: 'rules[0].port: unknown key "port".',
  },
  {
    name: "no direction",
    text: '{"version":1,"rules":[{"id":"r","action":"allow"}]}',
    message: '"direction" is missing',
  },
  {
    name: "no action",
    text: '{"version":1,"rules":[{"id":"r","direction":"in"}]}',
    message: '"action" is missing',
  },
  {
    name: "a reserved id",
    text: rule({ id: "default-inbound" }),
    message: "is kept for built-in decisions",
  },
  { name: "an id with a space", text: rule({ id: "a b" }), message: '"a b" is not a rule id.' },
  {
    name: "port without a number",
    text: rule({ to: { port: "http" } }),
    message: '"http" is not a port',
  },
  {
    name: "port beyond the last",
    text: rule({ to: { port: 65_536 } }),
    message: '"65536" is not a port',
  },
  {
    name: "a range that counts down",
    text: rule({ to: { port: "9-1" } }),
    message: '"9-1" is not a port',
  },
  {
    name: "an empty list of ports",
    text: rule({ to: { port: [] } }),
    message: "the list is empty",
  },
  {
    name: "ports of ICMP",
    text: rule({ to: { protocol: "icmp", port: 1 } }),
    message: "has no ports",
  },
  {
    name: "an unknown protocol",
    text: rule({ to: { protocol: "tpc" } }),
    message: '"tpc" is not an IP protocol.',
  },
  {
    name: "protocol 256",
    text: rule({ to: { protocol: 256 } }),
    message: '"256" is not an IP protocol.',
  },
  {
    name: "a port in from",
    text: rule({ from: { port: 80 } }),
    message: '"port" does not belong in "from".',
  },
  {
    name: "two parties",
    text: rule({ from: { agent: "web", group: "g" } }),
    message: "exclude each other",
  },
  { name: "another word than any", text: rule({ from: "all" }), message: 'from: "all" is not' },
  {
    name: "any: false",
    text: rule({ from: { any: false } }),
    message: "any: false matches nothing",
  },
  {
    name: "an empty list of agents",
    text: rule({ from: { agent: [] } }),
    message: "the list is empty",
  },
  {
    name: "no CIDR",
    text: rule({ from: { cidr: "10.1/16" } }),
    message: '"10.1/16" is not a CIDR.',
  },
  {
    name: "a CIDR with host bits",
    text: rule({ from: { cidr: "10.1.0.1/16" } }),
    message: "bits set beyond its prefix",
  },
  {
    name: "a CIDR of the own end",
    text: rule({ to: { cidr: "10.1.0.0/16" } }),
    message: "this VM's own address",
  },
  {
    name: "a CIDR of the own end, outbound",
    text: rule({ direction: "out", from: { cidr: "10.1.0.0/16" } }),
    message: "this VM's own address",
  },
  {
    name: "serverFirst on deny",
    text: rule({ action: "deny", serverFirst: true }),
    message: "no meaning on a rule that denies",
  },
  {
    name: "a midstream without a zone",
    text: rule({ midstream: { until: "soon" } }),
    message: '"soon" is not a time.',
  },
  {
    name: "an SC-ID that is none",
    text: rule({ contract: { scId: "1" } }),
    message: '"1" is not an SC-ID.',
  },
  {
    name: "no busy time",
    text: rule({ contract: { maxBusySeconds: 0 } }),
    message: "0 is out of range",
  },
  { name: "a contract that is no map", text: rule({ contract: "best" }), message: '"best" is not' },
  {
    name: "an id used twice",
    text: JSON.stringify({ version: 1, rules: new Array(2).fill({ ...RIGHT, action: "deny" }) }),
    message: 'rules[1]: the rule id "r" is used at p.yaml:1:23 too.',
  },
];

test.each([...REFUSED])("refused: $name", ({ text, message }) => {
  try {
    parsePolicy(text, "p.yaml");
  } catch (thrown) {
    if (!(thrown instanceof AbsError)) throw thrown;
    expect(thrown.code).toBe("POLICY_INVALID");
    expect(thrown.message).toMatch(/^p\.yaml:\d+:\d+: /);
    expect(thrown.message).toContain(message);
    expect(thrown.remedy).not.toBe("");
    return;
  }
  throw new Error("it was read");
});

const UNKNOWN_NAMES: readonly { name: string; change: Record<string, unknown>; message: string }[] =
  [
    { name: "application", change: { app: "app2" }, message: 'the application "app2"' },
    { name: "agent", change: { from: { agent: ["web", "wbe"] } }, message: 'no agent "wbe"' },
    { name: "group", change: { from: { group: "frnot" } }, message: 'the group "frnot"' },
    { name: "own agent", change: { to: { agent: "bd" } }, message: 'no agent "bd"' },
  ];

test.each([...UNKNOWN_NAMES])("compile refuses an unknown $name", ({ change, message }) => {
  const policy = parsePolicy(rule(change), "p.yaml");
  expect(() => compilePolicy(policy, NAMES)).toThrow(message);
});

test("midstream: always, never, until a time", () => {
  const until = (midstream: unknown) => {
    const policy = parsePolicy(rule({ midstream }), "p.yaml");
    return compilePolicy(policy, NAMES).snapshot.ruleMidstreamUntil[0];
  };
  expect(until("allow")).toBe(Infinity);
  expect(until("deny")).toBe(0);
  expect(until({ until: "2026-01-31T12:00:00Z" })).toBe(Date.UTC(2026, 0, 31, 12) / 1000);
});

test("more rules than anybody writes", () => {
  const policy = parsePolicy(rule({}), "p.yaml");
  const rules = new Array(1_000_001).fill(policy.rules[0]);
  expect(() => compilePolicy({ ...policy, rules }, NAMES)).toThrow("at most 1000000 fit");
});
