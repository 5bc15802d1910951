/** The console's pages in Chromium: looks, sizes, the keyboard, sign-in, roles. docs/console.md. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Page } from "playwright-core";
import { ConsoleSite } from "./console-site.ts";

const PAGES = [
  "",
  "agents",
  "flows",
  "agents?agent=web1",
  "policy",
  "ledger?block=1",
  "signatures",
  "contracts",
  "quarantine",
  "notifications",
];
const ALL = [...PAGES, "audit"];
let site: ConsoleSite;

beforeAll(async () => {
  site = await ConsoleSite.open(["web1", "db1"]);
}, 60_000);

afterAll(async () => {
  const faults = site.browser.faults();
  await site.close();
  expect(faults).toEqual([]);
});

test.each([1280, 390])("pages please axe-core, in light and dark, %p wide", async (width) => {
  const page = await site.browser.signedIn("administrator", { width });
  for (const path of ALL) {
    await site.browser.visit(page, path);
    const faults = await site.browser.axeFaults(page);
    await page.emulateMedia({ colorScheme: "dark" });
    // Nothing but colours differs.
    const dark = await site.browser.axeFaults(page, ["color-contrast"]);
    await page.emulateMedia({ colorScheme: "light" });
    expect({ path, faults, dark }).toEqual({ path, faults: [], dark: [] });
    const taken = await page.evaluate("document.documentElement.scrollWidth");
    expect({ path, taken }).toEqual({ path, taken: width });
  }
});

test("the sign-in pleases axe-core, says what is wrong, and nobody else's page may frame it", async () => {
  const page = await site.browser.page();
  const { promise: looked, resolve: hasLooked } = Promise.withResolvers<void>();
  await page.route("**/api/v1/session", async (route) => {
    await looked;
    await route.continue();
  });
  const response = await page.goto(`${site.url}/`);
  expect(response?.url()).toBe(`${site.url}/console/`);
  const policy = response?.headers()["content-security-policy"] ?? "";
  expect(policy).toContain("default-src 'none'; script-src 'self'; style-src 'self'");
  expect(policy).toContain("frame-ancestors 'none'");
  // While the manager has not said whose session it is.
  await page.getByText("Loading…").waitFor();
  expect(await site.browser.axeFaults(page)).toEqual([]);
  hasLooked();
  await page.getByLabel("Name").waitFor();
  expect(await site.browser.axeFaults(page)).toEqual([]);
  await page.getByLabel("Name").fill("viewer");
  await page.getByLabel("Password").fill("not the password");
  await page.keyboard.press("Enter");
  await page.getByText("Name or password is wrong.").waitFor();
});

test("agents are shown with mode, stage and versions, and changed by who may", async () => {
  const page = await site.browser.signedIn("operator");
  await site.browser.visit(page, "agents");
  expect(await page.getByRole("row", { name: /web1.*quick.*observe/ }).count()).toBe(1);
  await page.getByRole("link", { name: "web1", exact: true }).click();
  await page.getByRole("button", { name: "Change…" }).click();
  await page.getByLabel("Stage").selectOption("enforce");
  await page.getByRole("button", { name: "Change", exact: true }).click();
  await page.getByRole("row", { name: /web1.*enforce/ }).waitFor();
  expect(await site.ask(["agents", "show", "web1"])).toContain("enforce");
  await site.browser.visit(page, "audit");
  expect(await page.getByRole("row", { name: /operator.*agents set.*web1/ }).count()).toBe(1);
});

test("what a viewer may not do is not offered, and refused by the manager all the same", async () => {
  const page = await site.browser.signedIn("viewer");
  for (const path of ALL) {
    await site.browser.visit(page, path);
    const buttons = await page.locator("main").getByRole("button").allTextContents();
    const offered = buttons.filter((text) =>
      ["Explain", "Verify", "Verify the whole chain"].includes(text),
    );
    expect({ path, buttons }).toEqual({ path, buttons: offered });
  }
  const forged = `(async () => {
    const { csrf_token } = await (await fetch("/api/v1/session")).json();
    const headers = { "Content-Type": "application/json", "X-CSRF-Token": csrf_token };
    const body = JSON.stringify({ all: true, stage: "enforce" });
    const answer = await fetch("/api/v1/agents", { method: "PATCH", headers, body });
    return (await answer.json()).code;
  })()`;
  const code = await page.evaluate(forged).catch(String);
  expect(code).toBe("NOT_ALLOWED");
});

