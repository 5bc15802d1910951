/** Rows for abs-oracle: what is encoded is what is decoded, and a cut input is refused. */
import { expect, test } from "bun:test";
import { decodeOracleInput, encodeOracleInput, encodePacket } from "./oracle-input.ts";

const session = {
  slot: 8,
  receiverIndex: 0xfffff008,
  state: 2,
  peer: 1,
  tag: 3,
  role: 1,
  remoteIndex: 0x80000000,
  keyOut: 16,
  keyIn: 17,
  confidentialOut: 1,
  confidentialIn: 0,
  counter: 77,
  keyOutBytes: Uint8Array.from({ length: 16 }, (_, i) => i),
  keyInBytes: Uint8Array.from({ length: 16 }, (_, i) => 255 - i),
};
const input = {
  direction: "ingress" as const,
  carrierProtocol: 253,
  lane: 3,
  sessions: [session],
  bindings: [0],
  peers: [1468, 1280],
  pairs: [
    {
      version: 6 as const,
      peer: 1,
      local: [1, 2, 3, 4],
      remote: [5, 6, 7, 8],
      hashOut: [9, 10, 11],
      hashIn: [12, 13, 14],
    },
  ],
  flows: [Uint32Array.from({ length: 16 }, (_, i) => i * 0x10000001)],
  packets: [Uint8Array.of(1, 2, 3), new Uint8Array(0), Uint8Array.of(4, 5, 6, 7)],
};

test("oracle input: decoding gives back what was encoded", () => {
  expect(decodeOracleInput(encodeOracleInput(input))).toEqual(input);
});

test("oracle input: one byte short at any place is refused", () => {
  const bytes = encodeOracleInput(input);
  for (let end = 0; end < bytes.length; end += 4) {
    expect(() => decodeOracleInput(bytes.slice(0, end))).toThrow("ends early");
  }
});

test("a packet's row is padded to whole words", () => {
  expect(encodePacket(Uint8Array.of(9, 8, 7, 6, 5))).toEqual(
    Uint8Array.of(5, 0, 0, 0, 9, 8, 7, 6, 5, 0, 0, 0),
  );
});
