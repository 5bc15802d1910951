/**
 * How well the built-in signatures recognise labelled captures, so that the score cannot fall. The
 * captures are those of ABS_CAPTURES, else ../shared/captures beside the repository, else the
 * project's own; with CI=true the directory must be there. docs/benchmarks.md has the table.
 */
import { expect, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { CaptureRun } from "../../src/sig/capture-run.ts";
import { Labels } from "../../src/sig/labels.ts";
import type { Score } from "../../src/sig/score.ts";
import { openSignatureSet } from "../../src/sig/signature-set.ts";
import { TestReport } from "../../src/sig/test-report.ts";

const ACCURACY_MIN = 0.98;
const PER_APPLICATION_MIN = 0.96;
const PRECISION_MIN = 0.995;
const PORT_BLIND_ACCURACY_MIN = 0.95;
/** Labelled flows of ../shared/captures. */
const LABELLED_SHARED = 1089;

const ROOT = join(import.meta.dir, "../..");
const SHARED = process.env["ABS_CAPTURES"] ?? join(ROOT, "../shared/captures");
const isShared = existsSync(join(SHARED, "labels.csv"));
const DIRECTORY = isShared ? SHARED : join(ROOT, "test/captures");

function scoreOf(ignorePorts: boolean): Score {
  const labels = new Labels(join(DIRECTORY, "labels.csv"));
  const report = new TestReport("json", labels, () => {});
  const set = openSignatureSet({ files: [], only: false, ignorePorts });
  const run = new CaptureRun(set, report, { explain: false, inner: false });
  const files = readdirSync(DIRECTORY).filter((name) => /\.p?cap(ng)?$/.test(name));
  for (const file of files.sort()) {
    expect(report.capture(file, () => run.read(join(DIRECTORY, file)))).toBeUndefined();
  }
  const { score } = report.finish();
  if (score === undefined) throw new Error("there is no score");
  return score;
}

test(`the captures are there: ${isShared ? "the shared ones" : "only test/captures"}`, () => {
  if (process.env["CI"] === "true") expect(isShared).toBe(true);
  expect(existsSync(join(DIRECTORY, "labels.csv"))).toBe(true);
});

test("the library recognises the labelled flows", () => {
  const score = scoreOf(false);
  expect(score.missing).toBe(0);
  if (isShared && process.env["ABS_CAPTURES"] === undefined) {
    expect(score.labelled).toBe(LABELLED_SHARED);
  }
  expect(score.accuracy).toBeGreaterThanOrEqual(ACCURACY_MIN);
  expect(score.per_app_mean).toBeGreaterThanOrEqual(PER_APPLICATION_MIN);
  expect(score.precision).toBeGreaterThanOrEqual(PRECISION_MIN);
});

test("it does so without knowing any port", () => {
  expect(scoreOf(true).accuracy).toBeGreaterThanOrEqual(PORT_BLIND_ACCURACY_MIN);
});
