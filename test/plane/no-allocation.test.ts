/**
 * The running data planes allocate nothing: no garbage collection between the marks while millions
 * of packets pass two of them, whatever the packets are. STYLE "The hot path".
 */
import { expect, test } from "bun:test";
import { expectNoCollections } from "../no-gc.ts";

test("no collection while two data planes forward, begin flows and refuse", async () => {
  const loops = await expectNoCollections(new URL("./no-allocation-loop.ts", import.meta.url));
  expect(loops.length).toBe(7);
}, 120_000);
