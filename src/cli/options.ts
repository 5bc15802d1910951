/** Options that several commands have, read the same way: what is wrong is said with a remedy. */

import { readFileSync } from "node:fs";
import type { BlockHash, Height } from "../chain/ledger-units.ts";
import type { Checkpoint } from "../chain/step-types.ts";
import { AbsError, messageOf } from "../errors.ts";

const HEIGHT_MAX = Number.MAX_SAFE_INTEGER;

export const outputArgument = {
  type: "string",
  default: "text",
  description: "text (the same: table) or json",
} as const;

/** Whether the result is to be JSON. @throws AbsError OPTION_INVALID */
export function isJsonOutput(text: string): boolean {
  if (text === "text" || text === "table" || text === "json") return text === "json";
  throw optionError(`--output ${text} is not known.`, "Use text, table or json.");
}

export function optionError(what: string, remedy: string): AbsError {
  return new AbsError("OPTION_INVALID", what, remedy);
}

/** A result on standard output: JSON in one line, or its text. */
export function printResult(isJson: boolean, value: unknown, text: string): void {
  process.stdout.write(`${isJson ? JSON.stringify(value) : text}\n`);
}

/** A whole number in its range; `what` names it as the user wrote it. */
export function wholeNumberOf(what: string, text: string, low: number, high: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= low && value <= high) return value;
  throw optionError(`${what} ${text} is not a whole number from ${low} to ${high}.`, "Correct it.");
}

/** `HOST:PORT`, an IPv6 address in brackets. */
export function placeOf(what: string, text: string): { readonly host: string; port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:\s]+)):(\d+)$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  if (host === undefined) {
    throw optionError(
      `${what} ${text} is not HOST:PORT.`,
      "Write 10.0.0.1:6254 or [fd00::1]:6254.",
    );
  }
  return { host, port: wholeNumberOf(`the port of ${what}`, match?.[3] ?? "", 1, 65_535) };
}

/** A PEM file that anybody may read. @throws AbsError TLS_FILE_UNREADABLE */
export function readCertificate(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (cause) {
    const what = `${file} cannot be read: ${messageOf(cause)}.`;
    throw new AbsError("TLS_FILE_UNREADABLE", what, "Check the path.", cause);
  }
}

/** `HEIGHT:HASH`. */
export function checkpointOf(what: string, text: string): Checkpoint {
  const match = /^(\d+):([0-9a-f]{64})$/.exec(text);
  const blockHash = match?.[2] as BlockHash | undefined;
  if (blockHash === undefined) {
    throw optionError(`${what} ${text} is not HEIGHT:HASH.`, "Copy it from `abs ledger status`.");
  }
  const height = wholeNumberOf(`the height of ${what}`, match?.[1] ?? "", 0, HEIGHT_MAX);
  return { height: height as Height, blockHash };
}

/** Objects as aligned columns; nothing for none. */
export function tableText(rows: readonly Readonly<Record<string, unknown>>[]): string {
  const [first] = rows;
  if (first === undefined) return "none";
  const names = Object.keys(first);
  const cells = [names, ...rows.map((row) => names.map((name) => String(row[name] ?? "-")))];
  const widths = names.map((_, i) => Math.max(...cells.map((line) => line[i]?.length ?? 0)));
  return cells
    .map((line) =>
      line
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}
