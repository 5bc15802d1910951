/**
 * Noise against the published vectors in the shared folder's vectors: snow's (with IKpsk0+psk2) and
 * cacophony's. Every vector over 25519 runs whose base pattern stands in PATTERNS.
 */
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { fromHex, toHex } from "../bytes.ts";
import { HASH_NAMES, type HashName } from "./hashes.ts";
import {
  CipherState,
  HandshakeState,
  IK_PSK0_PSK2,
  type NoiseCipher,
  type NoisePattern,
  withPsk,
} from "./noise.ts";
import { KeyPair } from "./x25519.ts";

type Vector = {
  readonly protocol_name: string;
  readonly init_prologue: string;
  readonly init_psks?: readonly string[];
  readonly init_static?: string;
  readonly init_ephemeral: string;
  readonly init_remote_static?: string;
  readonly resp_prologue: string;
  readonly resp_psks?: readonly string[];
  readonly resp_static?: string;
  readonly resp_ephemeral?: string;
  readonly resp_remote_static?: string;
  readonly handshake_hash?: string;
  readonly messages: readonly { readonly payload: string; readonly ciphertext: string }[];
};

const none = { initiator: false, responder: false };
const PATTERNS: Readonly<Record<string, Omit<NoisePattern, "name">>> = {
  IK: {
    known: { initiator: false, responder: true },
    messages: [
      ["e", "es", "s", "ss"],
      ["e", "ee", "se"],
    ],
  },
  NN: { known: none, messages: [["e"], ["e", "ee"]] },
  XX: { known: none, messages: [["e"], ["e", "ee", "s", "es"], ["s", "se"]] },
  KK: {
    known: { initiator: true, responder: true },
    messages: [
      ["e", "es", "ss"],
      ["e", "ee", "se"],
    ],
  },
};

function bytes(hex: string | undefined): Uint8Array {
  const decoded = fromHex(hex ?? "");
  if (decoded === undefined) throw new Error("vector is not hexadecimal");
  return decoded;
}

function read(name: string): readonly Vector[] {
  const path = `${import.meta.dir}/../../../shared/vectors/${name}`;
  return JSON.parse(readFileSync(path, "utf8")).vectors;
}

/** The parsed protocol name, or undefined when the pattern or the curve is not ours. */
function protocolOf(name: string) {
  const match = /^Noise_([A-Z]+)((?:psk\d\+?)*)_25519_(AESGCM|ChaChaPoly)_(\w+)$/.exec(name);
  const base = PATTERNS[match?.[1] ?? ""];
  const hash = HASH_NAMES.find((known) => known.toUpperCase() === match?.[4]?.toUpperCase());
  if (match === null || base === undefined || hash === undefined) return undefined;
  const places = [...(match[2] ?? "").matchAll(/psk(\d)/g)].map((place) => Number(place[1]));
  const pattern = withPsk({ name: match[1] ?? "", ...base }, places);
  const suite = { cipher: match[3] as NoiseCipher, hash: hash as HashName };
  return { pattern, suite };
}

function sideOf(vector: Vector, initiator: boolean): HandshakeState {
  const protocol = protocolOf(vector.protocol_name);
  if (protocol === undefined) throw new Error(`not a protocol of ours: ${vector.protocol_name}`);
  const secret = initiator ? vector.init_static : vector.resp_static;
  const remote = initiator ? vector.init_remote_static : vector.resp_remote_static;
  const state = new HandshakeState({
    ...protocol,
    initiator,
    prologue: bytes(initiator ? vector.init_prologue : vector.resp_prologue),
    localStatic: secret === undefined ? undefined : new KeyPair(bytes(secret)),
    ...(remote === undefined ? {} : { remoteStatic: bytes(remote) }),
  });
  for (const psk of (initiator ? vector.init_psks : vector.resp_psks) ?? []) {
    state.addPsk(bytes(psk));
  }
  return state;
}

