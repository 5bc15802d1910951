/**
 * What an administrator changes at the manager reaches running agents, is put in force under load
 * without losing a packet, and is reported as in force. docs/manager.md "Updates"; paper §3.6.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync } from "node:fs";
import { mustRun, waitFor } from "../../src/lab/command.ts";
import { ABS, CLIENT, OPEN_RULES, ROGUE, SERVER, SIGNATURES, stopwatch } from "./harness.ts";
import { runLoad } from "./load.ts";
import { ManagerBed, TENANT } from "./manager-bed.ts";

const MINUTE_MS = 60_000;
const NEWCOMER = ROGUE;
const APPS = ["load", "ping"];
const LOAD = { to: SERVER.ipv4, port: 7_000, size: 22, flows: 16 };
/** The manager, the newcomer and three agents share two cores with it. */
const RATE = 2_000;
const SECONDS = 24;
const done = stopwatch("e2e manager link");
let bed: ManagerBed;

beforeAll(async () => {
  bed = await ManagerBed.open("link", [CLIENT, SERVER, NEWCOMER]);
  const tags = APPS.flatMap((app) => ["--tag", app]);
  for (const { name } of [CLIENT, SERVER]) await bed.enrol(name, ...tags);
  for (const { name } of [CLIENT, SERVER]) await bed.startAgent(name);
  await bed.untilAnswered(CLIENT.name, SERVER);
}, 2 * MINUTE_MS);

afterAll(async () => {
  await bed?.close();
  done();
}, MINUTE_MS);

const apps = SIGNATURES.filter(({ app_name: app }) => APPS.includes(app)).map((signature, i) => {
  return { sig_id: `s${i}`, version: 1, status: "enabled", ...signature };
});
const rules = OPEN_RULES.filter((rule) => APPS.includes(String(rule["app"])));

async function changeEverything(): Promise<void> {
  const set = ["agents", "set", "--all", "--tenant", TENANT];
  await bed.give(JSON.stringify(apps), "sig", "add", "--publish", "--tenant", TENANT);
  await bed.untilSealed(apps.length);
  await bed.give(JSON.stringify({ version: 1, rules }), "policy", "apply", "--tenant", TENANT);
  await bed.untilEnforced();
  await bed.ask(...set, "--mode", "full", "--stage", "enforce");
  await bed.untilEnforced();
  const [contract] = JSON.parse(
    await bed.ask("contract", "list", "--tenant", TENANT, "--output", "json"),
  ) as { "sc-id": string }[];
  await bed.ask("contract", "regenerate", contract?.["sc-id"] ?? "", "--tenant", TENANT);
  await bed.enrol(NEWCOMER.name, "--tag", "ping");
  await bed.startAgent(NEWCOMER.name);
  await bed.untilEnforced();
}

test(
  "policy, signatures, modes, a contract's next secret and a newcomer, under load: nothing is lost",
  async () => {
    const plan = { ...LOAD, kind: "send", rate: RATE, seconds: SECONDS } as const;
    const changed = changeEverything().then(() => performance.now());
    const loaded = runLoad(bed.site, plan).then((turn) => ({ ...turn, at: performance.now() }));
    const [changedAt, turn] = await Promise.all([changed, loaded]);
    expect(changedAt).toBeLessThan(turn.at);
    console.log(`  everything was changed ${Math.round(turn.at - changedAt)} ms before its end`);
    expect(turn.delivered + turn.ownDrops).toBe(turn.offered);
    expect(turn.offered).toBeGreaterThan((RATE * SECONDS) / 2);
    // The newcomer's own first packets may find peers that do not know it yet.
    const drops = Object.keys(turn.agentDrops).filter(
      (name) => !name.startsWith(`${NEWCOMER.name}.`),
    );
    expect(drops).toEqual([]);
    for (const { name } of [CLIENT, SERVER]) {
      const status = await bed.site.agent(name).status();
      expect(status).toMatchObject({ mode: "full", manager: { state: "connected" } });
    }
  },
  3 * MINUTE_MS,
);

