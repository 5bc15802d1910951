/** Slots rest before they are used again; indices name their slot, are not 0 and not guessable. */
import { expect, test } from "bun:test";
import type { Micros, SessionSlot } from "../units.ts";
import { SLOTS_MAX, Slots, slotOf } from "./slots.ts";

const at = (micros: number) => micros as Micros;
let draws = 0;
const random = (sizeBytes: number) =>
  Uint8Array.from({ length: sizeBytes }, () => (draws++ * 97) & 0xff);

test("all slots once, then none", () => {
  const slots = new Slots(4, 10, random);
  expect([1, 2, 3, 4, 5].map(() => slots.take(at(0)))).toEqual([0, 1, 2, 3, undefined].map(asSlot));
});

function asSlot(slot: number | undefined): SessionSlot | undefined {
  return slot as SessionSlot | undefined;
}

test("one that was installed rests, one that was not is free at once", () => {
  const slots = new Slots(2, 10, random);
  const [first, second] = [slots.take(at(0)), slots.take(at(0))];
  if (first === undefined || second === undefined) throw new Error("two slots were free");
  slots.give(first, at(5), true);
  expect(slots.take(at(14))).toBeUndefined();
  slots.give(second, at(14), false);
  expect(slots.take(at(14))).toBe(second);
  expect(slots.take(at(14))).toBeUndefined();
  expect(slots.take(at(15))).toBe(first);
});

test("a resting slot does not stand before one that has rested", () => {
  const slots = new Slots(3, 10, random);
  const taken = [slots.take(at(0)), slots.take(at(0)), slots.take(at(0))];
  taken.forEach((slot, i) => {
    if (slot !== undefined) slots.give(slot, at(i), true);
  });
  expect([10, 10, 11, 11, 12].map((time) => slots.take(at(time)))).toEqual(
    [0, undefined, 1, undefined, 2].map(asSlot),
  );
});

test("an index names its slot and is never 0", () => {
  const slots = new Slots(SLOTS_MAX, 0, random);
  const seen = new Set<number>();
  for (let i = 0; i < SLOTS_MAX; i++) {
    const slot = slots.take(at(0));
    if (slot === undefined) throw new Error("a slot was free");
    const index = slots.newIndex(slot);
    expect(slotOf(index)).toBe(slot);
    expect(index).toBeGreaterThan(0xfff);
    seen.add(index);
  }
  expect(seen.size).toBe(SLOTS_MAX);
});

test("all random bits zero are drawn again", () => {
  const bytes = [0, 0, 0, 0xf0, 0, 0, 0, 0, 1];
  const slots = new Slots(1, 0, (size) => Uint8Array.from(bytes.splice(0, size)));
  expect(slots.newIndex(0 as SessionSlot)).toBe(0x1000);
});
