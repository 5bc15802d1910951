import { expect, test } from "bun:test";
import { Disk } from "./disk.ts";
import { Prng } from "./prng.ts";
import { World } from "./world.ts";

const { genesis } = new World({
  ...{ seed: 1, validators: 1, nodes: 1, heights: 1, isReal: false, faults: [], lies: [] },
});

function diskWith(written: number): Disk {
  const disk = new Disk(genesis);
  disk.write({ kind: "write", entry: { kind: "stopped", reason: "synced" } });
  disk.sync();
  for (let i = 0; i < written; i++) {
    disk.write({ kind: "write", entry: { kind: "stopped", reason: `${i}` } });
  }
  return disk;
}

test("a crash loses what was not synced, and nothing else", () => {
  const disk = diskWith(3);
  disk.crash(undefined);
  disk.sync();
  expect(disk.log).toEqual([{ kind: "stopped", reason: "synced" }]);
});

test("a torn crash keeps the first writes in their order, sometimes none, sometimes all", () => {
  const kept = new Set<number>();
  for (let seed = 0; seed < 60; seed++) {
    const disk = diskWith(3);
    disk.crash(new Prng(seed));
    kept.add(disk.log.length - 1);
    const reasons = disk.log.map((entry) => ("reason" in entry ? entry.reason : ""));
    expect(reasons).toEqual(["synced", "0", "1", "2"].slice(0, disk.log.length));
  }
  expect([...kept].sort()).toEqual([0, 1, 2, 3]);
});

test("a lost disk is empty, and a rotten one gives another root until it is repaired", () => {
  const disk = diskWith(0);
  disk.isRotten = true;
  expect(disk.scdRoot).not.toBe(genesis.scd.root);
  disk.write({ kind: "repair", chain: genesis });
  disk.sync();
  expect(disk.scdRoot).toBe(genesis.scd.root);
  disk.wipe();
  expect([disk.log.length, disk.chain, disk.tipProof]).toEqual([0, genesis, undefined]);
});
