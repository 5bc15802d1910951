/**
 * Checks of the story that use real programs: App1 and ping get through, every other client does
 * not. design/agent.md "Egress" and "Ingress", design/wire.md "Session, tag, role".
 */

import { all, type Check, observeRefusal, type StoryContext } from "./check.ts";
import { lastWords } from "./command.ts";
import { ETHERTYPE, isNeighbourDiscovery, isPeerChannel, PROTOCOL } from "./frames.ts";
import {
  APP1_USER,
  APP2_USER,
  CLOSED_PORT,
  DB_RULES,
  REDIS_PORT,
  VMS,
  type VmName,
} from "./lab-plan.ts";
import type { RedisUser } from "./programs.ts";

const { db: DB, cache: CACHE } = VMS;
/** A client that ought to be served. */
const ANSWER_TIMEOUT_MS = 3_000;

/** redis-cli as App1: its first payload is AUTH app1. */
export function app1(address: string, ...command: readonly string[]): string[] {
  return redisAs(APP1_USER, address, command);
}

/** redis-cli as App2. */
export function app2(address: string, ...command: readonly string[]): string[] {
  return redisAs(APP2_USER, address, command);
}

function redisAs(user: RedisUser, address: string, command: readonly string[]): string[] {
  const login = ["--no-auth-warning", "--user", user.name, "--pass", user.password];
  return [...redis(address), ...login, ...command];
}

/** redis-cli that says nothing of itself. */
export function redis(address: string): string[] {
  return ["redis-cli", "-h", address, "-p", String(REDIS_PORT)];
}

function http(address: string, port: number): string[] {
  return ["curl", "-sS", "-g", `http://${address}:${port}/`];
}

/** The application stores a value and reads it back. */
async function redisWorks(story: StoryContext, from: VmName, address: string, app: typeof app1) {
  const value = `value-${Math.random().toString(36).slice(2)}`;
  const options = { timeoutMs: ANSWER_TIMEOUT_MS };
  const set = await story.site.run(from, app(address, "SET", "story", value), options);
  const get = await story.site.run(from, app(address, "GET", "story"), options);
  const passed = set.stdout.trim() === "OK" && get.stdout.trim() === value;
  return { passed, words: `SET: ${lastWords(set)}; GET: ${lastWords(get)}` };
}

export async function app1Works(story: StoryContext, from: VmName, address: string) {
  return await redisWorks(story, from, address, app1);
}

export async function app2Works(story: StoryContext, from: VmName, address: string) {
  return await redisWorks(story, from, address, app2);
}

const app1Ipv4: Check = {
  name: "app1-ipv4",
  tried: "App1 in web (redis-cli --user app1) writes to Redis in db and reads it back",
  expected: "OK and the value",
  run: (story) => app1Works(story, "web", DB.ipv4),
  sabotage: { words: "db has no rule for App1", settings: { dbRules: [] } },
};

const app1Ipv6: Check = {
  name: "app1-ipv6",
  tried: "the same over IPv6",
  expected: "OK and the value",
  run: (story) => app1Works(story, "web", DB.ipv6),
  sabotage: { words: "db has no rule for App1", settings: { dbRules: [] } },
};

const app2Cache: Check = {
  name: "app2-cache",
  tried: "App2 in web (redis-cli --user app2) writes to Redis in cache and reads it back",
  expected: "OK and the value",
  run: (story) => app2Works(story, "web", CACHE.ipv4),
  sabotage: { words: "cache has no rule for App2", settings: { cacheRules: [] } },
};

const ping: Check = {
  name: "ping",
  tried: "ping from web to db: ICMP echo is an application like any other",
  expected: "3 of 3 answers",
  async run(story) {
    const command = ["ping", "-n", "-c", "3", "-i", "0.2", "-W", "1", DB.ipv4];
    const result = await story.site.run("web", command, { timeoutMs: 5_000 });
    const words = /\d+ packets transmitted, (\d+) received/.exec(result.stdout);
    return { passed: words?.[1] === "3", words: words?.[0] ?? lastWords(result) };
  },
  sabotage: { words: "no rule lets ping in", settings: { pingRules: [] } },
};

const fieldOnBridge: Check = {
  name: "field-on-bridge",
  tried: "App1 and ping run while every packet between web and db is looked at on the switch",
  expected:
    "each but ARP, neighbour discovery and the ledger's channel is protocol 253, flag 4 to 6",
  async run(story) {
    await app1Works(story, "web", DB.ipv4);
    await app1Works(story, "web", DB.ipv6);
    await story.site.run("web", ["ping", "-n", "-c", "3", "-i", "0.2", DB.ipv4]);
    const ip = [ETHERTYPE.ipv4, ETHERTYPE.ipv6];
    const addresses = [VMS.web, VMS.db].flatMap((vm) => [vm.ipv4, vm.ipv6]);
    const between = story.switchTap
      .frames()
      .filter((frame) => frame.direction === "received" && ip.includes(frame.etherType))
      .filter((frame) => addresses.includes(frame.source ?? ""))
      .filter((frame) => addresses.includes(frame.destination ?? ""))
      .filter((frame) => !isNeighbourDiscovery(frame) && !isPeerChannel(frame));
    const carrying = between.filter((frame) => {
      const first = frame.ipPayload?.[0] ?? 0;
      return frame.protocol === PROTOCOL.abs && first >>> 4 === 1 && [4, 5, 6].includes(first & 15);
    });
    const both = new Set(carrying.map((frame) => frame.source)).size >= 4;
    const breached = carrying.length < between.length;
    const passed = !breached && carrying.length >= 20 && both;
    return {
      passed,
      breached,
      words: `${carrying.length} of ${between.length} packets carry the field`,
    };
  },
  sabotage: { words: "no agents run", settings: { agents: "none" } },
};

