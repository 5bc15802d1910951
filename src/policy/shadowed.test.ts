import { expect, test } from "bun:test";
import type { PolicyNames } from "./policy.ts";
import { parsePolicy } from "./schema.ts";
import { shadowedRules, shadowedWords } from "./shadowed.ts";

const NAMES: PolicyNames = {
  own: { id: "db", groups: [], mode: "full" },
  peers: [{ id: "web", groups: ["front"], mode: "full" }],
  apps: ["", "app1", "app2"],
  otherTenants: [],
};

const TCP = { protocol: "tcp", port: "80-90" };
const cases: readonly [string, object, object, boolean][] = [
  ["the same again", {}, {}, true],
  ["the opposite", { action: "deny" }, {}, true],
  ["a part of the ports", { to: TCP }, { to: { protocol: "tcp", port: 85 } }, true],
  ["more ports", { to: TCP }, { to: { protocol: "tcp", port: "85-91" } }, false],
  ["another protocol", { to: TCP }, { to: { protocol: "udp", port: 85 } }, false],
  ["any protocol", { to: TCP }, {}, false],
  ["one of two agents", { from: { agent: ["web", "db"] } }, { from: { agent: "web" } }, true],
  ["one more agent", { from: { agent: "web" } }, { from: { agent: ["web", "db"] } }, false],
  ["a group is no agent", { from: { group: "front" } }, { from: { agent: "web" } }, false],
  ["an inner network", { from: { cidr: "10.0.0.0/8" } }, { from: { cidr: "10.9.0.0/16" } }, true],
  ["an outer network", { from: { cidr: "10.9.0.0/16" } }, { from: { cidr: "10.0.0.0/8" } }, false],
  ["any opens nothing to outside", {}, { from: { cidr: "10.0.0.0/8" } }, false],
  ["any denies the outside", { action: "deny" }, { from: { cidr: "10.0.0.0/8" } }, true],
  ["an application of any", {}, { app: "app1" }, true],
  ["another application", { app: "app2" }, { app: "app1" }, false],
  ["what proves nothing is denied", {}, { action: "deny" }, false],
  ["the other direction", { direction: "out" }, {}, false],
  ["another VM's", { to: { agent: "web" } }, {}, false],
];

test.each(cases)("%s", (_, first, second, isShadowed) => {
  const rule = { direction: "in", action: "allow" };
  const rules = [
    { id: "first", ...rule, ...first },
    { id: "second", ...rule, ...second },
  ];
  const found = shadowedRules(parsePolicy(JSON.stringify({ version: 1, rules }), "p.json"), NAMES);
  expect(found.map(({ rule: { id }, by }) => [id, by.id])).toEqual(
    isShadowed ? [["second", "first"]] : [],
  );
  if (found[0] !== undefined)
    expect(shadowedWords(found[0])).toMatch(/^p\.json:1:\d+: rule "second"/);
});
