/**
 * Body and attachment of every message, in the order of their bytes: docs/ledger.md "Messages" has
 * a table for each. `body` is what is signed beside the header and has a fixed size for signed
 * kinds; `attachment` follows the signature and is bound by a hash in the body, which `read`
 * recomputes: a message that was read holds together. message-codec.ts adds header, signature and
 * limits.
 */
import { blockHashOf, readCore, writeCore } from "./block-core.ts";
import { type ByteReader, type ByteWriter, writeList } from "./byte-codec.ts";
import type { Quorum } from "./certificate.ts";
import {
  committedHash,
  committeeHash,
  preparedHash,
  readBody,
  readCommitted,
  readCommittee,
  readOptional,
  readPrepared,
  readQuorum,
  writeBody,
  writeCommitted,
  writeCommittee,
  writeOptional,
  writePrepared,
  writeQuorum,
} from "./certificate-codec.ts";
import {
  type Attempt,
  type BlockHash,
  type CandidateSequence,
  COMMITTEE_MAX,
  type Hash,
  type Height,
  NO_HASH,
  type VrfProof,
} from "./ledger-units.ts";
import { readNested } from "./message-codec.ts";
import {
  bind,
  justificationHash,
  NESTED_BYTES_MAX,
  quorumHash,
  readBlock,
  readBoundCertificate,
  readHeader,
  readHighest,
  readRedraw,
  readSealProof,
  readSealWords,
  refusalsHash,
  writeBlock,
  writeHeader,
  writeHighest,
  writeMessage,
  writeSealProof,
  writeSealWords,
} from "./message-parts.ts";
import {
  type MessageHeader,
  type MessageKind,
  type MessageOf,
  QC_PURPOSES,
} from "./message-types.ts";

/** Headers, hashes or bodies of one message; a body answer also stops at the size of a frame. */
export const BLOCKS_MAX = 256;
/** The signed part and signature of one half of EVIDENCE: the longest is a CANDIDATE's. */
export const EVIDENCE_PART_BYTES_MAX = 512;

/** What is known of a message while its body is read. */
type Head<Kind extends MessageKind> = MessageHeader & { readonly kind: Kind };
/** A message whose signature, if it has one, is not looked at. */
type Words<Kind extends MessageKind> = Omit<MessageOf<Kind>, "signature">;

export type KindCodec<Kind extends MessageKind> = {
  /** Signed, together with the header. */
  body(writer: ByteWriter, message: Words<Kind>): void;
  attachment(writer: ByteWriter, message: Words<Kind>): void;
  read(reader: ByteReader, head: Head<Kind>): MessageOf<Kind>;
};

function nothing(): void {}

/** Whether a core or certificate is of the chain and height that the header names. */
function bindCore(
  reader: ByteReader,
  head: MessageHeader,
  core: { readonly chainId: string; readonly height: Height },
): void {
  bind(reader, core.chainId === head.chainId && core.height === head.height);
}

const CANDIDATE: KindCodec<"CANDIDATE"> = {
  body(writer, { sequence, core }) {
    writer.u32(sequence);
    writeCore(writer, core);
  },
  attachment(writer, { body, parent, abandons, redraw }) {
    writeBody(writer, body);
    writeOptional(writer, parent, writeSealProof);
    writeList(writer, abandons, (message) => writeMessage(writer, message));
    writeOptional(writer, redraw, writeMessage);
  },
  read(reader, head) {
    const sequence = reader.u32() as CandidateSequence;
    const core = readCore(reader);
    bindCore(reader, head, core);
    const signature = reader.signature();
    const body = readBody(reader);
    const parent = readOptional(reader, readSealProof);
    const abandons = reader.list(COMMITTEE_MAX, () =>
      readNested(reader, "ABANDON", NESTED_BYTES_MAX),
    );
    const redraw = readOptional(reader, readRedraw);
    return { ...head, sequence, core, signature, body, parent, abandons, redraw };
  },
};

