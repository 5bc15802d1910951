/**
 * Checks of the story on who belongs to the tenant: a VM that joins while traffic runs, one that
 * claims another's address, and one that is revoked. docs/manager.md "Enrolment", "Agents".
 */
import { readFileSync } from "node:fs";
import { all, type Check, type Observed, type StoryContext } from "./check.ts";
import { bareFrames } from "./checks-injected.ts";
import { app1, app1Works } from "./checks-programs.ts";
import { errorWords, startBackground, waitFor } from "./command.ts";
import { FIVE_COMMANDS, runLine, SIXTH_COMMAND } from "./five-commands.ts";
import { ETHERTYPE, isPeerChannel, PROTOCOL } from "./frames.ts";
import { LEDGER, TENANT_A, THIEF, VMS } from "./lab-plan.ts";
import { interfaceIndex, withNamespace } from "./namespace.ts";
import { PacketSocket } from "./packet-socket.ts";
import { namespaceOf, VM_INTERFACE } from "./topology.ts";
import { underTraffic } from "./traffic.ts";

const { web: WEB, db: DB } = VMS;
const TO_DB = { to: "db", app: app1 } as const;
const JOINED_MS = 30_000;
const SETTLE_MS = 300;
const CUT_OFF_MS = 1_000;
const WATCHED_MS = 2_500;
const PING_SECONDS = 0.02;
const COMMITTEE_MS = 20_000;

const fiveCommands: Check = {
  name: "five-commands",
  tried: "README's five commands, and the sixth, typed as above where there was nothing but abs",
  expected: "web and db talk; whatever passes between them is under proof",
  async run(story) {
    const typed = story.lab.typed.map(({ machine, line }) => {
      return `${machine}# ${line.replace(/abs1-\S+/, "TOKEN")}`;
    });
    const readme = [...FIVE_COMMANDS, SIXTH_COMMAND].map(({ machine, line }) => {
      return `${machine}# ${line}`;
    });
    const missing = readme.filter((line) => !typed.includes(line));
    const ping = ["ping", "-n", "-c", "3", "-i", "0.2", "-W", "2", DB.ipv4];
    const result = await story.site.run("web", ping);
    const answers = Number(/, (\d+) received/.exec(result.stdout)?.[1] ?? 0);
    const between = story.switchTap.frames().filter((frame) => {
      const ends = [frame.source, frame.destination];
      return ends.includes(WEB.ipv4) && ends.includes(DB.ipv4) && !isPeerChannel(frame);
    });
    const bare = between.filter(
      ({ protocol, etherType }) => etherType === ETHERTYPE.ipv4 && protocol !== PROTOCOL.abs,
    );
    return {
      passed: missing.length === 0 && answers === 3 && bare.length === 0,
      breached: bare.length > 0,
      words:
        `${readme.length - missing.length} of ${readme.length} were typed so; ${answers} of 3 ` +
        `pings answered; ${bare.length} packets between them without proof`,
    };
  },
  sabotage: { words: "no agents run", settings: { agents: "none" } },
};

/** late enrols and runs, unless it has; how long it took until App1 there was served. */
async function joinLate(story: StoryContext): Promise<string> {
  const { lab } = story;
  const { manager, settings } = lab;
  if (lab.agents().some(({ vm }) => vm === "late")) return "it has joined";
  const token = await manager.invite("late", settings.lateApps, `--tenant ${TENANT_A}`);
  const started = performance.now();
  await lab.startAgent("late", runLine(token)).ready();
  await manager.type("abs manager agents set --agent late --mode full --stage enforce");
  const isServed = async () => {
    const command = app1(DB.ipv4, "PING");
    const result = await story.site.run("late", command, { timeoutMs: 1_000 });
    return result.stdout.trim() === "PONG" || undefined;
  };
  await waitFor("App1 of late to be served", isServed, JOINED_MS, 100);
  await manager.untilEnforced(TENANT_A, ["late"]);
  return `App1 of late is served ${((performance.now() - started) / 1_000).toFixed(1)} s later`;
}

const vmJoins: Check = {
  name: "vm-joins",
  tried: "late is invited, and its agent started, while App1 runs from web to db",
  expected: "App1 of late is served by db, under a session of late's own; nothing is lost",
  run: (story) =>
    underTraffic(story, TO_DB, async () => {
      const words = await joinLate(story);
      const own = story.since("db").filter((event) => {
        return event.event === "session-established" && event["peer"] === "late";
      });
      const apps = [...new Set(own.map((event) => event.app ?? "the tenant"))];
      return {
        passed: apps.includes("app1"),
        words: `${words}; sessions of db with it: ${apps.join(", ") || "none"}`,
      };
    }),
  sabotage: { words: "late may not claim App1", settings: { lateApps: ["ping"] } },
};

