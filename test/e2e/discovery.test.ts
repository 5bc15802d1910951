/**
 * DISCOVERY (paper §3.6): an agent that its manager cannot reach hears of newcomers and of modes
 * from its peers, and goes by them. docs/manager.md "Discovery".
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { mustRun, waitFor } from "../../src/lab/command.ts";
import { namespaceOf } from "../../src/lab/topology.ts";
import { CLIENT, ROGUE, SERVER, stopwatch } from "./harness.ts";
import { ManagerBed } from "./manager-bed.ts";

const MINUTE_MS = 60_000;
const NEWCOMER = ROGUE;
const done = stopwatch("e2e discovery");
let bed: ManagerBed;

type PeerEntry = { readonly id: string; readonly mode: string; readonly addresses: string[] };

/** Of the client's file, by address. */
function peerOfClient(address: string): PeerEntry | undefined {
  const text = readFileSync(`${bed.folder(CLIENT.name)}/provisioning.json`, "utf8");
  const { peers } = JSON.parse(text) as { readonly peers: readonly PeerEntry[] };
  return peers.find(({ addresses }) => addresses.includes(address));
}

/** Whatever the manager's machine sends to the client is thrown away there. */
async function route(change: "add" | "del"): Promise<void> {
  const namespace = namespaceOf(bed.site.options.prefix, "manager");
  await mustRun(["ip", "-n", namespace, "route", change, "blackhole", `${CLIENT.ipv4}/32`]);
}

beforeAll(async () => {
  bed = await ManagerBed.open("discover", [CLIENT, SERVER, NEWCOMER]);
  for (const { name } of [CLIENT, SERVER]) await bed.enrol(name);
  for (const { name } of [CLIENT, SERVER]) await bed.startAgent(name);
  await bed.untilEnforced();
  await bed.untilAnswered(CLIENT.name, SERVER);
  await route("add");
}, 2 * MINUTE_MS);

afterAll(async () => {
  await bed?.close();
  done();
}, MINUTE_MS);

test(
  "a newcomer is heard of from the others, and reached under proof",
  async () => {
    await bed.enrol(NEWCOMER.name);
    await bed.startAgent(NEWCOMER.name);
    const heard = await waitFor(
      "the newcomer in the client's file",
      () => peerOfClient(NEWCOMER.ipv4),
      MINUTE_MS,
    );
    // Its name is the manager's to say.
    expect(heard).toMatchObject({ mode: "quick" });
    expect(heard.id).toMatch(/^[0-9a-f]{32}$/);
    const { events } = bed.site.agent(CLIENT.name);
    const isNew = ({ event }: { event: string }) => event === "neighbours-discovered";
    await waitFor("the event", () => events.all().find(isNew), MINUTE_MS);
    await bed.untilAnswered(CLIENT.name, NEWCOMER);
    const sessions = events.all().filter(({ event }) => event === "session-established");
    expect(sessions.filter((event) => event["peer"] === heard.id).length).toBeGreaterThan(0);
  },
  2 * MINUTE_MS,
);

test(
  "a change of mode goes manager → agent → peers",
  async () => {
    expect(peerOfClient(SERVER.ipv4)?.mode).toBe("quick");
    await bed.ask("agents", "set", "--agent", SERVER.name, "--mode", "full");
    const isFull = () => (peerOfClient(SERVER.ipv4)?.mode === "full" ? true : undefined);
    await waitFor("the mode in the client's file", isFull, MINUTE_MS);
  },
  2 * MINUTE_MS,
);

test(
  "reached again, the manager's word counts: the newcomer has its name",
  async () => {
    await route("del");
    const named = () => (peerOfClient(NEWCOMER.ipv4)?.id === NEWCOMER.name ? true : undefined);
    await waitFor("the newcomer's name", named, 2 * MINUTE_MS);
    await bed.untilEnforced();
    await bed.untilAnswered(CLIENT.name, NEWCOMER);
  },
  3 * MINUTE_MS,
);
