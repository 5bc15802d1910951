/**
 * Blocks as they are exported and shown: canonical JSON with Fig. 8's names. docs/ledger.md
 * "Export". One text a block: decodeBlockJson() refuses what encodeBlockJson() would write
 * otherwise, so a flipped bit anywhere is found.
 */
import type { EpochSeconds } from "../units.ts";
import { contractLeaves } from "./apply-block.ts";
import {
  type Block,
  type BlockCore,
  BODY_BYTES_MAX,
  CONTRACTS_MAX,
  RECORDS_MAX,
  type SealProof,
} from "./block.ts";
import { blockHashOf } from "./block-core.ts";
import { canonicalJson, canonicalText, type JsonObject, parseCanonical } from "./canonical-json.ts";
import { type Quorum, seatsOf } from "./certificate.ts";
import { JsonFields } from "./json-fields.ts";
import {
  type Attempt,
  type BlockHash,
  type ChainId,
  COMMITTEE_MAX,
  type Height,
  SIGNATURE_BYTES,
  type Signature,
  type Term,
  type View,
  VRF_PROOF_BYTES,
  type VrfBeta,
  type VrfProof,
} from "./ledger-units.ts";
import { decodeMessage, encodeMessage } from "./message-codec.ts";
import { NESTED_BYTES_MAX } from "./message-parts.ts";
import type { ForcedRedrawMessage, MasterTermMessage, MessageOf } from "./message-types.ts";
import { bytesOf } from "./sha256.ts";

/** Bodies, leaf hashes and the quorum, with what JSON puts around them. */
export const BLOCK_JSON_BYTES_MAX = 2 * BODY_BYTES_MAX;

const U16_MAX = 0xffff;
const U32_MAX = 0xffffffff;
const SECONDS_MAX = 2 ** 33;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

export function encodeBlockJson(block: Block): Uint8Array {
  return encoder.encode(blockText(block));
}

/** Bodies are canonical text already: they are put in as they are. */
function blockText(block: Block): string {
  const head = canonicalText(headerJson(block));
  const contracts = block.body.contracts.map((bytes) => decoder.decode(bytes)).join(",");
  const records = block.body.records.map((bytes) => decoder.decode(bytes)).join(",");
  // The last list first: the first mark of each name is the header's own.
  return head
    .replace('"records":[]', () => `"records":[${records}]`)
    .replace('"contracts":[]', () => `"contracts":[${contracts}]`);
}

/** Fig. 8's names first, then what the design adds. */
function headerJson({ core, proof, body }: Block): JsonObject {
  const leaves = contractLeaves(core.chainId, core.height, body.contracts);
  const { quorum, vrfProof, redraw, masterTerm } = proof;
  return {
    previous_block_hash: core.previousBlockHash,
    timestamp: core.timestamp,
    merkleroot: core.merkleRoot,
    block_signature: proof.blockSignature.toHex(),
    security_contracts: leaves.map((leaf) => leaf.toHex()),
    quorum: {
      attempt: quorum.attempt,
      view: quorum.view,
      bitmap: quorum.bitmap,
      signatures: quorum.signatures.map((signature) => signature.toHex()),
    },
    ...(vrfProof === undefined ? {} : { vrf: vrfProof.toHex() }),
    ...(redraw === undefined ? {} : { redraw: encodeMessage(redraw).toHex() }),
    ...(masterTerm === undefined ? {} : { master_term: encodeMessage(masterTerm).toHex() }),
    seal_term: proof.sealTerm,
    block_hash: blockHashOf(core),
    version: core.version,
    chain_id: core.chainId,
    height: core.height,
    term: core.term,
    parent_attempt: core.parentAttempt,
    parent_view: core.parentView,
    parent_beta: core.parentBeta,
    sc_count: core.scCount,
    sc_real: core.scReal,
    recordsroot: core.recordsRoot,
    scd_root: core.scdRoot,
    tnl_root: core.tnlRoot,
    membership_root: core.membershipRoot,
    contracts: [],
    records: [],
  };
}

export type BlockRead = { readonly block: Block } | { readonly complaint: string };

