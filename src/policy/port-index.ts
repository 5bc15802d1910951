/**
 * The port index of a policy snapshot (snapshot.ts): which rules may apply to a port, so that a
 * lookup does not walk rules for other ports. Rules of a class name its protocol, those of a
 * segment hold its ports: neither is compared again, but for the class of all other protocols and
 * for wide rules. A rule that spans many segments goes to the wide list instead, which keeps the
 * index small for any policy.
 */

import type { PortRange } from "../store/network-values.ts";
import type { PolicyRule } from "./policy.ts";
import {
  ENTRY_WORDS,
  LIST_ENTRIES_MAX,
  LIST_SEARCHED,
  LIST_START_MAX,
  PORT_CLASS_OTHER,
  PORT_CLASS_TCP,
  PORT_CLASS_UDP,
  PORT_CLASSES,
  PORT_TABLE_WORDS,
  type PolicySnapshot,
} from "./snapshot.ts";

/** A rule found in more segments than this is listed as wide. */
const SEGMENTS_MAX = 16;
/** An index of more segments gets a table by port: a search in it would miss the caches. */
const SEARCHED_MAX = 128;

type PortIndex = Pick<
  PolicySnapshot,
  | "indexSegmentStart"
  | "segmentPort"
  | "indexTable"
  | "portLists"
  | "segmentRuleStart"
  | "segmentRules"
  | "indexWideStart"
  | "wideRules"
>;

/**
 * `rules` by index; undefined: a rule that never applies here. `filters` by index, see snapshot.ts.
 */
export function buildPortIndex(
  rules: readonly (PolicyRule | undefined)[],
  filters: Uint32Array,
): PortIndex {
  const indexSegmentStart = [0];
  const segmentPort: number[] = [];
  const segmentRuleStart = [0];
  const segmentRules: number[] = [];
  const indexWideStart = [0];
  const wideRules: number[] = [];
  const indexTable: number[] = [];
  const tables: Uint32Array[] = [];
  const entry = (rule: number) => [rule, filters[rule] ?? 0];
  for (const direction of ["in", "out"] as const) {
    for (let portClass = 0; portClass < PORT_CLASSES; portClass++) {
      const part = partFor(rules, direction, portClass);
      const isLong = part.starts.length > SEARCHED_MAX;
      indexTable.push(isLong ? tables.length * PORT_TABLE_WORDS + 1 : 0);
      for (const [i, port] of part.starts.entries()) {
        segmentPort.push(port);
        for (const rule of part.lists[i] ?? []) segmentRules.push(...entry(rule));
        segmentRuleStart.push(segmentRules.length / ENTRY_WORDS);
      }
      const listStart = segmentRuleStart.slice(-part.starts.length - 1);
      if (isLong) tables.push(portTable(part.starts, listStart));
      for (const rule of part.wide) wideRules.push(...entry(rule));
      indexSegmentStart.push(segmentPort.length);
      indexWideStart.push(wideRules.length / ENTRY_WORDS);
    }
  }
  return {
    indexSegmentStart: Uint32Array.from(indexSegmentStart),
    segmentPort: Uint32Array.from(segmentPort),
    indexTable: Uint32Array.from(indexTable),
    portLists: joined(tables),
    segmentRuleStart: Uint32Array.from(segmentRuleStart),
    segmentRules: Uint32Array.from(segmentRules),
    indexWideStart: Uint32Array.from(indexWideStart),
    wideRules: Uint32Array.from(wideRules),
  };
}

/** The list of every port; `listStart` of each segment, and of what follows the last. */
function portTable(starts: readonly number[], listStart: readonly number[]): Uint32Array {
  const table = new Uint32Array(PORT_TABLE_WORDS);
  for (const [segment, first] of starts.entries()) {
    const start = listStart[segment] ?? 0;
    const entries = (listStart[segment + 1] ?? 0) - start;
    const fits = entries <= LIST_ENTRIES_MAX && start <= LIST_START_MAX;
    const list = fits ? ((start << 8) | entries) >>> 0 : LIST_SEARCHED;
    table.fill(list, first, starts[segment + 1] ?? PORT_TABLE_WORDS);
  }
  return table;
}

function joined(tables: readonly Uint32Array[]): Uint32Array {
  const all = new Uint32Array(tables.length * PORT_TABLE_WORDS);
  for (const [i, table] of tables.entries()) all.set(table, i * PORT_TABLE_WORDS);
  return all;
}

interface IndexPart {
  /** First port of each segment. */
  readonly starts: number[];
  /** Narrow rules of each segment, ascending. */
  readonly lists: number[][];
  readonly wide: number[];
}

function partFor(
  rules: readonly (PolicyRule | undefined)[],
  direction: "in" | "out",
  portClass: number,
): IndexPart {
  const members: { rule: number; ports: readonly PortRange[] | undefined }[] = [];
  const edges = new Set([0]);
  for (const [rule, definition] of rules.entries()) {
    if (definition?.direction !== direction || !isOfClass(definition, portClass)) continue;
    // Other protocols have no ports worth an index: everything there is wide.
    const ports = portClass === PORT_CLASS_OTHER ? undefined : definition.ports;
    members.push({ rule, ports });
    for (const { low, high } of ports ?? []) {
      edges.add(low);
      if (high < 0xffff) edges.add(high + 1);
    }
  }
  const starts = [...edges].sort((left, right) => left - right);
  const segmentAt = new Map(starts.map((port, i) => [port, i]));
  const lists: number[][] = starts.map(() => []);
  const wide: number[] = [];
  for (const { rule, ports } of members) {
    const spans = (ports ?? []).map(({ low, high }) => ({
      first: segmentAt.get(low) ?? 0,
      end: segmentAt.get(high + 1) ?? starts.length,
    }));
    const covered = spans.reduce((sum, { first, end }) => sum + end - first, 0);
    if (ports === undefined || covered > SEGMENTS_MAX) {
      wide.push(rule);
      continue;
    }
    const touched = new Set<number>();
    for (const { first, end } of spans) for (let i = first; i < end; i++) touched.add(i);
    for (const i of touched) lists[i]?.push(rule);
  }
  return { starts, lists, wide };
}

function isOfClass(rule: PolicyRule, portClass: number): boolean {
  const protocols = rule.protocols;
  if (portClass === PORT_CLASS_TCP) return protocols === undefined || protocols.includes(6);
  if (portClass === PORT_CLASS_UDP) return protocols === undefined || protocols.includes(17);
  return protocols === undefined || protocols.some((number) => number !== 6 && number !== 17);
}