const PRE_PREPARE: KindCodec<"PRE_PREPARE"> = {
  body(writer, message) {
    writer.hex(message.blockHash);
    writer.hex(message.committeeHash);
    writer.raw(message.vrfProof);
    writer.hex(message.justificationHash);
  },
  attachment(writer, { committee, justification }) {
    writeCommittee(writer, committee);
    writeList(writer, justification, (message) => writeMessage(writer, message));
  },
  read(reader, head) {
    const blockHash = reader.blockHash();
    const hashOfCommittee = reader.hash();
    const vrfProof = reader.vrfProof();
    const hashOfJustification = reader.hash();
    const signature = reader.signature();
    const committee = readCommittee(reader);
    const justification = reader.list(COMMITTEE_MAX, () =>
      readNested(reader, "ROUND_CHANGE", NESTED_BYTES_MAX),
    );
    if (reader.fault === undefined) {
      bind(reader, committeeHash(committee) === hashOfCommittee);
      bind(reader, justificationHash(justification) === hashOfJustification);
    }
    return {
      ...head,
      blockHash,
      committeeHash: hashOfCommittee,
      vrfProof,
      justificationHash: hashOfJustification,
      signature,
      committee,
      justification,
    };
  },
};

function writeBlockHash(writer: ByteWriter, message: { readonly blockHash: BlockHash }): void {
  writer.hex(message.blockHash);
}

const PREPARE: KindCodec<"PREPARE"> = {
  body: writeBlockHash,
  attachment: nothing,
  read: (reader, head) => ({
    ...head,
    blockHash: reader.blockHash(),
    signature: reader.signature(),
  }),
};

const COMMIT: KindCodec<"COMMIT"> = {
  body: writeBlockHash,
  attachment: nothing,
  read: (reader, head) => ({
    ...head,
    blockHash: reader.blockHash(),
    signature: reader.signature(),
  }),
};

const REJECT: KindCodec<"REJECT"> = {
  body(writer, { blockHash, reason }) {
    writer.hex(blockHash);
    writer.u16(reason);
  },
  attachment: nothing,
  read: (reader, head) => ({
    ...head,
    blockHash: reader.blockHash(),
    reason: reader.u16(),
    signature: reader.signature(),
  }),
};

const ROUND_CHANGE: KindCodec<"ROUND_CHANGE"> = {
  body: (writer, { prepared }) => writeHighest(writer, prepared),
  attachment: (writer, { prepared }) => writeOptional(writer, prepared, writePrepared),
  read(reader, head) {
    const words = readHighest(reader);
    const signature = reader.signature();
    return { ...head, signature, prepared: readBoundCertificate(reader, words) };
  },
};

const ABANDON: KindCodec<"ABANDON"> = {
  body: (writer, { highest }) => writeHighest(writer, highest),
  attachment: (writer, { highest }) => writeOptional(writer, highest, writePrepared),
  read(reader, head) {
    const words = readHighest(reader);
    const signature = reader.signature();
    return { ...head, signature, highest: readBoundCertificate(reader, words) };
  },
};

function resultHash(quorum: Quorum, vrfProof: VrfProof): Hash {
  return quorumHash({ quorum, vrfProof, redraw: undefined, masterTerm: undefined });
}

const RESULT: KindCodec<"RESULT"> = {
  body(writer, { blockHash, quorum, vrfProof }) {
    writer.hex(blockHash);
    writer.hex(resultHash(quorum, vrfProof));
  },
  attachment(writer, { quorum, vrfProof }) {
    writeQuorum(writer, quorum);
    writer.raw(vrfProof);
  },
  read(reader, head) {
    const blockHash = reader.blockHash();
    const hash = reader.hash();
    const signature = reader.signature();
    const quorum = readQuorum(reader);
    const vrfProof = reader.vrfProof();
    bind(reader, hash === resultHash(quorum, vrfProof));
    bind(reader, quorum.attempt === head.attempt && quorum.view === head.view);
    return { ...head, blockHash, signature, quorum, vrfProof };
  },
};

const NO_QUORUM: KindCodec<"NO_QUORUM"> = {
  body(writer, { blockHash, refusals }) {
    writer.hex(blockHash);
    writer.hex(refusalsHash(refusals));
  },
  attachment: (writer, { refusals }) =>
    writeList(writer, refusals, (message) => writeMessage(writer, message)),
  read(reader, head) {
    const blockHash = reader.blockHash();
    const hash = reader.hash();
    const signature = reader.signature();
    const refusals = reader.list(COMMITTEE_MAX, () =>
      readNested(reader, "REJECT", NESTED_BYTES_MAX),
    );
    if (reader.fault === undefined) bind(reader, hash === refusalsHash(refusals));
    return { ...head, blockHash, signature, refusals };
  },
};

