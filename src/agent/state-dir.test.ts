/** What a starting agent takes of a spoilt state directory. */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadSessions, loadStamp, saveSessions, saveStamp } from "./state-dir.ts";

const folder = mkdtempSync(join(tmpdir(), "abs-state-dir-"));
afterAll(() => rmSync(folder, { recursive: true }));

const SESSION = {
  peer: "db",
  app: "app1",
  role: 0 as const,
  link: "02ab0500001202ab050000110800",
  source: "0a4d000b",
  destination: "0a4d000c",
};

const cases = [
  { name: "whole", change: {}, count: 1 },
  { name: "IPv6", change: { source: "00".repeat(16), destination: "11".repeat(16) }, count: 1 },
  { name: "a link header one byte short", change: { link: SESSION.link.slice(2) }, count: 0 },
  { name: "an address one byte short", change: { source: "0a4d00" }, count: 0 },
  { name: "addresses of two versions", change: { source: "00".repeat(16) }, count: 0 },
  { name: "an address that is not hex", change: { destination: "0a4d00xx" }, count: 0 },
  { name: "a role out of range", change: { role: 2 as never }, count: 0 },
];

test.each(cases)("loadSessions: $name", ({ change, count }) => {
  saveSessions(folder, [{ ...SESSION, ...change }]);
  expect(loadSessions(folder)).toHaveLength(count);
});

test("a stamp is read back, and what is none is refused", () => {
  saveStamp(folder, new Uint8Array(12).fill(7));
  expect(loadStamp(folder)).toEqual(new Uint8Array(12).fill(7));
  writeFileSync(join(folder, "stamp"), "07".repeat(11));
  expect(() => loadStamp(folder)).toThrow("does not hold a time stamp");
});
