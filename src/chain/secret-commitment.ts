/**
 * What a contract says of its secret: docs/ledger.md "Contracts". Of one contract and generation,
 * so that nobody sees where a secret is used twice; a secret has 32 random bytes, so that nobody
 * guesses it.
 */
import { ascii } from "../bytes.ts";
import { ByteWriter } from "./byte-codec.ts";
import type { Hash, ScId } from "./ledger-units.ts";
import { TAG, taggedHash } from "./sha256.ts";

export function secretCommitment(scId: ScId, generation: number, secret: Uint8Array): Hash {
  const writer = new ByteWriter();
  writer.raw(ascii(scId));
  writer.u32(generation);
  writer.raw(secret);
  return taggedHash(TAG.secret, writer.finish());
}
