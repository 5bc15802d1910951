/** An outage of every sink at once, under a flood: what must not be lost. */
import { expect } from "bun:test";
import { join } from "node:path";
import { EventLog } from "../../src/observe/event-log.ts";
import type { EventRecord } from "../../src/observe/event-record.ts";
import { EventSinks } from "../../src/observe/sinks/event-sinks.ts";
import type { SinkPlan } from "../../src/observe/sinks/sink-plan.ts";
import { freePort } from "../free-port.ts";
import { TEST_CERTIFICATE } from "../manager/tls-fixture.ts";
import { makeFolder, NatsServer, Rsyslog, until } from "./sink-servers.ts";

const EVENT_MS = 20;
const FLOOD_PER_TURN = 200;
const TAIL_MS = 4_000;

export type OutageResult = { readonly security: number; readonly flood: number } & {
  readonly secondsDown: number;
};

/** rsyslog over TCP and TLS, and nats-server, are killed for `seconds` and come back. */
export async function playOutage(seconds: number): Promise<OutageResult> {
  using folder = makeFolder();
  const place = (name: string) => join(folder.path, name);
  const tcp = new Rsyslog(place("tcp"), await freePort(), "tcp");
  const tls = new Rsyslog(place("tls"), await freePort(), "tls");
  const nats = new NatsServer(place("nats"), await freePort());
  const servers = [tcp, tls, nats];
  await Promise.all(servers.map((server) => server.start()));
  await nats.addStream(["abs.events.>"]);
  const events = new EventLog(place("events"), { role: "agent", node: "web" });
  const sinks = new EventSinks(
    { spool: place("spool"), laneBytes: 8 * 1024 * 1024, sinks: plans(tcp, tls, nats) },
    events,
  );
  const told = new Set<string>();
  events.listen((record) => {
    if (record.event === "peer-cut-off") told.add(record.id);
  });
  let flood = 0;
  const turn = setInterval(() => {
    events.write({ event: "peer-cut-off", peer: `peer-${told.size}` });
    for (let i = 0; i < FLOOD_PER_TURN; i++) events.write(flowOf(flood++));
  }, EVENT_MS);
  try {
    await Bun.sleep(2_000);
    const downAt = performance.now();
    await Promise.all(servers.map((server) => server.kill()));
    await Bun.sleep(1000 * seconds);
    const states = sinks.status.map(({ state }) => state);
    expect(states).toEqual(["down", "down", "down"]);
    await Promise.all(servers.map((server) => server.start()));
    const secondsDown = (performance.now() - downAt) / 1000;
    await Bun.sleep(TAIL_MS);
    clearInterval(turn);
    const isEmpty = () =>
      sinks.status.every(({ waitingBytes }) => Object.values(waitingBytes).every((n) => n === 0));
    await until("the lanes are empty", isEmpty, 40);
    expect(sinks.status.map(({ lost }) => lost.security)).toEqual([0, 0, 0]);
    const messages = [tcp.received(), tls.received()];
    messages.push((await nats.received()).map(({ text }) => text));
    for (const list of messages) {
      const came = new Set(list.flatMap((message) => idOf(message)));
      expect([...told].filter((id) => !came.has(id))).toEqual([]);
    }
    return { security: told.size, flood, secondsDown };
  } finally {
    clearInterval(turn);
    await sinks.close();
    events.close();
    await Promise.all(servers.map((server) => server.kill()));
  }
}

function plans(tcp: Rsyslog, tls: Rsyslog, nats: NatsServer): SinkPlan[] {
  const host = "127.0.0.1";
  const all = ["security", "operation", "flow"] as const;
  const syslog = { type: "syslog", host, facility: 16 } as const;
  const ca = TEST_CERTIFICATE;
  const common = { format: "abs", classes: all } as const;
  return [
    { ...common, name: "tcp", way: { ...syslog, over: "tcp", port: tcp.port } },
    { ...common, name: "tls", way: { ...syslog, over: "tls", port: tls.port, ca } },
    {
      ...{ ...common, name: "nats" },
      way: { type: "nats", url: `nats://${host}:${nats.port}`, subject: "abs.events" },
    },
  ];
}

function flowOf(number: number) {
  const sourcePort = 1024 + (number % 60_000);
  const ends = { source: "10.0.0.1", sourcePort, destination: "10.0.0.2", destinationPort: 80 };
  return { event: "flow-allowed", direction: "in", protocol: "tcp", ...ends, app: "app1" };
}

function idOf(message: string): string[] {
  const at = message.indexOf('{"time"');
  if (at < 0) return [];
  return [(JSON.parse(message.slice(at)) as EventRecord).id];
}
