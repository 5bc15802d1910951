/** `abs ledger` as scripts see it: results, exit codes, and what is wrong said with a remedy. */
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseMember } from "./ledger-init.ts";

setDefaultTimeout(60_000);
const MAIN = new URL("./main.ts", import.meta.url).pathname;
const dir = mkdtempSync(join(tmpdir(), "abs-cli-"));
afterAll(() => rmSync(dir, { recursive: true }));

function run(...args: readonly string[]) {
  const { stdout, stderr, exitCode } = Bun.spawnSync([process.execPath, MAIN, "ledger", ...args]);
  return { stdout: stdout.toString(), stderr: stderr.toString(), exitCode };
}

const PLACE = ["--tenant", "t1", "--master", "127.0.0.1:7000"];

test("init writes a folder a node, secrets for nobody else, and never twice", () => {
  const into = join(dir, "one");
  const init = ["init", "--dir", into, ...PLACE, "a=127.0.0.1:7001", "b=[::1]:7002,vcpu=4"];
  const made = run(...init, "--output", "json");
  expect(made.exitCode).toBe(0);
  const result = JSON.parse(made.stdout);
  expect(result.members.map((member: { name: string }) => member.name)).toEqual(["a", "b"]);
  for (const name of ["a", "b", "master", "recovery"]) {
    const file = join(into, name, "keys.json");
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(made.stdout).not.toContain(JSON.parse(readFileSync(file, "utf8")).ledger_secret);
  }
  expect(existsSync(join(into, "recovery", "certificate.json"))).toBe(false);
  const before = readFileSync(join(into, "genesis.json"));
  const again = run(...init);
  expect([again.exitCode, again.stderr.includes("LEDGER_EXISTS")]).toEqual([1, true]);
  expect(Buffer.compare(before, readFileSync(join(into, "genesis.json")))).toBe(0);
});

test("members are words with defaults", () => {
  const member = parseMember("db1=10.0.0.4:6254,ram=2048,score=80");
  expect(member).toEqual({
    ...{ name: "db1", host: "10.0.0.4", port: 6254 },
    ...{ vcpu: 1, ramMib: 2048, securityScore: 80 },
  });
});

const badMembers = [
  "web1",
  "=10.0.0.1:1",
  "../x=10.0.0.1:1",
  "master=10.0.0.1:1",
  "web1=10.0.0.1",
  "web1=10.0.0.1:0",
  "web1=10.0.0.1:65536",
  "web1=10.0.0.1:1,cpu=1",
  "web1=10.0.0.1:1,vcpu=0",
  "web1=10.0.0.1:1,vcpu=1.5",
  "web1=10.0.0.1:1,score=101",
];
test.each(badMembers)("%s is no member", (text) => {
  expect(() => parseMember(text)).toThrow();
});

const failing = [
  { args: ["init", "--dir", join(dir, "x"), ...PLACE], exitCode: 2, words: "No member" },
  { args: ["init", "--dir", join(dir, "x")], exitCode: 2, words: "--tenant" },
  {
    args: ["init", "--dir", join(dir, "x"), ...PLACE, "a=h:1", "a=h:2"],
    exitCode: 2,
    words: "one name",
  },
  { args: ["verify"], exitCode: 2, words: "FILE or a --dir" },
  { args: ["verify", join(dir, "absent")], exitCode: 1, words: "LEDGER_FILE_UNREADABLE" },
  { args: ["verify", "x", "--chain", "1"], exitCode: 2, words: "--chain" },
  { args: ["verify", "x", "--checkpoint", "1:2"], exitCode: 2, words: "--checkpoint" },
  { args: ["status", "--dir", join(dir, "absent")], exitCode: 1, words: "abs ledger init" },
  { args: ["contract", "create", "--dir", join(dir, "absent")], exitCode: 3, words: "NOT_RUNNING" },
  { args: ["master", "run", "--dir", join(dir, "absent")], exitCode: 1, words: "NODE_KEYS_ABSENT" },
];
test.each(failing)("$args fails beside standard output", ({ args, exitCode, words }) => {
  const ran = run(...args);
  expect(ran.stdout).toBe("");
  expect(ran.stderr).toContain(words);
  expect(ran.exitCode).toBe(exitCode);
  expect(existsSync(join(dir, "x"))).toBe(false);
});

const texts = [
  { name: "an empty file", text: "", error: "nothing to verify" },
  { name: "no JSON", text: "hello\n", error: "genesis file" },
  { name: "a line that does not end", text: "{}", error: "does not end" },
];
test.each(texts)("verify says what is wrong with $name, exit 1", ({ text, error }) => {
  const file = join(dir, "export");
  writeFileSync(file, text);
  const ran = run("verify", file, "--output", "json");
  const found = JSON.parse(ran.stdout);
  expect([ran.exitCode, found.valid, found.height]).toEqual([1, false, -1]);
  expect(found.error).toContain(error);
});

test("verify holds a genesis file alone, and what it must be by --chain and --checkpoint", () => {
  const into = join(dir, "two");
  const made = run("init", "--dir", into, ...PLACE, "a=127.0.0.1:7001", "--output", "json");
  const { chain_id: chainId } = JSON.parse(made.stdout);
  const file = join(dir, "genesis-only");
  writeFileSync(file, `${readFileSync(join(into, "genesis.json"))}\n`);
  const json = ["--output", "json"];
  const held = run("verify", file, "--chain", chainId, ...json);
  expect(JSON.parse(held.stdout)).toMatchObject({ valid: true, height: 0, error: null });
  expect(held.exitCode).toBe(0);
  expect(run("verify", file, "--chain", "0".repeat(64), ...json).exitCode).toBe(1);
  expect(run("verify", file, "--checkpoint", "1", ...json).exitCode).toBe(1);
  expect(run("verify", file, "--checkpoint", `0:${"0".repeat(64)}`, ...json).exitCode).toBe(1);
});
