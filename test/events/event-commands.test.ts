/** `abs events`, `abs flows`, `abs sessions`: of a running process, and of event logs. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { EventLog } from "../../src/observe/event-log.ts";
import { RecentEvents } from "../../src/observe/recent-events.ts";
import { eventSamples, hostileSamples } from "./event-samples.ts";
import { makeFolder, until } from "./sink-servers.ts";

const MAIN = join(import.meta.dir, "../../src/cli/main.ts");
const folder = makeFolder();
const log = new EventLog(join(folder.path, "log"), { role: "agent", node: "web" });
const recent = new RecentEvents(log);
let server: ReturnType<typeof Bun.serve>;

beforeAll(() => {
  for (const { time, schema, id, class: of, severity, origin, ...event } of [
    ...eventSamples(),
    ...hostileSamples(),
  ]) {
    log.write(event);
  }
  const lasting: object = { idleTimeout: 0 };
  server = Bun.serve({
    unix: join(folder.path, "agent.sock"),
    fetch: (request) => {
      const { pathname, searchParams } = new URL(request.url);
      if (pathname === "/status") return Response.json({ sessions: SESSIONS });
      return recent.answer(Number(searchParams.get("since")), searchParams.get("follow") === "1");
    },
    ...lasting,
  });
});

afterAll(async () => {
  recent.close();
  await server.stop(true);
  log.close();
  folder[Symbol.dispose]();
});

const SESSIONS = [{ peer: "db", app: null, initiator: true, packetsSent: 7, slot: 1 }];

function spawn(...words: string[]) {
  const command = [process.execPath, MAIN, ...words, "--state", folder.path];
  return Bun.spawn(command, { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
}

async function run(...words: string[]) {
  const child = spawn(...words);
  const [out, err] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  return { code: await child.exited, lines: out.split("\n").slice(0, -1), err };
}

function parsed(lines: readonly string[]): Record<string, unknown>[] {
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
}

test("all events of a running agent, as they were written, and those of its log", async () => {
  const written = readFileSync(join(folder.path, "log"), "utf8").trim().split("\n");
  const short = written.filter(({ length }) => length < 8_192);
  expect((await run("events", "--output", "json")).lines).toEqual(short);
  const file = await run("events", join(folder.path, "log"), "--output", "json");
  expect(file.lines).toEqual(written);
});

test("flows are decisions, and --verdict chooses among them", async () => {
  const all = parsed((await run("flows", "--output", "json")).lines);
  expect(new Set(all.map(({ event }) => event))).toEqual(
    new Set(["flow-allowed", "refused", "rejected-by-peer"]),
  );
  const observed = parsed((await run("flows", "--verdict", "observed", "--output", "json")).lines);
  expect(observed.map(({ event, enforced }) => [event, enforced])).toContainEqual([
    "refused",
    false,
  ]);
  const denied = parsed((await run("flows", "--verdict", "denied", "--output", "ecs")).lines);
  expect(denied.length).toBeGreaterThan(0);
  for (const { event } of denied) expect(event).toMatchObject({ outcome: "failure" });
  const cef = await run("flows", "--output", "cef");
  expect(cef.lines.every((line) => line.startsWith("CEF:0|abs|abs|"))).toBe(true);
});

test("text is a line each, and nothing of others reaches the terminal's controls", async () => {
  const { lines } = await run("events");
  expect(lines.length).toBeGreaterThan(90);
  const controls = /[\p{Cc}\p{Cf}\u2028]/u;
  expect(lines.filter((line) => controls.test(line))).toEqual([]);
  const refused = lines.find((line) => line.includes("refused") && line.includes("app1-in"));
  expect(refused).toContain("tcp 10.77.0.11:43290 → 10.77.0.12:6379");
});

test("--since: a time, a while ago; what is none is refused", async () => {
  const later = new Date(Date.now() + 60_000).toISOString();
  expect((await run("events", "--since", later)).lines).toEqual([]);
  expect((await run("events", "--since", "1h", "--output", "json")).lines.length).toBeGreaterThan(
    50,
  );
  const wrong = await run("events", "--since", "yesterday");
  expect([wrong.code, wrong.err.includes("is no time")]).toEqual([2, true]);
  const verdict = await run("flows", "--verdict", "good");
  expect([verdict.code, verdict.err.includes("is not known")]).toEqual([2, true]);
});

test("sessions: a table, and JSON", async () => {
  const { lines } = await run("sessions");
  expect(lines[1]).toMatch(/^db +\(tenant\) +here +7$/);
  expect(JSON.parse((await run("sessions", "--output", "json")).lines[0] ?? "")).toEqual(SESSIONS);
  const past = parsed((await run("sessions", "--since", "1h", "--output", "json")).lines);
  expect(past.map(({ event }) => event)).toContain("session-closed");
});

test("--follow goes on with what comes, and ends with its reader", async () => {
  const child = spawn("events", "--follow", "--since", "0s", "--output", "json");
  let out = "";
  void (async () => {
    for await (const part of child.stdout) out += new TextDecoder().decode(part);
  })();
  // Until it listens, what is written is older than it.
  let number = 0;
  const turn = setInterval(() => log.write({ event: "warning", message: `n${number++}.` }), 20);
  await until("five come", () => (out.match(/"message":"n\d+\."/g)?.length ?? 0) > 5);
  clearInterval(turn);
  child.kill("SIGINT");
  await child.exited;
  const numbers = [...out.matchAll(/"message":"n(\d+)\."/g)].map((match) => Number(match[1]));
  expect(numbers).toEqual(numbers.map((_, i) => (numbers[0] ?? 0) + i));
});

test("a reader that stands still is told what it missed; the others are not held up", async () => {
  const events = new EventLog(join(folder.path, "other"), { role: "agent" });
  const memory = new RecentEvents(events);
  const body = memory.answer(Date.now(), true).body;
  for (let i = 0; i < 20_000; i++) events.write({ event: "flow-allowed", app: `a${i}` });
  for (let i = 0; i < 20; i++) events.write({ event: "peer-cut-off", peer: `${i}` });
  const reader = body?.getReader();
  let text = "";
  while (!text.includes("events-skipped")) {
    text += new TextDecoder().decode((await reader?.read())?.value);
  }
  const skipped = Number(/"events-skipped","count":(\d+)/.exec(text)?.[1]);
  expect(skipped + (text.match(/"event":"(flow-allowed|peer-cut-off)"/g)?.length ?? 0)).toBe(
    20_020,
  );
  await reader?.cancel();
  // The flood has pushed out flows alone.
  const kept = await memory.answer(0, false).text();
  expect(kept.match(/"peer-cut-off"/g)).toHaveLength(20);
  expect(kept.match(/"flow-allowed"/g)?.length).toBeLessThanOrEqual(5_500);
  memory.close();
  events.close();
});

test("files that are not there, and lines that are none", async () => {
  const missing = await run("events", join(folder.path, "none"));
  expect([missing.code === 0, missing.err.includes("cannot be read")]).toEqual([false, true]);
  const file = join(folder.path, "broken");
  const [good] = readFileSync(join(folder.path, "log"), "utf8").split("\n");
  writeFileSync(file, `{"time":1}\nnull\n[]\n{\n"x"\n\n${good}\n{"time":"2026`);
  expect((await run("events", file, "--output", "json")).lines).toEqual([good ?? ""]);
});