function runVector(vector: Vector): void {
  const initiator = sideOf(vector, true);
  const responder = sideOf(vector, false);
  const count = protocolOf(vector.protocol_name)?.pattern.messages.length ?? 0;
  vector.messages.slice(0, count).forEach((message, i) => {
    const [from, to] = i % 2 === 0 ? [initiator, responder] : [responder, initiator];
    const ephemeral = bytes(i % 2 === 0 ? vector.init_ephemeral : vector.resp_ephemeral);
    const written = from.write(bytes(message.payload), ephemeral);
    expect(toHex(written ?? new Uint8Array(0))).toBe(message.ciphertext);
    // A forged twin spoils only the copy it is read into.
    const forged = bytes(message.ciphertext);
    forged[forged.length - 1] = (forged.at(-1) ?? 0) ^ 1;
    const opened = to.clone().read(forged);
    if (opened !== undefined) expect(toHex(opened)).not.toBe(message.payload);
    expect(toHex(to.read(bytes(message.ciphertext)) ?? new Uint8Array(0))).toBe(message.payload);
  });
  if (vector.handshake_hash !== undefined) {
    expect(toHex(initiator.handshakeHash)).toBe(vector.handshake_hash);
  }
  expect(responder.handshakeHash).toEqual(initiator.handshakeHash);
  const cipher = protocolOf(vector.protocol_name)?.suite.cipher ?? "AESGCM";
  const keys = initiator.split();
  const senders = [
    new CipherState(cipher, keys.initiator),
    new CipherState(cipher, keys.responder),
  ];
  vector.messages.slice(count).forEach((message, i) => {
    const sealed = senders[(count + i) % 2]?.seal(new Uint8Array(0), bytes(message.payload));
    expect(toHex(sealed ?? new Uint8Array(0))).toBe(message.ciphertext);
  });
}

describe.each(["noise-snow.json", "noise-cacophony.json"])("%s", (file) => {
  const vectors = read(file).filter((vector) => protocolOf(vector.protocol_name) !== undefined);

  test("holds the vectors that are expected of it", () => {
    const names = new Set(vectors.map((vector) => vector.protocol_name));
    const wanted = file === "noise-snow.json" ? ["IK", "IKpsk0+psk2"] : ["IK", "IKpsk1", "IKpsk2"];
    for (const pattern of wanted) {
      for (const cipher of ["AESGCM", "ChaChaPoly"]) {
        for (const hash of ["SHA256", "SHA512", "BLAKE2s", "BLAKE2b"]) {
          expect(names).toContain(`Noise_${pattern}_25519_${cipher}_${hash}`);
        }
      }
    }
  });

  test.each(vectors.map((vector) => [vector.protocol_name, vector] as const))("%s", (_, vector) =>
    runVector(vector),
  );
});

test("IK_PSK0_PSK2 is the pattern of the vectors", () => {
  expect(IK_PSK0_PSK2).toEqual(
    protocolOf("Noise_IKpsk0+psk2_25519_AESGCM_SHA256")?.pattern as NoisePattern,
  );
});

describe("a message that is one byte short, or altered anywhere, is refused", () => {
  const vector = read("noise-snow.json").find(
    (candidate) => candidate.protocol_name === "Noise_IKpsk0+psk2_25519_AESGCM_SHA256",
  );
  const first = bytes(vector?.messages[0]?.ciphertext);

  test("every length", () => {
    if (vector === undefined) throw new Error("vector missing");
    for (let length = 0; length < first.length; length++) {
      expect(sideOf(vector, false).read(first.subarray(0, length))).toBeUndefined();
    }
  });

  test("every byte", () => {
    if (vector === undefined) throw new Error("vector missing");
    for (let i = 0; i < first.length; i++) {
      const altered = first.slice();
      altered[i] = (altered[i] ?? 0) ^ 0x01;
      expect(sideOf(vector, false).read(altered)).toBeUndefined();
    }
  });
});
