/**
 * What can be seen of a running agent from outside: metrics that Debian's Prometheus scrapes in the
 * VM, readiness, and events in a sink. docs/metrics.md, docs/events.md "Sinks".
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runCommand, waitFor } from "../../src/lab/command.ts";
import { startRedis } from "../../src/lab/programs.ts";
import type { Site } from "../../src/lab/site.ts";
import { Prometheus, promtoolSays } from "../events/prometheus.ts";
import {
  ABS,
  BARE,
  CLIENT,
  openAgent,
  openSite,
  PORTS,
  SERVER,
  stopwatch,
  tenantOf,
} from "./harness.ts";

const MINUTE_MS = 60_000;
const METRICS_PORT = 9470;
const done = stopwatch("e2e observed");
let site: Site;
let folder: string;

beforeAll(async () => {
  site = await openSite("observed", [tenantOf([openAgent(CLIENT), openAgent(SERVER)])]);
  folder = join(site.options.directory, "sinks");
  mkdirSync(folder, { recursive: true });
  const file = "{ name: file, type: file, path: events.ecs, format: ecs }";
  writeFileSync(join(folder, "sinks.yaml"), `version: 1\nspool: spool\nsinks: [${file}]\n`);
  await site.keep(startRedis(site.host("server"), PORTS.redis));
  if (BARE) return;
  const agent = site.agent("server");
  await agent.stop();
  const sinks = join(folder, "sinks.yaml");
  agent.restart(undefined, ["--metrics", String(METRICS_PORT), "--sinks", sinks]);
  await agent.ready();
}, MINUTE_MS);
afterAll(async () => {
  await site?.close();
  done();
}, MINUTE_MS);

async function ask(path: string): Promise<string> {
  const url = `http://127.0.0.1:${METRICS_PORT}${path}`;
  const { stdout } = await site.run("server", ["curl", "-s", url], { timeoutMs: 20_000 });
  return stdout;
}

test("what an agent counts is scraped, and what it decides is in the sink", async () => {
  const redis = ["redis-cli", "-h", SERVER.ipv4];
  const ping = await site.run("client", [...redis, "PING"], { timeoutMs: 20_000 });
  expect(ping.stdout.trim()).toBe("PONG");
  if (BARE) return;
  expect(await ask("/healthz")).toBe("ok\n");
  expect(await ask("/readyz")).toBe("ready\n");
  const text = await ask("/metrics");
  expect(await promtoolSays(text)).toBe("");
  using prometheus = new Prometheus(folder, 9090, METRICS_PORT, site.inside("server", []));
  await prometheus.start();
  expect(await prometheus.value("up")).toBe(1);
  expect(await prometheus.value("abs_sessions")).toBeGreaterThan(0);
  const received = await prometheus.value('abs_port_received_packets_total{port="outside"}');
  expect(received).toBeGreaterThan(5);
  expect(await prometheus.value('abs_sink_up{sink="file"}')).toBe(1);
  const documented = readFileSync(join(import.meta.dir, "../../docs/metrics.md"), "utf8");
  for (const [, name] of text.matchAll(/^# TYPE (\S+)/gm)) {
    expect(documented).toContain(`\`${name}\``);
  }
  const isAllowed = (line: string) => {
    const { event, network } = JSON.parse(line) as EcsLine;
    return event.action === "flow-allowed" && /^1:/.test(network?.community_id ?? "");
  };
  await waitFor("the allowed flow to be in the sink", () => {
    return lines().some(isAllowed) ? true : undefined;
  });
  const state = join(site.options.directory, "server/state");
  const status = await runCommand([
    ...ABS,
    "agent",
    "status",
    "--state",
    state,
    "--output",
    "json",
  ]);
  const { events } = JSON.parse(status.stdout) as { events: { sinks: { state: string }[] } };
  expect(events.sinks.map((sink) => sink.state)).toEqual(["up"]);
});

test("abs flows, events and sessions ask the running agent", async () => {
  if (BARE) return;
  const state = join(site.options.directory, "server/state");
  const ask = async (...words: string[]) => {
    const { stdout } = await runCommand([...ABS, ...words, "--state", state, "--output", "json"]);
    return stdout.trim().split("\n");
  };
  const [flow] = await ask("flows", "--verdict", "allowed", "--since", "5m");
  expect(JSON.parse(flow ?? "")).toMatchObject({ event: "flow-allowed", direction: "in" });
  const events = (await ask("events")).map((line) => JSON.parse(line) as { event: string });
  expect(events.map(({ event }) => event)).toContain("session-established");
  const [sessions] = await ask("sessions");
  expect(sessions).toContain('"peer":"client"');
});

type EcsLine = { event: { action: string }; network?: { community_id?: string } };

function lines(): string[] {
  return readFileSync(join(folder, "events.ecs"), "utf8").trim().split("\n");
}
