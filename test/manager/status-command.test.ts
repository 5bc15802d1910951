/** `abs status` where there is nothing, a running manager, and one that has stopped; no colours. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { ManagerSite } from "./manager-site.ts";
import { run } from "./ssh-site.ts";

const ABS = [process.execPath, join(import.meta.dir, "../../src/cli/main.ts")];
let site: ManagerSite;

beforeAll(async () => {
  site = await ManagerSite.open();
  await site.addTenant("t1");
});

afterAll(() => site.close());

function status(...words: string[]) {
  const nowhere = ["--state", join(site.base, "none"), "--agent-dir", join(site.base, "none")];
  return run([...ABS, "status", ...nowhere, ...words]);
}

test("nothing of abs: it says so, and ends with 3", async () => {
  const { code, output } = await status("--dir", join(site.base, "none"), "--output", "json");
  const absent = { state: "absent" };
  expect([code, JSON.parse(output)]).toEqual([
    3,
    { agent: absent, ledger: absent, manager: absent },
  ]);
});

test("a manager that runs, and one that does not", async () => {
  const up = await status("--dir", site.dir, "--output", "json");
  expect([up.code, up.complaint]).toEqual([0, ""]);
  expect(JSON.parse(up.output).manager).toMatchObject({ state: "running", tenants: 1, agents: 0 });
  const text = await status("--dir", site.dir);
  expect(text.output).toMatch(/^manager: running\n {2}address +127\.0\.0\.1$/m);
  await site.manager?.stop();
  const down = await status("--dir", site.dir, "--output", "json");
  expect(down.code).toBe(3);
  expect(JSON.parse(down.output).manager).toMatchObject({
    ...{ state: "stopped", reason: expect.stringContaining("cannot be reached") },
  });
  await site.start();
});

test("a wrong option is 2; help that nobody watches has no colours", async () => {
  expect((await status("--output", "xml")).code).toBe(2);
  const help = await run([...ABS, "status", "--help"]);
  expect(help.code).toBe(0);
  expect(help.output).toContain("USAGE");
  expect(help.output).not.toContain("\u001b");
});
