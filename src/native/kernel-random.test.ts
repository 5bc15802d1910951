/** Randomness for session secrets. */
import { expect, test } from "bun:test";
import { kernelRandom } from "./kernel-random.ts";

test.each([0, 1, 32, 256, 257, 1_000])("%d bytes are all filled, and never the same", (size) => {
  const drawn = Array.from({ length: 64 }, () => kernelRandom(size));
  expect(drawn.every((bytes) => bytes.length === size)).toBe(true);
  // Each place holds another byte at some time: 64 draws of one value are one in 2^504.
  for (let i = 0; i < size; i++) expect(new Set(drawn.map((bytes) => bytes[i])).size).not.toBe(1);
  if (size < 32) return;
  expect(new Set(drawn.map((bytes) => Buffer.from(bytes).toString("hex"))).size).toBe(64);
});
