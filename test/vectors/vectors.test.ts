/**
 * The published vectors are what the code makes, and an independent second implementation of each
 * step (noble alone, straight from docs/wire.md's sentences) agrees with them.
 */
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { gcm } from "@noble/ciphers/aes.js";
import { chacha20poly1305, xchacha20poly1305 } from "@noble/ciphers/chacha.js";
import { blake2b, blake2s } from "@noble/hashes/blake2.js";
import { hkdf } from "@noble/hashes/hkdf.js";
import { hmac } from "@noble/hashes/hmac.js";
import { sha256, sha512 } from "@noble/hashes/sha2.js";
import { ascii, concat, fromHex, toHex } from "../../src/bytes.ts";
import { openPacket } from "../../src/session/data-proof.ts";
import { makeVectors } from "./make-vectors.ts";

type Row = Readonly<Record<string, unknown>>;

function rowsOf(name: string): readonly Row[] {
  return JSON.parse(readFileSync(`${import.meta.dir}/${name}`, "utf8")).vectors;
}

function bytes(value: unknown): Uint8Array {
  const decoded = typeof value === "string" ? fromHex(value) : undefined;
  if (decoded === undefined) throw new Error(`not hexadecimal: ${String(value)}`);
  return decoded;
}

function keysOf(row: Row): { algorithm: number; key: Uint8Array; confidential: boolean } {
  const keys = row["keys"] as Row;
  return {
    algorithm: Number(keys["algorithm"]),
    key: bytes(keys["key"]),
    confidential: keys["confidential"] === true,
  };
}

describe("published vectors are those the code makes", () => {
  test.each(Object.entries(makeVectors()))("%s", (name, vectors) => {
    expect(rowsOf(name) as unknown).toEqual(vectors as unknown);
  });
});

function shortMac(key: Uint8Array, text: Uint8Array): string {
  return toHex(hmac(sha256, key, text).subarray(0, 16));
}

