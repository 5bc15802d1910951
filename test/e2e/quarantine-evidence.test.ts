/**
 * Quarantine on evidence: what a VM's own agent has proven as its own, and a peer's policy refuses,
 * brings it into quarantine; a flood in another's name brings nobody there. Real agents, manager
 * and frames. docs/manager.md "Quarantine on evidence".
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { inject } from "../../src/lab/check.ts";
import { waitFor } from "../../src/lab/command.ts";
import { barePackets, keylessFrames, randomInitiations } from "./attack-frames.ts";
import { CLIENT, ROGUE, SERVER, stopwatch } from "./harness.ts";
import { ManagerBed, TENANT } from "./manager-bed.ts";

const MINUTE_MS = 60_000;
const VIOLATIONS = 5;
const RULES = [
  {
    ...{ id: "not-rogue", direction: "in", from: { agent: ROGUE.name }, app: "any" },
    ...{ to: { protocol: "udp", port: "5000-5999" }, action: "deny" },
  },
  { id: "open-in", direction: "in", from: "any", app: "any", action: "allow" },
  { id: "open-out", direction: "out", app: "any", action: "allow" },
];
const done = stopwatch("e2e quarantine on evidence");
let bed: ManagerBed;

beforeAll(async () => {
  bed = await ManagerBed.open("evidence", [CLIENT, SERVER, ROGUE]);
  for (const { name } of [CLIENT, SERVER, ROGUE]) await bed.enrol(name);
  for (const { name } of [CLIENT, SERVER, ROGUE]) await bed.startAgent(name);
  const policy = JSON.stringify({ version: 1, rules: RULES });
  await bed.give(policy, "policy", "apply", "--tenant", TENANT);
  await bed.ask("agents", "set", "--all", "--tenant", TENANT, "--stage", "enforce");
  await bed.untilEnforced();
  await bed.untilAnswered(ROGUE.name, SERVER);
  await bed.untilAnswered(CLIENT.name, SERVER);
}, 2 * MINUTE_MS);

afterAll(async () => {
  await bed?.close();
  done();
}, MINUTE_MS);

type Row = { readonly number: number; readonly host: string; readonly reason: string };

async function quarantines(...more: string[]): Promise<Row[]> {
  return JSON.parse(await bed.ask("quarantine", "list", ...more, "--output", "json")) as Row[];
}

/** Flows to ports that the server's policy refuses: a datagram each, under a session's proof. */
async function scan(from: number): Promise<void> {
  const ports = Array.from({ length: 2 * VIOLATIONS }, (_, i) => from + i).join(" ");
  const send = `for p in ${ports}; do echo x > /dev/udp/${SERVER.ipv4}/$p; done`;
  await bed.site.run(ROGUE.name, ["bash", "-c", send]);
}

async function isAnswered(from: string): Promise<boolean> {
  return (await bed.ping(from, SERVER, 1)).code === 0;
}

test(
  "without terms, a scan is refused, and that is all; nor does one in another's name do anything",
  async () => {
    await scan(5100);
    const { events } = bed.site.agent(SERVER.name);
    const isRefused = () => {
      const all = events.all().filter(({ event }) => event === "refused");
      const own = all.filter((one) => one["rule"] === "not-rogue" && one["peer"] === ROGUE.name);
      return own.length >= 2 * VIOLATIONS || undefined;
    };
    await waitFor("the refusals", isRefused, MINUTE_MS);
    const refused = ["flows", "list", "--tenant", TENANT, "--verdict", "refused"];
    const isKnown = async () => (await bed.ask(...refused)).includes("not-rogue") || undefined;
    await waitFor("the manager to know of the flows", isKnown, MINUTE_MS);
    expect(await quarantines()).toEqual([]);
    await bed.ask(
      ...["quarantine", "set", "--tenant", TENANT, "--violations", `${VIOLATIONS}`, "--for", "10m"],
    );
    const forged = [...keylessFrames(), ...barePackets(CLIENT, 5200), ...randomInitiations(500)];
    for (let i = 0; i < 5; i++) inject(bed.site, SERVER.name, forged);
    // What follows comes after all that the flood could have had told. A scan that comes on its
    // heels may find the kernel's ring full of it, or the limit of reports spent: it goes on.
    let from = 5300;
    const isThere = async () => {
      await scan(from);
      from += 2 * VIOLATIONS;
      return (await quarantines()).length > 0 || undefined;
    };
    await waitFor("the quarantine", isThere, MINUTE_MS, 1_000);
    expect((await quarantines("--all")).map(({ host }) => host)).toEqual([ROGUE.name]);
    expect(await isAnswered(CLIENT.name)).toBe(true);
  },
  2 * MINUTE_MS,
);

test(
  "in quarantine its peers speak with it no more; released, they do",
  async () => {
    const [one] = await quarantines();
    expect(one?.reason).toContain("policy-denied");
    expect(one?.reason).toContain(SERVER.name);
    const isCut = async () => !(await isAnswered(ROGUE.name)) || undefined;
    await waitFor("the peers to drop it", isCut, MINUTE_MS);
    await bed.untilEnforced();
    expect(await isAnswered(CLIENT.name)).toBe(true);
    expect(await isAnswered(ROGUE.name)).toBe(false);
    await bed.ask("quarantine", "release", `${one?.number}`, "--reason", "it was a test");
    await bed.untilEnforced();
    await bed.untilAnswered(ROGUE.name, SERVER);
    const audit = await bed.ask("audit");
    expect(audit).toContain(`quarantine add --agent ${ROGUE.name}`);
  },
  2 * MINUTE_MS,
);
