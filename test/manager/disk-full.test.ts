/**
 * A disk without room under a manager, at each thing that changes it: a clear error, nothing half
 * done, and it goes on by itself when there is room again.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ensureKeys } from "../../src/channel/agent-folder.ts";
import { askManager } from "../../src/manager/command-client.ts";
import { ManagerSite } from "./manager-site.ts";

const disk = mkdtempSync(join(tmpdir(), "abs-disk-"));
const filler = join(disk, "filler");
const before = process.env["TMPDIR"];
let site: ManagerSite;

beforeAll(async () => {
  Bun.spawnSync(["mount", "-t", "tmpfs", "-o", "size=24m", "abs-test", disk]);
  process.env["TMPDIR"] = disk;
  site = await ManagerSite.open();
  await site.addTenant("t1");
  await site.enrol(await site.invite("a"), site.freshDir());
});

afterAll(async () => {
  if (before === undefined) delete process.env["TMPDIR"];
  else process.env["TMPDIR"] = before;
  await site?.close();
  Bun.spawnSync(["umount", disk]);
  rmSync(disk, { recursive: true });
});

function fill(): void {
  const descriptor = openSync(filler, "a");
  const some = new Uint8Array(4096);
  try {
    for (;;) writeSync(descriptor, some);
  } catch {
    // There is no room left.
  }
  closeSync(descriptor);
}

async function say(words: readonly string[], document = "") {
  const input = document === "" ? undefined : new Uint8Array(Buffer.from(document));
  return askManager({ dir: site.dir }, words, input);
}

/** What is asked until it is refused: small changes fit into pages that are there already. */
const changes: readonly (readonly [string, (i: number) => readonly string[], string])[] = [
  ["invite", (i) => ["invite", "--tenant", "t1", "--name", `n${i}`], ""],
  ["policy apply", () => ["policy", "apply", "--tenant", "t1"], `version: 1\n#${"x".repeat(9000)}`],
  ["contract issue", () => ["contract", "issue", "--tenant", "t1"], ""],
];

test.each(changes)(
  "%s: refused with a reason, and done when there is room",
  async (_, words, text) => {
    fill();
    let said = await say(words(0), text);
    for (let i = 1; said.code === 0 && i < 300; i++) said = await say(words(i), text);
    const status = await say(["status"]);
    rmSync(filler);
    expect(said.complaint).toContain("[DISK_FULL]");
    expect([status.code, status.complaint]).toEqual([0, ""]);
    const after = await say(words(1000), text);
    expect([after.code, after.complaint]).toEqual([0, ""]);
  },
);

test("an enrolment without room is refused, and the same token is good afterwards", async () => {
  const token = await site.invite("late");
  const dir = site.freshDir();
  ensureKeys(dir);
  fill();
  const code = await site.enrol(token, dir).then(
    () => "done",
    (error: { code?: string }) => error.code ?? String(error),
  );
  rmSync(filler);
  expect(code).toBe("DISK_FULL");
  const { own } = await site.enrol(token, dir);
  expect(own.name).toBe("late");
}, 60_000);

test("contracts that are due without room get their next secret when there is room", async () => {
  const isSaid = (event: string) => site.events().some((one) => one["event"] === event);
  fill();
  site.skewSeconds = 31 * 86_400;
  while (!isSaid("contracts-not-kept")) await Bun.sleep(20);
  rmSync(filler);
  while (!isSaid("contract-regenerated")) await Bun.sleep(20);
  expect((await say(["status"])).code).toBe(0);
}, 60_000);
