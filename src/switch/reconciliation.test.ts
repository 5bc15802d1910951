/** What is added and removed, case by case. */
import { expect, test } from "bun:test";
import { type DropRule, HARD_SECONDS_MAX, type InstalledRule } from "./flow-table.ts";
import { difference } from "./reconciliation.ts";

const match = { inPort: 1 };
const wanted: DropRule = { cookie: 5n, match, seconds: 600 };
const there: InstalledRule = { cookie: 5n, match, isWhole: true, secondsLeft: 590, handle: "0" };
const longest = { ...wanted, seconds: HARD_SECONDS_MAX };

const cases = [
  { name: "nothing", wanted: [], installed: [], result: [0, 0] },
  { name: "a new one", wanted: [wanted], installed: [], result: [1, 0] },
  { name: "as it should be", wanted: [wanted], installed: [there], result: [0, 0] },
  { name: "over", wanted: [], installed: [there], result: [0, 1] },
  { name: "changed", wanted: [wanted], installed: [{ ...there, isWhole: false }], result: [1, 1] },
  {
    name: "too short",
    wanted: [wanted],
    installed: [{ ...there, secondsLeft: 9 }],
    result: [1, 0],
  },
  {
    name: "too long",
    wanted: [wanted],
    installed: [{ ...there, secondsLeft: 999 }],
    result: [1, 0],
  },
  { name: "another's", wanted: [wanted], installed: [{ ...there, cookie: 4n }], result: [1, 0] },
  {
    name: "cookies are not told",
    ...{ wanted: [wanted], installed: [{ ...there, cookie: undefined }], result: [0, 0] },
  },
  {
    name: "another host",
    ...{ wanted: [wanted], installed: [{ ...there, match: { inPort: 2 } }], result: [1, 1] },
  },
  {
    name: "twice the same host: the longer one",
    ...{
      wanted: [{ ...wanted, cookie: 4n, seconds: 9 }, wanted],
      installed: [there],
      result: [0, 0],
    },
  },
  {
    name: "for ever, more than half of the time left",
    ...{ wanted: [longest], installed: [{ ...there, secondsLeft: 40_000 }], result: [0, 0] },
  },
  {
    name: "for ever, less than half left",
    ...{ wanted: [longest], installed: [{ ...there, secondsLeft: 30_000 }], result: [1, 0] },
  },
];
test.each(cases)("difference: $name", ({ wanted: asked, installed, result }) => {
  const { adds, removes } = difference(asked, installed);
  expect([adds.length, removes.length]).toEqual(result);
});
