/**
 * Changes a contract in a VM's `scd.sqlite` as somebody with root in that VM could, beside the
 * running agent: wherever the file holds the contract's text, in the SCD's table as in the block
 * that brought it. Knows the file as SQLite only, so that no place is forgotten.
 */
import { Database } from "bun:sqlite";
import { ascii } from "../bytes.ts";
import { fileIn } from "../node/node-folder.ts";

/** The same length, so that what holds the text stays readable. */
const TRUE_WORDS = ascii('"busytime":3600');
const FALSE_WORDS = ascii('"busytime":9999');
/** A writer that finds the file in use waits so long. */
const BUSY_MS = 2_000;

interface Place {
  readonly table: string;
  readonly column: string;
  readonly row: number;
  readonly bytes: Uint8Array;
}

/** Of a node, by its folder. */
export function scdFile(folder: string): string {
  return fileIn(folder, "store");
}

/** Changes every copy of the contract's text; how many there were. */
export function tamper(file: string, scId: string): number {
  const database = new Database(file, { readwrite: true, strict: true });
  try {
    database.run(`PRAGMA busy_timeout = ${BUSY_MS}`);
    const places = placesOf(database, scId).filter(({ bytes }) => exchange(bytes, scId));
    database.transaction(() => {
      for (const { table, column, row, bytes } of places) {
        database.query(`UPDATE "${table}" SET "${column}" = ? WHERE rowid = ?`).run(bytes, row);
      }
    })();
    return places.length;
  } finally {
    database.close();
  }
}

/** Copies of the contract that are still as tamper() left them. */
export function tamperedCopies(file: string, scId: string): number {
  const database = new Database(file, { readonly: true, strict: true });
  try {
    const copies = placesOf(database, scId);
    return copies.filter(({ bytes }) => Buffer.from(bytes).includes(FALSE_WORDS)).length;
  } finally {
    database.close();
  }
}

function placesOf(database: Database, scId: string): Place[] {
  const tables = database.query("SELECT name FROM sqlite_master WHERE type = 'table'").all();
  return (tables as { name: string }[]).flatMap(({ name: table }) => {
    const columns = database.query(`PRAGMA table_info("${table}")`).all();
    return (columns as { name: string; type: string }[])
      .filter(({ type }) => type === "BLOB")
      .flatMap(({ name: column }) => {
        const rows = database
          .query(
            `SELECT rowid AS row, "${column}" AS bytes FROM "${table}" WHERE instr("${column}", ?)`,
          )
          .all(ascii(scId)) as Pick<Place, "row" | "bytes">[];
        return rows.map((found) => ({ table, column, ...found }));
      });
  });
}

/** In place; whether the words were there. Canonical JSON has them before the sc-id. */
function exchange(bytes: Uint8Array, scId: string): boolean {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const at = text.lastIndexOf(TRUE_WORDS, text.indexOf(scId));
  if (at >= 0) bytes.set(FALSE_WORDS, at);
  return at >= 0;
}
