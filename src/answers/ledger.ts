/** Answers about a tenant's ledger. docs/ledger.md "Export" has a block's fields. */
import { type Static, Type } from "typebox";
import { count, hex, list, moment, said, texts, word } from "./answer-values.ts";

const height = count("of the block");

const blockRow = Type.Object({
  height,
  block_hash: hex("hash of its core"),
  timestamp: moment("when it was proposed"),
  contracts: count("contracts in it, without dummies"),
  records: count("records in it"),
  attempt: count("attempt in which it was agreed on"),
  view: count("view in which it was agreed on"),
  votes: count("COMMITs in its quorum; 0: sealed by the master alone"),
});
export type BlockRow = Static<typeof blockRow>;

export const blockRows = list(blockRow, "newest first");

/** As it is exported: an object whose every byte is fixed, so that it is read by docs/ledger.md. */
export const wholeBlock = Type.Record(Type.String(), Type.Unknown(), {
  description: "a block with the paper's names, as the ledger's export has it",
});

export const inclusion = Type.Object({
  height,
  kind: word(["contract", "record"], "what is proven to be in the block"),
  index: count("its place in the block, from 0"),
  size: count("leaves of the tree"),
  entry: said("the contract or record, canonical JSON"),
  proof: list(hex("hash of a sibling"), "RFC 9162 §2.1.3, from the leaf up"),
  root: hex("the block's merkleroot or recordsroot"),
});
export type Inclusion = Static<typeof inclusion>;

export const chainPart = Type.Object({
  tip: count("height of the newest block"),
  next: Type.Union([count("height"), Type.Null()], {
    description: "`from` of the next part; null: there is no more",
  }),
  lines: texts("of the export"),
});
export type ChainPart = Static<typeof chainPart>;
