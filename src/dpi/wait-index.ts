/**
 * Which signatures a payload that is still short may yet match: each signature stands in the row
 * of its most telling fixed position, so that a byte that is there already leaves few of them.
 * The layout is snapshot.ts "waiters".
 */

import { contentPositions } from "./content-expression.ts";
import { csr } from "./csr.ts";
import type { AppSignature, ContentDirection, PinnedPosition } from "./signature.ts";
import { WAIT_ANY, WAIT_LISTS } from "./snapshot.ts";

/** A position that allows more values than this tells too little. */
const VALUES_MAX = 64;
/** Row of signatures without a telling position. */
const NOWHERE = 0xffff_ffff;

const DIRECTIONS: readonly ContentDirection[] = ["request", "response"];

/** `need`: bytes by 2 * signature + direction; 0 for those that never wait. */
export function waitIndex(signatures: readonly AppSignature[], need: readonly number[]) {
  const waitRowStart = [0];
  const positions: number[] = [];
  const lists: number[][] = [];
  for (const [d, direction] of DIRECTIONS.entries()) {
    const rows = new Map<number, number[][]>();
    for (const [i, signature] of signatures.entries()) {
      const use = 2 * i + d;
      if ((need[use] ?? 0) === 0) continue;
      const place = tellingPosition(signature, direction);
      const row = rows.get(place?.position ?? NOWHERE) ?? emptyRow();
      rows.set(place?.position ?? NOWHERE, row);
      row[WAIT_ANY]?.push(use);
      for (const value of place?.allowed.values() ?? []) row[value]?.push(use);
    }
    for (const [position, row] of rows) {
      positions.push(position);
      lists.push(...row);
    }
    waitRowStart.push(positions.length);
  }
  const { starts, items } = csr(lists);
  return {
    waitRowStart: Uint32Array.from(waitRowStart),
    waitPosition: Uint32Array.from(positions),
    waiterStart: starts,
    waiters: items,
  };
}

function emptyRow(): number[][] {
  return Array.from({ length: WAIT_LISTS }, () => []);
}

function tellingPosition(
  signature: AppSignature,
  direction: ContentDirection,
): PinnedPosition | undefined {
  const contents = signature.contents.filter((one) => !one.not && one.direction === direction);
  return contents
    .flatMap(contentPositions)
    .filter(({ allowed }) => allowed.size <= VALUES_MAX)
    .reduce<PinnedPosition | undefined>(
      (best, one) => (best === undefined || one.allowed.size < best.allowed.size ? one : best),
      undefined,
    );
}
