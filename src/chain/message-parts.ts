/**
 * What several messages are made of: seals, headers, blocks, the highest certificate, and the
 * hashes that bind an attachment to what is signed. docs/ledger.md "Messages", "Certificates".
 */
import type { BlockBody, BlockCore, SealedHeader, SealProof } from "./block.ts";
import { readCore, writeCore } from "./block-core.ts";
import { type ByteReader, ByteWriter, writeList } from "./byte-codec.ts";
import type { PreparedCertificate } from "./certificate.ts";
import {
  preparedHash,
  readBody,
  readOptional,
  readPrepared,
  readProof,
  readQuorum,
  writeBody,
  writeOptional,
  writeProof,
  writeQuorum,
} from "./certificate-codec.ts";
import { type Hash, NO_HASH, type Term } from "./ledger-units.ts";
import { encodeMessage, readNested } from "./message-codec.ts";
import type {
  ForcedRedrawMessage,
  LedgerMessage,
  MasterTermMessage,
  RejectMessage,
  RoundChangeMessage,
} from "./message-types.ts";
import { TAG, taggedHash } from "./sha256.ts";

/** Of a vote, an ABANDON, a REJECT inside another message. */
export const NESTED_BYTES_MAX = 4096;

export function bind(reader: ByteReader, isBound: boolean): void {
  if (!isBound) reader.fail("binding");
}

/** Over what the SEAL's and the RESULT's signatures cover beside the block hash. */
export function quorumHash(seal: SealWords): Hash {
  const writer = new ByteWriter();
  writeSealWords(writer, seal);
  return taggedHash(TAG.quorum, writer.finish());
}

/** What of a seal the SEAL signs by its hash. */
export type SealWords = Omit<SealProof, "sealTerm" | "blockSignature">;

export function writeSealWords(writer: ByteWriter, seal: SealWords): void {
  writeQuorum(writer, seal.quorum);
  writeOptional(writer, seal.vrfProof, writeProof);
  writeOptional(writer, seal.redraw, writeMessage);
  writeOptional(writer, seal.masterTerm, writeMessage);
}

export function readSealWords(reader: ByteReader): SealWords {
  return {
    quorum: readQuorum(reader),
    vrfProof: readOptional(reader, readProof),
    redraw: readOptional(reader, readRedraw),
    masterTerm: readOptional(reader, readMasterTerm),
  };
}

/** Over the ROUND_CHANGEs in a PRE_PREPARE; NO_HASH for none. */
export function justificationHash(justification: readonly RoundChangeMessage[]): Hash {
  return justification.length === 0 ? NO_HASH : listHash(TAG.justification, justification);
}

export function refusalsHash(refusals: readonly RejectMessage[]): Hash {
  return listHash(TAG.refusals, refusals);
}

function listHash(tag: Uint8Array, messages: readonly LedgerMessage[]): Hash {
  const writer = new ByteWriter();
  writeList(writer, messages, (message) => writeMessage(writer, message));
  return taggedHash(tag, writer.finish());
}

export function writeMessage(writer: ByteWriter, message: LedgerMessage): void {
  writer.sized(encodeMessage(message));
}

export function readRedraw(reader: ByteReader): ForcedRedrawMessage {
  return readNested(reader, "FORCED_REDRAW", NESTED_BYTES_MAX);
}

function readMasterTerm(reader: ByteReader): MasterTermMessage {
  return readNested(reader, "MASTER_TERM", NESTED_BYTES_MAX);
}

export function writeSealProof(writer: ByteWriter, proof: SealProof): void {
  writeSealWords(writer, proof);
  writer.u32(proof.sealTerm);
  writer.raw(proof.blockSignature);
}

export function readSealProof(reader: ByteReader): SealProof {
  const words = readSealWords(reader);
  return { ...words, sealTerm: reader.u32() as Term, blockSignature: reader.signature() };
}

export function writeHeader(writer: ByteWriter, header: SealedHeader): void {
  writeCore(writer, header.core);
  writeSealProof(writer, header.proof);
}

export function readHeader(reader: ByteReader): SealedHeader {
  return { core: readCore(reader), proof: readSealProof(reader) };
}

export function writeBlock(writer: ByteWriter, block: { core: BlockCore; body: BlockBody }): void {
  writeCore(writer, block.core);
  writeBody(writer, block.body);
}

export function readBlock(reader: ByteReader): { core: BlockCore; body: BlockBody } {
  return { core: readCore(reader), body: readBody(reader) };
}

export function writeHighest(
  writer: ByteWriter,
  certificate: PreparedCertificate | undefined,
): void {
  writer.u16(certificate?.attempt ?? 0);
  writer.u16(certificate?.view ?? 0);
  writer.hex(certificate?.blockHash ?? NO_HASH);
  writer.hex(preparedHash(certificate));
}

/** What writeHighest() wrote, for the comparison with the certificate that follows. */
export function readHighest(reader: ByteReader): string {
  return reader.hex(2 + 2 + 32 + 32);
}

export function readBoundCertificate(
  reader: ByteReader,
  words: string,
): PreparedCertificate | undefined {
  const certificate = readOptional(reader, readPrepared);
  const writer = new ByteWriter();
  writeHighest(writer, certificate);
  bind(reader, writer.finish().toHex() === words);
  return certificate;
}
