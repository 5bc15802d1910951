/**
 * What functions of a file marked `Hot path.` may not contain (STYLE "The hot path"): each of these
 * allocates, or hides a loop, for every packet. The rule: every function and method of such a file
 * is judged, but constructors and those whose own comment says `Set-up`: those run once.
 */
import { REGEXP_MARK, type SourceCode, TEMPLATE_MARK } from "./source-code.ts";

interface Ban {
  readonly pattern: RegExp;
  readonly fault: string;
}

const BEFORE_VALUE = "(?:[=(,?:[|&+]|\\breturn|=>)\\s*";

const BANS: readonly Ban[] = [
  { pattern: /=>/, fault: "makes a closure: use a loop or a method" },
  { pattern: /\bfunction\b/, fault: "makes a closure: move the function to the top" },
  { pattern: /\.\.\./, fault: "spreads: write the elements, or copy by index" },
  {
    pattern: /\bfor (await )?\((const|let|var) .* (of|in) /,
    fault: "iterates: count with an index",
  },
  {
    pattern: /\.(map|filter|forEach|reduce|flatMap|some|every|entries|values|keys|concat|slice)\(/,
    fault: "allocates or calls back: write the loop",
  },
  { pattern: /\.(subarray|split|join|toString|push)\(/, fault: "allocates: work on offsets" },
  { pattern: new RegExp(TEMPLATE_MARK), fault: "builds a string: hand over numbers" },
  { pattern: new RegExp(REGEXP_MARK), fault: "uses a regular expression: compare bytes" },
  { pattern: /\bawait\b|\basync\b/, fault: "waits: the loop never awaits" },
  { pattern: /\b\d+n\b|\bBigInt|getBig|setBig/, fault: "uses BigInt: two u32 or a double" },
  { pattern: /\bnew [A-Z]/, fault: "makes an object: reuse one made at set-up" },
  { pattern: /\bthrow\b|\btry\b/, fault: "throws: return a code" },
  { pattern: new RegExp(`${BEFORE_VALUE}\\{(?!$)`), fault: "makes an object: write into one" },
  { pattern: /(?:[=(,?:]|\breturn|=>)\s*\{$/, fault: "makes an object: write into one" },
  { pattern: new RegExp(`${BEFORE_VALUE}\\[`), fault: "makes an array: fixed typed arrays" },
  { pattern: /\b(const|let) \[/, fault: "takes an array apart by its iterator: use indexes" },
];

export interface HotPathFault {
  /** Counts from 1. */
  readonly line: number;
  readonly fault: string;
}

export function findHotPathFaults(file: SourceCode): HotPathFault[] {
  const faults: HotPathFault[] = [];
  for (const { name, bodyFrom, to, comment } of file.functions()) {
    if (name === "constructor" || /\bSet-up\b/.test(comment)) continue;
    for (let i = bodyFrom; i < to; i++) {
      const line = file.code[i] ?? "";
      const ban = BANS.find(({ pattern }) => pattern.test(line));
      if (ban !== undefined) faults.push({ line: i + 1, fault: `${name}() ${ban.fault}` });
    }
  }
  return faults;
}
