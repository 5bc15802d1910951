/**
 * The port index of a policy snapshot (snapshot.ts): which rules may apply to a port, so that a
 * lookup does not walk rules for other ports. Only a filter: every rule it yields is still
 * compared in full. A rule that spans many segments goes to the wide list instead, which keeps the
 * index small for any policy.
 */

import type { PortRange } from "../store/network-values.ts";
import type { PolicyRule } from "./policy.ts";
import {
  PORT_CLASS_OTHER,
  PORT_CLASS_TCP,
  PORT_CLASS_UDP,
  PORT_CLASSES,
  type PolicySnapshot,
} from "./snapshot.ts";

/** A rule found in more segments than this is listed as wide. */
const SEGMENTS_MAX = 16;

type PortIndex = Pick<
  PolicySnapshot,
  | "indexSegmentStart"
  | "segmentPort"
  | "segmentRuleStart"
  | "segmentRules"
  | "indexWideStart"
  | "wideRules"
>;

/** `rules` by index; undefined: a rule that never applies here. */
export function buildPortIndex(rules: readonly (PolicyRule | undefined)[]): PortIndex {
  const indexSegmentStart = [0];
  const segmentPort: number[] = [];
  const segmentRuleStart = [0];
  const segmentRules: number[] = [];
  const indexWideStart = [0];
  const wideRules: number[] = [];
  for (const direction of ["in", "out"] as const) {
    for (let portClass = 0; portClass < PORT_CLASSES; portClass++) {
      const part = partFor(rules, direction, portClass);
      for (const [i, port] of part.starts.entries()) {
        segmentPort.push(port);
        for (const rule of part.lists[i] ?? []) segmentRules.push(rule);
        segmentRuleStart.push(segmentRules.length);
      }
      for (const rule of part.wide) wideRules.push(rule);
      indexSegmentStart.push(segmentPort.length);
      indexWideStart.push(wideRules.length);
    }
  }
  return {
    indexSegmentStart: Uint32Array.from(indexSegmentStart),
    segmentPort: Uint32Array.from(segmentPort),
    segmentRuleStart: Uint32Array.from(segmentRuleStart),
    segmentRules: Uint32Array.from(segmentRules),
    indexWideStart: Uint32Array.from(indexWideStart),
    wideRules: Uint32Array.from(wideRules),
  };
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
