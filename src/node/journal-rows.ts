/**
 * Rows of scd.sqlite as what they mean, or as damaged: whatever may lie in the columns is looked at
 * before it is believed. For the journal and for snapshots of it; journal-schema.ts has the tables.
 */
import type { Database } from "bun:sqlite";
import { equalBytes } from "../bytes.ts";
import { contractWords } from "../chain/apply-block.ts";
import type { Block, SealedHeader } from "../chain/block.ts";
import { ByteReader } from "../chain/byte-codec.ts";
import { readBody } from "../chain/certificate-codec.ts";
import { leafBytes, rootOf } from "../chain/merkle.ts";
import { readHeader } from "../chain/message-parts.ts";
import { sha256 } from "../chain/sha256.ts";
import type { LogEntry } from "../chain/step-types.ts";
import { type Extent, extentDigest, type VoteWords, voteDigest } from "./journal-schema.ts";
import { decodeLogEntry } from "./log-entry-codec.ts";

export type HeaderRow = {
  readonly height: number;
  readonly hash: unknown;
  readonly bytes: unknown;
  readonly digest: unknown;
};
export type BlockRow = {
  readonly header: unknown;
  readonly digest: unknown;
  readonly body: unknown;
};

const BLOCK_COLUMNS = `header.bytes AS header, digest, block.bytes AS body
                       FROM header LEFT JOIN block USING (height)`;

function isDigest(stored: unknown, right: Uint8Array): boolean {
  return stored instanceof Uint8Array && equalBytes(stored, right);
}

export function readBlock(
  database: Database,
  where: "header.height = ?" | "hash = ?",
  value: number | string,
): Block | undefined {
  const row = database.query(`SELECT ${BLOCK_COLUMNS} WHERE ${where}`).get(value);
  return row === null ? undefined : blockOf(row as BlockRow);
}

export function headerOf(bytes: unknown, digest: unknown): SealedHeader | undefined {
  if (!(bytes instanceof Uint8Array) || !isDigest(digest, sha256(bytes))) return undefined;
  const reader = new ByteReader(bytes);
  const header = readHeader(reader);
  reader.end();
  return reader.fault === undefined ? header : undefined;
}

function blockOf({ header, digest, body }: BlockRow): Block | undefined {
  const sealed = headerOf(header, digest);
  if (sealed === undefined) return undefined;
  const none = { contracts: [], records: [] };
  if (!(body instanceof Uint8Array)) return { ...sealed, body: none };
  const bodyReader = new ByteReader(body);
  const found = readBody(bodyReader);
  bodyReader.end();
  // A damaged body is an empty one: its roots do not fit, and it is fetched again.
  return { ...sealed, body: bodyReader.fault === undefined ? found : none };
}

export function isWhole({ core, body }: Block, height: number): boolean {
  if (core.height !== height) return false;
  const { merkleRoot } = contractWords(core.chainId, core.height, body.contracts);
  return merkleRoot === core.merkleRoot && rootOf(body.records.map(leafBytes)) === core.recordsRoot;
}

/** Undefined: it is damaged. */
export function readExtent(database: Database): Extent | undefined {
  const row = database.query("SELECT tip, votes, digest FROM extent").get();
  if (row === null) return undefined;
  const extent = row as Extent & { readonly digest: unknown };
  return isDigest(extent.digest, extentDigest(extent)) ? extent : undefined;
}

/** In the order they were written; undefined for one that is damaged. */
export function readVotes(database: Database): (LogEntry | undefined)[] {
  const rows = database
    .query("SELECT height, kind, bytes, digest FROM vote ORDER BY number")
    .all() as (VoteWords & { readonly digest: unknown })[];
  return rows.map((row) => {
    const isBlob = row.bytes instanceof Uint8Array;
    const isRight = isBlob && isDigest(row.digest, voteDigest(row));
    return isRight ? decodeLogEntry(row.bytes) : undefined;
  });
}

export function areVotesDamaged(database: Database): boolean {
  const votes = readVotes(database);
  return votes.length !== readExtent(database)?.votes || votes.includes(undefined);
}
