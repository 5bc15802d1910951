/**
 * The console in front of running VMs: what an agent refused is seen on its page, allowed there in
 * three clicks, and the program's next call gets through. docs/console.md "Three clicks".
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { waitFor } from "../../src/lab/command.ts";
import { startNginx } from "../../src/lab/programs.ts";
import { accountOf, CHROMIUM, ConsoleBrowser } from "../console/console-browser.ts";
import { openBedOf } from "./enrolled-site.ts";
import { CLIENT, OPEN_RULES, openAgent, PORTS, SERVER, stopwatch, tenantOf } from "./harness.ts";
import { MANAGER, type ManagerBed } from "./manager-bed.ts";

const MINUTE_MS = 60_000;
/** `abs manager serve` without `--api`. */
const API_PORT = 7080;
const done = stopwatch("e2e console");
let bed: ManagerBed;
let browser: ConsoleBrowser;

beforeAll(async () => {
  const rules = OPEN_RULES.filter(({ app }) => app !== "http");
  const agents = [CLIENT, SERVER].map((vm) => openAgent(vm, { policy: { rules } }));
  bed = await openBedOf("console", tenantOf(agents));
  await bed.site.keep(startNginx(bed.site.host(SERVER.name), PORTS.http));
  const { words, input } = accountOf("operator");
  await bed.give(input, ...words);
  // The API listens on the manager's own loopback: the administrator's browser runs there.
  const program = `${bed.site.options.directory}/chromium`;
  const argv = bed.site.inside(MANAGER.name, [CHROMIUM]).join(" ");
  writeFileSync(program, `#!/bin/sh\nexec ${argv} "$@"\n`, { mode: 0o755 });
  browser = await ConsoleBrowser.open(`http://127.0.0.1:${API_PORT}`, program);
}, 2 * MINUTE_MS);

afterAll(async () => {
  const faults = browser?.faults();
  await browser?.close();
  await bed?.close();
  done();
  expect(faults).toEqual([]);
}, MINUTE_MS);

/** Of nginx, which has no pages; undefined: nothing came back. */
async function statusOfCall(): Promise<string | undefined> {
  const url = `http://${SERVER.ipv4}:${PORTS.http}/`;
  const words = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-m", "3", url];
  const { code, stdout } = await bed.site.run(CLIENT.name, words, { timeoutMs: 20_000 });
  return code === 0 ? stdout : undefined;
}

test(
  "a refused flow of a running VM is allowed in three clicks, and gets through",
  async () => {
    expect(await statusOfCall()).toBeUndefined();
    const page = await browser.signedIn("operator");
    await page.getByRole("link", { name: "Flows", exact: true }).click();
    const refused = page.getByRole("row", { name: /^refused client server http tcp 8080/ });
    await refused.getByRole("button").click();
    const dialog = page.getByRole("dialog");
    expect(await dialog.locator(".patch").textContent()).toContain("8080");
    await page.getByRole("button", { name: "Apply to t1" }).click();
    await dialog.waitFor({ state: "detached" });
    await bed.untilEnforced();
    expect(await waitFor("an answer of nginx", statusOfCall, MINUTE_MS)).toBe("403");
    for (const rule of ["http-out", "http-in"]) {
      await page
        .getByRole("row", { name: `allowed client server http tcp 8080 ${rule}` })
        .waitFor();
    }
    await page.getByRole("link", { name: "Overview" }).click();
    await page.getByRole("img", { name: /Map of 2 agents/ }).waitFor();
  },
  2 * MINUTE_MS,
);
