/** Commands of administrators: strict options, roles, audit; by our client and by OpenSSH. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { encodeToken } from "../../src/channel/enrolment-token.ts";
import { askManager } from "../../src/manager/command-client.ts";
import { inFolder } from "../../src/manager/manager-folder.ts";
import { publicLineOf, sshPublicKey } from "../../src/ssh/ssh-keys.ts";
import { freePort } from "../free-port.ts";
import { codeOf, ManagerSite } from "./manager-site.ts";
import { drawSeed, keyFile, openSsh, run, type Site } from "./ssh-site.ts";

let site: ManagerSite;

beforeAll(async () => {
  site = await ManagerSite.open();
  await site.addTenant("t1");
});

afterAll(() => site.close());

function ask(...words: string[]) {
  return askManager({ dir: site.dir }, words);
}

const mistakes: readonly (readonly [string, readonly string[], string])[] = [
  ["no command", [], "No command was given"],
  ["an unknown command", ["agents", "delete"], "There is no command agents delete"],
  ["half a command", ["agents"], "There is no command agents"],
  ["an unknown option", ["agents", "list", "--all"], "--all"],
  ["a missing option", ["invite", "--tenant", "t1"], "--name is missing"],
  ["an option without value", ["invite", "--tenant"], "--tenant"],
  ["a word too many", ["tenant", "add", "a", "b"], "it takes 1 words"],
  ["a word too few", ["tenant", "add"], "it takes 1 words"],
  ["a wrong name", ["tenant", "add", "a b"], "is no name"],
  ["a wrong duration", ["invite", "--tenant", "t1", "--name", "x", "--expires", "1"], "duration"],
  ["a wrong mode", ["agents", "set", "--all", "--mode", "fast"], "Use quick, full"],
  ["nothing to set", ["agents", "set", "--all"], "Nothing is to be set"],
  ["nobody to set", ["agents", "set", "--mode", "full"], "Which agents"],
  ["both", ["agents", "set", "--mode", "full", "--all", "--agent", "x"], "Which agents"],
  ["a wrong output", ["agents", "list", "--output", "xml"], "--output is text, table or json"],
  ["a key that is none", ["admin", "add", "x", "--ssh-key", "ssh-rsa AAAA"], "no Ed25519 key"],
];

test.each(mistakes)(
  "%s: exit code 2, what is wrong and how it is right",
  async (_, words, says) => {
    const { code, output, complaint } = await ask(...words);
    expect([code, output]).toEqual([2, ""]);
    expect(complaint).toContain(says);
    expect(complaint).toContain("[COMMAND_USAGE]");
    expect(complaint).toContain("→");
  },
);

const failures: readonly (readonly [readonly string[], string])[] = [
  [["tenant", "add", "t1"], "TENANT_EXISTS"],
  [["invite", "--tenant", "t9", "--name", "x"], "TENANT_ABSENT"],
  [["agents", "show", "nobody"], "AGENT_ABSENT"],
  [["agents", "revoke", "nobody", "--tenant", "t1"], "AGENT_ABSENT"],
  [["agents", "list", "--tenant", "t9"], "TENANT_ABSENT"],
  [["admin", "remove", "nobody"], "ADMINISTRATOR_ABSENT"],
  [["admin", "remove", "local"], "ADMINISTRATOR_LAST"],
];

test.each(failures)("%p fails with %s and exit code 1", async (words, code) => {
  const said = await ask(...words);
  expect([said.code, said.output]).toEqual([1, ""]);
  expect(said.complaint).toContain(`[${code}]`);
});

test("agents are listed, shown, set one by one and all together", async () => {
  for (const name of ["a", "b", "c"]) {
    await site.enrol(await site.invite(name, "--group", "g,h"), site.freshDir());
  }
  const before = await site.command("tenant", "list");
  expect(
    await site.command("agents", "set", "--agent", "a", "--mode", "full", "--trust", "90"),
  ).toEqual({ changed: 1 });
  expect(
    await site.command("agents", "set", "--all", "--tenant", "t1", "--stage", "enforce"),
  ).toEqual({ changed: 3 });
  const rows = (await site.command("agents", "list")) as unknown as Record<string, unknown>[];
  expect(rows.map(({ name, mode, stage, groups }) => [name, mode, stage, groups])).toEqual([
    ["a", "full", "enforce", "g,h"],
    ["b", "quick", "enforce", "g,h"],
    ["c", "quick", "enforce", "g,h"],
  ]);
  expect(await site.command("agents", "show", "a")).toMatchObject({ trust_level: 90, vcpu: 2 });
  // Whatever agents must be told counts up.
  const after = await site.command("tenant", "list");
  const versionOf = (list: unknown) => (list as { version: number }[])[0]?.version ?? 0;
  expect(versionOf(after)).toBe(versionOf(before) + 2);
});

/** OpenSSH's client with a new administrator of a role. */
async function administrator(name: string, role: string) {
  const seed = drawSeed();
  const line = publicLineOf(sshPublicKey(seed), "somebody@somewhere");
  await site.command("admin", "add", name, "--role", role, "--ssh-key", line);
  const key = keyFile({ dir: site.base }, name, seed);
  const server = { port: site.manager?.port ?? 0 };
  const hostSeed = site.manager?.state.manager.hostKey.seed ?? seed;
  const at = { dir: site.base, server, hostSeed } as unknown as Site;
  return (...words: string[]) => openSsh(at, { key }, ["127.0.0.1", ...words]);
}

