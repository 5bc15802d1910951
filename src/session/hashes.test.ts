/**
 * Hashes, HMAC and HKDF: RFC 4231, RFC 5869 appendix A, RFC 7693 appendices, noble as the oracle.
 */
import { describe, expect, test } from "bun:test";
import { blake2b, blake2s } from "@noble/hashes/blake2.js";
import { hkdf as nobleHkdf } from "@noble/hashes/hkdf.js";
import { hmac } from "@noble/hashes/hmac.js";
import { sha256, sha512 } from "@noble/hashes/sha2.js";
import { ascii, concat, fromHex, toHex } from "../bytes.ts";
import { HASH_NAMES, hashFunction, hkdf } from "./hashes.ts";

function counting(first: number, count: number): Uint8Array {
  return Uint8Array.from({ length: count }, (_, i) => first + i);
}

const NOBLE = { sha256, sha512, blake2s, blake2b } as const;

describe("RFC 5869 appendix A, SHA-256", () => {
  const cases = [
    {
      name: "A.1",
      ikm: new Uint8Array(22).fill(0x0b),
      salt: counting(0x00, 13),
      info: counting(0xf0, 10),
      output:
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
    },
    {
      name: "A.2, longer",
      ikm: counting(0x00, 80),
      salt: counting(0x60, 80),
      info: counting(0xb0, 80),
      output:
        "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c6" +
        "5e590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
    },
    {
      name: "A.3, no salt, no info",
      ikm: new Uint8Array(22).fill(0x0b),
      salt: new Uint8Array(0),
      info: new Uint8Array(0),
      output:
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
    },
  ];
  test.each(cases)("$name", ({ ikm, salt, info, output }) => {
    const sizeBytes = output.length / 2;
    expect(toHex(hkdf(hashFunction("sha256"), { ikm, salt, info, sizeBytes }))).toBe(output);
  });
});

describe("RFC 4231", () => {
  const key = new Uint8Array(20).fill(0x0b);
  const cases = [
    ["sha256", key, "Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"],
    [
      "sha512",
      key,
      "Hi There",
      "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde" +
        "daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854",
    ],
    [
      "sha256",
      ascii("Jefe"),
      "what do ya want for nothing?",
      "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ],
  ] as const;
  test.each(cases)("%s", (name, macKey, text, output) => {
    const parts = [ascii(text.slice(0, 3)), ascii(text.slice(3))];
    expect(toHex(hashFunction(name).hmac(macKey, ...parts))).toBe(output);
  });
});

test("RFC 7693 appendices A and B: BLAKE2 of abc", () => {
  expect(toHex(hashFunction("blake2b").digest(ascii("abc")))).toBe(
    "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1" +
      "7d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923",
  );
  expect(toHex(hashFunction("blake2s").digest(ascii("abc")))).toBe(
    "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982",
  );
});

describe.each([...HASH_NAMES])("%s agrees with noble", (name) => {
  const hash = hashFunction(name);
  const noble = NOBLE[name];

  test("digest, HMAC and HKDF at many lengths", () => {
    for (let length = 0; length < 300; length += 7) {
      const key = counting(1, length % 150);
      const [first, second] = [counting(2, length), counting(3, 300 - length)];
      const text = concat(first, second);
      expect(hash.digest(first, second)).toEqual(new Uint8Array(noble(text)));
      expect(hash.hmac(key, first, second)).toEqual(new Uint8Array(hmac(noble, key, text)));
      const input = { ikm: first, salt: key, info: second, sizeBytes: length };
      if (length > 0) {
        expect(hkdf(hash, input)).toEqual(
          new Uint8Array(nobleHkdf(noble, first, key, second, length)),
        );
      }
    }
    expect(hash.digest(fromHex("") ?? counting(0, 1)).length).toBe(hash.digestBytes);
  });
});
