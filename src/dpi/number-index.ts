/**
 * Which signatures a flow's numbers leave possible, by protocol and destination port, so that a
 * new flow is not compared with all of them. The port numbers fall into rows at whose borders the
 * set of signatures changes.
 */

import { csr } from "./csr.ts";
import type { AppSignature } from "./signature.ts";

/** Kinds of protocols: TCP, UDP, all others. */
export const PROTOCOL_TCP = 6;
export const PROTOCOL_UDP = 17;
const KINDS: readonly ((protocol: number) => boolean)[] = [
  (protocol) => protocol === PROTOCOL_TCP,
  (protocol) => protocol === PROTOCOL_UDP,
  (protocol) => protocol !== PROTOCOL_TCP && protocol !== PROTOCOL_UDP,
];

/** Signatures kept of a row; more are taken for "one of them fits". */
const ROW_MAX = 64;
/** Ends a row that holds more than ROW_MAX. */
export const AND_MORE = 0xffff_ffff;

/** `order`: indexes of the signatures that judge requests, those easiest to fit first. */
export function numberIndex(signatures: readonly AppSignature[], order: readonly number[]) {
  const kinds = KINDS.map((isKind) =>
    rowsOf(
      signatures,
      order.filter((i) => fitsKind(signatures[i], isKind)),
    ),
  );
  const portRowStart = Uint32Array.of(0, 0, 0, 0);
  for (const [i, { lows }] of kinds.entries()) {
    portRowStart[i + 1] = (portRowStart[i] ?? 0) + lows.length;
  }
  const { starts, items } = csr(kinds.flatMap(({ lists }) => lists));
  return {
    portRowStart,
    portRowLow: Uint32Array.from(kinds.flatMap(({ lows }) => lows)),
    possibleStart: starts,
    possible: items,
  };
}

function fitsKind(
  signature: AppSignature | undefined,
  isKind: (protocol: number) => boolean,
): boolean {
  return signature?.protocols?.some(isKind) ?? true;
}

function rowsOf(signatures: readonly AppSignature[], order: readonly number[]) {
  const portsOf = (i: number) => signatures[i]?.destinationPorts ?? [{ low: 0, high: 0xffff }];
  const borders = new Set([0]);
  for (const i of order) {
    for (const { low, high } of portsOf(i)) {
      borders.add(low);
      if (high < 0xffff) borders.add(high + 1);
    }
  }
  const lows = [...borders].sort((left, right) => left - right);
  const rowOfLow = new Map(lows.map((low, row) => [low, row]));
  const lists: number[][] = lows.map(() => []);
  for (const i of order) {
    for (const { low, high } of portsOf(i)) {
      for (let row = rowOfLow.get(low) ?? 0; (lows[row] ?? Infinity) <= high; row++) {
        add(lists[row] ?? [], i);
      }
    }
  }
  return { lows, lists };
}

function add(list: number[], signature: number): void {
  if (list.at(-1) === signature || list.at(-1) === AND_MORE) return;
  list.push(list.length === ROW_MAX ? AND_MORE : signature);
}
