/** The tables of docs/wire.md and the offsets in the codecs are the same. */
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { COOKIE_REPLY_BYTES, COOKIE_REPLY_LAYOUT } from "../../src/wire/cookie-reply.ts";
import { DATA_HEADER_BYTES, DATA_LAYOUT } from "../../src/wire/data-frame.ts";
import {
  HANDSHAKE_PAYLOAD_BYTES,
  INITIATION_BYTES,
  INITIATION_LAYOUT,
  PAYLOAD_LAYOUT,
  RESPONSE_BYTES,
  RESPONSE_LAYOUT,
} from "../../src/wire/handshake-message.ts";
import { COMMON_HEADER_BYTES, COMMON_HEADER_LAYOUT, type Field } from "../../src/wire/header.ts";
import {
  HINT_BYTES,
  HINT_LAYOUT,
  REJECT_ADDRESSES,
  SEALED_REJECT_LAYOUT,
} from "../../src/wire/reject-message.ts";

type Row = { readonly offset: string; readonly size: string; readonly field: string };

/** Tables whose first column is an offset, by heading of the section and first cell. */
function tablesOf(markdown: string): Map<string, Row[]> {
  const tables = new Map<string, Row[]>();
  let section = "";
  let rows: Row[] | undefined;
  for (const line of markdown.split("\n")) {
    if (line.startsWith("## ")) section = line.slice(3).replace(/ \(.*/, "");
    if (!line.startsWith("|")) rows = undefined;
    else {
      const [offset = "", size = "", field = ""] = line
        .slice(1)
        .split("|")
        .map((cell) => cell.trim());
      if (offset.endsWith("offset")) {
        rows = [];
        tables.set(offset === "offset" ? section : offset.replace(": offset", ""), rows);
      } else if (rows !== undefined && !offset.startsWith("---"))
        rows.push({ offset, size, field });
    }
  }
  return tables;
}

const tables = tablesOf(readFileSync(`${import.meta.dir}/../../docs/wire.md`, "utf8"));

const formats: readonly [string, readonly Field[], number][] = [
  ["Common header", COMMON_HEADER_LAYOUT, COMMON_HEADER_BYTES],
  ["DATA", DATA_LAYOUT, DATA_HEADER_BYTES],
  ["initiation", INITIATION_LAYOUT, INITIATION_BYTES],
  ["response", RESPONSE_LAYOUT, RESPONSE_BYTES],
  ["payload", PAYLOAD_LAYOUT, HANDSHAKE_PAYLOAD_BYTES],
  ["cookie reply", COOKIE_REPLY_LAYOUT, COOKIE_REPLY_BYTES],
  ["sealed REJECT", SEALED_REJECT_LAYOUT, REJECT_ADDRESSES],
  ["hint", HINT_LAYOUT, HINT_BYTES],
];

test("every table of offsets belongs to a codec", () => {
  expect([...tables.keys()].sort()).toEqual(formats.map(([name]) => name).sort());
});

describe.each(formats)("%s", (name, layout, sizeBytes) => {
  // A last row without a size is what follows the fixed part.
  const rows = (tables.get(name) ?? []).filter(({ size }) => size !== "…");

  test("has the rows of the codec", () => {
    expect(rows.map(({ offset, size }) => [Number(offset), Number(size)])).toEqual(
      layout.map((field) => [field.offset, field.sizeBytes]),
    );
    layout.forEach((field, i) => {
      expect(rows[i]?.field).toStartWith(field.name);
    });
  });

  test("has no gap, and the size of the codec", () => {
    let end = 0;
    for (const field of layout) {
      expect(field.offset).toBe(end);
      end += field.sizeBytes;
    }
    expect(end).toBe(sizeBytes);
  });
});
