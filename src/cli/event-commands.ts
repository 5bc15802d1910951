/**
 * `abs events`, `abs flows`, `abs sessions`: what a running agent tells, now and since, or what is
 * in event logs. docs/events.md "Looking at events".
 */
import { createReadStream } from "node:fs";
import { defineCommand } from "citty";
import { readEvents, readStatus } from "../agent/status-server.ts";
import { AbsError, messageOf } from "../errors.ts";
import type { EventRecord } from "../observe/event-record.ts";
import { viewOf } from "../observe/event-view.ts";
import { eventFormat, eventOutputArgument, sinceOf } from "./event-words.ts";
import { notes } from "./notes.ts";
import { isJsonOutput, optionError, printResult, tableText } from "./options.ts";

const FLOWS = ["flow-allowed", "refused", "rejected-by-peer"];
const SESSIONS = /^(session|handshake)-/;
const NEWLINE = Uint8Array.of(10);
const LINE_CHARACTERS_MAX = 1_000_000;
const VERDICTS = ["allowed", "denied", "observed"];

const stateArgument = {
  type: "string",
  default: "/run/abs",
  description: "state folder of the agent",
} as const;

const followArguments = {
  state: stateArgument,
  follow: { type: "boolean", alias: "f", description: "go on with what comes, until Ctrl-C" },
  since: { type: "string", description: "only from then on: 10m, 2h, 3d ago, or a time" },
  output: eventOutputArgument,
} as const;

const verdictArgument = {
  type: "string",
  description: "only these decisions: allowed, denied, or observed (refused, but let through)",
} as const;

type Words = {
  readonly _: readonly string[];
  readonly state: string;
  readonly follow?: boolean | undefined;
  readonly since?: string | undefined;
  readonly verdict?: string | undefined;
  readonly output: string;
};

/** Prints those events that are wanted, from files if any are named, else from the agent. */
async function show(words: Words, isWanted: (record: EventRecord) => boolean): Promise<void> {
  const { verdict, since } = words;
  const format = eventFormat(words.output);
  if (verdict !== undefined && !VERDICTS.includes(verdict)) {
    throw optionError(`--verdict ${verdict} is not known.`, `Use ${VERDICTS.join(" or ")}.`);
  }
  const sinceMs = since === undefined ? 0 : sinceOf(since, Date.now());
  const isFollowing = words.follow === true;
  if (isFollowing && words._.length > 0) {
    throw optionError("--follow asks a running agent, not files.", "Leave one of them out.");
  }
  // Whoever reads ours has had enough: `| head`.
  process.stdout.on("error", () => process.exit(0));
  const bytes =
    words._.length > 0 ? fileBytes(words._) : await readEvents(words.state, sinceMs, isFollowing);
  for await (const line of linesOf(bytes)) {
    const missed = /^\{"event":"events-skipped","count":(\d+)\}$/.exec(line);
    if (missed !== null) notes.warn(`${missed[1]} events were missed: reading is too slow.`);
    const record = recordOf(line);
    if (record === undefined || !(Date.parse(record.time) >= sinceMs)) continue;
    if (!isWanted(record)) continue;
    if (verdict !== undefined && viewOf(record).verdict !== verdict) continue;
    if (!process.stdout.write(`${format(record)}\n`)) {
      await new Promise((resolve) => process.stdout.once("drain", resolve));
    }
  }
}

/** @throws AbsError EVENTS_UNREADABLE */
async function* fileBytes(files: readonly string[]): AsyncGenerator<Uint8Array> {
  for (const file of files) {
    try {
      yield* file === "-" ? process.stdin : createReadStream(file);
      yield NEWLINE;
    } catch (cause) {
      const what = `${file} cannot be read: ${messageOf(cause)}.`;
      throw new AbsError("EVENTS_UNREADABLE", what, "Name event logs of --events.", cause);
    }
  }
}

/** Lines end at line feeds alone: texts in them may have other separators. Longer ones are cut. */
async function* linesOf(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const part of bytes) {
    const lines = (rest + decoder.decode(part, { stream: true })).split("\n");
    rest = (lines.pop() ?? "").slice(0, LINE_CHARACTERS_MAX);
    yield* lines;
  }
}

/** Nothing for a line that is no record: a torn one, one of before schema 1, a heartbeat. */
function recordOf(line: string): EventRecord | undefined {
  try {
    const value = JSON.parse(line) as Partial<EventRecord> | null;
    const isRecord =
      typeof value?.event === "string" &&
      typeof value.time === "string" &&
      typeof value.id === "string" &&
      typeof value.class === "string" &&
      typeof value.severity === "string" &&
      typeof value.origin?.role === "string";
    return isRecord ? (value as EventRecord) : undefined;
  } catch {
    return undefined;
  }
}

const EXAMPLES = `
  abs flows --follow --verdict denied
  abs events --since 10m --output ecs
  abs events /var/log/abs/events.ndjson --since 2026-01-31T12:00:00Z`;

export const eventsCommand = defineCommand({
  meta: {
    name: "events",
    description: `what a running agent told, or the event logs FILE… have\n${EXAMPLES}`,
  },
  args: { ...followArguments, verdict: verdictArgument },
  run: ({ args }) => show(args, () => true),
});

export const flowsCommand = defineCommand({
  meta: {
    name: "flows",
    description: `decisions on flows: allowed, refused, by which rule\n${EXAMPLES}`,
  },
  args: { ...followArguments, verdict: verdictArgument },
  run: ({ args }) => show(args, ({ event }) => FLOWS.includes(event)),
});

type SessionRow = {
  readonly peer: string;
  readonly app: string | null;
  readonly initiator: boolean;
  readonly packetsSent: number;
};

export const sessionsCommand = defineCommand({
  meta: {
    name: "sessions",
    description:
      "sessions of a running agent; with --follow or --since, how they came and went\n\n" +
      "  abs sessions\n  abs sessions --follow",
  },
  args: followArguments,
  async run({ args }) {
    const isPast = args.follow === true || args.since !== undefined || args._.length > 0;
    if (isPast) return await show(args, ({ event }) => SESSIONS.test(event));
    const isJson = isJsonOutput(args.output);
    const { sessions } = (await readStatus(args.state)) as { sessions: readonly SessionRow[] };
    const rows = sessions.map(({ peer, app, initiator, packetsSent }) => {
      return { peer, app: app ?? "(tenant)", begun: initiator ? "here" : "there", packetsSent };
    });
    printResult(isJson, sessions, tableText(rows));
  },
});