test("a quarantine is begun and released on its page, and told as it happens", async () => {
  const page = await site.browser.signedIn("operator");
  await site.browser.visit(page, "quarantine");
  await page.getByText("Nobody is in quarantine.").waitFor();
  await page.getByRole("button", { name: "Quarantine a VM…" }).click();
  await page.getByLabel("Agent").fill("db1");
  await page.getByLabel("Reason, for the record").fill("a test");
  await page.getByRole("button", { name: "Quarantine", exact: true }).click();
  await page.getByRole("row", { name: /db1.*dropped.*a test/ }).waitFor();
  await page.getByRole("button", { name: "Release…" }).click();
  await page.getByLabel("Reason, for the record").fill("it was a test");
  await page.getByRole("button", { name: "Release", exact: true }).click();
  await page.getByText("Nobody is in quarantine.").waitFor();
  await site.browser.visit(page, "notifications");
  await page.getByRole("row", { name: /quarantine-began.*db1/ }).waitFor();
  await page.getByLabel("Find").fill("quarantine-over");
  await page.waitForURL(/find=quarantine-over/);
  await page.reload();
  await page.getByRole("row", { name: /quarantine-over.*db1/ }).waitFor();
  expect(await page.getByRole("row", { name: /quarantine-began/ }).count()).toBe(0);
});

test("a contract is issued, given its next secret, and expired", async () => {
  const page = await site.browser.signedIn("operator");
  await site.browser.visit(page, "contracts");
  const rows = page.locator("tbody tr");
  const before = await rows.count();
  await page.getByRole("button", { name: "Issue another…" }).click();
  await page.getByRole("button", { name: "Issue", exact: true }).click();
  await rows.nth(before).waitFor();
  await rows.first().getByRole("button", { name: "Expire…" }).click();
  await page.getByRole("button", { name: "Expire", exact: true }).click();
  await page.getByRole("row", { name: /expired/ }).waitFor();
});

test("a signature is published from its page", async () => {
  await site.ask(["sig", "add", "--tenant", "t1"], JSON.stringify([{ builtin: "ping" }]));
  const page = await site.browser.signedIn("operator");
  await site.browser.visit(page, "signatures");
  const row = page.getByRole("row", { name: /ping/ }).first();
  await row.getByRole("button", { name: "Publish…" }).click();
  await page.getByRole("button", { name: "Publish", exact: true }).click();
  await page
    .getByRole("row", { name: /ping.*published/ })
    .first()
    .waitFor();
  expect(await site.browser.axeFaults(page)).toEqual([]);
});

/** Presses Tab until what `name` is called has the focus. */
async function tabTo(page: Page, name: string): Promise<void> {
  const words = "document.activeElement?.textContent?.trim()";
  for (let i = 0; i < 60; i++) {
    await page.keyboard.press("Tab");
    if ((await page.evaluate(words)) === name) return;
  }
  throw new Error(`Tab never comes to ${name}`);
}

test("everything is reached with the keyboard, and the focus is seen", async () => {
  const page = await site.browser.page();
  await page.goto(`${site.url}/console/`);
  await page.getByLabel("Name").focus();
  await page.keyboard.type("operator");
  await page.keyboard.press("Tab");
  await page.keyboard.type("correct horse battery");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Overview" }).waitFor();
  await tabTo(page, "Skip to content");
  await page.keyboard.press("Enter");
  expect(await page.evaluate("document.activeElement?.id")).toBe("main");
  await page.reload();
  await page.getByRole("heading", { name: "Overview" }).waitFor();
  await tabTo(page, "Contracts");
  const outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle");
  expect(outline).toBe("solid");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Contracts" }).waitFor();
  await tabTo(page, "Issue another…");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Issue another contract to t1?" }).waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("heading", { name: "Issue another" }).waitFor({ state: "detached" });
});

test("who signs out, or whose session is over, is at the sign-in", async () => {
  const page = await site.browser.signedIn("viewer");
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByText("You are signed out.").waitFor();
  const other = await site.browser.signedIn("viewer");
  await site.browser.visit(other, "contracts");
  await other.context().clearCookies();
  await other.getByRole("link", { name: "Agents", exact: true }).click();
  await other.getByText("Your session is over. Sign in again.").waitFor();
});

test("an interrupted stream is told, and goes on when the manager is back", async () => {
  const page = await site.browser.signedIn("viewer");
  await page.getByText("live", { exact: true }).waitFor();
  await site.stop();
  await page.getByText("interrupted, reconnecting…").waitFor();
  await site.start();
  // Sessions are in the manager's memory: whoever comes back signs in anew.
  await page.getByText("Your session is over. Sign in again.").waitFor();
});
