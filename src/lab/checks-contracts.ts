/**
 * Checks of the story on the contracts of the ledger: sessions are under those of the SCD, move
 * when one is deactivated, and an SCD that somebody changes is put right. docs/wire.md "Lifetimes",
 * design/ledger.md "Spreading and checking".
 */
import { all, type Check, type Observed, type StoryContext } from "./check.ts";
import { app1Works, app2, app2Works } from "./checks-programs.ts";
import { errorWords, waitFor } from "./command.ts";
import type { AgentEvent } from "./event-reader.ts";
import { LEDGER, TENANT_A, VMS, type VmName } from "./lab-plan.ts";
import { scdFile, tamper, tamperedCopies } from "./scd-tampering.ts";
import { underTraffic } from "./traffic.ts";

const { db: DB, cache: CACHE } = VMS;
/** Two looks at who sends. */
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

async function sessionsOf(story: StoryContext, vm: VmName): Promise<readonly SessionStatus[]> {
  const status = await story.agent(vm).status();
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
    const active = await story.ledger.active("web");
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
    words: "web holds other secrets than the ledger has commitments of",
    settings: { ledger: { ...LEDGER, webSecrets: "wrong" } },
  },
};

/** What the sessions under a contract have sent so far, by slot, and what all others have. */
function sentUnder(sessions: readonly SessionStatus[], scId: string) {
  const old = sessions.filter((session) => isUnder(session, scId));
  const sum = (list: readonly SessionStatus[]) =>
    list.reduce((all, { packetsSent }) => all + packetsSent, 0);
  const rest = sessions.filter((session) => !isUnder(session, scId));
  return { old: JSON.stringify(old.map(({ packetsSent }) => packetsSent)), rest: sum(rest) };
}

/** Ends the contract that App2's session is under, and watches who sends. */
async function expire(story: StoryContext): Promise<Observed> {
  const sessions = await sessionsOf(story, "web");
  const scId = sessions.find(({ app }) => app === "app2")?.under[0]?.scId;
  if (scId === undefined) return { passed: false, words: "App2 has no session" };
  const before = sessions.filter((session) => isUnder(session, scId)).length;
  const line = `abs manager contract expire ${scId} --tenant ${TENANT_A}`;
  const result = await story.lab.manager.try(line);
  if (result.code !== 0) return { passed: false, words: errorWords(result) };
  await story.ledger.untilHeld(["web"], scId, false);
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

export const contractExpired: Check = {
  name: "contract-expired",
  tried: "abs manager contract expire, for the contract of App2, while web talks to cache",
  expected: "its sessions move to another contract; not a packet, request or connection is lost",
  async run(story) {
    await app2Works(story, "web", CACHE.ipv4);
    return await underTraffic(story, { to: "cache", app: app2 }, () => expire(story));
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
    const scId = (await story.ledger.active("cache")).at(-1) ?? "";
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
    const events = story.agent("cache").events.all();
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
