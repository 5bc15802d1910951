/** What the manager changes reaches connected agents, is applied or refused, and is reported. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { ensureKeys, loadManager } from "../../src/channel/agent-folder.ts";
import { AgentIdentity } from "../../src/channel/agent-identity.ts";
import type { AgentState } from "../../src/channel/agent-state.ts";
import { ManagerLink } from "../../src/channel/manager-link.ts";
import { AbsError } from "../../src/errors.ts";
import { freePort } from "../free-port.ts";
import { ManagerSite } from "./manager-site.ts";

let site: ManagerSite;
let port: number;
const links: ManagerLink[] = [];

beforeAll(async () => {
  port = await freePort();
  site = await ManagerSite.open({}, port);
  await site.addTenant("t1");
});

afterAll(async () => {
  for (const link of links) await link.stop();
  await site.close();
});

class Follower {
  readonly states: AgentState[] = [];
  readonly notices: (readonly [string, Readonly<Record<string, unknown>>])[] = [];
  refusal: AbsError | undefined;
  readonly link: ManagerLink;

  constructor(dir: string) {
    const { secrets } = ensureKeys(dir);
    const manager = loadManager(dir);
    this.link = new ManagerLink({
      ...{ manager, version: manager.version, identity: AgentIdentity.in(dir, secrets) },
      apply: (state) => {
        if (this.refusal !== undefined) throw this.refusal;
        this.states.push(state);
      },
      notice: (event, fields) => this.notices.push([event, fields]),
    });
    links.push(this.link);
  }

  get last(): AgentState | undefined {
    return this.states.at(-1);
  }
}

async function follow(name: string, ...more: string[]): Promise<Follower> {
  const dir = site.freshDir();
  await site.enrol(await site.invite(name, ...more), dir);
  return new Follower(dir);
}

async function until(what: () => boolean): Promise<void> {
  while (!what()) await new Promise((resolve) => setTimeout(resolve, 5));
}

async function versionsOf(): Promise<Record<string, string>> {
  const rows = (await site.command("agents", "list")) as unknown as Record<string, string>[];
  return Object.fromEntries(rows.map(({ name = "", version = "" }) => [name, version]));
}

async function reported(name: string): Promise<void> {
  for (;;) {
    const [enforced, wanted] = (await versionsOf())[name]?.split("/") ?? [];
    if (enforced === wanted) return;
  }
}

let web: Follower;
let db: Follower;

test("a connected agent hears of a new neighbour, and says that it has taken it", async () => {
  web = await follow("web", "--group", "front");
  await reported("web");
  db = await follow("db");
  await until(() => web.last?.neighbours.length === 1);
  expect(web.last?.neighbours[0]?.name).toBe("db");
  await reported("web");
  await reported("db");
});

test("a change of mode goes to the agent and to its neighbours (paper §3.6)", async () => {
  await site.command("agents", "set", "--agent", "db", "--mode", "full", "--stage", "enforce");
  await until(() => db.last?.own.mode === "full" && web.last?.neighbours[0]?.mode === "full");
  expect(db.last?.own.stage).toBe("enforce");
  await reported("web");
});

test("twenty changes at once are one update a second at most, and the last one counts", async () => {
  const before = web.states.length;
  const from = performance.now();
  for (let trust = 1; trust <= 20; trust++) {
    await site.command("agents", "set", "--agent", "db", "--trust", `${trust}`);
  }
  await until(() => web.last?.neighbours[0]?.trustLevel === 20);
  // The first is told of at once.
  const updatesMax = 2 + (performance.now() - from) / 1000;
  expect(web.states.length - before).toBeLessThanOrEqual(updatesMax);
  await reported("web");
});

test("what an agent cannot apply it refuses, says so, and takes the next one", async () => {
  const [good] = [web.link.version];
  web.refusal = new AbsError("POLICY_INVALID", "It names a group that is not there.", "Mend it.");
  await site.command("agents", "set", "--agent", "db", "--mode", "quick");
  await until(() => web.notices.some(([event]) => event === "manager-update-refused"));
  expect(web.link.version).toBe(good);
  await until(() => site.events().some(({ event }) => event === "agent-refuses-update"));
  const event = site.events().find((one) => one["event"] === "agent-refuses-update");
  expect(event).toMatchObject({ code: "POLICY_INVALID" });
  const [enforced, wanted] = (await versionsOf())["web"]?.split("/") ?? [];
  expect(Number(enforced)).toBeLessThan(Number(wanted));
  await site.command("agents", "set", "--agent", "db", "--mode", "full");
  web.refusal = undefined;
  await until(() => web.last?.neighbours[0]?.mode === "full");
  await reported("web");
});

test("what an agent could not apply it tries again, though nothing else changes", async () => {
  web.refusal = new AbsError("AGENT_FOLDER_UNWRITABLE", "The disk is full.", "Make room.");
  const before = web.notices.length;
  await site.command("agents", "set", "--agent", "db", "--trust", "61");
  const refused = () => web.notices.slice(before).some(([event]) => event.endsWith("-refused"));
  await until(refused);
  expect(web.link.status.reason).toBe("The disk is full.");
  web.refusal = undefined;
  await until(() => web.last?.neighbours[0]?.trustLevel === 61);
  await reported("web");
  expect(web.link.status).toEqual({ state: "connected", version: web.link.version });
}, 120_000);

test("a manager that was away is found again, and what changed meanwhile is caught up on", async () => {
  await site.manager?.stop();
  await until(() => web.notices.some(([event]) => event === "manager-lost"));
  await site.start({}, port);
  await site.command("agents", "set", "--agent", "db", "--trust", "77");
  await until(() => web.last?.neighbours[0]?.trustLevel === 77);
  await reported("web");
  await reported("db");
}, 60_000);

test("a revoked agent is cut off, its neighbours hear of it, and it is not let in again", async () => {
  await site.command("agents", "revoke", "db");
  await until(() => web.last?.neighbours.length === 0);
  // It does not go on asking.
  await until(() => db.notices.some(([event]) => event === "manager-shut-out"));
  const [, { code }] = db.notices.at(-1) as (typeof db.notices)[number];
  expect(code).toBe("MANAGER_LOGIN_REFUSED");
  expect(db.link.status.state).toBe("shut-out");
});
