/** The manager is away for a minute of real time under traffic. */
import { afterAll, beforeAll, test } from "bun:test";
import { stopwatch } from "../e2e/harness.ts";
import type { ManagerBed } from "../e2e/manager-bed.ts";
import { openOutageBed, playOutage, playReturn } from "../e2e/manager-outage.ts";

const SECONDS = 60;
const MINUTE_MS = 60_000;
const done = stopwatch("long manager down");
let bed: ManagerBed;

beforeAll(async () => {
  bed = await openOutageBed("awaylong");
}, 2 * MINUTE_MS);

afterAll(async () => {
  await bed?.close();
  done();
}, MINUTE_MS);

test(
  `killed for ${SECONDS} s: no packet is lost, new flows and new sessions begin`,
  () => playOutage(bed, SECONDS),
  3 * MINUTE_MS,
);

test("back again: agents find it and take what has changed", () => playReturn(bed), 2 * MINUTE_MS);
