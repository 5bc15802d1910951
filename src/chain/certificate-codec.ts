/**
 * Certificates and seals as bytes, and their hashes. docs/ledger.md "Certificates". A bitmap says
 * how many signatures follow, so there is one encoding of each.
 */
import {
  type BlockBody,
  BODY_BYTES_MAX,
  CONTRACT_BYTES_MAX,
  CONTRACTS_MAX,
  RECORD_BYTES_MAX,
  RECORDS_MAX,
} from "./block.ts";
import { type ByteReader, ByteWriter, writeList } from "./byte-codec.ts";
import {
  type CommittedCertificate,
  type Committee,
  type PreparedCertificate,
  type Quorum,
  type SeatBitmap,
  seatsOf,
} from "./certificate.ts";
import {
  type Attempt,
  COMMITTEE_MAX,
  type Hash,
  type Height,
  NO_HASH,
  type Signature,
  type Term,
  type View,
  type VrfProof,
} from "./ledger-units.ts";
import { TAG, taggedHash } from "./sha256.ts";

function writeVotes(
  writer: ByteWriter,
  votes: { readonly bitmap: SeatBitmap; readonly signatures: readonly Signature[] },
): void {
  writer.u32(votes.bitmap);
  for (const signature of votes.signatures) writer.raw(signature);
}

function readVotes(reader: ByteReader): { bitmap: SeatBitmap; signatures: Signature[] } {
  const bitmap = reader.u32();
  if (bitmap >= 2 ** COMMITTEE_MAX) reader.fail("bitmap");
  const signatures: Signature[] = [];
  for (let i = seatsOf(bitmap).length; i > 0 && reader.fault === undefined; i--) {
    signatures.push(reader.signature());
  }
  return { bitmap, signatures };
}

export function writeQuorum(writer: ByteWriter, quorum: Quorum): void {
  writer.u16(quorum.attempt);
  writer.u16(quorum.view);
  writeVotes(writer, quorum);
}

export function readQuorum(reader: ByteReader): Quorum {
  const attempt = reader.u16() as Attempt;
  const view = reader.u16() as View;
  return { attempt, view, ...readVotes(reader) };
}

export function writePrepared(writer: ByteWriter, certificate: PreparedCertificate): void {
  writer.u32(certificate.term);
  writer.u64(certificate.height);
  writer.u16(certificate.attempt);
  writer.u16(certificate.view);
  writer.hex(certificate.blockHash);
  writer.hex(certificate.committeeHash);
  writer.raw(certificate.vrfProof);
  writer.hex(certificate.justificationHash);
  writer.raw(certificate.leaderSignature);
  writeVotes(writer, certificate);
}

export function readPrepared(reader: ByteReader): PreparedCertificate {
  return {
    term: reader.u32() as Term,
    height: reader.u64() as Height,
    attempt: reader.u16() as Attempt,
    view: reader.u16() as View,
    blockHash: reader.blockHash(),
    committeeHash: reader.hash(),
    vrfProof: reader.vrfProof(),
    justificationHash: reader.hash(),
    leaderSignature: reader.signature(),
    ...readVotes(reader),
  };
}

export function writeCommitted(writer: ByteWriter, certificate: CommittedCertificate): void {
  writer.u32(certificate.term);
  writer.u64(certificate.height);
  writer.hex(certificate.blockHash);
  writeQuorum(writer, certificate.quorum);
  writer.raw(certificate.vrfProof);
}

export function readCommitted(reader: ByteReader): CommittedCertificate {
  return {
    term: reader.u32() as Term,
    height: reader.u64() as Height,
    blockHash: reader.blockHash(),
    quorum: readQuorum(reader),
    vrfProof: reader.vrfProof(),
  };
}

export function writeOptional<T>(
  writer: ByteWriter,
  value: T | undefined,
  write: (writer: ByteWriter, value: T) => void,
): void {
  writer.flag(value !== undefined);
  if (value !== undefined) write(writer, value);
}

export function readOptional<T>(
  reader: ByteReader,
  read: (reader: ByteReader) => T,
): T | undefined {
  return reader.flag() ? read(reader) : undefined;
}

export function writeProof(writer: ByteWriter, proof: VrfProof): void {
  writer.raw(proof);
}

export function readProof(reader: ByteReader): VrfProof {
  return reader.vrfProof();
}

export function writeBody(writer: ByteWriter, body: BlockBody): void {
  writeList(writer, body.contracts, (bytes) => writer.sized(bytes));
  writeList(writer, body.records, (bytes) => writer.sized(bytes));
}

/** Bytes that writeBody() writes. */
export function bodySize({ contracts, records }: BlockBody): number {
  let sizeBytes = 4;
  for (const bytes of contracts) sizeBytes += bytes.length + 4;
  for (const bytes of records) sizeBytes += bytes.length + 4;
  return sizeBytes;
}

export function readBody(reader: ByteReader): BlockBody {
  const start = reader.offset;
  const contracts = reader.list(CONTRACTS_MAX, () => reader.sized(CONTRACT_BYTES_MAX));
  const records = reader.list(RECORDS_MAX, () => reader.sized(RECORD_BYTES_MAX));
  if (reader.offset - start > BODY_BYTES_MAX) reader.fail("size");
  return { contracts, records };
}

export function writeCommittee(writer: ByteWriter, committee: Committee): void {
  writeList(writer, committee, (nodeId) => writer.hex(nodeId));
}

export function readCommittee(reader: ByteReader): Committee {
  return reader.list(COMMITTEE_MAX, () => reader.nodeId());
}

export function committeeHash(committee: Committee): Hash {
  const writer = new ByteWriter();
  writeCommittee(writer, committee);
  return taggedHash(TAG.committee, writer.finish());
}

/** NO_HASH where there is no certificate. */
export function preparedHash(certificate: PreparedCertificate | undefined): Hash {
  if (certificate === undefined) return NO_HASH;
  const writer = new ByteWriter();
  writePrepared(writer, certificate);
  return taggedHash(TAG.certificate, writer.finish());
}

/** NO_HASH where there is no certificate. */
export function committedHash(certificate: CommittedCertificate | undefined): Hash {
  if (certificate === undefined) return NO_HASH;
  const writer = new ByteWriter();
  writeCommitted(writer, certificate);
  return taggedHash(TAG.certificate, writer.finish());
}
