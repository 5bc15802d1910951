/** The cache against a Map, with questions that share places: every part of a question counts. */
import { expect, test } from "bun:test";
import { Prng, seed } from "../../test/prng.ts";
import { DecisionCache } from "./decision-cache.ts";

type Question = [number, number, number, number, number, number, number, number, number, number];

const FIELDS = [
  "direction",
  "peer",
  "address0",
  "address1",
  "address2",
  "address3",
  "ipVersion",
  "tag",
  "protocol",
  "port",
] as const;
/** Largest value of each field; peer and tag may also be -1. */
const LARGEST = [1, 4095, 2 ** 32 - 1, 2 ** 32 - 1, 2 ** 32 - 1, 2 ** 32 - 1, 1, 4094, 255, 65_535];

test.each([...FIELDS])(
  `questions that differ in %s have answers of their own (SEED=${seed})`,
  (field) => {
    const prng = new Prng(seed);
    const cache = new DecisionCache();
    const answers = new Map<string, number>();
    const at = FIELDS.indexOf(field);
    let hits = 0;
    for (let i = 0; i < 60_000; i++) {
      // The other fields vary little, so that places are shared by questions that are nearly equal.
      const question: Question = [0, 1, 0, 0, 0, 7, 4, prng.below(2), 6, prng.below(2)];
      const value = prng.below(Math.min(20_000, (LARGEST[at] ?? 0) + 1));
      question[at] = field === "ipVersion" ? 4 + 2 * value : (LARGEST[at] ?? 0) - value;
      if ((field === "peer" || field === "tag") && prng.oneIn(50)) question[at] = -1;
      const key = question.join();
      const entry = cache.locate(...question);
      if (cache.isHit === 1) {
        hits++;
        expect(cache.valueAt(entry)).toBe(answers.get(key) as number);
      } else {
        const answer = prng.below(1 << 18);
        answers.set(key, answer);
        cache.fill(entry, answer);
      }
    }
    expect(hits).toBeGreaterThan(1000);
  },
);

test("questions that share a place are found again", () => {
  const cache = new DecisionCache();
  const ask = (i: number) => cache.locate(0, i, 0, 0, 0, 0x0a00_0000 + i, 4, 1, 6, 443);
  for (let i = 0; i < 256; i++) cache.fill(ask(i), i);
  let found = 0;
  for (let i = 0; i < 256; i++) {
    const entry = ask(i);
    if (cache.isHit === 0) continue;
    found++;
    expect(cache.valueAt(entry)).toBe(i);
  }
  // With one place each it would be about 240.
  expect(found).toBeGreaterThan(252);
});

test("an empty cache answers nothing, not even a question of zeros", () => {
  const cache = new DecisionCache();
  cache.locate(0, -1, 0, 0, 0, 0, 4, -1, 0, 0);
  expect(cache.isHit).toBe(0);
});
