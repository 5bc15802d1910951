/**
 * The core of a block as bytes, and the block hash. docs/ledger.md "Block core": what is voted on.
 * Neither signatures nor attempt and view of the block's own quorum are in it, so any quorum of
 * votes seals the same hash; those of the parent's are.
 */
import type { EpochSeconds } from "../units.ts";
import { type BlockCore, CORE_VERSION } from "./block.ts";
import { type ByteReader, ByteWriter } from "./byte-codec.ts";
import type { Attempt, BlockHash, ChainId, Height, Term, View } from "./ledger-units.ts";
import { TAG, taggedHash } from "./sha256.ts";

export const CORE_BYTES = 318;

export function writeCore(writer: ByteWriter, core: BlockCore): void {
  writer.u16(core.version);
  writer.hex(core.chainId);
  writer.u64(core.height);
  writer.u32(core.term);
  writer.hex(core.previousBlockHash);
  writer.u16(core.parentAttempt);
  writer.u16(core.parentView);
  writer.hex(core.parentBeta);
  writer.u64(core.timestamp);
  writer.hex(core.merkleRoot);
  writer.u16(core.scCount);
  writer.u16(core.scReal);
  writer.hex(core.recordsRoot);
  writer.hex(core.scdRoot);
  writer.hex(core.tnlRoot);
  writer.hex(core.membershipRoot);
}

export function readCore(reader: ByteReader): BlockCore {
  const version = reader.u16();
  if (version !== CORE_VERSION) reader.fail("version");
  return {
    version,
    chainId: reader.hex(32) as ChainId,
    height: reader.u64() as Height,
    term: reader.u32() as Term,
    previousBlockHash: reader.blockHash(),
    parentAttempt: reader.u16() as Attempt,
    parentView: reader.u16() as View,
    parentBeta: reader.beta(),
    timestamp: reader.u64() as EpochSeconds,
    merkleRoot: reader.hash(),
    scCount: reader.u16(),
    scReal: reader.u16(),
    recordsRoot: reader.hash(),
    scdRoot: reader.hash(),
    tnlRoot: reader.hash(),
    membershipRoot: reader.hash(),
  };
}

export function encodeCore(core: BlockCore): Uint8Array {
  const writer = new ByteWriter();
  writeCore(writer, core);
  return writer.finish();
}

/** By core, which nobody changes once it is made. */
const hashes = new WeakMap<BlockCore, BlockHash>();

export function blockHashOf(core: BlockCore): BlockHash {
  const known = hashes.get(core);
  if (known !== undefined) return known;
  const hash = taggedHash(TAG.block, encodeCore(core)) as string as BlockHash;
  hashes.set(core, hash);
  return hash;
}
