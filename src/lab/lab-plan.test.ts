import { expect, test } from "bun:test";
import { checkSignatures, checkTogether } from "../manager/signature-check.ts";
import { compilePolicy } from "../policy/compile.ts";
import { parsePolicy } from "../policy/schema.ts";
import { DEFAULT_SETTINGS, policyOf, signaturesOf, VMS } from "./lab-plan.ts";
import { CHECKS } from "./story.ts";

const settings = [
  { name: "none", settings: {} },
  ...CHECKS.map(({ name, sabotage }) => ({ name, settings: sabotage.settings })),
];

test.each(settings)("the manager takes policy and signatures; sabotage: $name", (sabotaged) => {
  const used = { ...DEFAULT_SETTINGS, ...sabotaged.settings };
  const { signatures } = checkSignatures(JSON.stringify(signaturesOf(used)));
  checkTogether(signatures.map(({ contents }) => contents));
  const policy = parsePolicy(JSON.stringify(policyOf(used)), "input");
  const agents = Object.values(VMS).map(({ name }) => name);
  for (const id of agents) {
    const party = (name: string) => ({ id: name, groups: [], mode: "full" }) as const;
    const compiled = compilePolicy(policy, {
      own: { ...party(id), stage: "enforce" },
      peers: agents.filter((name) => name !== id).map(party),
      apps: ["", "app1", "app2", "ping"],
      otherTenants: [],
      known: { agents, groups: [] },
    });
    expect(compiled.ruleIds.length).toBeGreaterThan(0);
  }
});
