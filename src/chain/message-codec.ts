/**
 * Messages as bytes: header, body, signature, attachment. docs/ledger.md "Messages". Any bytes
 * decode or give a fault; what decodes encodes to the same bytes again, so a message has one
 * encoding. Signatures are carried, not checked: message-signing.ts does.
 */
import { ascii } from "../bytes.ts";
import { ByteReader, ByteWriter, type CodecFault } from "./byte-codec.ts";
import { bodySize } from "./certificate-codec.ts";
import type { Attempt, ChainId, Height, Signature, Term, View } from "./ledger-units.ts";
import { KIND_CODECS, type KindCodec } from "./message-bodies.ts";
import {
  type Draft,
  FIRST_UNSIGNED_CODE,
  type LedgerMessage,
  MESSAGE_CODES,
  type MessageHeader,
  type MessageKind,
  type MessageOf,
  type SignedMessage,
} from "./message-types.ts";

export const MESSAGE_PREFIX = ascii("abs/1\0");
/** Prefix, type, chain id, term, height, attempt, view, signer. */
export const HEADER_BYTES = 6 + 1 + 32 + 4 + 8 + 2 + 2 + 16;
/** With room for the frame around it: a frame of the peer channel holds at most 1 MiB. */
export const MESSAGE_BYTES_MAX = 1024 * 1024 - 64;

/** Of CANDIDATE and SEAL, but for the body: room for a quorum of 20 and then some. */
const BLOCK_WORDS_BYTES = 4096;

const PREFIX_HEX = MESSAGE_PREFIX.toHex();
const KINDS = new Map<number, MessageKind>(
  (Object.keys(MESSAGE_CODES) as MessageKind[]).map((kind) => [MESSAGE_CODES[kind], kind]),
);

export function isSignedKind(kind: MessageKind): kind is SignedMessage["kind"] {
  return MESSAGE_CODES[kind] < FIRST_UNSIGNED_CODE;
}

export function encodeMessage(message: LedgerMessage): Uint8Array {
  const writer = new ByteWriter(
    "body" in message ? BLOCK_WORDS_BYTES + bodySize(message.body) : undefined,
  );
  writeHeaderAndBody(writer, message);
  if ("signature" in message) writer.raw(message.signature);
  codecOf(message.kind).attachment(writer, message);
  return writer.finish();
}

/** The bytes whose SHA-256 is signed: header and body. */
export function signedPart(message: SignedMessage | Draft): Uint8Array {
  const writer = new ByteWriter();
  writeHeaderAndBody(writer, message);
  return writer.finish();
}

export type MessageRead = { readonly message: LedgerMessage } | { readonly fault: CodecFault };

export function decodeMessage(bytes: Uint8Array): MessageRead {
  if (bytes.length > MESSAGE_BYTES_MAX) return { fault: "size" };
  const reader = new ByteReader(bytes);
  const message = readMessage(reader);
  reader.end();
  if (message === undefined || reader.fault !== undefined) {
    return { fault: reader.fault ?? "type" };
  }
  return { message };
}

/** A message of one kind inside another, as sized() wrote it. Gives a hollow one after a fault. */
export function readNested<Kind extends MessageKind>(
  reader: ByteReader,
  kind: Kind,
  bytesMax: number,
): MessageOf<Kind> {
  const inner = new ByteReader(reader.sized(bytesMax));
  const message = readMessage(inner, kind);
  inner.end();
  if (inner.fault !== undefined) reader.fail(inner.fault);
  return message as MessageOf<Kind>;
}

/** A signed text without its attachment, as EVIDENCE carries it. */
export type SignedText = {
  readonly header: MessageHeader;
  readonly kind: SignedMessage["kind"];
  /** All that was signed. */
  readonly words: Uint8Array;
  readonly body: Uint8Array;
  readonly signature: Signature;
};

/** The text in one half of EVIDENCE; bodies of signed kinds have fixed sizes, not checked here. */
export function readSignedText(bytes: Uint8Array): SignedText | CodecFault {
  const reader = new ByteReader(bytes);
  const head = readHead(reader);
  const bodyBytes = reader.left - 64;
  if (head === undefined || !isSignedKind(head.kind) || bodyBytes < 0) {
    return reader.fault ?? "type";
  }
  const { kind, ...header } = head;
  const body = reader.raw(bodyBytes);
  const words = bytes.slice(0, HEADER_BYTES + bodyBytes);
  return { header, kind, words, body, signature: reader.signature() };
}

function readMessage(reader: ByteReader, wanted?: MessageKind): LedgerMessage | undefined {
  const head = readHead(reader);
  if (head !== undefined && wanted !== undefined && head.kind !== wanted) reader.fail("type");
  if (head === undefined || reader.fault !== undefined) return undefined;
  return codecOf(head.kind).read(reader, head as never);
}

/** A table of functions of one kind each; TypeScript cannot tie an entry to its message. */
function codecOf(kind: MessageKind): KindCodec<MessageKind> {
  return KIND_CODECS[kind] as unknown as KindCodec<MessageKind>;
}

function writeHeaderAndBody(writer: ByteWriter, message: LedgerMessage | Draft): void {
  writer.raw(MESSAGE_PREFIX);
  writer.u8(MESSAGE_CODES[message.kind]);
  writer.hex(message.chainId);
  writer.u32(message.term);
  writer.u64(message.height);
  writer.u16(message.attempt);
  writer.u16(message.view);
  writer.hex(message.signer);
  codecOf(message.kind).body(writer, message as never);
}

function readHead(
  reader: ByteReader,
): (MessageHeader & { readonly kind: MessageKind }) | undefined {
  if (reader.hex(MESSAGE_PREFIX.length) !== PREFIX_HEX) reader.fail("prefix");
  const kind = KINDS.get(reader.u8());
  const header = {
    chainId: reader.hex(32) as ChainId,
    term: reader.u32() as Term,
    height: reader.u64() as Height,
    attempt: reader.u16() as Attempt,
    view: reader.u16() as View,
    signer: reader.nodeId(),
  };
  if (kind === undefined) {
    reader.fail("type");
    return undefined;
  }
  return { kind, ...header };
}
