/**
 * Past flows out of an event log, asked of policies again, and rules made of what was denied:
 * observed-flows.ts, replay.ts, suggest.ts.
 */
import { describe, expect, test } from "bun:test";
import { Prng, seed } from "../../test/prng.ts";
import { parseAddress } from "../wire/ip-text.ts";
import { ObservedFlows } from "./observed-flows.ts";
import type { PolicyNames } from "./policy.ts";
import { PolicyAnswers } from "./question.ts";
import { replay } from "./replay.ts";
import { parsePolicy } from "./schema.ts";
import { suggest } from "./suggest.ts";

const NAMES: PolicyNames = {
  own: { id: "db", groups: [], mode: "full" },
  peers: [
    { id: "web", groups: [], mode: "full" },
    { id: "cache", groups: [], mode: "quick" },
    { id: "app", groups: [], mode: "full" },
  ],
  apps: ["", "app1", "app2"],
  otherTenants: [],
};

function event(fields: object): string {
  return JSON.stringify({
    time: "2026-01-31T12:00:00.000Z",
    event: "refused",
    reason: "policy-denied",
    direction: "in",
    source: "10.0.0.1",
    sourcePort: 40_000,
    destination: "10.0.0.2",
    destinationPort: 6379,
    protocol: "tcp",
    peer: "web",
    app: "app1",
    ...fields,
  });
}

function observed(...lines: readonly string[]): ObservedFlows {
  const flows = new ObservedFlows(NAMES);
  for (const line of lines) flows.addLine(line);
  return flows;
}

function answersOf(rules: readonly object[], defaults: object = {}): PolicyAnswers {
  const text = JSON.stringify({ version: 1, defaults, rules });
  return new PolicyAnswers(parsePolicy(text, "p.json"), NAMES);
}

function suggested(lines: readonly string[], rules: readonly object[] = []) {
  return suggest(observed(...lines).flows.values(), answersOf(rules), new Set());
}

describe("an event log", () => {
  test("an outgoing flow that is refused has the application that its signature said", () => {
    const out = { direction: "out", app: undefined, signature: "app2" };
    const { flows } = observed(event(out), event({ ...out, direction: "in" }));
    expect([...flows.values()].map(({ question }) => question.app)).toEqual(["app2", undefined]);
  });

  test("the same question is one flow, whatever port it came from; the last decision counts", () => {
    const { flows, counts } = observed(
      event({}),
      event({ sourcePort: 40_001, time: "2026-01-31T13:00:00.000Z", event: "flow-allowed" }),
      event({ destinationPort: 6380 }),
    );
    expect(counts).toEqual({ decisions: 3, others: 0, malformed: 0, beyond: 0 });
    const [first] = flows.values();
    expect([flows.size, first?.count, first?.wasAllowed]).toEqual([2, 2, true]);
    expect([first?.first.slice(11, 13), first?.last.slice(11, 13)]).toEqual(["12", "13"]);
  });

  const rows = [
    { name: "another event", line: '{"event":"agent-ready"}', counted: undefined },
    { name: "no signature", line: event({ reason: "no-signature" }), counted: "others" },
    { name: "not JSON", line: "x", counted: "malformed" },
    { name: "a list", line: "[1]", counted: undefined },
    { name: "null", line: "null", counted: "malformed" },
    { name: "no direction", line: event({ direction: "up" }), counted: "malformed" },
    { name: "an address that is none", line: event({ source: "10.0.0.x" }), counted: "malformed" },
    { name: "a port too great", line: event({ destinationPort: 65_536 }), counted: "malformed" },
    { name: "a protocol too great", line: event({ protocol: 256 }), counted: "malformed" },
    { name: "a protocol by number", line: event({ protocol: "47" }), counted: "decisions" },
    { name: "nothing", line: "", counted: undefined },
  ] as const;
  test.each([...rows])("$name", ({ line, counted }) => {
    const none = { decisions: 0, others: 0, malformed: 0, beyond: 0 };
    const wanted = counted === undefined ? none : { ...none, [counted]: 1 };
    expect(observed(line).counts).toEqual(wanted);
  });
});

test("replay: what changes by which rule, most decided first", () => {
  const { flows } = observed(
    event({}),
    event({ destinationPort: 6380, event: "flow-allowed" }),
    event({ destinationPort: 6380, event: "flow-allowed" }),
    event({ destinationPort: 22 }),
  );
  const rule = { direction: "in", app: "app1", action: "allow" };
  const now = answersOf([{ ...rule, id: "six", to: { protocol: "tcp", port: 6380 } }]);
  const draft = answersOf([
    { ...rule, id: "old", to: { protocol: "tcp", port: 6379 } },
    { ...rule, id: "never", action: "deny", to: { port: 22 } },
  ]);
  const found = replay(flows.values(), now, draft);
  expect([found.flows, found.same, found.otherRule]).toEqual([3, 0, 1]);
  const changes = found.changed.map(({ now, draft, count }) => [now.rule, draft.rule, count]);
  expect(changes).toEqual([
    ["six", "default-inbound", 2],
    ["default-inbound", "old", 1],
  ]);
  expect(found.hits).toEqual(
    new Map([
      ["old", 1],
      ["default-inbound", 1],
      ["never", 1],
    ]),
  );
});

