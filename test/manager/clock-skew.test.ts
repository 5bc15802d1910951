/** A manager whose clock is most of a day off: agents enrol and come back all the same. */
import { afterEach, expect, test } from "bun:test";
import { loadProvisioning } from "../../src/agent/provisioning.ts";
import { fetchState } from "../../src/channel/update-client.ts";
import { epochNow } from "../../src/node/ledger-runner.ts";
import { ManagerSite } from "./manager-site.ts";

/** A day but for the time that a test takes. */
const SKEW_SECONDS = 86_400 - 60;
let site: ManagerSite;

afterEach(() => site.close());

test.each([-SKEW_SECONDS, SKEW_SECONDS])(
  "by %d seconds",
  async (skewSeconds) => {
    site = await ManagerSite.open();
    site.skewSeconds = skewSeconds;
    await site.addTenant("t1");
    const dir = site.freshDir();
    const { own } = await site.enrol(await site.invite("a"), dir);
    const { notBefore, notAfter } = own.certificate.certificate;
    // Good by the agent's clock, now.
    expect(notBefore).toBeLessThanOrEqual(epochNow());
    expect(notAfter).toBeGreaterThan(epochNow());
    await site.enrol(await site.invite("b"), site.freshDir());
    const state = await fetchState(dir, loadProvisioning);
    expect(state.neighbours.map(({ name }) => name)).toEqual(["b"]);
    // Whoever comes right: what was made under the wrong clock is good under the right one.
    site.skewSeconds = 0;
    expect((await fetchState(dir, loadProvisioning)).own.name).toBe("a");
  },
  30_000,
);
