import { expect, test } from "bun:test";
import { parseProvisioning } from "../agent/provisioning.ts";
import { Tenant } from "./tenant.ts";

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
