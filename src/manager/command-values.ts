/** What commands say: times and tables as text, and complaints about what was asked. */
import { AbsError } from "../errors.ts";

export function optionWrong(what: string, remedy: string): AbsError {
  return new AbsError("COMMAND_USAGE", what, remedy);
}

export function timeText(seconds: number | undefined): string {
  return seconds === undefined ? "-" : new Date(seconds * 1000).toISOString();
}

export function warningLines(warnings: readonly string[]): string[] {
  return warnings.map((words) => `warning: ${words}`);
}

/** Aligned columns; nothing for none. */
export function tableText(rows: readonly Readonly<Record<string, unknown>>[]): string {
  const [first] = rows;
  if (first === undefined) return "none";
  const names = Object.keys(first);
  const cells = [names, ...rows.map((row) => names.map((name) => String(row[name] ?? "-")))];
  const widths = names.map((_, i) => Math.max(...cells.map((line) => line[i]?.length ?? 0)));
  const lines = cells.map((line) => line.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join("  "));
  return lines.map((line) => line.trimEnd()).join("\n");
}
