/** Sinks with Debian's rsyslog and nats-server. */
import { expect, test } from "bun:test";
import { join } from "node:path";
import { EventLog } from "../../src/observe/event-log.ts";
import { EventSinks } from "../../src/observe/sinks/event-sinks.ts";
import type { SinkPlan } from "../../src/observe/sinks/sink-plan.ts";
import { freePort } from "../free-port.ts";
import { eventSamples } from "./event-samples.ts";
import { playOutage } from "./outage.ts";
import { makeFolder, NatsServer, Rsyslog, until } from "./sink-servers.ts";

/** RFC 5424 §6 as far as it is fixed: header, structured data, MSG. */
const HEADER =
  /<(\d{1,3})>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) (\S{1,255}) abs \d+ ([a-z-]{1,32})/;
const DATA = /((?:\[[a-z]+(?: [a-zA-Z]+="[^"\]\\]*")*\])+)/;
const MESSAGE = new RegExp(`^${HEADER.source} ${DATA.source} (.*)$`);

async function sendAll(folder: string, plan: SinkPlan, isDone: () => Promise<boolean> | boolean) {
  const events = new EventLog(join(folder, "events"), { role: "agent", node: "web" });
  const spool = join(folder, "spool");
  const sinks = new EventSinks({ spool, laneBytes: 8 * 1024 * 1024, sinks: [plan] }, events);
  for (const { time, schema, id, class: of, severity, origin, ...event } of eventSamples()) {
    events.write(event);
  }
  for (let i = 0; i < 500 && !(await isDone()); i++) await Bun.sleep(20);
  await sinks.close();
  events.close();
  return sinks.status;
}

test("rsyslog takes RFC 5424 over UDP, whole and with its parts", async () => {
  using folder = makeFolder();
  using server = new Rsyslog(join(folder.path, "udp"), await freePort(), "udp");
  await server.start();
  const way = { type: "syslog", over: "udp", host: "127.0.0.1", port: server.port, facility: 10 };
  const plan = { name: "udp", format: "cef", classes: ["security"], way } as SinkPlan;
  const wanted = eventSamples().filter(({ class: of }) => of === "security");
  await sendAll(folder.path, plan, () => server.received().length >= wanted.length);
  const parts = server.received().map((message) => MESSAGE.exec(message));
  await server.kill();
  expect(parts.map((part) => part?.[4]).sort()).toEqual(wanted.map(({ event }) => event).sort());
  const refused = parts.find((part) => part?.[4] === "refused");
  expect([refused?.[1], refused?.[6]?.slice(0, 6)]).toEqual([String(10 * 8 + 4), "CEF:0|"]);
});

test("NATS JetStream has each event once, under its class and name", async () => {
  using folder = makeFolder();
  using server = new NatsServer(join(folder.path, "nats"), await freePort());
  await server.start();
  await server.addStream(["abs.events.>"]);
  const way = { type: "nats", url: `nats://127.0.0.1:${server.port}`, subject: "abs.events" };
  const classes = ["security", "flow", "operation"];
  const plan = { name: "nats", format: "ecs", classes, way } as SinkPlan;
  const samples = eventSamples();
  const [status] = await sendAll(folder.path, plan, async () => {
    return (await server.received()).length >= samples.length;
  });
  const found = (await server.received()).map(({ subject }) => subject);
  await server.kill();
  expect(found.sort()).toEqual(samples.map((one) => `abs.events.${one.class}.${one.event}`).sort());
  expect(status?.sent).toBe(samples.length);
});

test("an outage of 10 s, under a flood, loses no security event", async () => {
  const { security, flood } = await playOutage(10);
  expect(security).toBeGreaterThan(200);
  expect(flood).toBeGreaterThan(40_000);
}, 120_000);

/** Security events go to a server that has taken one, and reads no more. */
async function stoppedAfterOne(folder: string, server: Rsyslog) {
  await server.start();
  const way = { type: "syslog", over: "tcp", host: "127.0.0.1", port: server.port, facility: 16 };
  const plan = { name: "tcp", format: "abs", classes: ["security"], way } as SinkPlan;
  const events = new EventLog(join(folder, "events"), { role: "agent" });
  const spool = join(folder, "spool");
  const sinks = new EventSinks({ spool, laneBytes: 1024 * 1024, sinks: [plan] }, events);
  events.write({ event: "peer-cut-off", peer: "first" });
  await until("the first", () => server.received().length > 0);
  await server.kill("SIGSTOP");
  return { events, sinks };
}

test("what rsyslog's kernel had, and rsyslog never read, is sent again", async () => {
  using folder = makeFolder();
  using server = new Rsyslog(join(folder.path, "tcp"), await freePort(), "tcp");
  const { events, sinks } = await stoppedAfterOne(folder.path, server);
  for (let i = 0; i < 50; i++) events.write({ event: "peer-cut-off", peer: `p${i}.` });
  await until("they are written", () => (sinks.status[0]?.sent ?? 0) >= 51);
  await server.kill();
  await server.start();
  const isThere = (peer: string) => server.received().some((text) => text.includes(peer));
  await until("all 50", () => Array.from({ length: 50 }, (_, i) => `p${i}.`).every(isThere));
  await sinks.close();
  events.close();
  await server.kill();
});

test("a stopped rsyslog, which takes nothing, is waited for on disk alone", async () => {
  using folder = makeFolder();
  using server = new Rsyslog(join(folder.path, "tcp"), await freePort(), "tcp");
  const { events, sinks } = await stoppedAfterOne(folder.path, server);
  for (let i = 0; i < 5000; i++) {
    events.write({ event: "peer-cut-off", peer: `${i}`, why: "x".repeat(1000) });
    if (i % 100 === 0) await Bun.sleep(5);
  }
  const [status] = sinks.status;
  expect(status?.waitingBytes.security).toBeLessThanOrEqual(1024 * 1024);
  expect(status?.lost.security).toBeGreaterThan(0);
  await server.kill();
  await sinks.close();
  events.close();
});
