/**
 * The distinct contents of a snapshot, numbered, and the entries from which the shim makes their
 * set (c/match_set_shim.c). Only contents by which a signature is looked for are scanned; every
 * content has a test.
 */

import { ascii, concat } from "../bytes.ts";
import { AbsError } from "../errors.ts";
import {
  type ContentTest,
  contentTest,
  ENTRY_SCAN,
  type ScanPattern,
  scanPattern,
} from "./content-expression.ts";
import type { SignatureContent } from "./signature.ts";
import { NO_END, REQUEST, RESPONSE, SCAN_CANDIDATE, SCAN_EXACT, SCAN_NONE } from "./snapshot.ts";

/** How many contents abs_match_compile takes (ABS_CONTENT_MAX). */
const CONTENTS_MAX = 131_072;
const ENTRY_WORDS = 6;

interface Row {
  readonly content: SignatureContent;
  readonly scan: ScanPattern;
  readonly test: ContentTest;
  /** Who looks for it: 2 * signature + direction. */
  readonly uses: number[];
}

export class ContentTable {
  private readonly rows: Row[] = [];
  private readonly numbers = new Map<string, number>();

  get count(): number {
    return this.rows.length;
  }

  /** By number, as written. */
  get contents(): SignatureContent[] {
    return this.rows.map(({ content }) => content);
  }

  numberOf(content: SignatureContent): number {
    const { expr, offset, depth, direction } = content;
    const key = `${direction} ${offset} ${depth} ${expr}`;
    const known = this.numbers.get(key);
    if (known !== undefined) return known;
    const number = this.rows.length;
    if (number === CONTENTS_MAX) {
      const message = `The signatures hold more than ${CONTENTS_MAX} different contents.`;
      throw new AbsError("SIGNATURE_INVALID", message, "Disable signatures that are not needed.");
    }
    this.numbers.set(key, number);
    const [scan, test] = [scanPattern(content), contentTest(content)];
    this.rows.push({ content, scan, test, uses: [] });
    return number;
  }

  /** Of `contents`, the number of that which is found most rarely. */
  rarestOf(contents: readonly number[]): number | undefined {
    const weight = (number: number) => this.rows[number]?.scan.weight ?? 0;
    return contents.reduce<number | undefined>(
      (best, number) => (best === undefined || weight(number) > weight(best) ? number : best),
      undefined,
    );
  }

  weightOf(number: number): number {
    return this.rows[number]?.scan.weight ?? 0;
  }

  /** `use` looks for the content. */
  addUse(number: number, use: number): void {
    this.rows[number]?.uses.push(use);
  }

  /** By content, for the snapshot. */
  usesOf(): readonly (readonly number[])[] {
    return this.rows.map(({ uses }) => uses);
  }

  scanKinds(): Uint32Array {
    return Uint32Array.from(this.rows, ({ content, scan, uses }) => {
      const kind = uses.length === 0 ? SCAN_NONE : scan.exact ? SCAN_EXACT : SCAN_CANDIDATE;
      return kind | ((content.direction === "request" ? REQUEST : RESPONSE) << 2);
    });
  }

  /** Leading bytes of a payload that must be scanned. */
  get scanBytes(): number {
    const scanned = this.rows.filter(({ uses }) => uses.length > 0);
    const ends = scanned.map(({ scan }) => (scan.usesEnd ? NO_END : scan.endMax));
    return ends.reduce((most, end) => Math.max(most, end), 0);
  }

  /** For abs_match_compile; tests by content, as abs_match_save keeps them. */
  blob(): Uint8Array {
    const parts = this.rows.flatMap(({ scan, test, uses }, id) => {
      const entry = [entryOf(id, test)];
      if (uses.length === 0) return entry;
      const text = concat(ascii(scan.pcre), Uint8Array.of(0));
      const { flags, endMin: low, endMax: high } = scan;
      return [...entry, entryOf(id, { kind: ENTRY_SCAN, flags, low, high, text })];
    });
    return concat(...parts);
  }
}

function entryOf(id: number, { kind, flags, low, high, text }: ContentTest): Uint8Array {
  const words = Uint32Array.of(kind, id, flags, low, high, text.length);
  return concat(new Uint8Array(words.buffer, 0, 4 * ENTRY_WORDS), text);
}
