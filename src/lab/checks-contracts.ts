/**
 * Checks of the story on the contracts of the ledger: sessions are under those of the SCD, move
 * when one is deactivated, and an SCD that somebody changes is put right. docs/wire.md "Lifetimes",
 * design/ledger.md "Spreading and checking".
 */

import { MASTER_FOLDER } from "../node/ledger-init.ts";
import { all, type Check, type Observed, type StoryContext } from "./check.ts";
import { app1Works, app2, app2Works } from "./checks-programs.ts";
import { errorWords, waitFor } from "./command.ts";
import type { AgentEvent } from "./event-reader.ts";
import { LEDGER, VMS, type VmName } from "./lab-plan.ts";
import { scdFile, tamper, tamperedCopies } from "./scd-tampering.ts";

const { db: DB, cache: CACHE } = VMS;
/** Traffic before the contract is deactivated, and in all. */
const WARM_UP_MS = 500;
const PINGS = 90;
const PING_SECONDS = 0.05;
const REQUESTS = 180;
const REQUEST_SECONDS = 0.025;
const TRAFFIC_TIMEOUT_MS = 15_000;
/** Two looks at who sends. Traffic goes on for longer than this is waited for. */
const SAMPLE_MS = 400;
const MOVED_TIMEOUT_MS = 1_500;
/** Nodes check their SCD every 30 s. */
const REPAIRED_TIMEOUT_MS = 35_000;

interface SessionStatus {
  readonly peer: string;
  readonly app: string | null;
  readonly under: readonly { readonly scId: string }[];
  readonly packetsSent: number;
}

interface ScdRow {
  readonly "sc-id": string;
  readonly active: boolean;
}

async function sessionsOf(story: StoryContext, vm: VmName): Promise<readonly SessionStatus[]> {
  const status = await story.site.agent(vm).status();
  return status["sessions"] as readonly SessionStatus[];
}

function isUnder(session: SessionStatus, scId: string): boolean {
  return session.under.some((use) => use.scId === scId);
}

export const sessionsOnLedger: Check = {
  name: "ledger-contracts",
  tried: "App1 and App2 run; what web's sessions are under is compared with its own SCD",
  expected: "each is under a contract that the ledger holds and that is active",
  async run(story) {
    const works = [
      await app1Works(story, "web", DB.ipv4),
      await app2Works(story, "web", CACHE.ipv4),
    ];
    const rows = await story.ledger.ask<readonly ScdRow[]>("web", ["contracts"]);
    const active = rows.filter((row) => row.active).map((row) => row["sc-id"]);
    const sessions = await sessionsOf(story, "web");
    const known = sessions.filter(({ under }) => under.every(({ scId }) => active.includes(scId)));
    const apps = new Set(known.map(({ app }) => app));
    const observed: Observed = {
      passed: known.length === sessions.length && apps.has("app1") && apps.has("app2"),
      words: `${known.length} of ${sessions.length} sessions; ${active.length} contracts active`,
    };
    return all(...works, observed);
  },
  sabotage: {
    words: "the ledger has commitments of other secrets than the VMs hold",
    settings: { ledger: { ...LEDGER, commitments: "wrong" } },
  },
};

/** What web says to cache while sessions move; nothing of it may be lost. */
async function traffic(story: StoryContext): Promise<Observed> {
  const options = { timeoutMs: TRAFFIC_TIMEOUT_MS };
  const ping = ["ping", "-n", "-c", String(PINGS), "-i", String(PING_SECONDS), "-W", "2"];
  const counter = `counter-${Math.random().toString(36).slice(2)}`;
  const count = app2(CACHE.ipv4, "-r", String(REQUESTS), "-i", String(REQUEST_SECONDS));
  const [pinged, counted, connections] = await Promise.all([
    story.site.run("web", [...ping, CACHE.ipv4], options),
    story.site.run("web", [...count, "INCR", counter], options),
    newConnections(story),
  ]);
  const answers = Number(/, (\d+) received/.exec(pinged.stdout)?.[1] ?? 0);
  const replies = counted.stdout.split("\n").filter(Boolean).map(Number);
  const inOrder = replies.filter((reply, i) => reply === i + 1).length;
  const failed = connections.filter((isGood) => !isGood).length;
  const lost = PINGS - answers + (REQUESTS - inOrder) + failed;
  return {
    passed: lost === 0,
    breached: lost > 0,
    words:
      `${answers} of ${PINGS} pings and ${inOrder} of ${REQUESTS} requests answered, ` +
      `${connections.length - failed} of ${connections.length} new connections good`,
  };
}

