/**
 * Checks of the story on what the manager changes while traffic runs: modes, keys, and its own
 * absence. docs/manager.md "Updates", "Contracts".
 */
import { all, type Check, type Observed, type StoryContext } from "./check.ts";
import { app1, redis } from "./checks-programs.ts";
import { lastWords, waitFor } from "./command.ts";
import { LEDGER, TENANT_A, VMS } from "./lab-plan.ts";
import { underTraffic } from "./traffic.ts";

const { db: DB, cache: CACHE } = VMS;
const FOLLOWERS = ["web", "db", "cache"];
const TO_DB = { to: "db", app: app1 } as const;
const REFUSED_MS = 1_000;
const ROTATED_MS = 60_000;
const LOST_MS = 20_000;
const PINGS = 5;

function secondsSince(started: number): string {
  return ((performance.now() - started) / 1_000).toFixed(1);
}

/** Sets db's mode, and waits until the tenant's agents report it in force. */
async function setMode(story: StoryContext, mode: "quick" | "full"): Promise<string> {
  const { manager } = story.lab;
  const started = performance.now();
  await manager.type(`abs manager agents set --agent db --mode ${mode}`);
  await manager.untilEnforced(TENANT_A, FOLLOWERS);
  return secondsSince(started);
}

/** redis-cli without App1's mark. */
async function unmarked(story: StoryContext): Promise<{ isServed: boolean; words: string }> {
  const command = [...redis(DB.ipv4), "PING"];
  const result = await story.site.run("web", command, { timeoutMs: REFUSED_MS });
  return { isServed: result.stdout.trim() === "PONG", words: lastWords(result) };
}

const modeChanged: Check = {
  name: "mode-changed",
  tried: "abs manager agents set --agent db --mode quick, and full again, while App1 runs",
  expected:
    "in quick the tenant is enough: redis-cli without App1's mark is served; in full not; App1's " +
    "connection goes on (what began unproven in quick may end)",
  run: (story) =>
    underTraffic(story, { ...TO_DB, newMayEnd: true }, async () => {
      const toQuick = await setMode(story, "quick");
      const inQuick = await unmarked(story);
      const toFull = await setMode(story, "full");
      const inFull = await unmarked(story);
      return {
        passed: inQuick.isServed && !inFull.isServed,
        breached: inFull.isServed,
        words:
          `quick in force everywhere after ${toQuick} s: ${inQuick.words}; ` +
          `full after ${toFull} s: ${inFull.words}`,
      };
    }),
  sabotage: {
    words: "no manager runs",
    settings: { ledger: { ...LEDGER, master: "killed" } },
  },
};

interface Session {
  readonly peer: string;
  readonly app: string | null;
  readonly under: readonly { readonly scId: string; readonly generation: number }[];
}

/** Generations that App1's session from web to db is under. */
async function generations(story: StoryContext): Promise<readonly number[]> {
  const sessions = (await story.agent("web").status())["sessions"] as readonly Session[];
  const own = sessions.filter(({ peer, app }) => peer === "db" && app === "app1");
  return own.flatMap(({ under }) => under.map(({ generation }) => generation));
}

interface AgentKeys {
  readonly name: string;
  readonly renewals: number;
  readonly renewal: string;
}

/** New keys of every kind and certificates of all agents of tenant A, and another host key. */
async function renewKeys(story: StoryContext): Promise<Observed> {
  const { manager } = story.lab;
  const read = async () => {
    const rows = await manager.type(`abs manager keys list --tenant ${TENANT_A} --output json`);
    const all = JSON.parse(rows) as AgentKeys[];
    return all.filter(({ name }) => FOLLOWERS.includes(name));
  };
  const before = await read();
  const started = performance.now();
  await manager.type("abs manager keys rotate --host");
  await manager.type(`abs manager keys rotate --all --tenant ${TENANT_A} --kind all`);
  const areNew = async () => {
    const now = await read();
    const isNew = ({ renewals, renewal }: AgentKeys, i: number) =>
      renewal === "-" && renewals > (before[i]?.renewals ?? 0);
    return now.every(isNew) ? now : undefined;
  };
  const after = await waitFor("the agents' new keys", areNew, ROTATED_MS, 200);
  return {
    passed: after.length === before.length && after.length > 0,
    words:
      `${after.length} agents have new SSH, ledger, VRF and session keys ` +
      `after ${secondsSince(started)} s`,
  };
}

