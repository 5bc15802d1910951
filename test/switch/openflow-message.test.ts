/** The OpenFlow decoder: each kind, each fault, each length; what we send, byte by byte. */
import { expect, test } from "bun:test";
import { decodeMatch, encodeMatch, matchKey } from "../../src/switch/flow-match.ts";
import { MessageReader } from "../../src/switch/message-reader.ts";
import {
  decodeMessage,
  encodeAddFlow,
  encodeDeleteFlow,
  encodeHello,
  encodeSetAsync,
} from "../../src/switch/openflow-message.ts";
import * as said from "./switch-messages.ts";

const { message } = said;
const cases = [
  { name: "hello", bytes: said.HELLO, result: { kind: "hello", speaks13: true } },
  { name: "hello, no bitmap", bytes: said.BARE_HELLO, result: { kind: "hello", speaks13: true } },
  { name: "hello, 1.0", bytes: said.OLD_HELLO, result: { kind: "hello", speaks13: false } },
  {
    name: "hello, 1.4 and 1.5 only",
    bytes: message(0, 1, [0, 1, 0, 8, 0, 0, 0, 0x60], 6),
    result: { kind: "hello", speaks13: false },
  },
  { name: "echo", bytes: said.ECHO, result: { kind: "echo-request", xid: 7 } },
  { name: "error", bytes: said.ERROR, result: { kind: "error", type: 5, code: 1 } },
  { name: "barrier", bytes: said.BARRIER, result: { kind: "barrier", xid: 11 } },
  { name: "features", bytes: said.features(3), result: { kind: "features", datapathId: 0x1122n } },
  { name: "removed", bytes: said.flowRemoved(5n), result: { kind: "flow-removed", cookie: 5n } },
  { name: "packet in", bytes: message(10, 0), result: { kind: "other", type: 10 } },
  { name: "no flows", bytes: said.flows(1, [], true), result: { kind: "flows", hasMore: true } },
];
test.each(cases)("decodeMessage: $name", ({ bytes, result }) => {
  expect(decodeMessage(bytes)).toMatchObject(result);
});

test("rules: ours, one with a field we do not know, one that forwards", () => {
  const { flowStats, INSTRUCTION, MAC_MATCH, VLAN_MATCH } = said;
  const entries = [flowStats(5n), flowStats(6n, VLAN_MATCH), flowStats(7n, MAC_MATCH, INSTRUCTION)];
  const common = { table: 0, priority: 65_500, ageSeconds: 5, hardSeconds: 3600, packets: 3n };
  const ethSource = "02ab0f000001";
  const plain = { hasOthers: false, hasInstructions: false };
  expect(decodeMessage(said.flows(1, entries.flat()))).toMatchObject({
    flows: [
      { ...common, ...plain, cookie: 5n, match: { ethSource } },
      { ...common, ...plain, cookie: 6n, match: {}, hasOthers: true },
      { ...common, ...plain, cookie: 7n, match: { ethSource }, hasInstructions: true },
    ],
  });
});

const faults = [
  { name: "nothing", bytes: new Uint8Array(0), fault: "short" },
  {
    name: "longer than it says",
    bytes: new Uint8Array([4, 2, 0, 8, 0, 0, 0, 1, 9]),
    fault: "length",
  },
  { name: "another version", bytes: message(2, 1, [], 5), fault: "version" },
  { name: "a cut element of hello", bytes: message(0, 1, [0, 1, 0, 9, 0]), fault: "hello" },
  { name: "an element without length", bytes: message(0, 1, [0, 1, 0, 0]), fault: "hello" },
  { name: "features, cut", bytes: said.features(1).with(3, 31).slice(0, 31), fault: "short" },
  { name: "error, cut", bytes: message(1, 1, [0, 1, 0]), fault: "short" },
  { name: "rules of length 0", bytes: said.flows(1, Array(48).fill(0)), fault: "stats" },
  { name: "a match that passes its rule", bytes: withByte(16 + 51, 90), fault: "match" },
  { name: "a field that passes its match", bytes: withByte(16 + 55, 90), fault: "match" },
];
function withByte(offset: number, value: number): Uint8Array {
  return said.flows(1, said.flowStats(5n)).with(offset, value);
}
test.each(faults)("decodeMessage refuses: $name", ({ bytes, fault }) => {
  expect(decodeMessage(bytes)).toBe(fault as never);
});

test("every message cut at every byte is a fault or another message, never an error", () => {
  for (const whole of said.MESSAGES) {
    for (let length = 0; length < whole.length; length++) {
      const cut = whole.slice(0, length);
      expect(["short", "length"]).toContain(decodeMessage(cut) as string);
      if (length >= 8) decodeMessage(cut.with(2, length >>> 8).with(3, length & 0xff));
    }
  }
});

test("a match is read as it was written, and its fields' order is nothing", () => {
  const match = { inPort: 3, ethSource: "02ab0f000001", ethType: 0x800, ipv4Source: "0a4f0001" };
  const bytes = encodeMatch(match);
  expect(bytes.length % 8).toBe(0);
  const read = decodeMatch(new DataView(bytes.buffer), 0, bytes.length);
  expect(read).toEqual({ match, hasOthers: false, end: bytes.length });
  expect(matchKey({ ethType: 0x800, inPort: 3 })).toBe(matchKey({ inPort: 3, ethType: 0x800 }));
});

test("what we send, byte by byte (1.3.5 §7.1, §7.3.4.1, §7.3.10)", () => {
  expect(encodeHello(1).toHex()).toBe("0400001000000001" + "0001000800000010");
  const flow = {
    cookie: 0xab50000000001n,
    priority: 65_500,
    match: { inPort: 2 },
    hardSeconds: 60,
  };
  const match = "0001000c80000004000000020000" + "0000";
  expect(encodeAddFlow(2, flow).toHex()).toBe(
    "040e004000000002" +
      "000ab50000000001" +
      "0000000000000000" +
      "00000000003cffdc" +
      "ffffffffffffffff" +
      "ffffffff00010000" +
      match,
  );
  expect(encodeDeleteFlow(3, { ...flow, hardSeconds: 0 }, 1).toHex()).toBe(
    "040e004000000003" +
      "000ab50000000001" +
      "ffffffffffffffff" +
      "010400000000ffdc" +
      "ffffffffffffffff" +
      "ffffffff00010000" +
      match,
  );
  expect(encodeSetAsync(4).toHex()).toBe(`041c002000000004${"00".repeat(16)}0000000f00000000`);
});

test("messages are put together from pieces of any size", () => {
  const stream = said.MESSAGES.flatMap((bytes) => [...bytes]);
  for (const size of [1, 3, 8, 13, stream.length]) {
    const reader = new MessageReader();
    const found: string[] = [];
    for (let i = 0; i < stream.length; i += size) {
      const chunk = new Uint8Array(stream.slice(i, i + size));
      reader.take(chunk, (bytes) => found.push(bytes.toHex()));
    }
    expect(found).toEqual(said.MESSAGES.map((bytes) => bytes.toHex()));
  }
  const reader = new MessageReader();
  reader.take(new Uint8Array([4, 0, 0, 7, 0, 0, 0, 0, 1]), () => expect.unreachable());
  expect(reader.isBroken).toBe(true);
});
