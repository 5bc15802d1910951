/** The manager is away for a minute of real time under traffic. */
import { testOutage } from "../e2e/manager-outage.ts";

testOutage("long manager down", { name: "awaylong", seconds: 60, timeoutMs: 180_000 });
