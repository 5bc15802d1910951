/**
 * Checks of the story on the ledger itself: its four validators agree on blocks, three are enough,
 * two are not, and who was away catches up. design/ledger.md "Agreement": q = 3 of 4.
 */
import { all, type Check, type Observed, type StoryContext } from "./check.ts";
import { app1, app1Works, app2Works } from "./checks-programs.ts";
import { type BlockRow, MASTER, type NodeStatus } from "./lab-ledger.ts";
import { LEDGER, VMS, type VmName } from "./lab-plan.ts";
import { scdFile, tamper, tamperedCopies } from "./scd-tampering.ts";

const { db: DB, cache: CACHE } = VMS;
const FOUR: readonly VmName[] = LEDGER.validators;
const QUORUM = 3;
/** How long a contract that must be sealed is waited for. */
const SEALED_SECONDS = 15;
/** How long a contract that must not be sealed is looked out for. */
const REFUSED_SECONDS = 4;
const CAUGHT_UP_MS = 20_000;

/** New contracts of the manager's, and whether these nodes hold the chain with them alike. */
async function agree(
  story: StoryContext,
  names: readonly VmName[],
  count: number,
): Promise<Observed> {
  const { ledger } = story;
  const before = await ledger.height(MASTER);
  const seconds: string[] = [];
  for (let i = 0; i < count; i++) {
    const started = performance.now();
    await ledger.untilHeld(["web"], await ledger.issue(), true, 1_000 * SEALED_SECONDS);
    seconds.push(((performance.now() - started) / 1_000).toFixed(1));
  }
  const height = await ledger.height("web");
  const states = await ledger.until(names, (status) => status.height >= height);
  const rows = await ledger.ask<readonly BlockRow[]>("web", `blocks --count ${height - before}`);
  const contracts = rows.reduce((sum, row) => sum + row.contracts, 0);
  const areAgreed = rows.every(({ votes }) => votes >= QUORUM);
  const heights = rows.map(({ height: at, votes }) => `${at} (${votes} votes)`).join(", ");
  return {
    passed: contracts === count && areAgreed && areAlike(states),
    words:
      `sealed after ${seconds.join(" and ")} s: block ${heights}; ` +
      `${areAlike(states) ? "one hash" : "not one hash"} in ${names.join(", ")}`,
  };
}

function areAlike(states: readonly NodeStatus[]): boolean {
  return new Set(states.map((status) => status.block_hash)).size === 1;
}

/** No end in order, as when a VM loses power; it may not run, or have been stopped before. */
async function cutPower(story: StoryContext, name: VmName): Promise<void> {
  await story.lab
    .agents()
    .find(({ vm }) => vm === name)
    ?.kill();
}

export const ledgerAgreed: Check = {
  name: "ledger-agreed",
  tried: "abs manager contract issue: the manager proposes, web, db, rogue and cache are asked",
  expected: "a block with at least 3 votes is sealed, and the four hold the same chain",
  run: (story) => agree(story, FOUR, 1),
  sabotage: {
    words: "no manager runs",
    settings: { ledger: { ...LEDGER, master: "killed" } },
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
    const { ledger } = story;
    const before = await ledger.height("web");
    const scId = await ledger.issue();
    const rest = await trafficOfTheRest(story);
    const master = await ledger.ask<NodeStatus>(MASTER, "status");
    const isSealed = (await ledger.active("web")).includes(scId);
    const heights = await Promise.all(["web", "db"].map((name) => ledger.height(name)));
    const breached = isSealed || heights.some((height) => height > before);
    const { committee, quorum, reachable } = master;
    const refused: Observed = {
      passed: !breached && quorum === QUORUM && reachable < QUORUM,
      breached,
      words:
        `height ${isSealed ? "rises" : "stays"} ${before}; abs ledger status: ` +
        `committee ${committee}, quorum ${quorum}, reachable ${reachable}`,
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
    const before = await story.ledger.height("web");
    const refused = await story.ledger.issue();
    const scId = (await story.ledger.active("rogue")).at(-1) ?? "";
    const file = scdFile(story.ledger.folder("rogue"));
    const copies = tamper(file, scId);
    const started = performance.now();
    for (const vm of away) story.agent(vm).startAgain();
    await Promise.all(away.map((vm) => story.agent(vm).ready()));
    await story.ledger.untilHeld(FOUR, refused, true, CAUGHT_UP_MS);
    const states = await alike(story);
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

/** What the four say as soon as they are at one height. */
async function alike(story: StoryContext): Promise<NodeStatus[]> {
  const height = Math.max(...(await Promise.all(FOUR.map((vm) => story.ledger.height(vm)))));
  return await story.ledger.until(FOUR, (status) => status.height >= height, CAUGHT_UP_MS);
}
