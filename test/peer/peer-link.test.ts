/** The peer channel's bytes: what two honest ends say, and what hostile ends get. */
import { expect, test } from "bun:test";
import { ascii, concat } from "../../src/bytes.ts";
import { type LinkOptions, PeerLink } from "../../src/peer/peer-link.ts";
import type { PeerNoise } from "../../src/peer/peer-noise.ts";
import { CipherState, HandshakeState, IK } from "../../src/session/noise.ts";
import { KeyPair } from "../../src/session/x25519.ts";
import {
  encodePeerFrames,
  PEER_FRAME_BODY_BYTES_MAX,
  PeerFrameReader,
} from "../../src/wire/peer-frame.ts";

const SUITE = { cipher: "AESGCM", hash: "sha256" } as const;

function noiseOf(keys: KeyPair, chain = "chain"): PeerNoise {
  return {
    handshake: (remoteStatic) =>
      new HandshakeState({
        pattern: IK,
        suite: SUITE,
        initiator: remoteStatic !== undefined,
        prologue: ascii(`abs peer 1${chain}`),
        localStatic: keys,
        ...(remoteStatic === undefined ? {} : { remoteStatic }),
      }),
    cipher: (key) => new CipherState("AESGCM", key),
  };
}

function random(sizeBytes: number): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(sizeBytes));
}

const REALM = random(32);
const ALICE = new KeyPair(random(32));
const BOB = new KeyPair(random(32));

/** Names are certificates here: Alice's key proves "alice", Bob's "bob". */
function authenticate(certificate: Uint8Array, key: Uint8Array): string | undefined {
  const name = Buffer.from(certificate).toString();
  const owner = Buffer.compare(key, ALICE.publicKey) === 0 ? "alice" : "bob";
  return name === owner ? name : undefined;
}

function link(keys: KeyPair, change: Partial<LinkOptions> = {}): PeerLink {
  const certificate = ascii(keys === ALICE ? "alice" : "bob");
  const own = { noise: noiseOf(keys), realm: REALM, certificate, authenticate };
  const common = { ...own, callee: undefined, isKnownPlace: false };
  return new PeerLink({ ...common, ephemeralSecret: random(32), ...change });
}

const callBob = { callee: { nodeId: "bob", key: BOB.publicKey } };

function connected(): { alice: PeerLink; bob: PeerLink } {
  const alice = link(ALICE, callBob);
  const bob = link(BOB);
  expect(bob.receive(alice.takeAnswer())).toEqual([]);
  expect(bob.isConfirmed).toBe(false);
  alice.receive(bob.takeAnswer());
  bob.receive(alice.takeAnswer());
  expect([alice.peer, bob.peer, alice.isConfirmed, bob.isConfirmed]).toEqual([
    "bob",
    "alice",
    true,
    true,
  ]);
  return { alice, bob };
}

test("frames of every size pass both ways, cut anywhere", () => {
  const { alice, bob } = connected();
  for (const sizeBytes of [0, 1, 65_512, 65_513, 65_514, 200_000, PEER_FRAME_BODY_BYTES_MAX]) {
    const frame = { flag: 1, type: 7, body: random(sizeBytes) };
    for (const [from, to] of [
      [alice, bob],
      [bob, alice],
    ] as const) {
      const bytes = from.seal([frame]);
      const cut = Math.floor(bytes.length / 3);
      const frames = [...to.receive(bytes.subarray(0, cut)), ...to.receive(bytes.subarray(cut))];
      expect(frames.length).toBe(1);
      expect(Buffer.compare(frames[0]?.body ?? new Uint8Array(1), frame.body)).toBe(0);
      expect([frames[0]?.flag, frames[0]?.type]).toEqual([1, 7]);
    }
  }
});

test("a stream byte by byte is the same stream", () => {
  const { alice, bob } = connected();
  const bytes = concat(
    alice.seal([{ flag: 1, type: 2, body: ascii("one") }]),
    alice.seal([{ flag: 9, type: 3, body: ascii("two") }]),
  );
  const frames = [...bytes].flatMap((byte) => bob.receive(Uint8Array.of(byte)));
  expect(frames.map(({ body }) => Buffer.from(body).toString())).toEqual(["one", "two"]);
});

test("a length above 1 MiB spoils the reader before a byte of the body is kept", () => {
  const reader = new PeerFrameReader();
  const head = encodePeerFrames([{ flag: 1, type: 1, body: new Uint8Array(0) }]);
  new DataView(head.buffer).setUint32(0, PEER_FRAME_BODY_BYTES_MAX + 1);
  expect(reader.take(concat(head, random(100)))).toEqual([]);
  expect(reader.isSpoilt).toBe(true);
  const { alice, bob } = connected();
  // Alice's own records around a frame that no encoder writes.
  const { sealRecords } = alice as unknown as { sealRecords(bytes: Uint8Array): Uint8Array };
  bob.receive(sealRecords.call(alice, head));
  expect(bob.fault).toBe("frame-length");
});

