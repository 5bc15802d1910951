/** Parts of the sinks: lanes on disk, aggregation, the plan, files, hostile servers. */
import { expect, test } from "bun:test";
import { appendFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { EventLog } from "../../src/observe/event-log.ts";
import { type AbsEvent, type EventRecord, EventStamp } from "../../src/observe/event-record.ts";
import { EventSinks } from "../../src/observe/sinks/event-sinks.ts";
import { FloodGate } from "../../src/observe/sinks/flood-gate.ts";
import { readSinks, type SinkPlan } from "../../src/observe/sinks/sink-plan.ts";
import { Spool } from "../../src/observe/sinks/spool.ts";
import { schemaProblems } from "../json-schema.ts";
import { HOSTILE } from "./hostile-server.ts";
import { makeFolder, until } from "./sink-servers.ts";

const MIB = 1024 * 1024;
const CLASSES = ["security", "flow", "operation"] as const;

function spoolIn(folder: string, sizeMax = 4 * MIB): Spool {
  return new Spool(join(folder, "lane"), sizeMax, () => {});
}

function readAll(spool: Spool): string[] {
  const lines: string[] = [];
  for (let batch = spool.read(); batch !== undefined; batch = spool.read()) {
    lines.push(...batch.lines);
    spool.settle(batch.end);
  }
  return lines;
}

function line(number: number): string {
  return JSON.stringify({ number, text: "x".repeat(500) });
}

test("a lane gives lines in order over many files, and its settled files go", () => {
  using folder = makeFolder();
  const spool = spoolIn(folder.path);
  for (let i = 0; i < 5000; i++) {
    expect(spool.append(line(i))).toBe(true);
    if (i % 500 === 0) spool.flush();
  }
  spool.flush();
  expect(readdirSync(join(folder.path, "lane")).length).toBeGreaterThan(2);
  expect(readAll(spool)).toEqual(Array.from({ length: 5000 }, (_, i) => line(i)));
  expect([spool.sizeBytes, spool.hasUnread, spool.lost]).toEqual([0, false, 0]);
  expect(readdirSync(join(folder.path, "lane")).length).toBeLessThanOrEqual(2);
  spool.close();
});

test("a lane that is full takes nothing more, counts it, and goes on when there is room", () => {
  using folder = makeFolder();
  const spool = spoolIn(folder.path, 100_000);
  let taken = 0;
  for (let i = 0; i < 1000; i++) if (spool.append(line(i))) taken++;
  spool.flush();
  expect(taken + spool.lost).toBe(1000);
  expect(spool.sizeBytes).toBeLessThanOrEqual(100_000);
  expect(readAll(spool)).toHaveLength(taken);
  expect(spool.append("more")).toBe(true);
  spool.close();
});

test("a lane goes on where it was after a kill: what was not settled comes again", () => {
  using folder = makeFolder();
  const first = spoolIn(folder.path);
  for (let i = 0; i < 600; i++) first.append(line(i));
  first.flush();
  const batch = first.read();
  first.read();
  if (batch !== undefined) first.settle(batch.end);
  const settled = batch?.lines.length ?? 0;
  expect(settled).toBeGreaterThan(0);
  // Not closed; and a line that the kill has torn.
  const files = readdirSync(join(folder.path, "lane")).filter((name) => name !== "cursor");
  appendFileSync(join(folder.path, "lane", files.at(-1) ?? ""), '{"torn":');
  const second = spoolIn(folder.path);
  second.append(line(600));
  second.flush();
  const rest = Array.from({ length: 601 - settled }, (_, i) => line(settled + i));
  expect(readAll(second)).toEqual(rest);
  second.close();
});

test.each([
  "{",
  '{"segment":-1,"offset":0}',
  '{"segment":1,"offset":1e99}',
  '{"segment":"1"}',
  "null",
])("a cursor that says %s is none: everything comes again", (cursor) => {
  using folder = makeFolder();
  const first = spoolIn(folder.path);
  first.append(line(0));
  first.close();
  writeFileSync(join(folder.path, "lane/cursor"), cursor);
  writeFileSync(join(folder.path, "lane/other.txt"), "not ours");
  const second = spoolIn(folder.path);
  expect(readAll(second)).toEqual([line(0)]);
  second.close();
});

const WALL = new Date();
const stamp = new EventStamp({ role: "agent" });

function gateOf(events: Iterable<AbsEvent>): EventRecord[] {
  const passed: EventRecord[] = [];
  const gate = new FloodGate((record) => passed.push(record));
  for (const event of events) gate.take(stamp.record(event, WALL), 0);
  gate.end(10_000);
  return passed;
}

function refusal(
  number: number,
  source = `10.0.${(number >>> 8) & 255}.${number & 255}`,
): AbsEvent {
  const ends = { source, sourcePort: number & 0xffff, destination: "10.9.9.9" };
  const rest = { destinationPort: 80, protocol: "tcp", direction: "in", bytes: "00" };
  return { event: "refused", reason: "untagged", ...ends, ...rest, suppressed: 2 };
}

function standsFor(records: readonly EventRecord[]): number {
  return records.reduce((sum, one) => sum + Number(one["repeated"] ?? 1), 0);
}

test("a flood of one flow becomes a few records that say how many they stand for", () => {
  const passed = gateOf(Array.from({ length: 10_000 }, () => refusal(1)));
  expect(passed).toHaveLength(11);
  expect(standsFor(passed)).toBe(10_000);
  const suppressed = passed.reduce((sum, one) => sum + Number(one["suppressed"]), 0);
  expect(suppressed).toBe(20_000);
  expect(schemaProblems("event.schema.json", passed.at(-1))).toEqual([]);
});

test("a flood of a million sources is bounded, whole in its counts, and keeps others whole", () => {
  function* flood() {
    for (let i = 0; i < 200_000; i++) {
      yield refusal(i, `10.${(i >>> 16) & 255}.${(i >>> 8) & 255}.${i & 255}`);
      if (i % 1000 === 0) yield { event: "peer-cut-off", peer: `${i}` };
    }
  }
  const passed = gateOf(flood());
  expect(passed.length).toBeLessThan(5_000);
  expect(passed.filter(({ event }) => event === "peer-cut-off")).toHaveLength(200);
  expect(standsFor(passed.filter(({ event }) => event === "refused"))).toBe(200_000);
  const shared = passed.find((one) => Number(one["repeated"]) > 100_000);
  expect([shared?.["source"], shared?.communityId]).toEqual([undefined, undefined]);
});

/** Sinks with one plan, fed by an event log. */
class Bed {
  readonly events: EventLog;
  readonly sinks: EventSinks;

  constructor(folder: string, way: SinkPlan["way"], laneBytes = MIB) {
    this.events = new EventLog(join(folder, "log"), { role: "agent" });
    const plan: SinkPlan = { name: "one", format: "abs", classes: CLASSES, way };
    const spool = join(folder, "spool");
    this.sinks = new EventSinks({ spool, laneBytes, sinks: [plan] }, this.events);
  }

  get status() {
    const [status] = this.sinks.status;
    if (status === undefined) throw new Error("no sink");
    return status;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.sinks.close();
    this.events.close();
  }
}

test("a file is rotated, keeps so many, and nothing is missing", async () => {
  using folder = makeFolder();
  const path = join(folder.path, "out/events.ndjson");
  mkdirSync(join(folder.path, "out"));
  {
    await using bed = new Bed(folder.path, { type: "file", path, maxBytes: 100_000, keep: 3 });
    for (let i = 0; i < 900; i++) {
      bed.events.write({ event: "peer-cut-off", peer: `${i}`, text: "x".repeat(200) });
      if (i % 50 === 0) await Bun.sleep(15);
    }
  }
  const names = readdirSync(join(folder.path, "out")).sort();
  expect(names).toEqual(["", ".1", ".2", ".3"].map((end) => `events.ndjson${end}`));
  const lines = names.reverse().flatMap((name) => {
    const text = readFileSync(join(folder.path, "out", name), "utf8");
    expect(text.length).toBeLessThan(200_000);
    return text.trim().split("\n");
  });
  const peers = lines.map((text) => Number((JSON.parse(text) as { peer: string }).peer));
  expect(peers.at(-1)).toBe(899);
  expect(peers).toEqual(peers.map((_, i) => 899 - peers.length + 1 + i));
});

test("a file in a folder that is not there: down, and sent when it is", async () => {
  using folder = makeFolder();
  const path = join(folder.path, "out/events.ndjson");
  await using bed = new Bed(folder.path, { type: "file", path, maxBytes: MIB, keep: 1 });
  bed.events.write({ event: "peer-cut-off", peer: "a" });
  await until("down", () => bed.status.state === "down");
  expect(bed.status.reason).toContain("ENOENT");
  mkdirSync(join(folder.path, "out"));
  await until("up", () => bed.status.state === "up");
  await until("both", () => readFileSync(path, "utf8").split("\n").length > 2);
  const written = readFileSync(path, "utf8");
  expect(written).toContain('"event":"peer-cut-off"');
  expect(written).toContain('"event":"sink-lost"');
});

/** What a server does with a request, or a connection. */
function webhook(answer: (request: Request, text: string) => Response | Promise<Response>) {
  return Bun.serve({
    ...{ port: 0, hostname: "127.0.0.1", idleTimeout: 60 },
    fetch: async (request) => answer(request, await request.text()),
  });
}

test("a webhook gets batches, with its token; what it rejects alone is left out", async () => {
  using folder = makeFolder();
  const came: string[] = [];
  let calls = 0;
  const server = webhook((request, text) => {
    expect(request.headers.get("authorization")).toBe("Bearer secret");
    expect(request.headers.get("content-type")).toBe("application/x-ndjson");
    if (calls++ < 2) return new Response("later", { status: 503 });
    if (text.includes('"poison"')) return new Response("no", { status: 422 });
    came.push(...text.trim().split("\n"));
    return new Response(null, { status: 204 });
  });
  const url = `http://127.0.0.1:${server.port}/`;
  await using bed = new Bed(folder.path, { type: "webhook", url, token: "secret" });
  for (let i = 0; i < 300; i++) bed.events.write({ event: "peer-cut-off", peer: `${i}` });
  bed.events.write({ event: "peer-cut-off", peer: "poison" });
  bed.events.write({ event: "peer-cut-off", peer: "last" });
  await until("all", () => came.some((text) => text.includes('"last"')));
  await until("counted", () => bed.status.rejected === 1);
  const peers = came.filter((text) => text.includes("peer-cut-off"));
  expect(peers).toHaveLength(301);
  expect(new Set(peers).size).toBe(301);
  await server.stop(true);
});

test("a webhook's redirections are not followed, and its endless answers not read", async () => {
  using folder = makeFolder();
  let requests = 0;
  const endless = () =>
    new ReadableStream({
      async pull(controller) {
        await Bun.sleep(1);
        controller.enqueue(new Uint8Array(65_536));
      },
    });
  const server = webhook((request) => {
    requests++;
    if (new URL(request.url).pathname === "/other") throw new Error("it was followed");
    if (requests === 1) return Response.redirect("/other", 307);
    return new Response(endless());
  });
  const url = `http://127.0.0.1:${server.port}/`;
  await using bed = new Bed(folder.path, { type: "webhook", url });
  const before = process.memoryUsage().rss;
  bed.events.write({ event: "peer-cut-off", peer: "1" });
  await until("it is down", () => bed.status.state === "down");
  await until("it is up", () => bed.status.state === "up");
  await Bun.sleep(300);
  expect(process.memoryUsage().rss - before).toBeLessThan(64 * MIB);
  expect(bed.status.lost.security).toBe(0);
  await server.stop(true);
});

const WAYS = [
  (port: number): SinkPlan["way"] => {
    return { type: "syslog", over: "tcp", host: "127.0.0.1", port, facility: 16 };
  },
  (port: number): SinkPlan["way"] => {
    return { type: "syslog", over: "tls", host: "127.0.0.1", port, facility: 16 };
  },
  (port: number): SinkPlan["way"] => {
    return { type: "nats", url: `nats://127.0.0.1:${port}`, subject: "abs" };
  },
  (port: number): SinkPlan["way"] => ({ type: "webhook", url: `http://127.0.0.1:${port}/` }),
];

test.each([...HOSTILE])("a server that %s: writing stays fast, all is bounded", async (manner) => {
  const script = join(import.meta.dir, "hostile-server.ts");
  const command = [process.execPath, script, manner];
  const server = Bun.spawn(command, { stdin: "ignore", stdout: "pipe", stderr: "ignore" });
  using _ = { [Symbol.dispose]: () => server.kill() };
  const { value } = await server.stdout.getReader().read();
  const port = Number(new TextDecoder().decode(value));
  for (const way of WAYS) {
    using folder = makeFolder();
    await using bed = new Bed(folder.path, way(port));
    Bun.gc(true);
    const before = process.memoryUsage().rss;
    let slowest = 0;
    for (let i = 0; i < 6_000; i++) {
      const from = performance.now();
      bed.events.write({ event: "peer-cut-off", peer: `${i}`, text: "x".repeat(300) });
      slowest = Math.max(slowest, performance.now() - from);
      if (i % 100 === 0) await Bun.sleep(2);
    }
    expect(bed.status.waitingBytes.security).toBeLessThanOrEqual(MIB);
    const grownBytes = process.memoryUsage().rss - before;
    expect(`${way(port).type} ${grownBytes < 64 * MIB}`).toBe(`${way(port).type} true`);
    expect(slowest).toBeLessThan(250);
  }
});

test("a lane that floods fill takes none of the others' room, and the loss is told", async () => {
  using folder = makeFolder();
  const path = join(folder.path, "out/events.ndjson");
  await using bed = new Bed(folder.path, { type: "file", path, maxBytes: MIB, keep: 9 });
  await Bun.sleep(20);
  for (let i = 0; i < 6_000; i++) {
    // Session events are of class flow, and not alike.
    bed.events.write({ event: "flow-allowed", app: `a${i % 1900}`, text: "x".repeat(1000) });
    if (i % 100 === 0) bed.events.write({ event: "peer-cut-off", peer: `${i}` });
    if (i % 200 === 0) await Bun.sleep(15);
  }
  expect(bed.status.lost.flow).toBeGreaterThan(0);
  expect(bed.status.lost.security).toBe(0);
  mkdirSync(join(folder.path, "out"));
  const read = () => readFileSync(path, "utf8");
  await until(
    "the loss is told",
    () => bed.status.state === "up" && read().includes("events-dropped"),
  );
  const all = readdirSync(join(folder.path, "out"))
    .map((name) => readFileSync(join(folder.path, "out", name), "utf8"))
    .join("");
  expect(all.match(/"event":"peer-cut-off"/g)).toHaveLength(60);
  const dropped = /"event":"events-dropped","sink":"one","lane":"flow","count":(\d+)/.exec(all);
  expect(Number(dropped?.[1])).toBe(bed.status.lost.flow);
});

function yamlOfDocs(): string {
  const text = readFileSync(join(import.meta.dir, "../../docs/events.md"), "utf8");
  return /```yaml\n([\s\S]*?)```/.exec(text)?.[1] ?? "";
}

test("docs/events.md: its example is read and keeps to the schema", () => {
  using folder = makeFolder();
  const file = join(folder.path, "sinks.yaml");
  const yaml = yamlOfDocs();
  writeFileSync(file, yaml);
  for (const name of ["siem-ca.pem", "hook.token", "fleet.creds"]) {
    writeFileSync(join(folder.path, name), "x\n", { mode: 0o600 });
  }
  const plan = readSinks(file);
  expect(plan.sinks.map(({ way }) => way.type)).toEqual(["file", "syslog", "webhook", "nats"]);
  expect(plan.sinks[1]?.way).toMatchObject({ over: "tls", port: 6514, facility: 10, ca: "x\n" });
  expect(plan.sinks[2]?.way).toMatchObject({ token: "x" });
  expect(schemaProblems("sinks.schema.json", parse(yaml))).toEqual([]);
});

const REFUSED = [
  ["{name: a, type: syslog, url: 'http://h'}", "not a URL of this kind"],
  ["{name: a, type: syslog, url: 'h:514'}", "URL"],
  ["{name: a, type: webhook, url: 'https://u:p@h/'}", "a secret in a URL"],
  ["{name: a, type: file, path: x, url: y}", "unknown key"],
  ["{name: a, type: file}", "path"],
  ["{name: ../a, type: file, path: x}", "no good name"],
  ["{name: a, type: file, path: x, maxBytes: 1}", "maxBytes"],
  ["{name: a, type: nats, url: 'nats://h', subject: 'a.>'}", "no subject"],
  ["{name: a, type: nats, url: 'nats://h', tokenFile: none}", "cannot be read"],
  ["{name: a, type: carrier-pigeon}", "type"],
  ["{name: a, type: file, path: x}, {name: a, type: file, path: y}", "two sinks are named a"],
] as const;

test.each([...REFUSED])("a plan with %s is refused in words", (sinks, words) => {
  using folder = makeFolder();
  const file = join(folder.path, "sinks.yaml");
  writeFileSync(file, `version: 1\nspool: s\nsinks: [${sinks}]\n`);
  expect(() => readSinks(file)).toThrow(words);
});