export function decodeBlockJson(bytes: Uint8Array): BlockRead {
  const json = parseCanonical(bytes, BLOCK_JSON_BYTES_MAX);
  if ("fault" in json) return { complaint: json.fault };
  const fields = new JsonFields(json.value);
  const core = readCoreFields(fields);
  const proof = readProofFields(fields);
  const blockHash = fields.hash("block_hash");
  const leaves = fields.list("security_contracts", CONTRACTS_MAX);
  const contracts = fields.list("contracts", CONTRACTS_MAX).map(canonicalJson);
  const records = fields.list("records", RECORDS_MAX).map(canonicalJson);
  fields.end();
  if (fields.complaint !== undefined) return { complaint: fields.complaint };
  if (blockHash !== (blockHashOf(core) as string)) {
    return { complaint: "block_hash is not that of the header" };
  }
  const wanted = contractLeaves(core.chainId, core.height, contracts);
  const areLeaves = leaves.length === wanted.length;
  if (!areLeaves || wanted.some((leaf, i) => leaf.toHex() !== leaves[i])) {
    return { complaint: "security_contracts are not the leaf hashes of the contracts" };
  }
  return { block: { core, proof, body: { contracts, records } } };
}

function readCoreFields(fields: JsonFields): BlockCore {
  return {
    version: fields.integer("version", 0, U16_MAX),
    chainId: fields.hash("chain_id") as string as ChainId,
    height: fields.integer("height", 0, Number.MAX_SAFE_INTEGER) as Height,
    term: fields.integer("term", 0, U32_MAX) as Term,
    previousBlockHash: fields.hash("previous_block_hash") as string as BlockHash,
    parentAttempt: fields.integer("parent_attempt", 0, U16_MAX) as Attempt,
    parentView: fields.integer("parent_view", 0, U16_MAX) as View,
    parentBeta: fields.hex("parent_beta", 64) as VrfBeta,
    timestamp: fields.integer("timestamp", 0, SECONDS_MAX) as EpochSeconds,
    merkleRoot: fields.hash("merkleroot"),
    scCount: fields.integer("sc_count", 0, U16_MAX),
    scReal: fields.integer("sc_real", 0, U16_MAX),
    recordsRoot: fields.hash("recordsroot"),
    scdRoot: fields.hash("scd_root"),
    tnlRoot: fields.hash("tnl_root"),
    membershipRoot: fields.hash("membership_root"),
  };
}

function readProofFields(fields: JsonFields): SealProof {
  const part = fields.object("quorum");
  const quorum: Quorum = {
    attempt: part.integer("attempt", 0, U16_MAX) as Attempt,
    view: part.integer("view", 0, U16_MAX) as View,
    bitmap: part.integer("bitmap", 0, 2 ** COMMITTEE_MAX - 1),
    signatures: readSignatures(part),
  };
  if (seatsOf(quorum.bitmap).length !== quorum.signatures.length) {
    part.complain("bitmap", "does not say how many signatures there are");
  }
  fields.close(part);
  const vrf = fields.has("vrf") ? bytesOf(fields.hex("vrf", VRF_PROOF_BYTES)) : undefined;
  return {
    quorum,
    vrfProof: vrf as VrfProof | undefined,
    redraw: readInner(fields, "redraw", "FORCED_REDRAW") as ForcedRedrawMessage | undefined,
    masterTerm: readInner(fields, "master_term", "MASTER_TERM") as MasterTermMessage | undefined,
    sealTerm: fields.integer("seal_term", 0, U32_MAX) as Term,
    blockSignature: fields.signature("block_signature"),
  };
}

function readSignatures(fields: JsonFields): Signature[] {
  return fields.list("signatures", COMMITTEE_MAX).map((text) => {
    const part = new JsonFields({ signature: text }, "signatures");
    const hex = part.hex("signature", SIGNATURE_BYTES);
    fields.close(part);
    return bytesOf(hex) as Signature;
  });
}

/** A message in hexadecimal, where there is one. */
function readInner<Kind extends "FORCED_REDRAW" | "MASTER_TERM">(
  fields: JsonFields,
  name: string,
  kind: Kind,
): MessageOf<Kind> | undefined {
  if (!fields.has(name)) return undefined;
  const read = decodeMessage(fields.bytes(name, NESTED_BYTES_MAX));
  if ("message" in read && read.message.kind === kind) return read.message as MessageOf<Kind>;
  fields.complain(name, `is no ${kind}`);
  return undefined;
}
