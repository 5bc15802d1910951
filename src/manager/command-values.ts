/** Values of commands' options, read the same way everywhere, and tables as text. */
import { AbsError } from "../errors.ts";

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

export function optionWrong(what: string, remedy: string): AbsError {
  return new AbsError("COMMAND_USAGE", what, remedy);
}

/** A name as provisioning files have it. */
export function nameOf(what: string, text: string): string {
  if (NAME.test(text)) return text;
  const remedy = "Use up to 64 letters, digits, dots, dashes and underscores.";
  throw optionWrong(`The ${what} "${text.slice(0, 80)}" is no name.`, remedy);
}

/** Each once, in ascending order. */
export function namesOf(what: string, texts: readonly string[], countMax: number): string[] {
  const names = [...new Set(texts.flatMap((text) => text.split(",")))].sort();
  if (names.length > countMax) {
    throw optionWrong(`${names.length} names of ${what}; at most ${countMax}.`, "Name fewer.");
  }
  return names.map((name) => nameOf(what, name));
}

export function wholeNumber(what: string, text: string, low: number, high: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= low && value <= high) return value;
  throw optionWrong(`${what} ${text} is not a whole number from ${low} to ${high}.`, "Correct it.");
}

export function oneOf<T extends string>(what: string, text: string, words: readonly T[]): T {
  const found = words.find((word) => word === text);
  if (found !== undefined) return found;
  throw optionWrong(`${what} ${text} is not known.`, `Use ${words.join(", ")}.`);
}

/** `90s`, `15m`, `24h`, `7d`. @returns seconds */
export function durationOf(what: string, text: string): number {
  const match = /^(\d{1,7})([smhd])$/.exec(text);
  const seconds = { s: 1, m: 60, h: 3600, d: 86_400 }[match?.[2] as "s" | "m" | "h" | "d"];
  const value = Number(match?.[1]) * (seconds ?? 0);
  if (seconds !== undefined && value > 0) return value;
  throw optionWrong(`${what} ${text} is no duration.`, "Write 90s, 15m, 24h or 7d.");
}

export function timeText(seconds: number | undefined): string {
  return seconds === undefined ? "-" : new Date(seconds * 1000).toISOString();
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
