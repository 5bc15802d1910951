/**
 * Checks of the story on the ledger itself: its four validators agree on blocks, three are enough,
 * two are not, and who was away catches up. design/ledger.md "Agreement": q = 3 of 4.
 */

import { MASTER_FOLDER } from "../node/ledger-init.ts";
import { all, type Check, type Observed, type StoryContext } from "./check.ts";
import { app1, app1Works, app2Works } from "./checks-programs.ts";
import { errorWords } from "./command.ts";
import type { BlockRow, NodeStatus } from "./lab-ledger.ts";
import { LEDGER, VMS, type VmName } from "./lab-plan.ts";
import { scdFile, tamper, tamperedCopies } from "./scd-tampering.ts";

const { db: DB, cache: CACHE } = VMS;
const FOUR: readonly VmName[] = LEDGER.validators;
const QUORUM = 3;
/** How long a contract is waited for where it must be sealed, and where it must not. */
const SEALED_SECONDS = 15;
const REFUSED_SECONDS = 4;
const CAUGHT_UP_MS = 20_000;

async function heightOf(story: StoryContext, name: string): Promise<number> {
  return (await story.ledger.status(name))?.height ?? 0;
}

/** New contracts, a block each, and whether these nodes hold the chain with them alike. */
async function agree(
  story: StoryContext,
  names: readonly VmName[],
  count: number,
): Promise<Observed> {
  const before = await heightOf(story, MASTER_FOLDER);
  const seconds: string[] = [];
  for (let i = 0; i < count; i++) {
    const created = await story.ledger.create(SEALED_SECONDS);
    if (created.code !== 0) return { passed: false, words: errorWords(created) };
    seconds.push((created.elapsedMs / 1_000).toFixed(1));
  }
  const states = await story.ledger.until(names, (status) => status.height >= before + count);
  const newest = ["blocks", "--count", String(count)];
  const blocks = await story.ledger.ask<readonly BlockRow[]>("web", newest);
  const areNew = blocks.every(({ height, contracts }) => height > before && contracts === 1);
  const areAgreed = blocks.every(({ votes }) => votes >= QUORUM);
  const heights = blocks.map(({ height, votes }) => `${height} (${votes} votes)`).join(", ");
  return {
    passed: blocks.length === count && areNew && areAgreed && areAlike(states),
    words:
      `sealed after ${seconds.join(" and ")} s: block ${heights}; ` +
      `${areAlike(states) ? "one hash" : "not one hash"} in ${names.join(", ")}`,
  };
}

function areAlike(states: readonly NodeStatus[]): boolean {
  return new Set(states.map((status) => status.block_hash)).size === 1;
}

/** No end in order, as when a VM loses power; it may have been stopped before. */
async function cutPower(story: StoryContext, vm: VmName): Promise<void> {
  await story.site.agent(vm).kill();
}

export const ledgerAgreed: Check = {
  name: "ledger-agreed",
  tried: "abs ledger contract create: the master proposes, web, db, rogue and cache are asked",
  expected: "a block with at least 3 votes is sealed, and the four hold the same chain",
  run: (story) => agree(story, FOUR, 1),
  sabotage: {
    words: "no master runs",
    settings: { ledger: { ...LEDGER, master: "none" } },
  },
};

export const oneStopped: Check = {
  name: "one-of-four-stopped",
  tried: "rogue's VM is cut off without warning; two more contracts are made",
  expected: "3 of 4 are enough: both blocks are sealed; App1 works as before",
  async run(story) {
    await cutPower(story, "rogue");
    const rest = FOUR.filter((vm) => vm !== "rogue");
    return all(await agree(story, rest, 2), await app1Works(story, "web", DB.ipv4));
  },
  sabotage: {
    words: "db is stopped too",
    settings: { ledger: { ...LEDGER, stopped: ["db"] } },
  },
};

