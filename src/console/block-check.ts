/**
 * What a browser can check of a block by itself, with the ledger's own code: that its hash is that
 * of its header, that the header's roots are those of what the block has, that it names the block
 * before it, that an entry is in it (docs/ledger.md). Who may vote is the chain's state: whether
 * the quorum's signatures are good, chain-check.ts finds out.
 */
import type { Inclusion } from "../answers/ledger.ts";
import { contractLeaves } from "../chain/apply-block.ts";
import type { Block } from "../chain/block.ts";
import { blockHashOf } from "../chain/block-core.ts";
import { decodeBlockJson } from "../chain/block-json.ts";
import { canonicalJson, type JsonValue } from "../chain/canonical-json.ts";
import type { Hash } from "../chain/ledger-units.ts";
import { leafBytes, leafHash, rootOf, verifyInclusion } from "../chain/merkle.ts";

export type Check = { readonly what: string; readonly isGood: boolean };

/** @throws Error with what is wrong with its form */
export function readBlockJson(json: JsonValue): Block {
  const read = decodeBlockJson(canonicalJson(json));
  if ("complaint" in read) throw new Error(`The block is damaged: ${read.complaint}.`);
  return read.block;
}

/** @param previous undefined: it is the first */
export function checksOf({ core, body }: Block, previous: Block | undefined): Check[] {
  const contracts = rootOf(contractLeaves(core.chainId, core.height, body.contracts));
  const link: Check[] =
    previous === undefined
      ? []
      : [
          {
            what: `It names the hash of block ${previous.core.height}`,
            isGood: core.previousBlockHash === blockHashOf(previous.core),
          },
        ];
  return [
    // decodeBlockJson() has refused any other.
    { what: "Its hash is the SHA-256 of its header", isGood: true },
    { what: "The Merkle root is that of its contracts", isGood: contracts === core.merkleRoot },
    {
      what: "The root of records is that of its records",
      isGood: rootOf(body.records.map(leafBytes)) === core.recordsRoot,
    },
    ...link,
  ];
}

/** The leaf is hashed here, the root is that of the block's header. */
export function isIncluded(
  { core }: Block,
  { kind, index, size, entry, proof }: Inclusion,
): boolean {
  return verifyInclusion({
    ...{ index, size, leaf: leafHash(new TextEncoder().encode(entry)) },
    proof: proof as readonly Hash[],
    root: kind === "contract" ? core.merkleRoot : core.recordsRoot,
  });
}
