/**
 * The ciphers in contrib/wireshark/abs.lua, by the vectors of their documents and against those of
 * the product. They run in tshark's Lua, in one chunk with the dissector.
 */
import { afterAll, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sealAead } from "../../src/session/aead.ts";
import { CIPHER_NAMES } from "../../src/session/contract.ts";
import { Prng, seed } from "../prng.ts";
import { DISSECTOR, tshark } from "./tshark.ts";

const folder = mkdtempSync(join(tmpdir(), "abs-lua-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** What Lua prints of each expression, in hex. */
async function evaluate(expressions: readonly string[]): Promise<string[]> {
  const file = join(folder, "ciphers.lua");
  const tools = `
    local h = fromHex
    local function toHex(text)
      return (text:gsub(".", function(c) return string.format("%02x", c:byte()) end))
    end
    local function opened(tag, decrypt) return tag .. decrypt() end
    local function aes(key, ...) return opened(gcm(gcmKey(key), ...)) end
    local function chacha(...) return opened(chachaPoly(...)) end\n`;
  const lines = expressions.map((expression) => `print("= " .. toHex(${expression}))\n`);
  writeFileSync(file, readFileSync(DISSECTOR, "utf8") + tools + lines.join(""));
  const { stdout, stderr } = await tshark(["-v"], file);
  expect(stderr).not.toContain("Lua: Error");
  return [...stdout.matchAll(/^= (.*)$/gm)].map(([, text = ""]) => text);
}

type Case = { readonly name: string; readonly expression: string; readonly result: string };

/** `result` is tag, then plaintext. */
function aead(name: string, cipher: string, words: readonly string[], result: string): Case {
  const hex = words.map((word) => `h"${word}"`).join(", ");
  return { name, expression: `${cipher}(${hex})`, result };
}

const GCM_KEY = "feffe9928665731c6d6a8f9467308308";
const GCM_NONCE = "cafebabefacedbaddecaf888";
const GCM_DATA = "feedfacedeadbeeffeedfacedeadbeefabaddad2";
const GCM_TEXT =
  "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72" +
  "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39";
const ZERO = "00".repeat(12);

/** Of the specification that NIST SP 800-38D names, by their numbers. */
const GCM_CASES = [
  aead("GCM 1", "aes", ["00".repeat(16), ZERO, "", ""], "58e2fccefa7e3061367f1d57a4e7455a"),
  aead(
    "GCM 2",
    "aes",
    ["00".repeat(16), ZERO, "", "0388dace60b6a392f328c2b971b2fe78"],
    `ab6e47d42cec13bdf53a67b21257bddf${"00".repeat(16)}`,
  ),
  aead(
    "GCM 4",
    "aes",
    [
      GCM_KEY,
      GCM_NONCE,
      GCM_DATA,
      "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e" +
        "21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091",
    ],
    `5bc94fbc3221a5db94fae95ae7121a47${GCM_TEXT}`,
  ),
  aead("GCM 13", "aes", ["00".repeat(32), ZERO, "", ""], "530f8afbc74536b9a963b4f1c4cb738b"),
  aead(
    "GCM 14",
    "aes",
    ["00".repeat(32), ZERO, "", "cea7403d4d606b6e074ec5d3baf39d18"],
    `d0d1c8a799996bf0265b98b5d48ab919${"00".repeat(16)}`,
  ),
  aead(
    "GCM 16",
    "aes",
    [
      GCM_KEY + GCM_KEY,
      GCM_NONCE,
      GCM_DATA,
      "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa" +
        "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
    ],
    `76fc6ece0f4e1768cddf8853bb2d551b${GCM_TEXT}`,
  ),
];

const SUNSCREEN =
  "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, " +
  "sunscreen would be it.";

function poly(name: string, key: string, text: string, result: string): Case {
  return { name, expression: `poly1305(h"${key}", h"${text}")`, result };
}

const ONE = `01${"00".repeat(15)}`;
const FULL = "ff".repeat(16);
const EDGE = "e33594d7505e43b900000000000000003394d7505e4379cd01";

/** RFC 8439, by section; of A.3 those whose text is whole blocks, by what they are about. */
const RFC8439_CASES = [
  aead(
    "2.8.2",
    "chacha",
    [
      "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
      "070000004041424344454647",
      "50515253c0c1c2c3c4c5c6c7",
      "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6" +
        "3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36" +
        "92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc" +
        "3ff4def08e4b7a9de576d26586cec64b6116",
    ],
    `1ae10b594f09e26a7e902ecbd0600691${Buffer.from(SUNSCREEN).toString("hex")}`,
  ),
  poly("A.3 zeros", "00".repeat(32), "00".repeat(64), "00".repeat(16)),
  poly("A.3 final result not reduced", `02${"00".repeat(31)}`, FULL, `03${"00".repeat(15)}`),
  poly(
    "A.3 sum with s overflows",
    `02${"00".repeat(15)}${FULL}`,
    `02${"00".repeat(15)}`,
    `03${"00".repeat(15)}`,
  ),
  poly(
    "A.3 limb of ones and a carry",
    ONE + "00".repeat(16),
    `${FULL}f0${"ff".repeat(15)}11${"00".repeat(15)}`,
    `05${"00".repeat(15)}`,
  ),
  poly(
    "A.3 exactly 2^130 - 5",
    ONE + "00".repeat(16),
    `${FULL}fb${"fe".repeat(15)}${"01".repeat(16)}`,
    "00".repeat(16),
  ),
  poly(
    "A.3 exactly 2^130 - 6",
    `02${"00".repeat(31)}`,
    `fd${"ff".repeat(15)}`,
    `fa${"ff".repeat(15)}`,
  ),
  poly(
    "A.3 intermediate of 131 bits",
    `0100000000000000040000000000000${"0".repeat(33)}`,
    `${EDGE}${"00".repeat(23)}01${"00".repeat(15)}`,
    "14000000000000005500000000000000",
  ),
  poly(
    "A.3 final of 131 bits",
    `0100000000000000040000000000000${"0".repeat(33)}`,
    `${EDGE}${"00".repeat(23)}`,
    `13${"00".repeat(15)}`,
  ),
];

function hashed(text: string): Case {
  const result = createHash("sha256").update(text).digest("hex");
  return { name: `SHA-256 of ${text.length} bytes`, expression: `sha256("${text}")`, result };
}

const SHA_ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const SHA_CASES = [
  { name: "FIPS 180-4 abc", expression: 'sha256("abc")', result: SHA_ABC },
  ...[0, 17, 41, 55, 56, 63, 64, 119, 200].map((length) => hashed("x".repeat(length))),
];

test("the vectors of NIST, RFC 8439 and FIPS 180-4 hold", async () => {
  const cases = [...GCM_CASES, ...RFC8439_CASES, ...SHA_CASES];
  const found = await evaluate(cases.map(({ expression }) => expression));
  const named = (results: readonly string[]) => cases.map(({ name }, i) => [name, results[i]]);
  expect(named(found)).toEqual(named(cases.map(({ result }) => result)));
}, 60_000);

test(`they agree with the product's on 120 random packets (SEED=${seed})`, async () => {
  const prng = new Prng(seed);
  const bytes = (count: number) => Uint8Array.from({ length: count }, () => prng.below(256));
  const hex = (part: Uint8Array) => Buffer.from(part).toString("hex");
  const cases = Array.from({ length: 120 }, (_, i) => {
    const algorithm = CIPHER_NAMES[i % 3] ?? "aes-128-gcm";
    const [key, nonce] = [bytes(algorithm === "aes-128-gcm" ? 16 : 32), bytes(12)];
    const [associated, plain] = [bytes(prng.below(120)), bytes(prng.below(300))];
    const sealed = sealAead({ algorithm, key, nonce, associated }, plain);
    const [text, tag] = [sealed.subarray(0, plain.length), sealed.subarray(plain.length)];
    const cipher = algorithm.startsWith("aes") ? "aes" : "chacha";
    const words = [key, nonce, associated, text].map(hex);
    return aead(algorithm, cipher, words, hex(tag) + hex(plain));
  });
  const found = await evaluate(cases.map(({ expression }) => expression));
  expect(found).toEqual(cases.map(({ result }) => result));
}, 60_000);
