/**
 * The vote log's entries as bytes, for the disk. Messages are in their own encoding, which has one
 * form; the rest is as in the messages. docs/ledger.md "Agreement" rule 8.
 */
import { ByteReader, ByteWriter } from "../chain/byte-codec.ts";
import { canonicalJson, isList, JSON_BYTES_MAX, parseCanonical } from "../chain/canonical-json.ts";
import { readPrepared, writePrepared } from "../chain/certificate-codec.ts";
import { JsonFields } from "../chain/json-fields.ts";
import type { Attempt, Height } from "../chain/ledger-units.ts";
import { decodeMessage, MESSAGE_BYTES_MAX } from "../chain/message-codec.ts";
import type { LedgerMessage } from "../chain/message-types.ts";
import { readStake, stakeJson } from "../chain/stake.ts";
import type { LogEntry } from "../chain/step-types.ts";
import { bytesOfMessage } from "./message-bytes.ts";

/** Order is the code on the disk. */
const KINDS = [
  ...["candidate", "sent", "lock", "redraw", "term", "observing", "sealed", "stopped"],
  ...["parked", "freeze", "survey"],
];
/** Lines that a master took off its list. */
const PARKED_MAX = 10_000;
const REASON_BYTES_MAX = 4096;

/** After which height an entry says nothing any more; undefined: it holds beyond. */
export function heightOfEntry(entry: LogEntry): Height | undefined {
  switch (entry.kind) {
    case "candidate":
    case "sent":
    case "redraw":
      return entry.message.height;
    case "lock":
    case "sealed":
    case "freeze":
    case "survey":
      return entry.height;
    default:
      return undefined;
  }
}

export function encodeLogEntry(entry: LogEntry): Uint8Array {
  const isMessage = "message" in entry;
  // Kind, length, message: exactly.
  const writer = new ByteWriter(isMessage ? 5 + bytesOfMessage(entry.message).length : undefined);
  writer.u8(KINDS.indexOf(entry.kind));
  switch (entry.kind) {
    case "lock":
      writer.u64(entry.height);
      writePrepared(writer, entry.certificate);
      break;
    case "observing":
      writer.flag(entry.isOn);
      break;
    case "sealed":
      writer.u64(entry.height);
      writer.hex(entry.blockHash);
      break;
    case "freeze":
      writePlace(writer, entry);
      writer.flag(entry.isOn);
      break;
    case "survey":
      writePlace(writer, entry);
      break;
    case "stopped":
      writer.sized(new TextEncoder().encode(entry.reason).subarray(0, REASON_BYTES_MAX));
      break;
    case "parked":
      writer.sized(canonicalJson(entry.lines.map(stakeJson)));
      break;
    default:
      writer.sized(bytesOfMessage(entry.message));
  }
  return writer.finish();
}

/** Undefined for anything that encodeLogEntry() did not write. */
export function decodeLogEntry(bytes: Uint8Array): LogEntry | undefined {
  const reader = new ByteReader(bytes);
  const entry = read(reader, KINDS[reader.u8()]);
  reader.end();
  return reader.fault === undefined ? entry : undefined;
}

function read(reader: ByteReader, kind: string | undefined): LogEntry | undefined {
  switch (kind) {
    case "lock":
      return { kind, height: reader.u64() as Height, certificate: readPrepared(reader) };
    case "observing":
      return { kind, isOn: reader.flag() };
    case "sealed":
      return { kind, height: reader.u64() as Height, blockHash: reader.blockHash() };
    case "freeze":
      return { kind, ...readPlace(reader), isOn: reader.flag() };
    case "survey":
      return { kind, ...readPlace(reader) };
    case "stopped":
      return { kind, reason: new TextDecoder().decode(reader.sized(REASON_BYTES_MAX)) };
    case "parked":
      return readParked(reader);
    case undefined:
      return undefined;
    default: {
      const found = decodeMessage(reader.sized(MESSAGE_BYTES_MAX));
      if ("fault" in found || !isOf(kind, found.message)) return undefined;
      return { kind, message: found.message } as LogEntry;
    }
  }
}

type Place = Pick<Extract<LogEntry, { kind: "survey" }>, "height" | "survey" | "nonce">;

function writePlace(writer: ByteWriter, { height, survey, nonce }: Place): void {
  writer.u64(height);
  writer.u16(survey);
  writer.hex(nonce);
}

function readPlace(reader: ByteReader): Place {
  const height = reader.u64() as Height;
  return { height, survey: reader.u16() as Attempt, nonce: reader.hash() };
}

function readParked(reader: ByteReader): LogEntry | undefined {
  const json = parseCanonical(reader.sized(JSON_BYTES_MAX));
  if ("fault" in json || !isList(json.value) || json.value.length > PARKED_MAX) return undefined;
  const fields = json.value.map((line) => new JsonFields(line));
  const lines = fields.map(readStake);
  for (const line of fields) line.end();
  const isRight = fields.every(({ complaint }) => complaint === undefined);
  return isRight ? { kind: "parked", lines } : undefined;
}

function isOf(kind: string, { kind: message }: LedgerMessage): boolean {
  if (kind === "candidate") return message === "CANDIDATE";
  if (kind === "redraw") return message === "FORCED_REDRAW";
  if (kind === "term") return message === "MASTER_TERM";
  return ["PRE_PREPARE", "PREPARE", "COMMIT", "ROUND_CHANGE", "ABANDON"].includes(message);
}