/** The first message of an honest Alice. */
function firstMessage(): Uint8Array {
  return link(ALICE, callBob).takeAnswer();
}

test("every flipped bit of a first message is refused, and every cut of it waits", () => {
  const message = firstMessage();
  for (let i = 2; i < message.length; i++) {
    const bob = link(BOB);
    const altered = message.slice();
    altered[i] = (altered[i] ?? 0) ^ 1;
    expect(bob.receive(altered)).toEqual([]);
    expect(bob.fault).toBe("handshake");
    expect(bob.takeAnswer().length).toBe(0);
  }
  for (let end = 0; end < message.length; end++) {
    const bob = link(BOB);
    bob.receive(message.subarray(0, end));
    expect([bob.fault, bob.peer, bob.takeAnswer().length]).toEqual([undefined, undefined, 0]);
  }
});

test("an announced first message of 64 KiB is refused at its length", () => {
  const bob = link(BOB);
  bob.receive(Uint8Array.of(0xff, 0xff));
  expect(bob.fault).toBe("length");
});

test("a recorded first message connects, and never confirms", () => {
  const message = firstMessage();
  const bob = link(BOB);
  bob.receive(message);
  expect([bob.peer, bob.isConfirmed]).toEqual(["alice", false]);
  bob.receive(concat(Uint8Array.of(0, 32), random(32)));
  expect([bob.fault, bob.isConfirmed]).toEqual(["record", false]);
});

const strangers = [
  { name: "another chain", change: { noise: noiseOf(ALICE, "other") }, fault: "handshake" },
  { name: "another's certificate", change: { certificate: ascii("bob") }, fault: "identity" },
  { name: "no certificate", change: { certificate: new Uint8Array(0) }, fault: "identity" },
];
test.each(strangers)("a caller with $name is refused without an answer", ({ change, fault }) => {
  const bob = link(BOB);
  bob.receive(link(ALICE, { ...callBob, ...change }).takeAnswer());
  expect([bob.fault, bob.takeAnswer().length]).toEqual([fault as never, 0]);
});

test("a caller from a peer's place that cannot be understood hears of which realm the callee is", () => {
  const other = new KeyPair(random(32));
  const caller = link(ALICE, { callee: { nodeId: "bob", key: other.publicKey } });
  const bob = link(BOB, { isKnownPlace: true });
  bob.receive(caller.takeAnswer());
  const answer = bob.takeAnswer();
  expect([bob.fault, answer.length]).toEqual(["handshake", 2 + 32]);
  for (const byte of answer) {
    expect(caller.fault).toBeUndefined();
    caller.receive(Uint8Array.of(byte));
  }
  expect([caller.fault, caller.otherRealm]).toEqual(["realm", REALM]);
});

test("a caller refuses whoever answers with another identity", () => {
  const alice = link(ALICE, { callee: { nodeId: "carol", key: BOB.publicKey } });
  const bob = link(BOB);
  bob.receive(alice.takeAnswer());
  alice.receive(bob.takeAnswer());
  expect([alice.fault, alice.isOpen]).toEqual(["identity", false]);
});

test("a record repeated, altered or left out ends the link", () => {
  const frame = { flag: 1, type: 1, body: ascii("vote") };
  for (const spoil of [
    (one: Uint8Array) => concat(one, one),
    (one: Uint8Array) => one.map((byte, i) => (i === 8 ? byte ^ 1 : byte)),
    (_: Uint8Array, two: Uint8Array) => two,
  ]) {
    const { alice, bob } = connected();
    bob.receive(spoil(alice.seal([frame]), alice.seal([frame])));
    expect(bob.fault).toBe("record");
    expect(bob.receive(alice.seal([frame]))).toEqual([]);
  }
});

test("a callee key of low order is a fault, not a crash", () => {
  const alice = link(ALICE, { callee: { nodeId: "bob", key: new Uint8Array(32) } });
  expect([alice.fault, alice.takeAnswer().length]).toEqual(["handshake", 0]);
});

test("random bytes never throw, and never open a link", () => {
  for (let i = 0; i < 500; i++) {
    const bob = link(BOB);
    const bytes = random(1 + (i % 300));
    if (i % 2 === 0) bytes[0] = 0;
    expect(bob.receive(bytes)).toEqual([]);
    expect(bob.isOpen).toBe(false);
  }
});