/** With a token of its own, but another's address. */
async function enrolStolen(story: StoryContext): Promise<Observed> {
  const { lab } = story;
  const address = lab.settings.stolen === "db" ? DB.ipv4 : THIEF.ipv4;
  const token = await lab.manager.invite("thief", ["ping"], `--tenant ${TENANT_A}`);
  const line = `abs agent enroll ${token} --address ${address}`;
  const result = await lab.machine("thief").try(line);
  const breached = result.code === 0;
  return { passed: !breached, breached, words: breached ? "it is enrolled" : errorWords(result) };
}

/** Packets in web's name, from another machine. */
async function sendStolen(story: StoryContext): Promise<Observed> {
  const namespace = namespaceOf(story.site.options.prefix, THIEF.name);
  const index = withNamespace(namespace, () => interfaceIndex(VM_INTERFACE));
  const socket = new PacketSocket(namespace, VM_INTERFACE);
  const frames = bareFrames({ ...WEB, mac: THIEF.mac }, "ipv4");
  for (const frame of frames) socket.send(index, frame);
  socket.close();
  await Bun.sleep(SETTLE_MS);
  const inside = story.insideFrames("db").filter(({ source, sourceMac }) => {
    return sourceMac === THIEF.mac && source === WEB.ipv4;
  });
  const breached = inside.length > 0;
  const seen: Observed = {
    passed: !breached,
    breached,
    words: `${frames.length} packets in web's name, ${inside.length} seen inside db`,
  };
  return all(seen, await story.eventProof({ source: WEB.ipv4, destination: DB.ipv4 }, 2_000));
}

const addressStolen: Check = {
  name: "address-stolen",
  tried: "thief, invited like the others, enrols with db's address, and sends with web's",
  expected: "the manager refuses it; db refuses its packets, which prove nothing",
  run: async (story) => all(await enrolStolen(story), await sendStolen(story)),
  sabotage: { words: "the address is nobody's", settings: { stolen: "nobody's" } },
};

/** Milliseconds of the wall clock of each answer, as `ping -D` prints them. */
function answersOf(text: string): number[] {
  return [...text.matchAll(/^\[(\d+\.\d+)\] .* bytes from /gm)].map((found) => {
    return 1_000 * Number(found[1]);
  });
}

const revoked: Check = {
  name: "vm-revoked",
  tried: "abs manager agents revoke, for late, while it pings db 50 times a second",
  expected: "within a second of the command's end nothing of late is answered, nor ever again",
  async run(story) {
    await joinLate(story);
    const { lab, site } = story;
    const logFile = `${site.options.directory}/late-pings`;
    const command = ["ping", "-n", "-D", "-i", String(PING_SECONDS), DB.ipv4];
    const pinging = startBackground(site.inside("late", command), { logFile });
    await Bun.sleep(CUT_OFF_MS);
    const whom = lab.settings.revoked;
    await lab.manager.type(`abs manager agents revoke ${whom} --reason stolen`);
    const doneAt = Date.now();
    await Bun.sleep(WATCHED_MS);
    await pinging.stop("SIGINT");
    const answers = answersOf(readFileSync(logFile, "utf8"));
    const lastMs = Math.round(Math.max(...answers) - doneAt);
    const after = await app1Works(story, "late", DB.ipv4);
    const cut = story.since("db").find((event) => {
      return event.event === "peer-cut-off" && event["peer"] === "late";
    });
    const breached = lastMs > CUT_OFF_MS || after.passed;
    const seen: Observed = {
      passed: !breached && answers.length > 0 && cut !== undefined,
      breached,
      words:
        `${answers.length} answers, the last ${lastMs} ms after the command ended; ` +
        `event in db: ${cut?.event ?? "missing"}; App1 of late: ${after.words}`,
    };
    return all(seen, await committeeOfFour(story));
  },
  sabotage: { words: "another VM is revoked", settings: { revoked: "other" } },
};

/** The others go on as a ledger without it. */
async function committeeOfFour(story: StoryContext): Promise<Observed> {
  const four = LEDGER.validators;
  try {
    await story.ledger.until(four, ({ committee }) => committee === four.length, COMMITTEE_MS);
    return { passed: true, words: `the committee is ${four.join(", ")}` };
  } catch {
    return { passed: false, words: "it is in the committee still" };
  }
}

export const START_CHECKS: readonly Check[] = [fiveCommands];
export const JOIN_CHECKS: readonly Check[] = [vmJoins];
export const LEAVE_CHECKS: readonly Check[] = [addressStolen, revoked];