test("roles: a viewer looks, an operator invites, an administrator adds others", async () => {
  const viewer = await administrator("vera", "viewer");
  const operator = await administrator("otto", "operator");
  const chief = await administrator("anna", "administrator");
  expect((await viewer("agents", "list")).output).toContain("t1");
  const invited = ["invite", "--tenant", "t1", "--name"];
  expect((await viewer(...invited, "v")).complaint).toContain("[NOT_ALLOWED]");
  expect((await operator(...invited, "o")).output).toStartWith("abs1-");
  expect((await operator("tenant", "add", "t2")).complaint).toContain("[NOT_ALLOWED]");
  const port = await freePort();
  const added = await chief("tenant", "add", "t2", "--peer-port", `${port}`);
  expect(added.output).toContain("t2, 2 contracts");
  expect((await chief("admin", "remove", "vera")).code).toBe(0);
  expect((await viewer("agents", "list")).complaint).toContain("Permission denied (publickey)");
});

test("what was done is in the audit log, refused attempts too; looking is not", async () => {
  const rows = (await site.command("audit")) as unknown as Record<string, string>[];
  const lines = rows.map(({ who, command, outcome }) => `${who}: ${command}: ${outcome}`);
  expect(lines).toContain("otto: invite --tenant t1 --name o: done");
  expect(lines).toContain("otto: tenant add t2: NOT_ALLOWED");
  expect(lines.some((line) => line.startsWith("anna: tenant add t2 --peer-port"))).toBe(true);
  expect(lines.filter((line) => line.includes("agents list"))).toEqual([]);
  expect(rows.every(({ address }) => address === "127.0.0.1")).toBe(true);
});

test("the program: a token goes from `invite` to `enroll`, by words and by standard input", async () => {
  const abs = [process.execPath, join(import.meta.dir, "../../src/cli/main.ts")];
  const local = ["--dir", site.dir];
  const listed = await run([...abs, "manager", "agents", "list", ...local, "--output", "json"]);
  expect(JSON.parse(listed.output)).toHaveLength(3);
  const wrong = await run([...abs, "manager", "agents", "list", "--foo", ...local]);
  expect([wrong.code, wrong.output]).toEqual([2, ""]);
  const token = encodeToken(await site.invite("cli"));
  const dir = site.freshDir();
  const enroll = [...abs, "agent", "enroll", token, "--dir", dir, "--address", "10.77.3.3"];
  const done = await run([...enroll, "--output", "json"]);
  expect(done.complaint).toBe("");
  expect(JSON.parse(done.output)).toMatchObject({ name: "cli", mode: "quick", stage: "observe" });
  const synced = await run([...abs, "agent", "sync", "--dir", dir, "--output", "json"]);
  expect(JSON.parse(synced.output)).toMatchObject({ neighbours: 3 });
  const hostKey = await site.command("status");
  const remote = [
    ...["--manager", `127.0.0.1:${site.manager?.port}`, "--host-key", String(hostKey["host_key"])],
    ...["--key", inFolder(site.dir, "adminKey")],
  ];
  const afar = await run([...abs, "manager", "agents", "show", "cli", ...remote]);
  expect(afar.output).toContain("10.77.3.3");
  const fooled = await run([...abs, "manager", "status", ...remote.with(3, "SHA256:no")]);
  expect([fooled.code, fooled.output]).toEqual([1, ""]);
  expect(fooled.complaint).toContain("IS NOT THE MANAGER");
});

test("no manager runs here", async () => {
  expect(await codeOf(askManager({ dir: site.base }, ["status"]))).toBe("MANAGER_NOT_RUNNING");
});

test("an invitation without a tenant: the first is made, the only one is meant, of two none", async () => {
  const empty = await ManagerSite.open();
  try {
    const first = await empty.command("invite", "--name", "web");
    expect(first["tenant"]).toBe("default");
    expect((await empty.command("invite", "--name", "db"))["tenant"]).toBe("default");
    const list = () => empty.command("tenant", "list") as unknown as Promise<object[]>;
    expect(await list()).toMatchObject([{ name: "default", recovery_kept: true }]);
    const { recovery_secret: secret } = await empty.command("tenant", "recovery", "default");
    expect(secret).toMatch(/^[0-9a-f]{64}$/);
    await empty.command("tenant", "recovery", "default", "--forget");
    expect(await list()).toMatchObject([{ recovery_kept: false }]);
    await empty.addTenant("t2");
    const said = await askManager({ dir: empty.dir }, ["invite", "--name", "cache"]);
    expect(said.complaint).toContain("--tenant: default, t2");
    expect(said.code).toBe(1);
  } finally {
    await empty.close();
  }
});
