/** How contracts stood last: read as it was saved, of this chain only, and nothing damaged. */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ContractEntry } from "../chain/contract-entry.ts";
import type { Hash, ScId } from "../chain/ledger-units.ts";
import type { ScdContract } from "../node/scd-watch.ts";
import type { EpochSeconds } from "../units.ts";
import { loadContracts, saveContracts } from "./contract-memory.ts";

const dir = mkdtempSync(join(tmpdir(), "abs-memory-"));
afterAll(() => rmSync(dir, { recursive: true }));
const file = join(dir, "contracts.json");
const CHAIN = "ab".repeat(32);
const SC = "a156fe4c-27af-4692-b205-58ad201c5cf9" as string as ScId;
const COMMITMENT = "cd".repeat(32) as Hash;

const entry: ContractEntry = {
  ...{ scId: SC, encryptionAlgo: "aes-128-gcm", hashAlgo: "sha256", quickmode: false, seq: 1 },
  ...{ active: false, scLifetime: 9e8 as EpochSeconds, keyregen: 8e8 as EpochSeconds },
  ...{ busySeconds: 60, idleSeconds: 30, protection: "integrity", generation: 2 },
  secretCommitment: COMMITMENT,
  scope: { agents: ["web"], applications: [], groups: [] },
};
const contracts: ScdContract[] = [
  {
    ...{ scId: SC, entry },
    generations: [
      { generation: 1, commitment: "00".repeat(32) as Hash, since: 0 as EpochSeconds },
      { generation: 2, commitment: COMMITMENT, since: 1_700_000_000 as EpochSeconds },
    ],
  },
  { scId: "b156fe4c-27af-4692-b205-58ad201c5cf9", entry: undefined, generations: [] },
];

test("it is read as it was saved", () => {
  expect(loadContracts(file, CHAIN)).toBeUndefined();
  saveContracts(file, CHAIN, contracts);
  expect(loadContracts(file, CHAIN)).toEqual(contracts);
  saveContracts(file, CHAIN, []);
  expect(loadContracts(file, CHAIN)).toEqual([]);
});

test("another chain's does not count", () => {
  saveContracts(file, CHAIN, contracts);
  expect(loadContracts(file, "ac".repeat(32))).toBeUndefined();
});

test("cut off anywhere, it is not read; a changed byte never throws", () => {
  saveContracts(file, CHAIN, contracts);
  const whole = readFileSync(file);
  for (let length = 0; length < whole.length; length++) {
    writeFileSync(file, whole.subarray(0, length));
    expect(loadContracts(file, CHAIN)).toBeUndefined();
  }
  for (let at = 0; at < whole.length; at++) {
    const changed = Uint8Array.from(whole);
    changed[at] = (changed[at] ?? 0) ^ 0x41;
    writeFileSync(file, changed);
    loadContracts(file, CHAIN);
  }
});

const words = [
  ["an entry of another contract", '"sc-id":"a', '"sc-id":"c'],
  ["a generation that is none", '"generation":1', '"generation":0'],
  ["an unknown field", '"version":1', '"version":1,"x":1'],
  ["another version", '"version":1', '"version":2'],
] as const;
test.each(words)("not read: %s", (_, from, to) => {
  saveContracts(file, CHAIN, contracts);
  writeFileSync(file, readFileSync(file, "utf8").replace(from, to));
  expect(loadContracts(file, CHAIN)).toBeUndefined();
});
