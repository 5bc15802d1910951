/**
 * Commands about a tenant's ledger as its master has it: blocks, and proofs that something is in
 * one. Whoever asks can check both (docs/ledger.md "Export"); the console does.
 */

import { type BlockRow, blockRows, chainPart, inclusion, wholeBlock } from "../answers/ledger.ts";
import { contractLeaves } from "../chain/apply-block.ts";
import type { Block } from "../chain/block.ts";
import { blockHashOf } from "../chain/block-core.ts";
import { encodeBlockJson } from "../chain/block-json.ts";
import type { Height } from "../chain/ledger-units.ts";
import { inclusionProof, leafBytes } from "../chain/merkle.ts";
import { AbsError } from "../errors.ts";
import type { SqliteSnapshot } from "../node/sqlite-snapshot.ts";
import { adminCommand } from "./admin-command.ts";
import { choice, tenantName, whole } from "./command-schemas.ts";
import { tableText, timeText } from "./command-values.ts";

const PATH = "/tenants/{tenant}/ledger/blocks";
const HEIGHT_MAX = 2 ** 31;
const INDEX_MAX = 2 ** 16 - 1;
/** Of an answer; its last line may go beyond. */
const EXPORT_BYTES = 1024 * 1024;
const decoder = new TextDecoder();
const height = whole(1, HEIGHT_MAX, "of the block");

function blockAt(snapshot: SqliteSnapshot, wanted: number): Block {
  const block = snapshot.block(wanted as Height);
  if (block !== undefined) return block;
  const what = `The chain has no block ${wanted}; its tip is ${snapshot.tip()}.`;
  throw new AbsError("BLOCK_ABSENT", what, "`abs manager ledger blocks` lists those it has.");
}

const blocks = adminCommand({
  name: "ledger blocks",
  description: "the newest blocks of a tenant's ledger, newest first",
  role: "viewer",
  http: { method: "GET", path: PATH },
  input: { tenant: tenantName, count: whole(1, 1000, "how many", 50) },
  answer: blockRows,
  run({ tenant, count }, { state, ledgers }) {
    state.tenants.need(tenant);
    const rows = ledgers.read(tenant, (snapshot) => {
      const tip = snapshot.tip();
      const heights = Array.from({ length: Math.min(count, tip) }, (_, i) => tip - i);
      return heights.map((one) => rowOf(blockAt(snapshot, one)));
    });
    return { value: rows, text: tableText(rows) };
  },
});

function rowOf({ core, body, proof: { quorum } }: Block): BlockRow {
  return {
    ...{ height: core.height, block_hash: blockHashOf(core), timestamp: timeText(core.timestamp) },
    ...{ contracts: body.contracts.length, records: body.records.length },
    ...{ attempt: quorum.attempt, view: quorum.view, votes: quorum.signatures.length },
  };
}

const show = adminCommand({
  name: "ledger show",
  description: "one block whole, with the paper's names",
  role: "viewer",
  words: ["height"],
  http: { method: "GET", path: `${PATH}/{height}` },
  input: { tenant: tenantName, height },
  answer: wholeBlock,
  run({ tenant, height: wanted }, { state, ledgers }) {
    state.tenants.need(tenant);
    const text = ledgers.read(tenant, (snapshot) => decoder.decode(lineOf(snapshot, wanted)));
    return { value: JSON.parse(text), text };
  },
});

const prove = adminCommand({
  name: "ledger prove",
  description: "the inclusion proof (RFC 9162 §2.1.3) of a contract or record of a block",
  role: "viewer",
  words: ["height", "kind", "index"],
  http: { method: "GET", path: `${PATH}/{height}/proofs/{kind}/{index}` },
  input: {
    ...{ tenant: tenantName, height },
    ...{ kind: choice(["contract", "record"]), index: whole(0, INDEX_MAX, "in the block, from 0") },
  },
  answer: inclusion,
  run({ tenant, height: wanted, kind, index }, { state, ledgers }) {
    state.tenants.need(tenant);
    const { core, body } = ledgers.read(tenant, (snapshot) => blockAt(snapshot, wanted));
    const isContract = kind === "contract";
    const entry = (isContract ? body.contracts : body.records)[index];
    if (entry === undefined) {
      const what = `Block ${wanted} has no ${kind} ${index}.`;
      throw new AbsError("ENTRY_ABSENT", what, "`abs manager ledger show` has all of it.");
    }
    const leaves = isContract
      ? contractLeaves(core.chainId, core.height, body.contracts)
      : body.records.map(leafBytes);
    const value = {
      ...{ height: wanted, kind, index, size: leaves.length, entry: decoder.decode(entry) },
      ...{
        proof: inclusionProof(leaves, index),
        root: isContract ? core.merkleRoot : core.recordsRoot,
      },
    };
    return { value, text: JSON.stringify(value, null, 2) };
  },
});

const exported = adminCommand({
  name: "ledger export",
  description:
    "lines of the chain as `abs ledger verify` reads them, the genesis file first: 1 MiB or a " +
    "little more, and where the next are",
  role: "viewer",
  http: { method: "GET", path: "/tenants/{tenant}/ledger/export" },
  input: {
    tenant: tenantName,
    from: whole(0, HEIGHT_MAX, "from this height on; 0 is the genesis file", 0),
  },
  answer: chainPart,
  run({ tenant, from }, { state, ledgers }) {
    state.tenants.need(tenant);
    const value = ledgers.read(tenant, (snapshot) => {
      const tip = snapshot.tip();
      const lines: string[] = [];
      let next = from;
      for (let size = 0; next <= tip && size < EXPORT_BYTES; next++) {
        const line = next === 0 ? state.tenants.genesisOf(tenant) : lineOf(snapshot, next);
        lines.push(decoder.decode(line));
        size += line.length;
      }
      return { tip, next: next <= tip ? next : null, lines };
    });
    return { value, text: value.lines.join("\n") };
  },
});

function lineOf(snapshot: SqliteSnapshot, at: number): Uint8Array {
  return encodeBlockJson(blockAt(snapshot, at));
}

export const LEDGER_COMMANDS = [blocks, show, prove, exported];
