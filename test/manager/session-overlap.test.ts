/**
 * The overlap of an agent's two session keys, as its manager leads it: who hears of which key when,
 * who is killed in between, and who is away. docs/manager.md "Keys".
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { loadProvisioning } from "../../src/agent/provisioning.ts";
import { ownKeysOf, publicKeysOf } from "../../src/agent/provisioning-fields.ts";
import { toHex } from "../../src/bytes.ts";
import { agentFile, ensureKeys } from "../../src/channel/agent-folder.ts";
import type { ManagerLink } from "../../src/channel/manager-link.ts";
import type { MappedNode } from "../../src/manager/mapping-service.ts";
import { WAIT_SECONDS_MAX } from "../../src/manager/session-overlaps.ts";
import { freePort } from "../free-port.ts";
import { followManager } from "./followed-agent.ts";
import { ManagerSite, until } from "./manager-site.ts";

const links = new Map<string, ManagerLink>();
let site: ManagerSite;
let port: number;
let web: string;
let db: string;

beforeAll(async () => {
  port = await freePort();
  site = await ManagerSite.open({}, port);
  await site.addTenant("t1");
  web = site.freshDir();
  await site.enrol(await site.invite("web"), web);
  db = site.freshDir();
  await site.enrol(await site.invite("db"), db);
});

afterAll(async () => {
  for (const dir of links.keys()) await leave(dir);
  await site.close();
});

function follow(dir: string): void {
  links.set(dir, followManager(dir));
}

async function leave(dir: string): Promise<void> {
  await links.get(dir)?.stop();
  links.delete(dir);
}

function nodeOf(dir: string): MappedNode {
  const node = site.manager?.state.nodes.find(ensureKeys(dir).keys.nodeId);
  if (node === undefined) throw new Error("no such node");
  return node;
}

/** As the agent would start: its own keys, the first of which begins, and its only peer's. */
function startedWith(dir: string) {
  const { node, peers } = loadProvisioning(agentFile(dir, "provisioning"));
  const [peer] = peers;
  return {
    own: ownKeysOf(node).map(({ publicKey }) => toHex(publicKey)),
    peer: peer === undefined ? [] : publicKeysOf(peer).map(toHex),
  };
}

function rotate(): Promise<unknown> {
  const whose = ["--agent", "web", "--tenant", "t1"];
  return site.command("keys", "rotate", ...whose, "--kind", "session");
}

async function untilRenewed(before: string): Promise<string> {
  await until(() => nodeOf(web).sessionPub !== before);
  return nodeOf(web).sessionPub;
}

test("all hear of the new key, then it is used alone, then the old one is forgotten", async () => {
  const old = nodeOf(web).sessionPub;
  follow(web);
  await rotate();
  const next = await untilRenewed(old);
  // `db` is away: nothing may move on, whatever web reports.
  await until(() => startedWith(web).own.length === 2 && nodeOf(web).enforcedVersion > 0);
  await until(() => nodeOf(web).enforcedVersion >= (nodeOf(web).sessionFrom ?? 0));
  expect(startedWith(web).own).toEqual([old, next]);
  expect(nodeOf(web).sessionAlone).toBeUndefined();
  // Nor is a second one asked for meanwhile.
  await rotate();
  expect(site.manager?.state.renewals.find(nodeOf(web).nodeId)).toBeUndefined();
  // A session that is begun with either is known to be web's.
  for (const key of [old, next]) {
    expect(site.manager?.state.nodes.ofSessionKey(key)?.name).toBe("web");
  }
  const heard: string[][] = [];
  await leave(web);
  follow(db);
  await until(() => nodeOf(web).sessionAlone !== undefined);
  heard.push(startedWith(db).peer);
  // It does not use the new one alone yet, so the old one is still good.
  expect(nodeOf(web).sessionOld).toBe(old);
  follow(web);
  await until(() => nodeOf(web).sessionOld === undefined);
  await until(() => startedWith(db).peer.length === 1);
  expect(heard).toEqual([[next, old]]);
  expect(startedWith(db).peer).toEqual([next]);
  expect(startedWith(web).own).toEqual([next]);
  expect(ensureKeys(web).keys.sessions.map(({ publicKey }) => toHex(publicKey))).toEqual([next]);
  for (const dir of [web, db]) await leave(dir);
}, 60_000);

test("a manager that is killed in between goes on; who is away for a day is not waited for", async () => {
  const old = nodeOf(web).sessionPub;
  follow(web);
  await rotate();
  const next = await untilRenewed(old);
  await leave(web);
  await site.manager?.stop();
  await site.start({}, port);
  expect(nodeOf(web)).toMatchObject({ sessionPub: next, sessionOld: old });
  expect(nodeOf(web).sessionAlone).toBeUndefined();
  site.skewSeconds = WAIT_SECONDS_MAX + 60;
  await until(() => nodeOf(web).sessionAlone !== undefined);
  expect(nodeOf(web).sessionOld).toBe(old);
  site.skewSeconds = 2 * WAIT_SECONDS_MAX + 60;
  await until(() => nodeOf(web).sessionOld === undefined);
  site.skewSeconds = 0;
  for (const dir of [web, db]) follow(dir);
  await until(() => startedWith(web).own.length === 1 && startedWith(db).peer[0] === next);
  expect(startedWith(web).own).toEqual([next]);
  expect(startedWith(db).peer).toEqual([next]);
}, 60_000);
