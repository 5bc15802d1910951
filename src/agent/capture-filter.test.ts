/** Which frames a capture's filter takes, and which words it refuses. */
import { expect, test } from "bun:test";
import { CaptureFilter, type CaptureWords } from "./capture-filter.ts";

const CARRIERS = { ipProtocol: 253, udpPort: 6253 };

/** From 10.0.0.1 to 10.0.0.2. */
function ipv4(protocol: number, payload: readonly number[]): Uint8Array {
  const total = 20 + payload.length;
  const ip = [0x45, 0, 0, total, 0, 0, 0x40, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
  return Uint8Array.from([...new Array(12).fill(2), 8, 0, ...ip, ...payload]);
}

const data = ipv4(253, [0x15, ...new Array(31).fill(0)]);
const handshake = ipv4(253, [0x14, ...new Array(236).fill(0)].slice(0, 200));
const reject = ipv4(17, [0xc0, 0, 0x18, 0x6d, 0, 40, 0, 0, 0x16, ...new Array(31).fill(0)]);
const plain = ipv4(17, [0xc0, 0, 0, 53, 0, 9, 0, 0, 0x15]);
const frames = { data, handshake, reject, plain, short: data.slice(0, 20) };

function taken(words: CaptureWords, direction: "in" | "out" = "in"): string[] {
  const filter = new CaptureFilter(words, () => CARRIERS);
  return Object.entries(frames).flatMap(([name, frame]) => {
    const isTaken = filter.takes(new DataView(frame.buffer), 0, frame.length, direction);
    return isTaken ? [name] : [];
  });
}

const all = ["data", "handshake", "reject", "plain", "short"];
const cases = [
  { words: {}, names: all },
  { words: { direction: "in" }, names: all },
  { words: { direction: "out" }, names: [] },
  { words: { host: "10.0.0.1" }, names: all.slice(0, 4) },
  { words: { host: "10.0.0.2", kind: "data" }, names: ["data"] },
  { words: { host: "10.0.0.3" }, names: [] },
  { words: { host: "::a00:1" }, names: [] },
  { words: { kind: "handshake,reject" }, names: ["handshake", "reject"] },
  { words: { kind: "other" }, names: ["plain", "short"] },
];

test.each(cases)("$words takes $names", ({ words, names }) => expect(taken(words)).toEqual(names));

test("unknown words are refused by name", () => {
  expect(() => taken({ kind: "data,all" })).toThrow("--kind all is not known");
  expect(() => taken({ direction: "both" })).toThrow("--direction both is not known");
  expect(() => taken({ host: "db" })).toThrow("--host db is not an IP address");
});
