/**
 * The fast reader of usual contracts beside the general ones: same verdict and same value for any
 * bytes, and it is the one that reads what the master writes.
 */
import { expect, test } from "bun:test";
import { CONTRACT_BYTES_MAX } from "../../src/chain/block.ts";
import {
  type ContractEntry,
  decodeAnyContract,
  decodeContract,
  encodeContract,
} from "../../src/chain/contract-entry.ts";
import type { EpochSeconds } from "../../src/units.ts";
import { Prng } from "../prng.ts";
import { contractOf } from "./chain-builder.ts";

const seed = Number(process.env["SEED"] ?? crypto.getRandomValues(new Uint32Array(1))[0]);

const USUAL: readonly Partial<ContractEntry>[] = [
  {},
  { active: false },
  { active: "expired" },
  { quickmode: true, encryptionAlgo: "rsa256", hashAlgo: "blake2b", protection: "confidential" },
  { seq: 2 ** 32 - 1, generation: 2 ** 32 - 1 },
  { scLifetime: (2 ** 33) as EpochSeconds, keyregen: 0 as EpochSeconds, busySeconds: 2 ** 33 },
];
const UNUSUAL: readonly Partial<ContractEntry>[] = [
  { seq: 2 ** 32 },
  { generation: 10 ** 12 },
  { scLifetime: (2 ** 33 + 1) as EpochSeconds },
  { busySeconds: 0 },
  { idleSeconds: -1 },
  { scope: { agents: ["web1"], applications: [], groups: ["é", "漢"] } },
];

test.each([...USUAL, ...UNUSUAL])("both readers agree on %j", (change) => {
  const bytes = encodeContract(contractOf(1, change));
  expect(decodeContract(bytes)).toEqual(decodeAnyContract(bytes));
});

test.each(USUAL)("a usual contract comes back as it was: %j", (change) => {
  const contract = contractOf(1, change);
  expect(decodeContract(encodeContract(contract))).toEqual({ contract });
});

test(`both agree on contracts that were meddled with (SEED=${seed})`, () => {
  const random = new Prng(seed);
  const texts = [...USUAL, ...UNUSUAL].map((change) => encodeContract(contractOf(2, change)));
  const marks = Buffer.from('0123456789abcdef"{}[]:,-+.eE\\u\0\n\x7f\x80 tfn');
  for (let i = 0; i < 20_000; i++) {
    const bytes = [...(texts[random.below(texts.length)] as Uint8Array)];
    for (let edits = 1 + random.below(3); edits > 0; edits--) {
      const at = random.below(bytes.length);
      const mark = marks[random.below(marks.length)] ?? 0;
      const removed = random.below(3);
      bytes.splice(at, removed, ...(random.below(4) === 0 ? [] : [mark]));
    }
    const meddled = Uint8Array.from(bytes);
    expect(decodeContract(meddled)).toEqual(decodeAnyContract(meddled));
  }
});

test("one that is too long is refused by both", () => {
  const bytes = new Uint8Array(CONTRACT_BYTES_MAX + 1).fill(0x20);
  expect(decodeContract(bytes)).toEqual(decodeAnyContract(bytes));
  expect(decodeContract(bytes)).toEqual({ complaint: "json-size" });
});
