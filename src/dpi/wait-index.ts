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
  const { rowStart, position, starts, items } = positionRows(signatures, need);
  return { waitRowStart: rowStart, waitPosition: position, waiterStart: starts, waiters: items };
}

/**
 * Signatures that are found by the value of their most telling position instead of by a scan;
 * `placed`: 1 by 2 * signature + direction.
 */
export function placeIndex(signatures: readonly AppSignature[], placed: readonly number[]) {
  const { rowStart, position, starts, items } = positionRows(signatures, placed);
  return { placeRowStart: rowStart, placePosition: position, placeStart: starts, places: items };
}

function positionRows(signatures: readonly AppSignature[], wanted: readonly number[]) {
  const rowStart = [0];
  const positions: number[] = [];
  const lists: number[][] = [];
  for (const [d, direction] of DIRECTIONS.entries()) {
    const rows = new Map<number, number[][]>();
    for (const [i, signature] of signatures.entries()) {
      const use = 2 * i + d;
      if ((wanted[use] ?? 0) === 0) continue;
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
    rowStart.push(positions.length);
  }
  return {
    rowStart: Uint32Array.from(rowStart),
    position: Uint32Array.from(positions),
    ...csr(lists),
  };
}

function emptyRow(): number[][] {
  return Array.from({ length: WAIT_LISTS }, () => []);
}

export function tellingPosition(
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
