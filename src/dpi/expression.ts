/**
 * The `expr` of a content: a byte string with \xNN escapes, or a regular expression between
 * slashes with flags. Text that begins with a slash is always a regular expression; a byte string
 * that begins with one is written \x2f….
 */

import { parseRegex, type RegexProblem } from "./regex-parser.ts";
import type { ContentExpression } from "./signature.ts";

/** Longer expressions are a mistake; the payload of a packet is no longer either. */
const EXPRESSION_CHARACTERS_MAX = 4096;

export function parseExpression(expr: string): ContentExpression | RegexProblem {
  if (expr.length > EXPRESSION_CHARACTERS_MAX) {
    const reason = `the expression has ${expr.length} characters.`;
    return { reason, remedy: `At most ${EXPRESSION_CHARACTERS_MAX} are allowed.` };
  }
  if (!expr.startsWith("/")) return parseBytes(expr);
  const end = expr.lastIndexOf("/");
  if (end === 0) {
    const reason = "it begins with / but does not end as a regular expression.";
    return { reason, remedy: "Close it with /, or write \\x2f for a byte string's first slash." };
  }
  const pattern = expr.slice(1, end);
  if (/(^|[^\\])(\\\\)*\//.test(pattern)) {
    const reason = "an unescaped / inside the regular expression.";
    return { reason, remedy: "Write \\/ inside; only flags may follow the last slash." };
  }
  const regex = parseRegex(pattern, expr.slice(end + 1));
  return "reason" in regex ? regex : { kind: "regex", regex };
}

function parseBytes(expr: string): ContentExpression | RegexProblem {
  if (expr === "") return { reason: "the expression is empty.", remedy: "Ask for a byte or more." };
  const bytes: number[] = [];
  for (let i = 0; i < expr.length; ) {
    const sign = expr[i] ?? "";
    if (sign < " " || sign > "~") {
      const code = expr.charCodeAt(i).toString(16);
      const reason = `character ${i + 1} (U+${code}) is not printable ASCII.`;
      return { reason, remedy: "Write each byte as \\xNN." };
    }
    if (sign !== "\\") {
      bytes.push(sign.charCodeAt(0));
      i++;
      continue;
    }
    const hex = /^\\x([0-9a-fA-F]{2})/.exec(expr.slice(i, i + 4));
    if (hex !== null) {
      bytes.push(Number.parseInt(hex[1] ?? "", 16));
      i += 4;
    } else if (expr[i + 1] === "\\") {
      bytes.push(0x5c);
      i += 2;
    } else {
      const reason = `character ${i + 1} begins no escape of a byte string.`;
      return { reason, remedy: "Write \\xNN for a byte, \\\\ for a backslash." };
    }
  }
  return { kind: "bytes", bytes: Uint8Array.from(bytes) };
}
