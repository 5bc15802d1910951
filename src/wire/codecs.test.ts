/**
 * Every codec of the wire: decode(encode(x)) = x, every other length is refused, every byte that a
 * format fixes is checked, any bytes decode or give a fault. Tables of offsets: test/vectors.
 */
import { describe, expect, test } from "bun:test";
import type { Role } from "../units.ts";
import { type CookieReply, decodeCookieReply, encodeCookieReply } from "./cookie-reply.ts";
import { addressHash, COUNTER_END, readCounter, writeLaneCounter } from "./data-frame.ts";
import {
  decodeHandshake,
  decodeHandshakePayload,
  encodeHandshake,
  encodeHandshakePayload,
  HANDSHAKE_CLEAR_BYTES,
  type HandshakeForm,
  type HandshakeMessage,
  INITIATION,
  RESPONSE,
  RSA_INITIATION,
  RSA_RESPONSE,
} from "./handshake-message.ts";
import {
  readCommonHeader,
  viewOf,
  WIRE_FAULTS,
  type WireFault,
  writeCommonHeader,
} from "./header.ts";
import {
  decodeReject,
  encodeSealedReject,
  encodeUnknownIndexHint,
  type SealedReject,
} from "./reject-message.ts";

/** A number that hangs on a seed and a place: enough to make fields differ. */
function mix(seed: number, place: number): number {
  return (Math.imul(seed * 2654435761 + place, 2246822519) >>> 8) & 0xff;
}

function filled(seed: number, sizeBytes: number): Uint8Array {
  return Uint8Array.from({ length: sizeBytes }, (_, i) => mix(seed, i));
}

function indexOf(seed: number): number {
  return ((seed * 2654435761) | 1) >>> 0;
}

function handshakeOf(form: HandshakeForm, seed: number): HandshakeMessage {
  return {
    receiverIndex: form.isInitiation ? 0 : indexOf(seed + 1),
    senderIndex: indexOf(seed),
    scId: filled(seed, 16),
    generation: (seed * 40503) >>> 0,
    noise: filled(seed + 2, form.noiseEnd - HANDSHAKE_CLEAR_BYTES),
    wrapped: filled(seed + 5, form.mac1 - form.noiseEnd),
    mac1: filled(seed + 3, 16),
    mac2: filled(seed + 4, 16),
  };
}

function cookieOf(seed: number): CookieReply {
  return { receiverIndex: indexOf(seed), nonce: filled(seed, 24), sealed: filled(seed + 1, 32) };
}

function rejectOf(seed: number): SealedReject {
  const addressBytes = seed % 2 === 0 ? 4 : 16;
  return {
    kind: "sealed",
    receiverIndex: indexOf(seed),
    counter: (seed * 1_000_000_007) % COUNTER_END,
    proof: filled(seed, 16),
    reason: 2 + (seed % 4),
    protocol: seed & 0xff,
    sourcePort: (seed * 7919) & 0xffff,
    destinationPort: (seed * 104729) & 0xffff,
    source: filled(seed + 1, addressBytes),
    destination: filled(seed + 2, addressBytes),
  };
}

type Codec = {
  readonly name: string;
  readonly given: (seed: number) => unknown;
  readonly encoded: (seed: number) => Uint8Array;
  readonly decode: (bytes: Uint8Array) => unknown;
};

const payloadOf = (seed: number) => ({
  role: (seed & 1) as Role,
  first: seed % 3 === 0,
  tenantTag: filled(seed, 16),
  applicationTag: filled(seed + 1, 16),
  stamp: filled(seed + 2, 12),
  token: filled(seed + 3, 32),
});
const hintOf = (seed: number) =>
  ({ kind: "hint", unknownIndex: indexOf(seed), proof: filled(seed, 16) }) as const;

const codecs: readonly Codec[] = [
  {
    name: "initiation",
    given: (seed) => handshakeOf(INITIATION, seed),
    encoded: (seed) => encodeHandshake(INITIATION, handshakeOf(INITIATION, seed)),
    decode: (bytes) => decodeHandshake(INITIATION, bytes),
  },
  {
    name: "response",
    given: (seed) => handshakeOf(RESPONSE, seed),
    encoded: (seed) => encodeHandshake(RESPONSE, handshakeOf(RESPONSE, seed)),
    decode: (bytes) => decodeHandshake(RESPONSE, bytes),
  },
  {
    name: "initiation of rsa256",
    given: (seed) => handshakeOf(RSA_INITIATION, seed),
    encoded: (seed) => encodeHandshake(RSA_INITIATION, handshakeOf(RSA_INITIATION, seed)),
    decode: (bytes) => decodeHandshake(RSA_INITIATION, bytes),
  },
  {
    name: "response of rsa256",
    given: (seed) => handshakeOf(RSA_RESPONSE, seed),
    encoded: (seed) => encodeHandshake(RSA_RESPONSE, handshakeOf(RSA_RESPONSE, seed)),
    decode: (bytes) => decodeHandshake(RSA_RESPONSE, bytes),
  },
  {
    name: "handshake payload",
    given: payloadOf,
    encoded: (seed) => encodeHandshakePayload(payloadOf(seed)),
    decode: decodeHandshakePayload,
  },
  {
    name: "cookie reply",
    given: cookieOf,
    encoded: (seed) => encodeCookieReply(cookieOf(seed)),
    decode: decodeCookieReply,
  },
  {
    name: "sealed REJECT",
    given: rejectOf,
    encoded: (seed) => encodeSealedReject(rejectOf(seed)),
    decode: decodeReject,
  },
  {
    name: "unknown-index hint",
    given: hintOf,
    encoded: (seed) => encodeUnknownIndexHint(hintOf(seed)),
    decode: decodeReject,
  },
];

