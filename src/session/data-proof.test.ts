/** Packets of the main thread: what a keep-alive and a REJECT are, and what opens them. */
import { describe, expect, test } from "bun:test";
import { decodeReject, REJECT_REASON } from "../wire/reject-message.ts";
import type { DirectionKeys } from "./data-keys.ts";
import { contextOf, keepAlivePacket, openPacket, openReject, rejectPacket } from "./data-proof.ts";

const V4 = { source: new Uint8Array([10, 0, 0, 1]), destination: new Uint8Array([10, 0, 0, 2]) };
const V6 = { source: new Uint8Array(16).fill(1), destination: new Uint8Array(16).fill(2) };
const KEYS: DirectionKeys = {
  algorithm: 1,
  key: new Uint8Array(16).fill(7),
  confidential: false,
  quickProof: undefined,
};
const KINDS: readonly [string, DirectionKeys][] = [
  ["integrity", KEYS],
  ["confidential", { ...KEYS, confidential: true }],
  ["chacha20", { ...KEYS, algorithm: 3, key: new Uint8Array(32).fill(7) }],
  ["unauthenticated", { ...KEYS, quickProof: new Uint8Array(16).fill(9) }],
];

function rejectOf(route: typeof V4) {
  return {
    receiverIndex: 0x1001,
    counter: 4,
    reason: REJECT_REASON.policyDenied,
    protocol: 6,
    sourcePort: 40_000,
    destinationPort: 80,
    source: route.destination,
    destination: route.source,
  };
}

describe.each(KINDS)("%s", (name, keys) => {
  test.each([V4, V6])("a keep-alive opens, empty, under its own addresses only", (route) => {
    const packet = keepAlivePacket(keys, 0x1001, 4, route);
    expect(packet.length).toBe(32);
    expect([packet[0], packet[1], packet[8], packet[15]]).toEqual([0x15, 59, 15, 4]);
    expect(openPacket(keys, packet, contextOf(route, 0))).toEqual(new Uint8Array(0));
    if (name === "unauthenticated") return;
    const back = { source: route.destination, destination: route.source };
    expect(openPacket(keys, packet, contextOf(back, 0))).toBeUndefined();
  });

  test.each([V4, V6])("a REJECT opens as it was sealed, and never when altered", (route) => {
    const reject = rejectOf(route);
    const packet = rejectPacket(keys, reject, route);
    expect(openReject(keys, packet, route)).toMatchObject(reject);
    // Also under an unauthenticated contract: it could otherwise be made from any packet seen.
    for (let i = 0; i < packet.length; i++) {
      const altered = packet.slice();
      altered[i] = (altered[i] ?? 0) ^ 1;
      expect(openReject(keys, altered, route)).toBeUndefined();
    }
    expect(openReject(keys, packet.subarray(1), route)).toBeUndefined();
    const elsewhere = { ...route, destination: route.source };
    expect(openReject(keys, packet, elsewhere)).toBeUndefined();
    expect(openReject({ ...keys, key: keys.key.slice().fill(8) }, packet, route)).toBeUndefined();
    expect(decodeReject(packet)).toMatchObject({ kind: "sealed" });
  });
});
