/** A node's checkpoint on its disk: which one is kept, and a node that it conflicts with. */
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BlockHash, Height } from "../../src/chain/ledger-units.ts";
import { loadCheckpoint, saveCheckpoint } from "../../src/node/node-checkpoint.ts";
import { fileIn } from "../../src/node/node-folder.ts";
import { abs, absJson, LedgerSite } from "./ledger-site.ts";

setDefaultTimeout(60_000);
const dir = mkdtempSync(join(tmpdir(), "abs-checkpoint-"));
afterAll(() => rmSync(dir, { recursive: true }));

const at = (height: number, digit = "a") => {
  return { height: height as Height, blockHash: digit.repeat(64) as BlockHash };
};

test("the highest is kept, a lower one is not taken, and another at its height is a conflict", () => {
  expect(loadCheckpoint(dir)).toBeUndefined();
  expect(saveCheckpoint(dir, at(5))).toBe(true);
  expect(saveCheckpoint(dir, at(4, "b"))).toBe(false);
  expect(saveCheckpoint(dir, at(5))).toBe(true);
  expect(loadCheckpoint(dir)).toEqual(at(5));
  expect(() => saveCheckpoint(dir, at(5, "b"))).toThrow("Block 5 is");
  expect(saveCheckpoint(dir, at(6, "b"))).toBe(true);
  expect(loadCheckpoint(dir)).toEqual(at(6, "b"));
  expect(existsSync(`${fileIn(dir, "checkpoint")}.new`)).toBe(false);
});

const spoilt = [
  "",
  "{}",
  "[]",
  '{"height":1}',
  `{"block_hash":"${"a".repeat(63)}","height":1}`,
  `{"block_hash":"${"a".repeat(64)}","height":-1}`,
  `{"block_hash":"${"a".repeat(64)}","height":1.5}`,
  `{"block_hash":"${"a".repeat(64)}","height":1,"x":1}`,
];
test.each(spoilt)("the file %p is refused, never forgotten", (text) => {
  writeFileSync(fileIn(dir, "checkpoint"), text);
  expect(() => loadCheckpoint(dir)).toThrow("checkpoint.json");
  expect(() => saveCheckpoint(dir, at(9))).toThrow("checkpoint.json");
});

test("a node whose chain conflicts with it does not start, and one that is odd is no option", async () => {
  const site = await LedgerSite.create(["web1"]);
  try {
    const run = ["validator", "run", "--dir", site.folder("web1"), "--checkpoint"];
    const odd = await abs(...run, "7");
    expect([odd.exitCode, odd.stderr.includes("OPTION_INVALID")]).toEqual([2, true]);
    const ran = await abs(...run, `0:${"a".repeat(64)}`);
    expect([ran.exitCode, ran.stdout]).toEqual([1, ""]);
    expect(ran.stderr).toContain("CHECKPOINT_CONFLICT");
    // It is kept: without the option too.
    const again = await abs("validator", "run", "--dir", site.folder("web1"));
    expect(again.stderr).toContain("CHECKPOINT_CONFLICT");
    rmSync(fileIn(site.folder("web1"), "checkpoint"));
    site.start("web1");
    await site.reach(0, ["web1"]);
    const status = await absJson<{ block_hash: string }>(
      ...["ledger", "status", "--dir", site.folder("web1")],
    );
    expect(status.block_hash).not.toBe("a".repeat(64));
  } finally {
    await site.end();
  }
});