const otherProtocol: Check = {
  name: "other-protocol",
  tried: "curl in web speaks HTTP to db's Redis port",
  expected: "refused by web's own agent: no signature; nothing reaches db",
  run: (story) =>
    observeRefusal(story, {
      from: "web",
      to: "db",
      port: REDIS_PORT,
      command: http(DB.ipv4, REDIS_PORT),
      reasons: ["no-signature"],
    }),
  sabotage: {
    words: "App1's signature asks for the port only",
    settings: { app1Signature: "port-only" },
  },
};

const withoutMark: Check = {
  name: "redis-without-mark",
  tried: "redis-cli in web without App1's user",
  expected: "refused by web's own agent: no signature; nothing reaches db",
  run: (story) =>
    observeRefusal(story, {
      from: "web",
      to: "db",
      port: REDIS_PORT,
      command: [...redis(DB.ipv4), "PING"],
      reasons: ["no-signature"],
    }),
  sabotage: {
    words: "App1's signature asks for the port only",
    settings: { app1Signature: "port-only" },
  },
};

const rogueSameBytes: Check = {
  name: "rogue-same-bytes",
  tried: "rogue, a VM of the same tenant, runs the very command of App1 and claims its tag",
  expected: "db answers no handshake for a tag that rogue may not claim; no payload byte arrives",
  run: (story) =>
    observeRefusal(story, {
      from: "rogue",
      to: "db",
      port: REDIS_PORT,
      command: app1(DB.ipv4, "GET", "story"),
      refusedSession: true,
      reasons: ["tag"],
    }),
  sabotage: {
    words: "the manager lets rogue claim App1",
    settings: { rogueApps: ["app1", "ping"] },
  },
};

const rogueOtherTag: Check = {
  name: "rogue-other-tag",
  tried: "rogue sends Redis commands under the tag of ping, which it may claim",
  expected: "db refuses the tag on that port; no payload byte arrives",
  run: (story) =>
    observeRefusal(story, {
      from: "rogue",
      to: "db",
      port: REDIS_PORT,
      command: [...redis(DB.ipv4), "PING"],
    }),
  sabotage: {
    words: "db's rule admits any application",
    settings: {
      dbRules: [{ ...DB_RULES[0], app: "any" }],
    },
  },
};

const roguePortScan: Check = {
  name: "rogue-port-scan",
  tried: "rogue connects to a port of db that no rule opens",
  expected: "not even the SYN is delivered; db's event names the flow",
  async run(story) {
    const command = http(DB.ipv4, CLOSED_PORT);
    const attempt = { from: "rogue", to: "db", port: CLOSED_PORT, command } as const;
    const observed = await observeRefusal(story, attempt);
    const segments = story
      .insideFrames("db")
      .filter((frame) => frame.direction === "received" && frame.destinationPort === CLOSED_PORT);
    const breached = segments.length > 0;
    const words = `segments delivered: ${segments.length}`;
    return all(observed, { passed: !breached, breached, words });
  },
  sabotage: {
    words: "db has a rule that opens every port",
    settings: { dbRules: [{ id: "open", direction: "in", action: "allow" }] },
  },
};

const otherTenantKeys: Check = {
  name: "other-tenant-keys",
  tried: "other, a VM with valid keys of tenant B that knows db's address and key, runs App1",
  expected: "db accepts no session for another tenant; no payload byte arrives",
  run: (story) =>
    observeRefusal(story, {
      from: "other",
      to: "db",
      port: REDIS_PORT,
      command: app1(DB.ipv4, "GET", "story"),
      refusedSession: true,
    }),
  sabotage: { words: "other is enrolled in tenant A", settings: { otherIsTenantA: true } },
};

const otherOutside: Check = {
  name: "other-outside",
  tried: "other reaches for db's Redis without any field, over IPv6",
  expected: "denied as traffic from outside the tenant; not a packet delivered",
  run: (story) =>
    observeRefusal(story, {
      from: "other",
      to: "db",
      ipv6: true,
      port: REDIS_PORT,
      command: app1(DB.ipv6, "GET", "story"),
      reasons: ["outside-denied"],
    }),
  sabotage: {
    words: "db has a rule that admits other's address",
    settings: {
      dbRules: [
        ...DB_RULES,
        { id: "b", direction: "in", from: { cidr: `${VMS.other.ipv6}/128` }, action: "allow" },
      ],
    },
  },
};

export const PROGRAM_CHECKS: readonly Check[] = [
  app1Ipv4,
  app1Ipv6,
  app2Cache,
  ping,
  fieldOnBridge,
  otherProtocol,
  withoutMark,
  rogueSameBytes,
  rogueOtherTag,
  roguePortScan,
  otherTenantKeys,
  otherOutside,
];
