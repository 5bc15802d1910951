/** Metrics as text, for both formats, and Debian's Prometheus that scrapes a manager. */
import { expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  type MetricFamily,
  metricsText,
  OPENMETRICS_TYPE,
  PROMETHEUS_TYPE,
  wantsOpenMetrics,
} from "../../src/observe/metrics.ts";
import { freePort } from "../free-port.ts";
import { Prometheus, promtoolSays } from "./prometheus.ts";
import { makeFolder } from "./sink-servers.ts";

const HOSTILE: MetricFamily[] = [
  {
    ...{ name: "abs_words_total", type: "counter", help: 'A "help" \\ of\ntwo lines.' },
    samples: [{ labels: { word: 'a"b\\c\nd{}=,' }, value: 3 }],
  },
  { name: "abs_level_bytes", type: "gauge", help: "A level.", samples: [{ value: 1.5 }] },
  { name: "abs_build_info", type: "info", help: "A version.", samples: [{ value: 1 }] },
];

test("Prometheus' format: what has separators in it comes through promtool", async () => {
  const text = metricsText(HOSTILE, false);
  expect(text).toContain('abs_words_total{word="a\\"b\\\\c\\nd{}=,"} 3\n');
  expect(text).toContain("# TYPE abs_words_total counter\n");
  expect(text).toContain("# TYPE abs_build_info gauge\n");
  expect(await promtoolSays(text)).toBe("");
  expect(await promtoolSays("abs_x{ 1\n")).not.toBe("");
});

test("OpenMetrics: families without the suffixes of their samples, and an end", () => {
  const lines = metricsText(HOSTILE, true).split("\n");
  expect(lines.slice(0, 3)).toEqual([
    '# HELP abs_words A \\"help\\" \\\\ of\\ntwo lines.',
    "# TYPE abs_words counter",
    'abs_words_total{word="a\\"b\\\\c\\nd{}=,"} 3',
  ]);
  expect(lines).toContain("# TYPE abs_build info");
  expect(lines.slice(-2)).toEqual(["# EOF", ""]);
});

test.each([
  ["", false],
  ["*/*", false],
  ["text/plain;version=0.0.4", false],
  ["application/openmetrics-text", true],
  ["application/openmetrics-text; version=1.0.0; q=0", false],
  ["application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.7", false],
  ["application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", true],
  [";;;,q=1,,application/openmetrics-text;q=x", false],
])("Accept: %s asks for OpenMetrics: %p", (accept, is) => {
  expect(wantsOpenMetrics(accept)).toBe(is);
});

test("a manager is scraped, promtool finds nothing, health answers", async () => {
  using folder = makeFolder();
  const [ssh, port] = [await freePort(), await freePort()];
  const sinks = join(folder.path, "sinks.yaml");
  mkdirSync(join(folder.path, "out"));
  const file = "{ name: file, type: file, path: out/events, format: ecs }";
  writeFileSync(sinks, `version: 1\nspool: spool\nsinks: [${file}]\n`);
  const words = ["manager", "serve", "--dir", join(folder.path, "manager"), "--api", "off"];
  const place = ["--address", `127.0.0.1:${ssh}`, "--metrics", String(port), "--sinks", sinks];
  const main = join(import.meta.dir, "../../src/cli/main.ts");
  const manager = Bun.spawn([process.execPath, main, ...words, ...place], {
    ...{ stdin: "ignore", stdout: Bun.file(join(folder.path, "log")), stderr: "ignore" },
  });
  using prometheus = new Prometheus(folder.path, await freePort(), port);
  try {
    const ask = (path: string, init = {}) => fetch(`http://127.0.0.1:${port}${path}`, init);
    for (let i = 0; i < 500; i++) {
      const answer = await ask("/readyz").catch(() => undefined);
      if (answer?.status === 200) break;
      await Bun.sleep(20);
    }
    expect(await (await ask("/healthz")).text()).toBe("ok\n");
    const plain = await ask("/metrics");
    expect(plain.headers.get("content-type")).toBe(PROMETHEUS_TYPE);
    const text = await plain.text();
    expect(await promtoolSays(text)).toBe("");
    const open = await ask("/metrics", { headers: { Accept: "application/openmetrics-text" } });
    expect(open.headers.get("content-type")).toBe(OPENMETRICS_TYPE);
    expect((await ask("/metrics", { method: "POST" })).status).toBe(405);
    expect((await ask("/etc/passwd")).status).toBe(404);
    await prometheus.start();
    expect(await prometheus.value("up")).toBe(1);
    expect(await prometheus.value('abs_build_info{role="manager"}')).toBe(1);
    expect(await prometheus.value('abs_sink_up{sink="file"}')).toBe(1);
    expect(await prometheus.value("abs_manager_tenants")).toBe(0);
    for (const name of names(text)) expect(documented).toContain(`\`${name}\``);
  } finally {
    manager.kill();
    await manager.exited;
  }
  // What waited was written at the end: the sink is a file of ECS documents.
  const lines = readFileSync(join(folder.path, "out/events"), "utf8").trim().split("\n");
  const actions = lines.map((line) => (JSON.parse(line) as { event: object }).event);
  expect(actions.map((event) => (event as { action: string }).action)).toContain("manager-started");
});

const documented = readFileSync(join(import.meta.dir, "../../docs/metrics.md"), "utf8");

function names(text: string): string[] {
  return [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name = ""]) => name);
}