describe("suggest", () => {
  test("ports of one agent are one rule, agents with the same ports are one", () => {
    const ports = [80, 81, 82, 83, 443];
    const lines = ["web", "app"].flatMap((peer) =>
      ports.map((destinationPort) => event({ peer, destinationPort })),
    );
    const { suggestions } = suggested(lines);
    expect(suggestions.map(({ rule }) => rule)).toEqual([
      {
        id: "app1-in",
        direction: "in",
        from: { agent: ["app", "web"] },
        to: { protocol: "tcp", port: ["80-83", 443] },
        app: "app1",
        action: "allow",
      },
    ]);
    expect(suggestions[0]).toMatchObject({ flows: 10, decisions: 10 });
  });

  test("the outside is named by address, a quick peer without an application", () => {
    const outside = { peer: undefined, app: undefined, reason: "outside-denied" };
    const quick = { direction: "out", peer: "cache", destination: "10.0.0.9", app: undefined };
    const { suggestions } = suggested([
      event({ ...outside, source: "192.0.2.7", destinationPort: 22 }),
      event({ ...quick, protocol: "icmp", destinationPort: 0 }),
    ]);
    expect(suggestions.map(({ rule }) => rule)).toEqual([
      {
        id: "tcp-22-in",
        direction: "in",
        from: { cidr: "192.0.2.7/32" },
        to: { protocol: "tcp", port: 22 },
        action: "allow",
      },
      {
        id: "icmp-out",
        direction: "out",
        to: { agent: "cache", protocol: "icmp" },
        action: "allow",
      },
    ]);
  });

  test("nothing for what is allowed, what a rule denies, or what has no application", () => {
    const deny = { id: "no", direction: "in", to: { port: 22 }, action: "deny" };
    const allow = { id: "yes", direction: "in", app: "app1", to: { port: 6379 }, action: "allow" };
    const lines = [
      event({}),
      event({ destinationPort: 22 }),
      event({ app: undefined, destinationPort: 1 }),
    ];
    expect(suggested(lines, [deny, allow])).toEqual({
      suggestions: [],
      unknownApp: 1,
      deniedByRule: 1,
    });
  });

  test(`the suggested rules allow what was seen and nothing else (SEED=${seed})`, () => {
    const prng = new Prng(seed);
    const pick = <T>(values: readonly T[]): T => values[prng.below(values.length)] as T;
    const random = () => {
      const peer = pick(["web", "app", undefined]);
      const direction = pick(["in", "out"]);
      const address = peer === undefined ? pick(["192.0.2.7", "192.0.2.8"]) : "10.0.0.1";
      const app = peer === undefined ? undefined : pick(["app1", "app2"]);
      const protocol = pick(["tcp", "udp", "icmp"]);
      const destinationPort = protocol === "icmp" ? 0 : 80 + prng.below(6);
      const ends = { source: address, destination: address };
      return { direction, peer, app, protocol, destinationPort, ...ends };
    };
    for (let round = 0; round < 200; round++) {
      const rules = prng.oneIn(2)
        ? [
            {
              id: "app1-in",
              direction: "in",
              action: pick(["allow", "deny"]),
              to: { port: "80-82" },
            },
          ]
        : [];
      const seen = Array.from({ length: prng.below(20) }, random);
      const log = observed(...seen.map((flow) => event(flow)));
      const before = answersOf(rules, { nonInterVm: "deny" });
      const taken = new Set(rules.map(({ id }) => id));
      const { suggestions, deniedByRule } = suggest(log.flows.values(), before, taken);
      const after = answersOf([...rules, ...suggestions.map(({ rule }) => rule)], {
        nonInterVm: "deny",
      });
      const still = [...log.flows.values()].filter(
        ({ question }) => after.answer(question).action === "deny",
      );
      expect(still.length).toBe(deniedByRule);
      const others = observed(...Array.from({ length: 40 }, random).map((flow) => event(flow)));
      for (const [key, { question }] of others.flows) {
        if (log.flows.has(key)) continue;
        expect(after.answer(question).action).toBe(before.answer(question).action);
      }
    }
  });
});

test("an answer speaks of the agent at an address only when it is named", () => {
  const answers = answersOf([{ id: "any", direction: "in", app: "app1", action: "allow" }]);
  const address = parseAddress("10.0.0.1");
  if (address === undefined) throw new Error("the test's own data is wrong");
  const question = { direction: "in", address, protocol: 6, port: 80, app: "app1" } as const;
  expect(answers.answer({ ...question, peer: "web" })).toMatchObject({ rule: "any" });
  expect(answers.answer({ ...question, peer: "nobody" })).toMatchObject({
    rule: "default-outside",
  });
});
