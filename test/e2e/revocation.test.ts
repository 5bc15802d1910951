/**
 * A revoked agent is cut off while everything runs: its peers end its sessions and take no new one,
 * without waiting for a block, and it stops asking the manager. docs/manager.md "Agents".
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { waitFor } from "../../src/lab/command.ts";
import { CLIENT, ROGUE, SERVER, stopwatch } from "./harness.ts";
import { ManagerBed } from "./manager-bed.ts";

const MINUTE_MS = 60_000;
/** A second is promised; this machine may be busy. */
const CUT_OFF_MS = 2_000;
const done = stopwatch("e2e revocation");
let bed: ManagerBed;
/** The server's file while the rogue was a neighbour. */
let before: string;
const file = () => `${bed.folder(SERVER.name)}/provisioning.json`;

beforeAll(async () => {
  bed = await ManagerBed.open("revoke", [CLIENT, SERVER, ROGUE]);
  for (const { name } of [CLIENT, SERVER, ROGUE]) await bed.enrol(name);
  for (const { name } of [CLIENT, SERVER, ROGUE]) await bed.startAgent(name);
  await bed.untilEnforced();
  await bed.untilAnswered(ROGUE.name, SERVER);
  await bed.untilAnswered(CLIENT.name, SERVER);
}, 2 * MINUTE_MS);

afterAll(async () => {
  await bed?.close();
  done();
}, MINUTE_MS);

/** When an agent wrote the first such event, in milliseconds of the wall clock. */
async function eventAt(vm: string, event: string, peer?: string): Promise<number> {
  const { events } = bed.site.agent(vm);
  const find = () =>
    events.all().find((one) => one.event === event && (peer ?? one["peer"]) === one["peer"]);
  const found = await waitFor(`${event} of ${vm}`, find, MINUTE_MS);
  return Date.parse(String(found["time"]));
}

test(
  "its peers end its sessions within a second, and take no new one; the others go on",
  async () => {
    const pinging = bed.site.run(
      CLIENT.name,
      ["ping", "-n", "-c", "100", "-i", "0.1", SERVER.ipv4],
      { timeoutMs: 30_000 },
    );
    before = readFileSync(file(), "utf8");
    const revokedAt = Date.now();
    await bed.ask("agents", "revoke", ROGUE.name, "--reason", "it was stolen");
    for (const vm of [CLIENT.name, SERVER.name]) {
      const tookMs = (await eventAt(vm, "peer-cut-off", ROGUE.name)) - revokedAt;
      console.log(`  ${vm} cut it off ${tookMs} ms after the command was typed`);
      expect(tookMs).toBeLessThan(CUT_OFF_MS);
    }
    const closed = await eventAt(SERVER.name, "session-closed", ROGUE.name);
    expect(closed - revokedAt).toBeLessThan(CUT_OFF_MS);
    // No new one either: its agent tries again and again, and is not heard.
    const count = bed.site.agent(SERVER.name).events.all().length;
    expect((await bed.ping(ROGUE.name, SERVER, 5)).stdout).toContain(" 0 received");
    const since = bed.site.agent(SERVER.name).events.since(count);
    const begun = since.filter(({ event }) => event === "session-established");
    expect(begun.filter((event) => event["peer"] === ROGUE.name)).toEqual([]);
    expect((await pinging).stdout).toContain("100 packets transmitted, 100 received");
  },
  2 * MINUTE_MS,
);

test(
  "it says that it is shut out, and goes on asking no more",
  async () => {
    await eventAt(ROGUE.name, "manager-shut-out");
    const status = await bed.site.agent(ROGUE.name).status();
    expect(status).toMatchObject({ manager: { state: "shut-out" } });
    await bed.untilEnforced();
    expect((await bed.agents()).map(({ name }) => name).sort()).toEqual(["client", "server"]);
  },
  2 * MINUTE_MS,
);

test(
  "an agent that starts without a manager shuns it, though its file still has it as a neighbour",
  async () => {
    await bed.killManager();
    const server = bed.site.agent(SERVER.name);
    await server.stop();
    const count = server.events.all().length;
    writeFileSync(file(), before);
    await bed.startAgent(SERVER.name);
    await bed.untilAnswered(CLIENT.name, SERVER);
    expect((await bed.ping(ROGUE.name, SERVER, 5)).stdout).toContain(" 0 received");
    const begun = server.events.since(count).filter(({ event }) => {
      return event === "session-established";
    });
    expect(begun.filter((event) => event["peer"] === ROGUE.name)).toEqual([]);
  },
  2 * MINUTE_MS,
);
