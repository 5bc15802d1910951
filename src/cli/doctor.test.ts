/** `abs doctor` on this machine: what it finds, in words and as JSON, and its exit code. */
import { expect, test } from "bun:test";
import type { MachineCheck } from "../agent/machine-checks.ts";

const MAIN = new URL("./main.ts", import.meta.url).pathname;

function doctor(...args: readonly string[]) {
  const command = [process.execPath, MAIN, "doctor", ...args];
  const { stdout, exitCode } = Bun.spawnSync(command, { stderr: "pipe" });
  return { text: stdout.toString(), exitCode };
}

function checksOf(...args: readonly string[]) {
  const { text, exitCode } = doctor(...args, "--output", "json");
  const { healthy, checks } = JSON.parse(text) as { healthy: boolean; checks: MachineCheck[] };
  return { healthy, exitCode, byName: new Map(checks.map((check) => [check.name, check])) };
}

test("a machine that runs the tests can run an agent", () => {
  const { healthy, exitCode, byName } = checksOf();
  expect([healthy, exitCode]).toEqual([true, 0]);
  expect(byName.get("native part")?.state).toBe("ok");
});

const faults = [
  { args: ["--outside", "af_packet:absent0"], name: "interface absent0", words: "virtual switch" },
  { args: ["--outside", "af_packet:lo"], name: "interface lo", words: "Choose one" },
  { args: ["--config", "examples/web.yaml"], name: "provisioning file", words: "chmod 600" },
  { args: ["--config", "/nonexistent.yaml"], name: "provisioning file", words: "" },
];
test.each(faults)("$args is a fault with a remedy, and exit code 1", ({ args, name, words }) => {
  const { healthy, exitCode, byName } = checksOf(...args);
  expect([healthy, exitCode, byName.get(name)?.state]).toEqual([false, 1, "fault"]);
  expect(byName.get(name)?.remedy).not.toBe("");
  expect(byName.get(name)?.remedy).toContain(words);
});

test("in words, each remedy stands under what it mends", () => {
  const { text } = doctor("--outside", "af_packet:absent0");
  expect(text).toMatch(/^FAULT {4}interface absent0: .*\n +→ /m);
});
