/** Flows that agents reported: map, table, from a refused one to a policy that allows it. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import type { FlowRow } from "../../src/channel/flow-report.ts";
import { ConsoleSite } from "./console-site.ts";

const WEB = "10.80.0.1";
const DB = "10.80.0.2";
const REFUSED: FlowRow = {
  ...{ direction: "in", address: WEB, peer: "web1", app: "", protocol: "tcp", port: 5432 },
  ...{ verdict: "refused", rule: "default-inbound", reason: "policy-denied", count: 7 },
};
/** Names are others' words: nothing of them is markup. */
const MARKUP = "<img/src=x>";
let site: ConsoleSite;

beforeAll(async () => {
  site = await ConsoleSite.open(["web1", "db1"]);
  await site.report("db1", [
    REFUSED,
    { ...REFUSED, address: "192.0.2.9", peer: "", port: 22, rule: "default-outside" },
    { ...REFUSED, port: 6379, verdict: "would-refuse", reason: "no-signature", rule: MARKUP },
  ]);
  await site.report("web1", [
    {
      ...{ ...REFUSED, direction: "out", address: DB, peer: "db1", port: 443 },
      ...{ verdict: "allowed", rule: "default-outbound", reason: "" },
    },
  ]);
}, 60_000);

afterAll(async () => {
  const faults = site.browser.faults();
  await site.close();
  expect(faults).toEqual([]);
});

test("the map says what it shows, and pleases axe-core with flows on it", async () => {
  const page = await site.browser.signedIn("viewer");
  const map = page.getByRole("img", { name: /Map of 2 agents and 4 kinds of flows: 1 allowed/ });
  await map.waitFor();
  expect(await map.locator("canvas").count()).toBeGreaterThan(0);
  expect(await site.browser.axeFaults(page)).toEqual([]);
});

test("each flow has the rule behind its verdict; filters are in the URL", async () => {
  const page = await site.browser.signedIn("viewer");
  await site.browser.visit(page, "flows");
  await page
    .getByRole("row", { name: /^refused web1 db1 .*tcp 5432.*default-inbound 7/ })
    .waitFor();
  await page.getByText(MARKUP).waitFor();
  expect(await site.browser.axeFaults(page)).toEqual([]);
  await page.getByLabel("Verdict").selectOption("allowed");
  await page.waitForURL(/verdict=allowed/);
  await page
    .getByRole("row", { name: /^refused/ })
    .first()
    .waitFor({ state: "detached" });
  await page.reload();
  await page.getByRole("row", { name: /^allowed web1 db1/ }).waitFor();
  expect(await page.locator("tbody tr").count()).toBe(1);
});

test("a refused flow is allowed in three clicks, at both ends, as the diff had said", async () => {
  const page = await site.browser.signedIn("operator");
  await page.getByRole("link", { name: "Flows", exact: true }).click();
  await page
    .getByRole("row", { name: /tcp 5432/ })
    .getByRole("button")
    .click();
  const dialog = page.getByRole("dialog");
  const patch = await dialog.locator(".patch").textContent();
  expect(patch).toMatch(/^\+.*id: tcp-5432-in/m);
  expect(patch).toMatch(/^\+.*id: tcp-5432-out/m);
  await page.getByRole("button", { name: "Apply to t1" }).click();
  await dialog.waitFor({ state: "detached" });
  const words = ["--tenant", "t1", "--protocol", "tcp", "--port", "5432"];
  const atDb = ["--agent", "db1", "--direction", "in", "--other", "web1"];
  const atWeb = ["--agent", "web1", "--direction", "out", "--other", "db1"];
  expect(await site.ask(["policy", "explain", ...words, ...atDb])).toStartWith(
    "allow by tcp-5432-in",
  );
  expect(await site.ask(["policy", "explain", ...words, ...atWeb])).toStartWith(
    "allow by tcp-5432-out",
  );
  // It allows no more than that.
  const other = ["--tenant", "t1", "--protocol", "tcp", "--port", "5433", ...atDb];
  expect(await site.ask(["policy", "explain", ...other])).toStartWith("deny by default-inbound");
});

test("the editor tells line and column of what is wrong, replays, and applies", async () => {
  const page = await site.browser.signedIn("operator");
  await site.browser.visit(page, "policy");
  const editor = page.getByLabel(/^Version \d+$/);
  await editor.fill("version: 1\nrules:\n  - { id: x, direction: sideways, action: deny }\n");
  await page.getByRole("button", { name: "Try it" }).click();
  await page.getByText(/input:3:\d+/).waitFor();
  const ssh = "{ id: ssh, direction: in, from: { cidr: 192.0.2.0/24 }, action: allow }";
  const never = ssh.replace("id: ssh", "id: never");
  await editor.fill(`version: 1\nrules:\n  - ${ssh}\n  - ${never}\n`);
  await page.getByRole("button", { name: "Try it" }).click();
  await page.getByText("allow by ssh").waitFor();
  await page.getByText('rule "never" never decides: "ssh" before it covers it.').waitFor();
  expect(await site.browser.axeFaults(page)).toEqual([]);
  await page.getByRole("button", { name: "Apply…" }).click();
  await page.getByRole("button", { name: "Apply", exact: true }).click();
  await page
    .getByRole("row", { name: /account operator/ })
    .first()
    .waitFor();
  expect(await site.ask(["policy", "show", "--tenant", "t1"])).toContain("id: ssh");
});

test("a decision is explained with each rule that was considered", async () => {
  const page = await site.browser.signedIn("viewer", { width: 390 });
  await site.browser.visit(page, "policy");
  await page.getByLabel("Decided by").selectOption("db1");
  await page.getByLabel("Other end").fill("192.0.2.9");
  await page.getByLabel("Port", { exact: true }).fill("22");
  await page.getByRole("button", { name: "Explain" }).click();
  await page.getByText("everything it asks for is met").waitFor();
  expect(await page.getByLabel("Port", { exact: true }).inputValue()).toBe("22");
  expect(await site.browser.axeFaults(page)).toEqual([]);
  expect(await page.evaluate("document.documentElement.scrollWidth")).toBe(390);
});

test("whoever changed the policy meanwhile is not overwritten", async () => {
  const page = await site.browser.signedIn("operator");
  await site.browser.visit(page, "policy");
  const editor = page.getByLabel(/^Version \d+$/);
  await editor.fill("version: 1\nrules: []\n");
  await page.getByRole("button", { name: "Try it" }).click();
  await page.getByRole("button", { name: "Apply…" }).click();
  await site.ask(["policy", "apply", "--tenant", "t1"], "version: 1\nrules: [] # mine\n");
  await page.getByRole("button", { name: "Apply", exact: true }).click();
  await page.getByText(/The policy of t1 is at version \d+ by now/).waitFor();
});
