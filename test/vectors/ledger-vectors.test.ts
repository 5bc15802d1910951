/** What is published beside docs/ledger.md is what the code makes; its tables are the code's. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { BLOCK_FAULTS, faultCode } from "../../src/chain/block-fault.ts";
import { CONTRACT_ALGORITHMS, CONTRACT_HASHES } from "../../src/chain/contract-entry.ts";
import { MESSAGE_CODES } from "../../src/chain/message-types.ts";
import { TAG } from "../../src/chain/sha256.ts";
import { ALGORITHM_NAMES } from "../../src/session/contract.ts";
import { HASH_NAMES } from "../../src/session/hashes.ts";
import { ledgerVectors } from "./make-ledger-vectors.ts";

const DOC = readFileSync(join(import.meta.dir, "../../docs/ledger.md"), "utf8");

test.each(Object.entries(ledgerVectors()))("%s is what the code makes", (name, value) => {
  const published = JSON.parse(readFileSync(join(import.meta.dir, name), "utf8"));
  expect(JSON.parse(JSON.stringify(value))).toEqual(published);
});

test("docs/ledger.md lists every message with its code", () => {
  const rows = [...DOC.matchAll(/^\| (\d+) \| `([A-Z_]+)` \|/gm)].map(([, code, kind]) => [
    kind,
    Number(code),
  ]);
  expect(rows).toEqual(Object.entries(MESSAGE_CODES));
});

test("docs/ledger.md lists every reason with its code", () => {
  const rows = [...DOC.matchAll(/^\| (\d+) \| `([a-z-]+)` \|/gm)].map(([, code, fault]) => [
    fault,
    Number(code),
  ]);
  expect(rows).toEqual(BLOCK_FAULTS.map((fault) => [fault, faultCode(fault)]));
});

test("docs/ledger.md lists every tag, and no tag begins another", () => {
  const words = Object.values(TAG).map((tag) => Buffer.from(tag).toString().slice(0, -1));
  const rows = [...DOC.matchAll(/^\| `(abs\/[a-z]+)` \|/gm)].map(([, word]) => word);
  expect(rows).toEqual(words as never);
  expect(Object.values(TAG).every((tag) => tag.indexOf(0) === tag.length - 1)).toBe(true);
});

test("a contract of the ledger names what a session can do", () => {
  expect(CONTRACT_ALGORITHMS).toEqual(ALGORITHM_NAMES);
  expect(CONTRACT_HASHES).toEqual(HASH_NAMES);
});
