/** The tables' per-packet methods allocate nothing; the instrument is checked as well. */
import { expect, test } from "bun:test";
import { collectionsIn, expectNoCollections } from "./no-gc.ts";

test("no collection while the tables work", async () => {
  const loops = await expectNoCollections(new URL("./no-gc-tables.ts", import.meta.url));
  expect(loops.length).toBe(6);
}, 60_000);

test("a log is read loop by loop, a loop without an end is -1", () => {
  const start = "[GC<0x3e90fb9c118>: START M 9000kb => EdenCollection, a=0kb";
  const log = [
    start,
    "no-gc mark begin a",
    start,
    start,
    "no-gc mark end a",
    start,
    "GC END!no-gc mark begin b",
    "no-gc mark end b",
    "no-gc mark begin c",
  ].join("\n");
  expect(collectionsIn(log)).toEqual([
    { name: "a", collections: 2 },
    { name: "b", collections: 0 },
    { name: "c", collections: -1 },
  ]);
});
