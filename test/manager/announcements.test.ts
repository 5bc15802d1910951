/** How often agents are told that their tenant has another version. */
import { expect, test } from "bun:test";
import type { AgentSession } from "../../src/manager/agent-session.ts";
import { Announcements } from "../../src/manager/announcements.ts";
import type { ChangeKind, Tenants } from "../../src/manager/tenants.ts";

class Tenant {
  version = 1;
  readonly told: { readonly version: number; readonly atMs: number }[] = [];
  readonly announcements: Announcements;
  readonly #tenants = {
    need: () => ({ version: this.version }),
    onChange: (_tenant: string, _kind: ChangeKind) => {},
  };

  constructor() {
    this.announcements = new Announcements(this.#tenants as unknown as Tenants);
  }

  join(): () => void {
    const announce = (version: number) => this.told.push({ version, atMs: performance.now() });
    return this.announcements.join({ tenant: "t1", announce } as unknown as AgentSession);
  }

  change(kind: ChangeKind): number {
    this.version++;
    this.#tenants.onChange("t1", kind);
    return performance.now();
  }

  async untilTold(version: number): Promise<number> {
    for (;;) {
      const told = this.told.find((one) => one.version === version);
      if (told !== undefined) return told.atMs;
      await Bun.sleep(5);
    }
  }
}

test("a session hears at once what it should have, or soon with the others", async () => {
  const tenant = new Tenant();
  const leave = tenant.join();
  expect(tenant.told).toMatchObject([{ version: 1 }]);
  leave();
  tenant.change("command");
  tenant.join();
  expect(tenant.told).toHaveLength(1);
  await tenant.untilTold(2);
  expect(tenant.told).toHaveLength(2);
  tenant.announcements.close();
});

test("agents that enrol one after another are told of ever more rarely, an order at once", async () => {
  const tenant = new Tenant();
  tenant.join();
  const endMs = performance.now() + 3500;
  while (performance.now() < endMs) {
    tenant.change("newcomer");
    await Bun.sleep(20);
  }
  // At its coming, after 0.1 s, 1 s and 2 s: not a hundred times.
  expect(tenant.told.length).toBeLessThanOrEqual(4);
  expect(tenant.told.length).toBeGreaterThanOrEqual(3);
  const orderedMs = tenant.change("command");
  const toldMs = await tenant.untilTold(tenant.version);
  expect(toldMs - orderedMs).toBeLessThan(1500);
  tenant.announcements.close();
});

test("twenty orders at once are told of once, and the last one counts", async () => {
  const tenant = new Tenant();
  tenant.join();
  for (let i = 0; i < 20; i++) tenant.change("command");
  await tenant.untilTold(21);
  expect(tenant.told.map(({ version }) => version)).toEqual([1, 21]);
  tenant.announcements.close();
});
