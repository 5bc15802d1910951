/**
 * Whether a flow's numbers fit a signature: protocol, ports, addresses. Hot path.
 */

import { RANGE_WORDS, rangeHolds } from "../wire/address-range.ts";
import { AND_MORE, PROTOCOL_TCP, PROTOCOL_UDP } from "./number-index.ts";
import { SET_WORDS, type SignatureSnapshot } from "./snapshot.ts";

/** Numbers of a flow as its initiator sends; a ParsedPacket of the initiator is one. */
export interface FlowNumbers {
  ipVersion: number;
  transportProtocol: number;
  source0: number;
  source1: number;
  source2: number;
  source3: number;
  sourcePort: number;
  destination0: number;
  destination1: number;
  destination2: number;
  destination3: number;
  destinationPort: number;
}

/** The row of `possible` for a flow's protocol and destination port. */
export function possibleRow(snapshot: SignatureSnapshot, numbers: FlowNumbers): number {
  const protocol = numbers.transportProtocol;
  const kind = protocol === PROTOCOL_TCP ? 0 : protocol === PROTOCOL_UDP ? 1 : 2;
  let row = snapshot.portRowStart[kind];
  let end = snapshot.portRowStart[kind + 1];
  // The last row that begins at the port or before; the first begins at 0.
  while (end - row > 1) {
    const middle = (row + end) >>> 1;
    if (snapshot.portRowLow[middle] <= numbers.destinationPort) row = middle;
    else end = middle;
  }
  return row;
}

/** Whether the numbers of a flow leave a signature that judges requests possible. */
export function isPossible(snapshot: SignatureSnapshot, numbers: FlowNumbers): boolean {
  const row = possibleRow(snapshot, numbers);
  const last = snapshot.possibleStart[row + 1];
  for (let i = snapshot.possibleStart[row]; i < last; i++) {
    const signature = snapshot.possible[i];
    if (signature === AND_MORE || numbersFit(snapshot, signature, numbers)) return true;
  }
  return false;
}

export function numbersFit(
  snapshot: SignatureSnapshot,
  signature: number,
  numbers: FlowNumbers,
): boolean {
  const protocol = numbers.transportProtocol;
  const word = snapshot.protocols[signature * SET_WORDS + (protocol >>> 5)];
  if (((word >>> (protocol & 31)) & 1) === 0) return false;
  return (
    portFits(snapshot, snapshot.destinationPortStart, signature, numbers.destinationPort) &&
    portFits(snapshot, snapshot.sourcePortStart, signature, numbers.sourcePort) &&
    addressFits(
      snapshot,
      snapshot.destinationRangeStart,
      signature,
      numbers.ipVersion,
      numbers.destination0,
      numbers.destination1,
      numbers.destination2,
      numbers.destination3,
    ) &&
    addressFits(
      snapshot,
      snapshot.sourceRangeStart,
      signature,
      numbers.ipVersion,
      numbers.source0,
      numbers.source1,
      numbers.source2,
      numbers.source3,
    )
  );
}

/** Whether the flow goes to a port that the signature's application is usually on. */
export function isAtHome(snapshot: SignatureSnapshot, signature: number, port: number): boolean {
  const starts = snapshot.usualPortStart;
  return starts[signature] < starts[signature + 1] && portFits(snapshot, starts, signature, port);
}

function portFits(
  snapshot: SignatureSnapshot,
  starts: Uint32Array,
  signature: number,
  port: number,
): boolean {
  const start = starts[signature];
  const end = starts[signature + 1];
  if (start === end) return true;
  const ports = snapshot.ports;
  for (let i = start; i < end; i++) {
    if (port >= ports[i] >>> 16 && port <= (ports[i] & 0xffff)) return true;
  }
  return false;
}

function addressFits(
  snapshot: SignatureSnapshot,
  starts: Uint32Array,
  signature: number,
  ipVersion: number,
  word0: number,
  word1: number,
  word2: number,
  word3: number,
): boolean {
  const start = starts[signature];
  const end = starts[signature + 1];
  if (start === end) return true;
  const ranges = snapshot.ranges;
  for (let i = start; i < end; i++) {
    if (rangeHolds(ranges, i * RANGE_WORDS, ipVersion, word0, word1, word2, word3)) return true;
  }
  return false;
}