/** All keys that the manager hands out; until App1's sessions are under new ones. */
async function rotate(story: StoryContext): Promise<Observed> {
  const keys = await renewKeys(story);
  return all(keys, await regenerate(story));
}

/** The next secret of every contract. */
async function regenerate(story: StoryContext): Promise<Observed> {
  const before = await generations(story);
  const contracts = await story.ledger.active("web");
  const started = performance.now();
  for (const scId of contracts) {
    await story.lab.manager.type(`abs manager contract regenerate ${scId} --tenant ${TENANT_A}`);
  }
  const areNew = async () => {
    const now = await generations(story);
    const isNew = Math.max(0, ...now) > Math.max(...before);
    return isNew ? now : undefined;
  };
  const after = await waitFor("the next generation", areNew, ROTATED_MS, 200);
  return {
    passed: before.length > 0,
    words:
      `${contracts.length} contracts; App1's sessions were under generation ` +
      `${Math.max(...before)}, after ${secondsSince(started)} s under ${Math.max(...after)}`,
  };
}

const keysRotated: Check = {
  name: "keys-rotated",
  tried: "abs manager keys rotate, and contract regenerate for every contract, while App1 runs",
  expected: "all have new keys, sessions go on under the next generation's; nothing is lost",
  run: (story) => underTraffic(story, TO_DB, () => rotate(story)),
  sabotage: {
    words: "no manager runs",
    settings: { ledger: { ...LEDGER, master: "killed" } },
  },
};

/** A pair that had no session: the manager is not asked for one. */
async function newSession(story: StoryContext): Promise<Observed> {
  const words = ["ping", "-n", "-c", String(PINGS), "-i", "0.1", "-W", "2", CACHE.ipv4];
  const pinged = await story.site.run("db", words, { timeoutMs: LOST_MS });
  const received = Number(/, (\d+) received/.exec(pinged.stdout)?.[1] ?? 0);
  const begun = story.since("db").filter(({ event, peer }) => {
    return event === "session-established" && peer === "cache";
  });
  return {
    passed: received === PINGS && begun.length > 0,
    words: `${received} of ${PINGS} pings from db to cache, ${begun.length} new sessions`,
  };
}

/** It starts again by the same command, and a change reaches everybody. */
async function managerBack(story: StoryContext): Promise<Observed> {
  const { manager } = story.lab;
  const started = performance.now();
  await manager.serve();
  await manager.type("abs manager agents set --agent cache --trust 77");
  await manager.untilEnforced(TENANT_A, FOLLOWERS);
  return {
    passed: true,
    words: `back, its change is in force everywhere after ${secondsSince(started)} s`,
  };
}

const managerKilled: Check = {
  name: "manager-killed",
  tried: "the manager is killed while App1 runs, and started again later",
  expected: "traffic, new flows and new sessions go on; back again, it reaches its agents",
  run: (story) =>
    underTraffic(story, TO_DB, async () => {
      await story.lab.manager.kill();
      const isMissed = () => story.since("web").find(({ event }) => event === "manager-lost");
      await waitFor("web's agent to miss the manager", isMissed, LOST_MS);
      const alone = await newSession(story);
      return all(alone, await managerBack(story));
    }),
  sabotage: {
    words: "cache's agent is stopped too",
    settings: { ledger: { ...LEDGER, stopped: ["cache"] } },
  },
};

export const MANAGER_CHECKS: readonly Check[] = [modeChanged, keysRotated, managerKilled];
