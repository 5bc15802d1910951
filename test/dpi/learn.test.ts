/**
 * `abs sig learn` on the flows of ten applications of the development captures: its signatures
 * match none of the other labelled flows, and pass lint. CAPTURES names another directory; without
 * captures the test runs on what test/captures holds, and with CI=true a missing one fails.
 */
import { expect, test } from "bun:test";
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openShim } from "../../src/dataplane/shim.ts";
import { type FlowSample, labelRecord, readFlowSamples } from "../../src/sig/flow-samples.ts";
import { Labels } from "../../src/sig/labels.ts";
import { learn } from "../../src/sig/learn.ts";
import { hasErrors, lint } from "../../src/sig/lint.ts";
import { Prng, seed } from "../prng.ts";

const APPS = 10;
/** Fewer flows of one application say too little. */
const FLOWS_MIN = 3;
const development = join(import.meta.dir, "../../../shared/captures");
const wanted = process.env["CAPTURES"] ?? development;
const isWhole = existsSync(join(wanted, "labels.csv"));
const directory = isWhole ? wanted : join(import.meta.dir, "../captures");

function labelledFlows(): { flow: FlowSample; app: string }[] {
  const files = readdirSync(directory).filter((name) => /\.pcap/.test(name));
  const labels = new Labels(join(directory, "labels.csv"));
  return readFlowSamples(files.map((name) => join(directory, name))).flatMap((flow) => {
    const app = labels.take(labelRecord(flow))?.app;
    return app === undefined ? [] : [{ flow, app }];
  });
}

test(`ten applications are learned without a false match (SEED=${seed})`, () => {
  if (!isWhole) {
    expect(process.env["CI"]).not.toBe("true");
    console.warn(`${wanted} is not there: learning from ${directory}.`);
    if (!existsSync(join(directory, "labels.csv"))) return;
  }
  const prng = new Prng(seed);
  const flows = labelledFlows();
  const counts = Map.groupBy(flows, ({ app }) => app);
  const apps = [...counts].filter(([, list]) => list.length >= FLOWS_MIN).map(([app]) => app);
  const folder = mkdtempSync(join(tmpdir(), "abs-learn-"));
  const shim = openShim();
  const count = isWhole ? APPS : Math.min(APPS, apps.length);
  for (let i = 0; i < count; i++) {
    const [app = ""] = apps.splice(prng.below(apps.length), 1);
    const own = flows.filter((one) => one.app === app).map(({ flow }) => flow);
    const rest = flows.filter((one) => one.app !== app).map(({ flow }) => flow);
    const result = learn(shim, app, own, rest);
    expect([app, result.false_matches, result.against]).toEqual([app, 0, rest.length]);
    expect([app, result.matched > 0]).toEqual([app, true]);
    const file = join(folder, `${app}.json`);
    writeFileSync(file, JSON.stringify(result.proposals.map(({ signature }) => signature)));
    expect(hasErrors(lint(shim, [file], []).findings)).toBe(false);
  }
  rmSync(folder, { recursive: true });
});