describe("by the document's sentences", () => {
  test.each(rowsOf("handshake.json"))("handshake: macs and tokens", (row) => {
    const initiation = bytes(row["initiation"]);
    expect(shortMac(bytes(row["cookie"]), initiation.subarray(0, 221))).toBe(
      toHex(initiation.subarray(221)),
    );
    expect(toHex(bytes(row["response"]).subarray(173))).toBe("00".repeat(16));
    const { sc_id, hash_algo } = row["sc_1"] as Row;
    if (hash_algo !== "sha256") return;
    const scId = bytes(String(sc_id).replaceAll("-", ""));
    const tags = [bytes(row["tenant_tag"]), bytes(row["application_tag"])] as const;
    const token = sha256(concat(scId, ...tags, bytes(row["initiator_stamp"])));
    expect(toHex(token)).toBe(String(row["initiator_token"]));
  });

  test.each(rowsOf("handshake.json"))("handshake: data keys", (row) => {
    for (const [side, contract] of [
      ["initiator", row["sc_1"] as Row],
      ["responder", row["sc_2"] as Row],
    ] as const) {
      const keys = row[`${side}_keys`] as Row;
      const generation = new Uint8Array([0, 0, 0, Number(contract["generation"])]);
      const scId = bytes(String(contract["sc_id"]).replaceAll("-", ""));
      const info = concat(ascii("abs data\0"), scId, generation, bytes(row["handshake_hash"]));
      const hash = { sha256, sha512, blake2s, blake2b }[String(contract["hash_algo"])] ?? sha256;
      const ikm = bytes(row[`${side}_split_key`]);
      const size = contract["encryption_algo"] === "aes-128-gcm" ? 16 : 32;
      const key = hkdf(hash, ikm, bytes(row[`${side}_token`]), info, size);
      expect(toHex(key)).toBe(String(keys["key"]));
    }
  });

  test.each(rowsOf("data.json"))("DATA", (row) => {
    const packet = bytes(row["packet"]);
    const { algorithm, key, confidential } = keysOf(row);
    const quick = (row["keys"] as Row)["quick_proof"];
    if (quick !== null) {
      expect(toHex(packet.subarray(16, 32))).toBe(String(quick));
      return;
    }
    const addresses = [bytes(row["source"]), bytes(row["destination"])] as const;
    const version = new Uint8Array([addresses[0].length === 4 ? 4 : 6]);
    const hash = sha256(concat(ascii("abs addr"), version, ...addresses)).subarray(0, 12);
    const lengths = new Uint8Array(4);
    new DataView(lengths.buffer).setUint16(0, Number(row["original_length"] ?? 20), false);
    new DataView(lengths.buffer).setUint16(2, Number(row["identification"] ?? 0), false);
    const header = concat(packet.subarray(0, 16), hash, lengths);
    const nonce = concat(new Uint8Array(4), packet.subarray(8, 16));
    const payload = bytes(row["payload"] ?? "");
    const cipher = algorithm === 3 ? chacha20poly1305 : gcm;
    const sealed = confidential
      ? cipher(key, nonce, header).encrypt(payload)
      : concat(payload, cipher(key, nonce, concat(header, payload)).encrypt(new Uint8Array(0)));
    const tag = sealed.length - 16;
    expect(toHex(packet.subarray(32))).toBe(toHex(sealed.subarray(0, tag)));
    expect(toHex(packet.subarray(16, 32))).toBe(toHex(sealed.subarray(tag)));
  });

  test.each(rowsOf("cookie.json"))("cookie reply", (row) => {
    const reply = bytes(row["reply"]);
    const key = sha256(concat(ascii("abs cookie"), bytes(row["issuer_static_public"])));
    const cookie = xchacha20poly1305(key, reply.subarray(8, 32), bytes(row["mac1"])).decrypt(
      reply.subarray(32),
    );
    expect(toHex(cookie)).toBe(shortMac(bytes(row["secret"]), bytes(row["source_address"])));
  });

  test.each(rowsOf("reject.json").filter((row) => "keys" in row))("sealed REJECT", (row) => {
    const packet = bytes(row["packet"]);
    const { key } = keysOf(row);
    const addresses = [bytes(row["outer_source"]), bytes(row["outer_destination"])] as const;
    const isV4 = addresses[0].length === 4;
    const version = new Uint8Array([isV4 ? 4 : 6]);
    const hash = sha256(concat(ascii("abs addr"), version, ...addresses)).subarray(0, 12);
    const length = packet.length - 32 + (isV4 ? 20 : 0);
    const pseudo = concat(hash, new Uint8Array([0, length, 0, 0]));
    const associated = concat(packet.subarray(0, 16), pseudo, packet.subarray(32));
    const nonce = concat(new Uint8Array(4), packet.subarray(8, 16));
    const tag = gcm(key, nonce, associated).encrypt(new Uint8Array(0));
    expect(toHex(packet.subarray(16, 32))).toBe(toHex(tag));
  });
});

describe("a packet opens only as it was sealed", () => {
  const rows = rowsOf("data.json").filter((row) => "payload" in row);
  test.each(rows)("and not when any of its bits, or what the proof binds, changes", (row) => {
    const keys = row["keys"] as Row;
    const quickProof = keys["quick_proof"] === null ? undefined : bytes(keys["quick_proof"]);
    const { algorithm, key, confidential } = keysOf(row);
    const direction = { algorithm: algorithm as 1 | 2 | 3, key, confidential, quickProof };
    const packet = bytes(row["packet"]);
    const context = {
      addresses: bytes(row["header_to_prove"]).subarray(16, 28),
      originalLength: Number(row["original_length"]),
      identification: Number(row["identification"]),
    };
    expect(openPacket(direction, packet, context)).toEqual(bytes(row["payload"]));
    expect(openPacket(direction, packet.subarray(0, 31), context)).toBeUndefined();
    if (quickProof !== undefined) return;
    for (let bit = 0; bit < packet.length * 8; bit++) {
      const altered = packet.slice();
      altered[bit >>> 3] = (altered[bit >>> 3] ?? 0) ^ (1 << (bit & 7));
      // The flag of a REJECT is another kind of packet, with another way of sealing.
      expect(openPacket(direction, altered, context)).toBeUndefined();
    }
    for (const wrong of [
      { ...context, originalLength: context.originalLength + 1 },
      { ...context, identification: context.identification ^ 1 },
      { ...context, addresses: context.addresses.slice().reverse() },
    ]) {
      expect(openPacket(direction, packet, wrong)).toBeUndefined();
    }
  });
});
