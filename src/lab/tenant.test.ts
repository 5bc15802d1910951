import { expect, test } from "bun:test";
import { parseProvisioning } from "../agent/provisioning.ts";
import type { ScId } from "../chain/ledger-units.ts";
import { secretCommitment } from "../chain/secret-commitment.ts";
import { ledgerEntry } from "./lab-ledger.ts";
import { DEFAULT_SETTINGS, labTenants } from "./lab-plan.ts";
import { CHECKS } from "./story.ts";
import { Tenant } from "./tenant.ts";

const settings = [
  { name: "none", settings: {} },
  ...CHECKS.map(({ name, sabotage }) => ({ name, settings: sabotage.settings })),
];

test.each(settings)("every agent's file is valid; sabotage: $name", ({ settings }) => {
  for (const tenant of labTenants({ ...DEFAULT_SETTINGS, ...settings }, "/ledger")) {
    for (const { vm } of tenant.plan.agents) {
      const text = JSON.stringify(tenant.provisioningOf(vm.name));
      const provisioning = parseProvisioning(text, `${vm.name}.json`);
      expect(provisioning.node.id).toBe(vm.name);
    }
  }
});

test("nodes know each other by the public half of their keys", () => {
  const agents = ["one", "two"].map((name, i) => ({
    vm: { name, ipv4: `10.0.0.${i + 1}`, ipv6: `fd00::${i + 1}`, mac: `02:00:00:00:00:0${i + 1}` },
    apps: ["app"],
    policy: { rules: [] },
  }));
  const plan = { name: "t", apps: ["app"], signatures: [], contracts: [{}], agents };
  const tenant = new Tenant(plan);
  const parse = (name: string) =>
    parseProvisioning(JSON.stringify(tenant.provisioningOf(name)), `${name}.json`);
  expect(parse("one").peers[0]?.staticPublic).toEqual(parse("two").node.staticKey.publicKey);
  expect(parse("one").tags).toEqual(parse("two").tags);
});

test("with a ledger a file has the secrets only, and the ledger their commitments", () => {
  const [tenant] = labTenants(DEFAULT_SETTINGS, "/ledger");
  const { ledger, contracts } = parseProvisioning(
    JSON.stringify(tenant?.provisioningOf("cache")),
    "cache.json",
  );
  expect(contracts).toEqual([]);
  expect(ledger?.directory).toBe("/ledger/cache");
  const held = ledger?.contracts ?? [];
  expect(held.length).toBe(DEFAULT_SETTINGS.ledger.contracts);
  for (const [i, issued] of (tenant?.contracts ?? []).entries()) {
    const { scId, secrets } = held[i] ?? {};
    const secret = secrets?.[0]?.secret ?? new Uint8Array(0);
    expect(ledgerEntry(issued, "right")).toMatchObject({
      "sc-id": scId ?? "",
      secret_commitment: secretCommitment(issued.scId as ScId, 1, secret),
    });
    expect(ledgerEntry(issued, "wrong")["secret_commitment"]).not.toBe(
      ledgerEntry(issued, "right")["secret_commitment"],
    );
  }
});
