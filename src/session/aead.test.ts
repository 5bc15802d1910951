/** AEAD of single messages against noble; RFC 8439 §2.8.2; wrong keys, texts and lengths. */
import { describe, expect, test } from "bun:test";
import { gcm } from "@noble/ciphers/aes.js";
import { chacha20poly1305 } from "@noble/ciphers/chacha.js";
import { ascii, fromHex, toHex } from "../bytes.ts";
import { openAead, sealAead } from "./aead.ts";
import { CIPHER_NAMES } from "./contract.ts";

function filled(first: number, count: number): Uint8Array {
  return Uint8Array.from({ length: count }, (_, i) => (first + i * 7) & 0xff);
}

test("RFC 8439 §2.8.2", () => {
  const input = {
    algorithm: "chacha20-poly1305" as const,
    key: Uint8Array.from({ length: 32 }, (_, i) => 0x80 + i),
    nonce: fromHex("070000004041424344454647") ?? new Uint8Array(0),
    associated: fromHex("50515253c0c1c2c3c4c5c6c7") ?? new Uint8Array(0),
  };
  const text = ascii(
    "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, " +
      "sunscreen would be it.",
  );
  expect(toHex(sealAead(input, text).slice(-16))).toBe("1ae10b594f09e26a7e902ecbd0600691");
});

describe.each([...CIPHER_NAMES])("%s", (algorithm) => {
  const keyBytes = algorithm === "aes-128-gcm" ? 16 : 32;
  const cipher = algorithm === "chacha20-poly1305" ? chacha20poly1305 : gcm;

  test("seals as noble does, and opens it", () => {
    for (let length = 0; length < 200; length += 13) {
      const input = {
        algorithm,
        key: filled(length, keyBytes),
        nonce: filled(length + 1, 12),
        associated: filled(length + 2, 200 - length),
      };
      const text = filled(length + 3, length);
      const sealed = sealAead(input, text);
      const oracle = cipher(input.key, input.nonce, input.associated).encrypt(text);
      expect(toHex(sealed)).toBe(toHex(oracle));
      expect(openAead(input, sealed)).toEqual(text);
    }
  });

  test("what was altered, cut or made otherwise does not open", () => {
    const input = {
      algorithm,
      key: filled(1, keyBytes),
      nonce: filled(2, 12),
      associated: filled(3, 5),
    };
    const sealed = sealAead(input, filled(4, 20));
    for (let length = 0; length < sealed.length; length++) {
      expect(openAead(input, sealed.subarray(0, length))).toBeUndefined();
    }
    for (let i = 0; i < sealed.length; i++) {
      const altered = sealed.slice();
      altered[i] = (altered[i] ?? 0) ^ 0x80;
      expect(openAead(input, altered)).toBeUndefined();
    }
    expect(openAead({ ...input, key: filled(9, keyBytes) }, sealed)).toBeUndefined();
    expect(openAead({ ...input, nonce: filled(9, 12) }, sealed)).toBeUndefined();
    expect(openAead({ ...input, associated: filled(9, 5) }, sealed)).toBeUndefined();
  });
});