const SEAL: KindCodec<"SEAL"> = {
  body(writer, message) {
    writer.hex(message.blockHash);
    writer.hex(message.quorumHash);
  },
  attachment(writer, message) {
    writeCore(writer, message.core);
    writeSealWords(writer, message);
    writeBody(writer, message.body);
  },
  read(reader, head) {
    const blockHash = reader.blockHash();
    const hash = reader.hash();
    const signature = reader.signature();
    const core = readCore(reader);
    const seal = readSealWords(reader);
    const body = readBody(reader);
    bindCore(reader, head, core);
    bind(reader, seal.quorum.attempt === head.attempt && seal.quorum.view === head.view);
    if (reader.fault === undefined) {
      bind(reader, blockHashOf(core) === blockHash);
      bind(reader, quorumHash(seal) === hash);
    }
    return { ...head, blockHash, signature, quorumHash: hash, core, ...seal, body };
  },
};

const FORCED_REDRAW: KindCodec<"FORCED_REDRAW"> = {
  body(writer, { committee, carriedHash, carried }) {
    writer.hex(committeeHash(committee));
    writer.hex(carriedHash ?? NO_HASH);
    writer.hex(preparedHash(carried));
  },
  attachment(writer, { recoverySignature, committee, carried }) {
    writer.raw(recoverySignature);
    writeCommittee(writer, committee);
    writeOptional(writer, carried, writePrepared);
  },
  read(reader, head) {
    const hashOfCommittee = reader.hash();
    const hash = reader.blockHash();
    const hashOfCarried = reader.hash();
    const signature = reader.signature();
    const recoverySignature = reader.signature();
    const committee = readCommittee(reader);
    const carried = readOptional(reader, readPrepared);
    bind(reader, hashOfCommittee === committeeHash(committee));
    bind(reader, hashOfCarried === preparedHash(carried));
    bind(reader, carried === undefined || carried.blockHash === hash);
    const carriedHash = hash === (NO_HASH as string) ? undefined : hash;
    return { ...head, signature, recoverySignature, committee, carriedHash, carried };
  },
};

const MASTER_TERM: KindCodec<"MASTER_TERM"> = {
  body: (writer, { masterPub }) => writer.hex(masterPub),
  attachment: nothing,
  read(reader, head) {
    bind(reader, head.height === 0 && head.attempt === 0 && head.view === 0);
    return { ...head, masterPub: reader.publicKey(), signature: reader.signature() };
  },
};

const QC_FETCH: KindCodec<"QC_FETCH"> = {
  body(writer, { nonce, purpose, redrawn }) {
    writer.hex(nonce);
    writer.u8(QC_PURPOSES.indexOf(purpose));
    writer.u16(redrawn);
  },
  attachment: nothing,
  read(reader, head) {
    const nonce = reader.hash();
    const purpose = QC_PURPOSES[reader.u8()];
    if (purpose === undefined) reader.fail("flag");
    const redrawn = reader.u16() as Attempt;
    const signature = reader.signature();
    return { ...head, nonce, purpose: purpose ?? "question", redrawn, signature };
  },
};

const QC_STATE: KindCodec<"QC_STATE"> = {
  body(writer, message) {
    writer.hex(message.nonce);
    writer.u64(message.sealedHeight);
    writer.hex(message.sealedHash);
    writer.flag(message.abandoned);
    writer.u16(message.frozen);
    writer.flag(message.isPromised);
    writer.flag(message.remembers);
    writer.hex(preparedHash(message.prepared));
    writer.hex(committedHash(message.committed));
  },
  attachment(writer, { prepared, committed }) {
    writeOptional(writer, prepared, writePrepared);
    writeOptional(writer, committed, writeCommitted);
  },
  read(reader, head) {
    const nonce = reader.hash();
    const sealedHeight = reader.u64() as Height;
    const sealedHash = reader.blockHash();
    const abandoned = reader.flag();
    const frozen = reader.u16() as Attempt;
    const isPromised = reader.flag();
    const remembers = reader.flag();
    const hashOfPrepared = reader.hash();
    const hashOfCommitted = reader.hash();
    const signature = reader.signature();
    const prepared = readOptional(reader, readPrepared);
    const committed = readOptional(reader, readCommitted);
    bind(reader, preparedHash(prepared) === hashOfPrepared);
    bind(reader, committedHash(committed) === hashOfCommitted);
    const tip = { sealedHeight, sealedHash };
    const words = { nonce, ...tip, abandoned, frozen, isPromised, remembers };
    return { ...head, ...words, signature, prepared, committed };
  },
};

