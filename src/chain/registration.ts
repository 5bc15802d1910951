/**
 * What a node signs when it registers keys: proof that it holds them. docs/ledger.md "Members".
 * NODE_ADD and genesis members sign with the new key, KEY_ROTATE with the old and the new one.
 */
import { ByteWriter } from "./byte-codec.ts";
import type {
  ChainId,
  Hash,
  NodeId,
  PublicKey,
  SigningHash,
  VrfPublicKey,
} from "./ledger-units.ts";
import { TAG, taggedBytes } from "./sha256.ts";

export type KeyWords = {
  readonly ledgerPub: PublicKey;
  readonly vrfPub: VrfPublicKey;
  readonly certificate: Hash;
};

/** Not of one chain: genesis members sign before the chain has its name. */
export function possessionHash(keys: KeyWords): SigningHash {
  const writer = new ByteWriter();
  writeKeys(writer, keys);
  return taggedBytes(TAG.possession, writer.finish()) as SigningHash;
}

export function rotationHash(
  chainId: ChainId,
  nodeId: NodeId,
  seq: number,
  keys: KeyWords,
): SigningHash {
  const writer = new ByteWriter();
  writer.hex(chainId);
  writer.hex(nodeId);
  writer.u32(seq);
  writeKeys(writer, keys);
  return taggedBytes(TAG.rotation, writer.finish()) as SigningHash;
}

function writeKeys(writer: ByteWriter, keys: KeyWords): void {
  writer.hex(keys.ledgerPub);
  writer.hex(keys.vrfPub);
  writer.hex(keys.certificate);
}