test(
  "the newcomer and those who were there before reach each other under proof",
  async () => {
    await bed.untilAnswered(NEWCOMER.name, SERVER);
    const said = await bed.ping(SERVER.name, NEWCOMER, 3);
    expect(said.stdout).toContain("3 packets transmitted, 3 received");
  },
  2 * MINUTE_MS,
);

test(
  "an agent that cannot write its folder refuses, says why, goes on, and tries again",
  async () => {
    const { events } = bed.site.agent(CLIENT.name);
    // Root writes everywhere, but clears nothing away that something is mounted on.
    const next = `${bed.folder(CLIENT.name)}/.next`;
    mkdirSync(next, { recursive: true });
    await mustRun(["mount", "-t", "tmpfs", "abst-link", next]);
    try {
      await bed.ask("agents", "set", "--agent", SERVER.name, "--trust", "70");
      const isRefused = ({ event }: { event: string }) => event === "manager-update-refused";
      const refusal = await waitFor("it", () => events.all().find(isRefused), MINUTE_MS);
      expect(refusal).toMatchObject({ code: "AGENT_FOLDER_UNWRITABLE" });
      const row = (await bed.agents()).find(({ name }) => name === CLIENT.name);
      expect(row?.version).not.toMatch(/^(\d+)\/\1$/);
      const said = await bed.ping(CLIENT.name, SERVER, 3);
      expect(said.stdout).toContain("3 packets transmitted, 3 received");
    } finally {
      await mustRun(["umount", next]);
    }
    await bed.untilEnforced();
  },
  2 * MINUTE_MS,
);

const LOCAL = `version: 1
rules:
  - { id: no-ping, direction: out, to: { agent: ${SERVER.name} }, app: ping, action: deny }
`;

/** One echo, answered or not: the flow of the one before is another one's. */
async function isPinged(): Promise<boolean> {
  return (await bed.ping(CLIENT.name, SERVER, 1)).code === 0;
}

test(
  "the VM's owner takes away what the manager allows, and gives it back, in the running agent",
  async () => {
    const agent = bed.site.agent(CLIENT.name);
    const folder = bed.folder(CLIENT.name);
    const place = ["--config", `${folder}/provisioning.json`, "--state", `${folder}/state`];
    const apply = (text: string) =>
      mustRun(bed.site.inside(CLIENT.name, [...ABS, "policy", "apply", "-", ...place]), {
        input: text,
      });
    expect(await isPinged()).toBe(true);
    expect((await apply(LOCAL)).stdout).toBe("1 local rules, in force.\n");
    expect(await isPinged()).toBe(false);
    const denied = agent.events.all().findLast(({ event }) => event === "refused");
    expect(denied).toMatchObject({ rule: "local-no-ping", stage: "enforce" });
    const words = ["policy", "show", "--effective", ...place, "--output", "json"];
    const shown = JSON.parse(await bed.abs(CLIENT.name, ...words));
    expect(shown.enforced).toBe(true);
    const origins = (shown.rules as { origin: string }[]).map(({ origin }) => origin);
    expect(origins).toEqual(["local", ...rules.map(() => "manager")]);
    expect(shown.rules[0]).toMatchObject({ rule: "local-no-ping", allowed: 0, would_refuse: 0 });
    expect(shown.rules[0].refused).toBeGreaterThan(0);
    const deciding = (shown.rules as { allowed: number }[]).filter(({ allowed }) => allowed > 0);
    expect(deciding.length).toBeGreaterThan(0);
    await apply("version: 1\nrules: []\n");
    expect(await isPinged()).toBe(true);
  },
  MINUTE_MS,
);

test(
  "a signature that is disabled ends in the running agents, and comes back when it is published",
  async () => {
    const id = apps.find(({ app_name: app }) => app === "ping")?.sig_id ?? "";
    await bed.ask("sig", "disable", id, "--tenant", TENANT);
    await bed.untilEnforced();
    expect(await isPinged()).toBe(false);
    await bed.ask("sig", "publish", id, "--tenant", TENANT);
    await bed.untilSealed(apps.length);
    await bed.untilEnforced();
    await bed.untilAnswered(CLIENT.name, SERVER);
  },
  2 * MINUTE_MS,
);
