/** The manager is away for a while under traffic; test/long/manager-down.test.ts: for a minute. */
import { testOutage } from "./manager-outage.ts";

testOutage("e2e manager down", { name: "away", seconds: 12, timeoutMs: 120_000 });
