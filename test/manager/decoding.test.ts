/**
 * Whatever comes over the manager channel decodes or is complained of: nothing throws, or grows.
 */
import { expect, test } from "bun:test";
import { canonicalJson, type JsonValue } from "../../src/chain/canonical-json.ts";
import type { JsonFields } from "../../src/chain/json-fields.ts";
import { readState, stateJson } from "../../src/channel/agent-state.ts";
import {
  readBegin,
  readChallenge,
  readPossession,
  readProvenRequest,
} from "../../src/channel/enrolment-messages.ts";
import { decodeToken, encodeToken } from "../../src/channel/enrolment-token.ts";
import { readMessage, readRefused } from "../../src/channel/message-reading.ts";
import { AbsError } from "../../src/errors.ts";
import { joinWords, parseWords } from "../../src/ssh/command-words.ts";
import { keyOfBlob, parsePublicLine, seedOfPrivateKey } from "../../src/ssh/ssh-keys.ts";
import type { EpochSeconds } from "../../src/units.ts";
import { encodeManagerFrame, ManagerFrameReader } from "../../src/wire/manager-frame.ts";
import { Prng, seed } from "../prng.ts";
import { ManagerSite } from "./manager-site.ts";
import { TAG } from "./ssh-site.ts";

const ROUNDS = 3000;

function bytesOf(prng: Prng, sizeMax: number): Uint8Array {
  return Uint8Array.from({ length: prng.below(sizeMax + 1) }, () => prng.below(256));
}

test(`frames: streams with changed bytes give frames or a fault, never more than came (SEED=${seed})`, () => {
  const prng = new Prng(seed);
  for (let round = 0; round < ROUNDS; round++) {
    const frames = Array.from({ length: prng.below(4) }, () => {
      return { flag: prng.below(256), type: prng.below(256), body: bytesOf(prng, 64) };
    });
    const stream = new Uint8Array(Buffer.concat(frames.map((one) => encodeManagerFrame(one, TAG))));
    const isChanged = stream.length > 0 && prng.below(2) === 0;
    if (isChanged) stream[prng.below(stream.length)] = prng.below(256);
    const reader = new ManagerFrameReader(TAG, 64);
    let sizeBytes = 0;
    let count = 0;
    for (let at = 0; at < stream.length; ) {
      const end = at + 1 + prng.below(50);
      for (const { body } of reader.take(stream.subarray(at, end))) {
        sizeBytes += body.length;
        count++;
      }
      at = end;
    }
    expect(sizeBytes).toBeLessThanOrEqual(stream.length);
    if (!isChanged) expect([count, reader.fault]).toEqual([frames.length, undefined]);
  }
});

const readers: readonly ((fields: JsonFields) => unknown)[] = [
  ...[readBegin, readChallenge, readPossession, readProvenRequest, readRefused, readState],
];

/** The value with one thing in it replaced, removed or added. */
function changed(value: JsonValue, prng: Prng): JsonValue {
  if (typeof value !== "object" || prng.below(6) === 0) {
    const others: JsonValue[] = ["", "x", -1, 2 ** 40, true, [], {}, "00".repeat(33), [value]];
    return others[prng.below(others.length)] ?? "";
  }
  if (Array.isArray(value)) {
    if (value.length === 0) return ["x"];
    const at = prng.below(value.length);
    return value.map((item, i) => (i === at ? changed(item, prng) : item));
  }
  const entries = Object.entries(value);
  const at = prng.below(entries.length + 1);
  if (at === entries.length) return { ...value, "\u0000more": 1 };
  const [name = "", member = ""] = entries[at] ?? [];
  if (prng.below(8) === 0) return Object.fromEntries(entries.filter(([key]) => key !== name));
  return { ...value, [name]: changed(member, prng) };
}

test(`messages: any JSON and any bytes are read or complained of (SEED=${seed})`, async () => {
  const prng = new Prng(seed);
  const site = await ManagerSite.open();
  await site.addTenant("t1");
  await site.enrol(await site.invite("a", "--tag", "app"), site.freshDir());
  const state = await site.enrol(await site.invite("b", "--group", "g"), site.freshDir());
  await site.close();
  const json = stateJson(state);
  const again = readMessage(canonicalJson(json), 1 << 20, readState);
  expect(again).toEqual({ message: state });
  let complaints = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const value = changed(changed(json, prng), prng);
    const bytes = canonicalJson(value);
    if (prng.below(4) === 0 && bytes.length > 0) bytes[prng.below(bytes.length)] = prng.below(256);
    for (const read of readers) {
      const result = readMessage(bytes, 1 << 20, read);
      if ("complaint" in result) complaints++;
    }
    for (const read of readers) readMessage(bytesOf(prng, 40), 1 << 20, read);
  }
  expect(complaints).toBeGreaterThan(ROUNDS);
}, 120_000);

test(`tokens, command lines and keys: any text is refused or read (SEED=${seed})`, () => {
  const prng = new Prng(seed);
  const token = encodeToken({
    ...{ host: "manager.example", port: 7022, expiresAt: 2_000_000_000 as EpochSeconds },
    ...{ managerKey: new Uint8Array(33), seed: new Uint8Array(32) },
    ...{ hostDigest: new Uint8Array(32).fill(7) },
  });
  let refused = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const at = prng.below(token.length);
    const letter = String.fromCharCode(32 + prng.below(95));
    const text = token.slice(0, at) + letter + token.slice(at + 1 + prng.below(2));
    try {
      decodeToken(text);
    } catch (thrown) {
      expect(thrown).toBeInstanceOf(AbsError);
      refused++;
    }
    const line = Buffer.from(bytesOf(prng, 60)).toString("latin1");
    const read = parseWords(line);
    if ("words" in read) expect(parseWords(joinWords(read.words))).toEqual(read);
    parsePublicLine(`ssh-ed25519 ${Buffer.from(bytesOf(prng, 60)).toString("base64")}`);
    expect(keyOfBlob(bytesOf(prng, 60))).toBeUndefined();
    expect(seedOfPrivateKey(line)).toBeUndefined();
  }
  // All but those that changed a letter into itself.
  expect(refused).toBeGreaterThan(ROUNDS * 0.9);
});
