/** Disks that fill: the sink's own, and the one where events wait for it. */
import { afterEach, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EventLog } from "../../src/observe/event-log.ts";
import { EventSinks } from "../../src/observe/sinks/event-sinks.ts";
import { until } from "./sink-servers.ts";

const MIB = 1024 * 1024;
const CLASSES = ["security", "operation", "flow"] as const;
const folders: string[] = [];

/** A folder on a disk of its own, of 2 MiB. */
function smallDisk(): string {
  const folder = mkdtempSync(join(tmpdir(), "abs-full-"));
  folders.push(folder);
  Bun.spawnSync(["mount", "-t", "tmpfs", "-o", "size=2m", "abs-test", folder]);
  return folder;
}

afterEach(() => {
  for (const folder of folders.splice(0)) {
    Bun.spawnSync(["umount", "-l", folder]);
    rmSync(folder, { recursive: true });
  }
});

function open(log: string, spool: string, path: string, laneBytes: number) {
  const events = new EventLog(log, { role: "agent" });
  const way = { type: "file", path, maxBytes: 64 * MIB, keep: 1 } as const;
  const sinks = [{ name: "one", format: "abs", classes: CLASSES, way }] as const;
  return { events, sinks: new EventSinks({ spool, laneBytes, sinks: [...sinks] }, events) };
}

function peersIn(path: string): number[] {
  const lines = readFileSync(path, "utf8").split("\n").slice(0, -1);
  const records = lines.map((line) => JSON.parse(line) as { event: string; peer?: string });
  return records.flatMap(({ event, peer }) => (event === "peer-cut-off" ? [Number(peer)] : []));
}

test("a sink's disk is full: events wait, and are whole when there is room again", async () => {
  const disk = smallDisk();
  const rest = mkdtempSync(join(tmpdir(), "abs-rest-"));
  const path = join(disk, "events");
  writeFileSync(join(disk, "ballast"), new Uint8Array(2 * MIB - 128 * 1024));
  const { events, sinks } = open(join(rest, "log"), join(rest, "spool"), path, 8 * MIB);
  for (let i = 0; i < 2_000; i++) {
    events.write({ event: "peer-cut-off", peer: `${i}`, text: "x".repeat(200) });
    if (i % 20 === 0) await Bun.sleep(1);
  }
  await until("down", () => sinks.status[0]?.state === "down");
  expect(sinks.status[0]?.reason).toContain("ENOSPC");
  rmSync(join(disk, "ballast"));
  await until("all", () => new Set(peersIn(path)).size === 2_000);
  expect(peersIn(path)).toEqual(Array.from({ length: 2_000 }, (_, i) => i));
  expect(sinks.status[0]?.lost.security).toBe(0);
  await sinks.close();
  events.close();
  rmSync(rest, { recursive: true });
});

test("the disk where events wait is full: losses are counted, nothing grows or tears", async () => {
  const disk = smallDisk();
  const rest = mkdtempSync(join(tmpdir(), "abs-rest-"));
  const path = join(rest, "out/events");
  const { events, sinks } = open(join(rest, "log"), join(disk, "spool"), path, 64 * MIB);
  const before = process.memoryUsage().rss;
  for (let i = 0; i < 20_000; i++) {
    events.write({ event: "peer-cut-off", peer: `${i}`, text: "x".repeat(200) });
    if (i % 100 === 0) await Bun.sleep(1);
  }
  const lost = sinks.status[0]?.lost.security ?? 0;
  expect(lost).toBeGreaterThan(10_000);
  expect(process.memoryUsage().rss - before).toBeLessThan(64 * MIB);
  mkdirSync(join(rest, "out"));
  await until("what was kept", () => sinks.status[0]?.waitingBytes.security === 0, 40);
  const peers = peersIn(path);
  expect(new Set(peers).size).toBe(20_000 - lost);
  await until("the loss is told", () => readFileSync(path, "utf8").includes(`"count":${lost}`));
  await sinks.close();
  events.close();
  rmSync(rest, { recursive: true });
});
