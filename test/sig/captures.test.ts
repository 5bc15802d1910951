/**
 * The library over test/captures: programs and versions that the shared captures do not have, made
 * and labelled by this project (test/captures/README.md), so not what the signatures grew on.
 */
import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";

const ROOT = join(import.meta.dir, "../..");
const FOLDER = "test/captures";
const CAPTURES = readdirSync(join(ROOT, FOLDER)).filter((name) => name.endsWith(".pcap"));
const ACCURACY_MIN = 0.98;

function score(...options: readonly string[]) {
  const files = CAPTURES.map((name) => `${FOLDER}/${name}`);
  const labels = `${FOLDER}/labels.csv`;
  const words = ["sig", "test", "--labels", labels, "--output", "json", ...options, ...files];
  const command = [process.execPath, "src/cli/main.ts", ...words];
  const child = Bun.spawnSync(command, { cwd: ROOT, stdout: "pipe", stderr: "pipe" });
  return JSON.parse(child.stdout.toString()).score;
}

test("no flow of test/captures is taken for another application, few stay unknown", () => {
  expect(CAPTURES.length).toBeGreaterThan(20);
  const { labelled, wrong, accuracy, missing } = score();
  expect(labelled).toBeGreaterThan(100);
  expect({ wrong, missing: missing ?? 0 }).toEqual({ wrong: 0, missing: 0 });
  expect(accuracy).toBeGreaterThanOrEqual(ACCURACY_MIN);
});

test("without ports it stays so", () => {
  const { wrong, accuracy } = score("--ignore-ports");
  expect(wrong).toBe(0);
  expect(accuracy).toBeGreaterThanOrEqual(ACCURACY_MIN);
});
