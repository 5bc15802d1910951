/**
 * No secret gets out: a manager and two agents run, and every secret of the run, taken from the
 * product's own stores, is looked for in all files, logs, answers, command lines and environments.
 * It may be in the files that the docs call secret, and those are closed to others. No core is
 * dumped, and no other user reads the memory. docs/threat-model.md "Secrets".
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { fromHex } from "../../src/bytes.ts";
import { type Background, mustRun, startBackground, waitFor } from "../../src/lab/command.ts";
import { inFolder, openManager } from "../../src/manager/manager-folder.ts";
import { Tenants } from "../../src/manager/tenants.ts";
import { seedOfPrivateKey } from "../../src/ssh/ssh-keys.ts";
import { ABS, CLIENT, SERVER, stopwatch } from "./harness.ts";
import { ManagerBed, TENANT } from "./manager-bed.ts";

const MINUTE_MS = 60_000;
const VMS = [CLIENT, SERVER];
/** Documented as secret, below the site's folder (docs/manager.md "Folder", provisioning.md). */
const SECRET_FILES = /(^|\/)(data\.key|admin_key|keys\.json|provisioning\.json|positions\.json)$/;
const done = stopwatch("e2e secrets");
let bed: ManagerBed;
/** By name, as bytes. */
const secrets = new Map<string, Uint8Array>();
let tokens: string[] = [];

beforeAll(async () => {
  bed = await ManagerBed.open("secrets", VMS);
  for (const { name } of VMS) await bed.enrol(name, "--tag", "ping");
  for (const { name } of VMS) await bed.startAgent(name);
  await bed.untilAnswered(CLIENT.name, SERVER);
}, 2 * MINUTE_MS);

afterAll(async () => {
  await bed?.close();
  done();
}, MINUTE_MS);

function keep(name: string, hex: string): void {
  const bytes = fromHex(hex);
  if (bytes === undefined || bytes.length < 16) throw new Error(`${name} is no secret`);
  secrets.set(name, bytes);
}

async function collect(): Promise<void> {
  const answer = async (...words: string[]) =>
    JSON.parse(await bed.ask(...words, "--output", "json")) as Record<string, string>;
  keep("recovery", (await answer("tenant", "add", "t2"))["recovery_secret"] ?? "");
  const invited = await answer("invite", "--tenant", TENANT, "--name", "later");
  tokens = [invited["token"] ?? ""];
  const [first] = JSON.parse(
    await bed.ask("contract", "list", "--tenant", TENANT, "--output", "json"),
  ) as { "sc-id": string }[];
  await bed.ask("contract", "regenerate", first?.["sc-id"] ?? "", "--tenant", TENANT);
  await bed.untilEnforced();
  keep("data key", readFileSync(inFolder(bed.dir, "dataKey"), "utf8").trim());
  const seed = seedOfPrivateKey(readFileSync(inFolder(bed.dir, "adminKey"), "utf8"));
  keep("administrator", seed?.toHex() ?? "");
  const { database, sealer } = openManager(bed.dir, undefined);
  const row = database.query("SELECT secrets_sealed AS sealed FROM manager_key").get();
  const opened = sealer.open("manager_key/1", (row as { sealed: Uint8Array }).sealed);
  for (const [name, hex] of Object.entries(JSON.parse(Buffer.from(opened).toString()))) {
    if (typeof hex === "string") keep(`manager ${name}`, hex);
  }
  const tenants = new Tenants(database, sealer);
  keep("tenant tag", tenants.tagOf(TENANT).toHex());
  for (const { name, tag } of tenants.applicationTags(TENANT)) keep(`tag ${name}`, tag.toHex());
  for (const { entry, secrets: generations } of tenants.contracts(TENANT)) {
    for (const { generation, secret } of generations) {
      keep(`contract ${entry.scId} ${generation}`, secret.toHex());
    }
  }
  database.close();
  for (const { name } of VMS) {
    const own = JSON.parse(readFileSync(`${bed.folder(name)}/keys.json`, "utf8"));
    for (const [key, hex] of Object.entries(own)) {
      if (key.endsWith("_secret")) keep(`${name} ${key}`, String(hex));
    }
  }
}

/** As it is, in hex, and in base64 without the last letters, which depend on what follows. */
function formsOf(secret: Uint8Array): Buffer[] {
  const bytes = Buffer.from(secret);
  const whole = 3 * Math.floor(bytes.length / 3);
  const texts = ["base64", "base64url"] as const;
  return [
    bytes,
    Buffer.from(bytes.toString("hex")),
    Buffer.from(bytes.toString("hex").toUpperCase()),
    ...texts.map((form) => Buffer.from(bytes.subarray(0, whole).toString(form))),
  ];
}

/** Names of the secrets that are in it. */
function secretsIn(content: Uint8Array): string[] {
  const buffer = Buffer.from(content);
  const found = [...secrets].filter(([, secret]) =>
    formsOf(secret).some((f) => buffer.includes(f)),
  );
  const said = tokens.filter((token) => buffer.includes(token));
  return [...found.map(([name]) => name), ...said.map(() => "a token")];
}

