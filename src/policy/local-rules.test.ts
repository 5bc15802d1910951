/** Rules of a VM's owner take away and never give: what they may say, and what they do. */
import { expect, test } from "bun:test";
import { parseAddress } from "../wire/ip-text.ts";
import { isLocal, parseLocalRules, withLocalRules } from "./local-rules.ts";
import type { PolicyNames } from "./policy.ts";
import { PolicyAnswers } from "./question.ts";
import { parsePolicy } from "./schema.ts";

const rule = (words: string): string => `version: 1\nrules:\n  - { ${words} }\n`;
const DENY = "id: no-telnet, direction: in, to: { protocol: tcp, port: 23 }, action: deny";

test("they are called local, and are enforced whatever the agent's stage is", () => {
  const [local] = parseLocalRules(rule(`${DENY}, refuse: reject`), "mine.yaml");
  expect(local).toMatchObject({ id: "local-no-telnet", stage: "enforce", refuse: "reject" });
  expect([isLocal(local ?? { id: "" }), isLocal({ id: "no-telnet" })]).toEqual([true, false]);
  expect(parseLocalRules("version: 1\nrules: []\n", "mine.yaml")).toEqual([]);
});

const refused: readonly (readonly [string, string, string])[] = [
  [
    "a rule that allows",
    rule("id: a, direction: in, action: allow"),
    'mine.yaml:3:5: the rule "a"',
  ],
  ["a stage that only logs", rule(`${DENY}, stage: observe`), '"no-telnet" has the stage observe'],
  ["defaults", `defaults: { inbound: allow }\n${rule(DENY)}`, "no defaults"],
  ["an unknown key", `extra: 1\n${rule(DENY)}`, 'unknown key "extra"'],
  ["no version", "rules: []", "version"],
  ["one id twice", `${rule(DENY)}  - { ${DENY} }\n`, "is used at"],
  ["no document", ": : :", "mine.yaml"],
];
test.each(refused)("refused: %s", (_, text, message) => {
  expect(() => parseLocalRules(text, "mine.yaml")).toThrow(message);
});

test("a manager's rule cannot pass for one of them", () => {
  const text = rule("id: local-a, direction: in, action: deny");
  expect(() => parsePolicy(text, "policy.yaml")).toThrow("local rules");
});

const NAMES: PolicyNames = {
  own: { id: "db", groups: [], mode: "full", stage: "observe" },
  peers: [{ id: "web", groups: ["front"], mode: "full" }],
  apps: ["", "app1", "app2"],
  otherTenants: [],
};
const MANAGERS = parsePolicy(
  `version: 1
defaults: { inbound: allow, outbound: allow }
rules:
  - { id: ssh-out, direction: out, to: { agent: web, protocol: tcp, port: 22 }, action: deny }
  - { id: app1-in, direction: in, from: { group: front }, app: app1, action: allow }
`,
  "policy.yaml",
);
const LOCALS = [
  "id: a, direction: in, app: app1, action: deny",
  "id: b, direction: out, to: { agent: web }, action: deny",
  "id: c, direction: in, from: { group: front }, to: { protocol: udp }, action: deny",
  DENY,
];

test("with any of them nothing is allowed that was not, and nothing is enforced less", () => {
  const before = new PolicyAnswers(MANAGERS, NAMES);
  let taken = 0;
  for (const words of LOCALS) {
    const local = parseLocalRules(rule(words), "mine.yaml");
    const after = new PolicyAnswers(withLocalRules(MANAGERS, local), NAMES);
    for (const direction of ["in", "out"] as const) {
      for (const [protocol, port] of [
        [6, 22],
        [6, 23],
        [17, 53],
      ] as const) {
        for (const app of [undefined, "", "app1", "app2"]) {
          const address = parseAddress("10.0.0.1") ?? { version: 4 as const, words: [0] as never };
          const question = { direction, peer: "web", address, protocol, port, app };
          const [old, now] = [before.answer(question), after.answer(question)];
          if (now.action === "allow") expect(old.action).toBe("allow");
          if (now.action === old.action) continue;
          taken++;
          expect([now.action, now.stage, now.rule.startsWith("local-")]).toEqual([
            "deny",
            "enforce",
            true,
          ]);
        }
      }
    }
  }
  expect(taken).toBeGreaterThan(4);
});
