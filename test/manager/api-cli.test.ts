/** `abs manager …` over the HTTP API: the same words, answers and exit codes by every way. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { AdminRole } from "../../src/manager/administrators.ts";
import { askManager } from "../../src/manager/command-client.ts";
import { inFolder } from "../../src/manager/manager-folder.ts";
import { ApiSite } from "./api-site.ts";
import { ManagerSite } from "./manager-site.ts";
import { run } from "./ssh-site.ts";

const ABS = [process.execPath, join(import.meta.dir, "../../src/cli/main.ts"), "manager"];
let api: ApiSite;
let hostKey: string;

beforeAll(async () => {
  api = await ApiSite.open();
  hostKey = String((await api.site.command("status"))["host_key"]);
  await api.site.enrol(await api.site.invite("a"), api.site.freshDir());
});

afterAll(() => api.close());

function tokenFile(role: string, token = api.tokens.get(role as AdminRole) ?? ""): string {
  const file = join(api.site.base, `token-${role}`);
  writeFileSync(file, `${token}\n`, { mode: 0o600 });
  return file;
}

/** The ways there are from here to the manager. */
const WAYS = {
  socket: () => ["--dir", api.site.dir],
  url: () => ["--api", api.url, "--token-file", tokenFile("administrator")],
  ssh: () => [
    ...["--manager", `127.0.0.1:${api.site.manager?.port}`, "--host-key", hostKey],
    ...["--key", inFolder(api.site.dir, "adminKey")],
  ],
} as const;
const names = Object.keys(WAYS) as (keyof typeof WAYS)[];

function by(way: keyof typeof WAYS, ...words: string[]) {
  return run([...ABS, ...words, ...WAYS[way]()]);
}

const lines = [
  ["tenant", "list"],
  ["tenant", "list", "--output", "json"],
  ["agents", "show", "a"],
  ["agents", "list", "--tenant", "t1", "--revoked", "--output", "table"],
  ["policy", "show", "--tenant", "t1"],
  ["sig", "history", "--tenant", "t1", "--output", "json"],
  ["account", "token", "list", "operator"],
  ["agents", "show", "nobody"],
  ["agents", "list", "--tenant", "t9"],
  ["agents", "set", "--all", "--mode", "fast"],
  ["agents", "set", "--all"],
  ["invite", "--tenant", "t1"],
  ["audit", "--count", "0"],
  ["audit", "--output", "xml"],
];
test.each(lines.map((words) => [words.join(" "), words] as const))(
  "`%s` says the same by socket, URL and SSH",
  async (_, words) => {
    const [first, ...others] = await Promise.all(names.map((way) => by(way, ...words)));
    for (const other of others) expect(other).toEqual(first as typeof other);
    expect([0, 1, 2]).toContain(first?.code as number);
  },
);

test("changes are made by each way, with documents and passwords from standard input", async () => {
  for (const [i, way] of names.entries()) {
    const words = ["policy", "apply", "--tenant", "t1", "--expect-version", `${i + 1}`];
    const text = "version: 1\ndefaults: { stage: warn }\nrules: []\n";
    const applied = await run([...ABS, ...words, ...WAYS[way]()], text);
    expect(applied).toMatchObject({ code: 0, output: `version ${i + 2}\n` });
    const name = `by-${way}`;
    const added = await run(
      [...ABS, "account", "add", name, "--role", "viewer", ...WAYS[way]()],
      "a long password\n",
    );
    expect(added).toMatchObject({ code: 0, output: `${name} (viewer)\n` });
    const short = await run([...ABS, "account", "password", name, ...WAYS[way]()], "short\n");
    expect([short.code, short.complaint.includes("short")]).toEqual([2, false]);
    const made = await by(way, "account", "token", "create", name, "--expires", "1h");
    expect(made.output).toMatch(/^abst_[\w-]{43}\n$/);
    const logIn = { name, password: "a long password" };
    const session = await api.ask("POST", "/api/v1/session", { token: "", json: logIn });
    expect(session.status).toBe(200);
  }
});

test("what is said beside an answer is on standard error, by socket as by SSH", async () => {
  const [bySocket, bySsh] = [await ManagerSite.open(), await ManagerSite.open()];
  try {
    const words = ["invite", "--name", "web"];
    const said = await run([...ABS, ...words, "--dir", bySocket.dir]);
    const other = await askManager({ dir: bySsh.dir }, words);
    expect(other.complaint).toContain("abs manager tenant recovery default");
    expect(said.complaint).toBe(other.complaint);
    expect(said.output).toStartWith("abs1-");
  } finally {
    await Promise.all([bySocket.close(), bySsh.close()]);
  }
});

test("exit codes: 2 wrong usage, 3 nobody there, 4 not allowed", async () => {
  const abs = (...words: string[]) => run([...ABS, ...words]);
  const viewer = ["--api", api.url, "--token-file", tokenFile("viewer")];
  const forged = ["--api", api.url, "--token-file", tokenFile("nobody", "abst_x")];
  const refused = await abs("agents", "set", "--all", "--mode", "full", ...viewer);
  expect([refused.code, refused.output]).toEqual([4, ""]);
  expect(refused.complaint).toContain("[NOT_ALLOWED]");
  expect((await abs("status", ...forged)).code).toBe(4);
  const nobody = ["--api", "http://127.0.0.1:1", "--token-file", tokenFile("viewer")];
  const gone = await abs("status", ...nobody);
  expect([gone.code, gone.complaint.includes("MANAGER_UNREACHABLE")]).toEqual([3, true]);
  expect((await abs("status", "--dir", api.site.base)).code).toBe(3);
  const wrong = [
    ["--api", "http://192.0.2.1:80", "--token-file", tokenFile("viewer")],
    ["--api", "ftp://127.0.0.1", "--token-file", tokenFile("viewer")],
    ["--api", api.url],
    ["--manager", "127.0.0.1:1"],
  ];
  for (const words of wrong) {
    const said = await abs("status", ...words);
    expect([said.code, said.output]).toEqual([2, ""]);
    expect(said.complaint).toContain("→");
  }
  const open = tokenFile("open");
  chmodSync(open, 0o644);
  const seen = await abs("status", "--api", api.url, "--token-file", open);
  expect([seen.code, seen.complaint.includes("chmod 600")]).toEqual([1, true]);
});