function filesBelow(dir: string): string[] {
  const names = readdirSync(dir, { recursive: true }) as string[];
  const disk = statSync(dir).dev;
  // A network namespace that is mounted in a state folder is a file that nobody can read.
  const isContent = (file: string) => statSync(file).isFile() && statSync(file).dev === disk;
  return names.map((name) => join(dir, name)).filter(isContent);
}

/** Processes of this run: their network namespace is one of the site's. */
function processes(): number[] {
  const { directory } = bed.site.options;
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, "utf8");
        return line.includes(directory) && line.includes("abs");
      } catch {
        return false; // It has ended.
      }
    });
}

test(
  "databases, logs, answers, command lines and environments hold none of the run's secrets",
  async () => {
    await collect();
    expect(secrets.size).toBeGreaterThan(15);
    // It finds what is there.
    expect(secretsIn(readFileSync(inFolder(bed.dir, "dataKey")))).toEqual(["data key"]);
    const { directory } = bed.site.options;
    const files = filesBelow(directory);
    for (const needed of ["manager.sqlite", "manager.sqlite-wal", "scd.sqlite", "appdb.sqlite"]) {
      expect(files.some((file) => file.endsWith(`/${needed}`))).toBe(true);
    }
    const leaks: string[] = [];
    let closed = 0;
    for (const file of files) {
      const found = secretsIn(readFileSync(file));
      if (found.length === 0) continue;
      const isSecret = SECRET_FILES.test(file) && (statSync(file).mode & 0o077) === 0;
      if (isSecret) closed++;
      else leaks.push(`${file.slice(directory.length)}: ${found.join(", ")}`);
    }
    expect(leaks).toEqual([]);
    expect(closed).toBeGreaterThan(5);

    const backup = `${directory}/backup`;
    await bed.ask("backup", backup);
    expect(secretsIn(readFileSync(backup))).toEqual([]);
    const asked = [
      ...["status", "tenant list", "agents list", `agents show ${CLIENT.name}`, "audit"],
      ...["invitation list", "admin list", "account list"],
      ...[`contract list --tenant ${TENANT}`, `policy show --tenant ${TENANT}`],
    ];
    for (const words of asked) {
      for (const form of ["text", "json"]) {
        const said = await bed.ask(...words.split(" "), "--output", form);
        expect([words, secretsIn(Buffer.from(said))]).toEqual([words, []]);
      }
    }
    for (const { name } of VMS) {
      const status = JSON.stringify(await bed.site.agent(name).status());
      expect(secretsIn(Buffer.from(status))).toEqual([]);
    }
    const pids = processes();
    expect(pids.length).toBeGreaterThan(2);
    for (const pid of pids) {
      for (const file of ["cmdline", "environ"]) {
        const content = readFileSync(`/proc/${pid}/${file}`);
        expect([pid, file, secretsIn(content)]).toEqual([pid, file, []]);
      }
    }
  },
  MINUTE_MS,
);

test("no other user reads the memory of a process that holds keys, and none may dump a core", async () => {
  const agents = VMS.map(({ name }) => bed.site.agent(name).pid);
  const manager = processes().filter((pid) =>
    readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("\0manager\0serve\0"),
  );
  expect(manager.length).toBe(1);
  const nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
  for (const pid of [...agents, ...manager]) {
    expect(readFileSync(`/proc/${pid}/limits`, "utf8")).toMatch(/Max core file size +0 +0 /);
    for (const file of ["mem", "environ", "maps"]) {
      const read = Bun.spawnSync([...nobody, "head", "-c1", `/proc/${pid}/${file}`]);
      expect([file, read.exitCode === 0]).toEqual([file, false]);
    }
  }
});

test(
  "SIGABRT leaves no core where another program leaves one",
  async () => {
    // Where the kernel puts cores: a file in the process's folder, or this shows nothing.
    expect(readFileSync("/proc/sys/kernel/core_pattern", "utf8").trim()).toBe("core");
    const folder = `${bed.site.options.directory}/cores`;
    const dir = `${folder}/manager`;
    mkdirSync(folder);
    const unlimited = (...words: string[]) => [
      "sh",
      "-c",
      'ulimit -c unlimited; exec "$@"',
      "-",
      ...words,
    ];
    const run = (log: string, ...words: string[]): Background =>
      startBackground(bed.site.inside("manager", unlimited(...words)), {
        ...{ logFile: `${folder}/${log}`, directory: folder },
      });
    const cores = () => readdirSync(folder).filter((name) => name.startsWith("core"));
    const other = run("sleep.log", "sleep", "60");
    const isAsleep = () =>
      readFileSync(`/proc/${other.pid}/cmdline`, "utf8").startsWith("sleep") || undefined;
    await waitFor("the other program", isAsleep);
    await other.stop("SIGABRT");
    expect(cores().length).toBe(1);
    await mustRun(["rm", ...cores().map((name) => `${folder}/${name}`)]);
    const place = ["--address", "10.78.0.90:7099", "--api", "off"];
    const manager = run("serve.log", ...ABS, "manager", "serve", "--dir", dir, ...place);
    const isUp = () => manager.output().includes("manager-started") || undefined;
    await waitFor("the manager", isUp, MINUTE_MS);
    expect(await manager.stop("SIGABRT")).toBe(134);
    expect(cores()).toEqual([]);
  },
  MINUTE_MS,
);