describe.each(codecs)("$name", ({ given, encoded, decode }) => {
  test("decodes to what was encoded", () => {
    for (let seed = 1; seed < 500; seed++) expect(decode(encoded(seed))).toEqual(given(seed));
  });

  test("every other length is refused", () => {
    for (const seed of [1, 2]) {
      const whole = encoded(seed);
      const longer = new Uint8Array(whole.length + 1);
      longer.set(whole);
      for (let length = 0; length <= longer.length; length++) {
        if (length === whole.length) continue;
        // 48 bytes of a REJECT about IPv6 are as long as one about IPv4.
        const fault = whole.length === 72 && length === 48 ? "ip-version" : "length";
        expect(decode(longer.subarray(0, length))).toBe(fault);
      }
    }
  });

  test("does not read outside its bytes, and keeps nothing of them", () => {
    const whole = encoded(3);
    const surrounded = new Uint8Array(whole.length + 40).fill(0xff);
    surrounded.set(whole, 13);
    const window = surrounded.subarray(13, 13 + whole.length);
    const decoded = decode(window);
    surrounded.fill(0);
    expect(decoded).toEqual(given(3));
  });

  test("any byte changed decodes or gives a fault", () => {
    const whole = encoded(4);
    for (let i = 0; i < whole.length; i++) {
      for (const value of [0x00, 0x01, 0x7f, 0x80, 0xff]) {
        const altered = whole.slice();
        altered[i] = value;
        const decoded = decode(altered);
        if (typeof decoded === "string") expect(WIRE_FAULTS).toContain(decoded as WireFault);
      }
    }
  });
});

/** A message with one byte changed, and the fault that this is. */
const faults: readonly [string, number, number, number, WireFault][] = [
  ["initiation", 0, 0x24, 0, "version"],
  ["initiation", 0, 0x15, 0, "flag"],
  ["initiation", 0, 0x17, 0, "flag"],
  ["initiation", 1, 2, 0, "next-header"],
  ["initiation", 2, 1, 0, "fragment"],
  ["initiation", 7, 1, 0, "receiver-index"],
  ["response", 1, 3, 0, "next-header"],
  ["handshake payload", 0, 0x02, 0, "marks"],
  ["handshake payload", 0, 0x40, 0, "marks"],
  ["cookie reply", 1, 1, 0, "next-header"],
  ["sealed REJECT", 0, 0x14, 1, "flag"],
  ["sealed REJECT", 1, 1, 1, "next-header"],
  ["sealed REJECT", 8, 14, 1, "lane"],
  ["sealed REJECT", 33, 1, 1, "reason"],
  ["sealed REJECT", 33, 6, 1, "reason"],
  ["sealed REJECT", 32, 1, 1, "reason"],
  ["sealed REJECT", 35, 4, 1, "ip-version"],
  ["sealed REJECT", 35, 6, 2, "ip-version"],
  ["unknown-index hint", 9, 2, 1, "reason"],
  ["unknown-index hint", 11, 1, 1, "reason"],
];

test.each(faults)("%s with byte %i set to %i", (name, offset, value, seed, fault) => {
  const codec = codecs.find((candidate) => candidate.name === name);
  const bytes = codec?.encoded(seed) ?? new Uint8Array(0);
  bytes[offset] = value;
  expect(codec?.decode(bytes)).toBe(fault);
});

test.each(["response", "cookie reply"])("%s with receiver index 0", (name) => {
  const codec = codecs.find((candidate) => candidate.name === name);
  const bytes = codec?.encoded(1) ?? new Uint8Array(0);
  bytes.fill(0, 4, 8);
  expect(codec?.decode(bytes)).toBe("receiver-index");
});

test.each(["initiation", "response"])("%s with sender index 0", (name) => {
  const codec = codecs.find((candidate) => candidate.name === name);
  const bytes = codec?.encoded(1) ?? new Uint8Array(0);
  bytes.fill(0, 8, 12);
  expect(codec?.decode(bytes)).toBe("sender-index");
});

test("a hint that names index 0", () => {
  const bytes = encodeUnknownIndexHint(hintOf(1));
  bytes.fill(0, 12, 16);
  expect(decodeReject(bytes)).toBe("receiver-index");
});

test("the common header, all flags, one byte short", () => {
  const bytes = new Uint8Array(8);
  for (let flag = 0; flag < 16; flag++) {
    const header = { flag, nextHeader: 6, fragment: 0x4000, receiverIndex: 0xfffffffe };
    writeCommonHeader(viewOf(bytes), header);
    expect(readCommonHeader(bytes)).toEqual(flag >= 1 && flag <= 6 ? header : "flag");
    expect(readCommonHeader(bytes.subarray(0, 7))).toBe("length");
  }
});

test("lane and counter up to the counter's end", () => {
  const view = new DataView(new ArrayBuffer(32));
  for (const counter of [0, 1, 2 ** 32 - 1, 2 ** 32, 2 ** 40, COUNTER_END - 1]) {
    for (const lane of [0, 1, 15, 255]) {
      writeLaneCounter(view, lane, counter);
      expect([view.getUint8(8), readCounter(view)]).toEqual([lane, counter]);
    }
  }
});

test("the address hash tells direction and version apart", () => {
  const [a, b] = [filled(1, 4), filled(2, 4)];
  expect(addressHash(a, b).length).toBe(12);
  expect(addressHash(a, b)).not.toEqual(addressHash(b, a));
  expect(addressHash(filled(1, 16), filled(2, 16))).not.toEqual(addressHash(a, b));
});
