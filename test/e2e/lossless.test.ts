/**
 * Lossless where it is required: renegotiation under load and the first packets of 1,000 new flows,
 * at half the measured capacity. issue "Tests beside the unit tests", design/wire.md "HANDSHAKE".
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Site } from "../../src/lab/site.ts";
import { openSiteBy, WAYS } from "./enrolled-site.ts";
import { BARE, CLIENT, openAgent, SERVER, stopwatch, tenantOf } from "./harness.ts";
import { losslessTurn, measureCapacity } from "./load.ts";

const MINUTE_MS = 60_000;
const BUSY_SECONDS = 4;
const SMALL = { to: SERVER.ipv4, port: 7_000, size: 22 };
const done = stopwatch("e2e lossless");
let site: Site;
let halfCapacity = 0;

afterAll(done);

describe.each(WAYS)("%s agents", (way) => {
  beforeAll(async () => {
    const contracts = [{ busySeconds: BUSY_SECONDS, idleSeconds: 60 }];
    const agents = [openAgent(CLIENT), openAgent(SERVER)];
    site = await openSiteBy(way, "lossless", tenantOf(agents, { contracts }));
    halfCapacity = Math.floor((await measureCapacity(site, { ...SMALL, flows: 16 })) / 2);
    console.log(`  half the measured capacity: ${halfCapacity} packets a second`);
  }, 2 * MINUTE_MS);

  afterAll(async () => {
    await site?.close();
  }, MINUTE_MS);

  test(
    "sessions are renegotiated under load without losing a packet",
    async () => {
      const before = site.agents()[0]?.events.all().length ?? 0;
      const seconds = 3 * BUSY_SECONDS;
      const plan = { ...SMALL, kind: "send", rate: halfCapacity, seconds, flows: 16 } as const;
      const turn = await losslessTurn(site, plan);
      expect(turn.delivered + turn.ownDrops).toBe(turn.offered);
      expect(turn.agentDrops).toEqual({});
      if (BARE) return;
      const events = site.agent("client").events.since(before);
      const renewed = events.filter((event) => event.event === "session-established");
      // Replaced at 80 to 90 % of the busy time: at least twice in three busy times.
      expect(renewed.length).toBeGreaterThanOrEqual(2);
    },
    2 * MINUTE_MS,
  );

  test(
    "the first packets of 1,000 new flows all arrive",
    async () => {
      const rate = Math.min(halfCapacity, 20_000);
      const plan = { ...SMALL, port: 7_001, kind: "first", rate, flows: 1_000 } as const;
      const turn = await losslessTurn(site, plan);
      expect(turn.offered).toBe(1_000);
      expect(turn.delivered + turn.ownDrops).toBe(1_000);
      expect(turn.agentDrops).toEqual({});
    },
    MINUTE_MS,
  );
});