const DIGEST_RESP: KindCodec<"DIGEST_RESP"> = {
  body(writer, message) {
    writer.hex(message.nonce);
    writer.hex(message.blockHash);
    writer.hex(message.scdRoot);
  },
  attachment: nothing,
  read: (reader, head) => ({
    ...head,
    nonce: reader.hash(),
    blockHash: reader.blockHash(),
    scdRoot: reader.hash(),
    signature: reader.signature(),
  }),
};

const DIGEST_REQ: KindCodec<"DIGEST_REQ"> = {
  body: (writer, { nonce }) => writer.hex(nonce),
  attachment: nothing,
  read: (reader, head) => ({ ...head, nonce: reader.hash() }),
};

const REPL_ACK: KindCodec<"REPL_ACK"> = {
  body: writeBlockHash,
  attachment: nothing,
  read: (reader, head) => ({ ...head, blockHash: reader.blockHash() }),
};

const LINK_DOWN: KindCodec<"LINK_DOWN"> = {
  body(writer, { nodeId, blockHash }) {
    writer.hex(nodeId);
    writer.hex(blockHash);
  },
  attachment: nothing,
  read: (reader, head) => ({
    ...head,
    nodeId: reader.nodeId(),
    blockHash: reader.blockHash(),
  }),
};

const HEADERS_REQ: KindCodec<"HEADERS_REQ"> = {
  body(writer, { nonce, count }) {
    writer.hex(nonce);
    writer.u16(count);
  },
  attachment: nothing,
  read(reader, head) {
    const nonce = reader.hash();
    const count = reader.u16();
    if (count > BLOCKS_MAX) reader.fail("count");
    return { ...head, nonce, count };
  },
};

const HEADERS_RESP: KindCodec<"HEADERS_RESP"> = {
  body(writer, { nonce, headers }) {
    writer.hex(nonce);
    writeList(writer, headers, (header) => writeHeader(writer, header));
  },
  attachment: nothing,
  read: (reader, head) => ({
    ...head,
    nonce: reader.hash(),
    headers: reader.list(BLOCKS_MAX, () => readHeader(reader)),
  }),
};

const BODY_REQ: KindCodec<"BODY_REQ"> = {
  body: (writer, { blockHashes }) => writeList(writer, blockHashes, (hash) => writer.hex(hash)),
  attachment: nothing,
  read: (reader, head) => ({
    ...head,
    blockHashes: reader.list(BLOCKS_MAX, () => reader.blockHash()),
  }),
};

const BODY_RESP: KindCodec<"BODY_RESP"> = {
  body: (writer, { blocks }) => writeList(writer, blocks, (block) => writeBlock(writer, block)),
  attachment: nothing,
  read: (reader, head) => ({
    ...head,
    blocks: reader.list(BLOCKS_MAX, () => readBlock(reader)),
  }),
};

const EVIDENCE: KindCodec<"EVIDENCE"> = {
  body(writer, { evidence }) {
    writer.sized(evidence.first);
    writer.sized(evidence.second);
  },
  attachment: nothing,
  read(reader, head) {
    const first = reader.sized(EVIDENCE_PART_BYTES_MAX);
    const second = reader.sized(EVIDENCE_PART_BYTES_MAX);
    return { ...head, evidence: { first, second } };
  },
};

export const KIND_CODECS: { readonly [Kind in MessageKind]: KindCodec<Kind> } = {
  CANDIDATE,
  PRE_PREPARE,
  PREPARE,
  COMMIT,
  REJECT,
  ROUND_CHANGE,
  RESULT,
  NO_QUORUM,
  ABANDON,
  SEAL,
  FORCED_REDRAW,
  MASTER_TERM,
  QC_FETCH,
  QC_STATE,
  DIGEST_RESP,
  DIGEST_REQ,
  REPL_ACK,
  LINK_DOWN,
  HEADERS_REQ,
  HEADERS_RESP,
  BODY_REQ,
  BODY_RESP,
  EVIDENCE,
};