async function newConnections(story: StoryContext): Promise<boolean[]> {
  const end = performance.now() + 1_000 * PINGS * PING_SECONDS;
  const found: boolean[] = [];
  while (performance.now() < end) {
    const result = await story.site.run("web", app2(CACHE.ipv4, "PING"), { timeoutMs: 3_000 });
    found.push(result.stdout.trim() === "PONG");
    await Bun.sleep(100);
  }
  return found;
}

/** What the sessions under a contract have sent so far, by slot, and what all others have. */
function sentUnder(sessions: readonly SessionStatus[], scId: string) {
  const old = sessions.filter((session) => isUnder(session, scId));
  const sum = (list: readonly SessionStatus[]) =>
    list.reduce((all, { packetsSent }) => all + packetsSent, 0);
  const rest = sessions.filter((session) => !isUnder(session, scId));
  return { old: JSON.stringify(old.map(({ packetsSent }) => packetsSent)), rest: sum(rest) };
}

/** Deactivates the contract that App2's session is under, and watches who sends. */
async function deactivate(story: StoryContext): Promise<Observed> {
  await Bun.sleep(WARM_UP_MS);
  const sessions = await sessionsOf(story, "web");
  const scId = sessions.find(({ app }) => app === "app2")?.under[0]?.scId;
  if (scId === undefined) return { passed: false, words: "App2 has no session" };
  const before = sessions.filter((session) => isUnder(session, scId)).length;
  const result = await story.ledger.command(MASTER_FOLDER, ["contract", "deactivate", scId]);
  if (result.code !== 0) return { passed: false, words: errorWords(result) };
  const sealedAt = performance.now();
  const words = `${before} of ${sessions.length} sessions were under ${scId.slice(0, 8)}…`;
  const isMoved = async () => {
    const first = sentUnder(await sessionsOf(story, "web"), scId);
    await Bun.sleep(SAMPLE_MS);
    const second = sentUnder(await sessionsOf(story, "web"), scId);
    return first.old === second.old && first.rest < second.rest ? true : undefined;
  };
  try {
    await waitFor("sessions to move", isMoved, MOVED_TIMEOUT_MS);
  } catch {
    return { passed: false, breached: true, words: `${words}, and go on under it` };
  }
  const seconds = ((performance.now() - sealedAt) / 1_000).toFixed(1);
  return { passed: before > 0, words: `${words}; ${seconds} s after its end others send` };
}

export const contractDeactivated: Check = {
  name: "contract-deactivated",
  tried: "abs ledger contract deactivate, for the contract of App2, while web talks to cache",
  expected: "its sessions move to another contract; not a packet, request or connection is lost",
  async run(story) {
    await app2Works(story, "web", CACHE.ipv4);
    const [lost, moved] = await Promise.all([traffic(story), deactivate(story)]);
    return all(moved, lost);
  },
  sabotage: {
    words: "it is the only contract there is",
    settings: { ledger: { ...LEDGER, contracts: 1 } },
  },
};

const TAMPERED = "tampered contract";

function isAbout(...events: readonly string[]): (event: AgentEvent) => boolean {
  return ({ event }) => events.includes(event);
}

export const scdTampered: Check = {
  name: "scd-tampered",
  tried:
    "before the story, bytes of a contract were changed in cache's scd.sqlite, beside its agent",
  expected: "cache finds it within 30 s, reports it, and puts it right, with peers' help",
  async prepare(story) {
    const scId = story.site.options.tenants[0]?.contracts.at(-1)?.scId ?? "";
    story.notes.set("copies", String(tamper(scdFile(story.ledger.folder("cache")), scId)));
    story.notes.set(TAMPERED, scId);
  },
  async run(story) {
    const scId = story.notes.get(TAMPERED) ?? "";
    const copies = Number(story.notes.get("copies"));
    const left = () => tamperedCopies(scdFile(story.ledger.folder("cache")), scId);
    const isRight = () => (left() === 0 ? true : undefined);
    await waitFor("the repair", isRight, REPAIRED_TIMEOUT_MS, 200).catch(() => {});
    const breached = left() > 0;
    const events = story.site.agent("cache").events.all();
    const found = events.find(isAbout("ledger-own-root-differs", "ledger-damage"));
    const repaired = events.filter(isAbout("ledger-repaired"));
    return {
      passed: !breached && copies >= 2 && found !== undefined && repaired.length > 0,
      breached,
      words:
        `${copies} copies changed, ${left()} left so; event ${found?.event ?? "missing"}; ` +
        `repaired: ${repaired.map((event) => String(event["detail"])).join(", ") || "nothing"}`,
    };
  },
  sabotage: {
    words: "cache's agent does not run",
    settings: { ledger: { ...LEDGER, stopped: ["cache"] } },
  },
};
