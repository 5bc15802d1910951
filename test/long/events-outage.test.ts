/** The outage of test/events/servers.test.ts, for a minute. */
import { expect, test } from "bun:test";
import { playOutage } from "../events/outage.ts";

test("an outage of 60 s of rsyslog and nats-server loses no security event", async () => {
  const { security, flood, secondsDown } = await playOutage(60);
  console.log(`${security} security events, ${flood} flow events, down for ${secondsDown} s`);
  expect(security).toBeGreaterThan(1000);
}, 300_000);