/** App1 and ping between those who are left, for as long as the contract is waited for. */
async function trafficOfTheRest(story: StoryContext): Promise<Observed> {
  const pings = 10 * (REFUSED_SECONDS - 1);
  const ping = ["ping", "-n", "-c", String(pings), "-i", "0.1", "-W", "2", DB.ipv4];
  const requests = ["-r", String(pings), "-i", "0.1", "PING"];
  const options = { timeoutMs: 3_000 * REFUSED_SECONDS };
  const [pinged, answered] = await Promise.all([
    story.site.run("web", ping, options),
    story.site.run("web", app1(DB.ipv4, ...requests), options),
  ]);
  const received = Number(/, (\d+) received/.exec(pinged.stdout)?.[1] ?? 0);
  const replies = answered.stdout.split("\n").filter((line) => line === "PONG").length;
  return {
    passed: received === pings && replies === pings,
    words: `web to db meanwhile: ${received} of ${pings} pings, ${replies} of ${pings} requests`,
  };
}

export const twoStopped: Check = {
  name: "two-of-four-stopped",
  tried: "cache is cut off as well; a contract is proposed while App1 talks from web to db",
  expected: "no block without 3 votes, and abs says why; traffic between the rest goes on",
  async run(story) {
    await Promise.all([cutPower(story, "rogue"), cutPower(story, "cache")]);
    const before = await heightOf(story, "web");
    const [created, rest] = await Promise.all([
      story.ledger.create(REFUSED_SECONDS),
      trafficOfTheRest(story),
    ]);
    const heights = [await heightOf(story, "web"), await heightOf(story, "db")];
    const breached = created.code === 0 || heights.some((height) => height > before);
    const why = errorWords(created);
    const refused: Observed = {
      passed: !breached && why.includes("3 of 4 validators must agree"),
      breached,
      words: `height stays ${before}; said: ${why}`,
    };
    return all(refused, rest);
  },
  sabotage: {
    words: "web and db alone are the ledger's validators",
    settings: { ledger: { ...LEDGER, validators: ["web", "db"] } },
  },
};

export const bothBack: Check = {
  name: "both-back",
  tried: "bytes of a contract are changed on rogue's disk; rogue's and cache's agents start again",
  expected: "rogue reports it and puts it right; both catch up; what was refused before is sealed",
  async run(story) {
    const away: readonly VmName[] = ["rogue", "cache"];
    await Promise.all(away.map((vm) => cutPower(story, vm)));
    const before = await heightOf(story, "web");
    if (!(await isProposed(story))) await story.ledger.create(0);
    const scId = story.site.options.tenants[0]?.contracts.at(-1)?.scId ?? "";
    const file = scdFile(story.ledger.folder("rogue"));
    const copies = tamper(file, scId);
    const started = performance.now();
    for (const vm of away) story.site.agent(vm).restart();
    await Promise.all(away.map((vm) => story.site.agent(vm).ready()));
    const isThere = (status: NodeStatus) => status.height > before;
    const states = await story.ledger.until(FOUR, isThere, CAUGHT_UP_MS);
    const seconds = ((performance.now() - started) / 1_000).toFixed(1);
    const heights = states.map((status, i) => `${FOUR[i]} ${status.height}`).join(", ");
    const told = story.since("rogue").filter(({ event }) => event === "ledger-damage");
    const left = tamperedCopies(file, scId);
    const repaired: Observed = {
      passed: copies >= 2 && left === 0 && told.length > 0,
      words:
        `${copies} copies changed, ${left} left so; event ledger-damage: ` +
        (told.map((event) => String(event["detail"])).join(", ") || "none"),
    };
    const agreed: Observed = {
      passed: areAlike(states),
      words: `heights ${seconds} s later: ${heights}; before: ${before}`,
    };
    return all(repaired, agreed, await app2Works(story, "web", CACHE.ipv4));
  },
  sabotage: {
    words: "db is stopped",
    settings: { ledger: { ...LEDGER, stopped: ["db"] } },
  },
};

/** Whether the master still has something to bring into a block. */
async function isProposed(story: StoryContext): Promise<boolean> {
  return ((await story.ledger.status(MASTER_FOLDER))?.waiting ?? 0) > 0;
}
