/** The manager is away for a while under traffic; test/long/manager-down.test.ts: for a minute. */
import { afterAll, beforeAll, test } from "bun:test";
import { stopwatch } from "./harness.ts";
import type { ManagerBed } from "./manager-bed.ts";
import { openOutageBed, playOutage, playReturn } from "./manager-outage.ts";

const SECONDS = 12;
const MINUTE_MS = 60_000;
const done = stopwatch("e2e manager down");
let bed: ManagerBed;

beforeAll(async () => {
  bed = await openOutageBed("away");
}, 2 * MINUTE_MS);

afterAll(async () => {
  await bed?.close();
  done();
}, MINUTE_MS);

test(
  `killed for ${SECONDS} s: no packet is lost, new flows and new sessions begin`,
  () => playOutage(bed, SECONDS),
  2 * MINUTE_MS,
);

test("back again: agents find it and take what has changed", () => playReturn(bed), 2 * MINUTE_MS);
