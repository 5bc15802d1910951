/**
 * Bad input to the real commands: files that are damaged, of another version or another chain, a
 * genesis file that differs, contracts with wrong fields. Each is refused with a code, what is
 * wrong and what to do, with exit status 1, and nothing is written.
 */
import { Database } from "bun:sqlite";
import { afterAll, beforeAll, expect, test } from "bun:test";
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { contractJson } from "../../src/chain/contract-entry.ts";
import { contractOf } from "../chain/chain-builder.ts";
import { abs, LedgerSite, MASTER, type Ran } from "./ledger-site.ts";

const NAMES = ["web1", "web2", "app1", "db1"];
const PATIENCE_MS = 90_000;
let site: LedgerSite;

beforeAll(async () => {
  site = await LedgerSite.create(NAMES);
  site.startAll();
  await site.agree(0);
  for (let i = 0; i < 2; i++) await site.createContract();
  await site.agree(2);
}, PATIENCE_MS);

afterAll(async () => {
  await site?.end();
});

/** Of a stopped node, for a test to spoil. */
async function copyOf(name: string, as: string): Promise<string> {
  const folder = join(site.dir, as);
  rmSync(folder, { recursive: true, force: true });
  await site.stop(name);
  cpSync(site.folder(name), folder, { recursive: true });
  site.start(name);
  return folder;
}

function runNode(folder: string): Promise<Ran> {
  return abs("validator", "run", "--dir", folder);
}

function expectRefusal(ran: Ran, code: string, ...words: readonly string[]): void {
  expect([ran.exitCode, ran.stderr]).toEqual([1, expect.stringContaining(`[${code}]`)]);
  for (const word of words) expect(ran.stderr).toContain(word);
  // What to do is said.
  expect(ran.stderr).toContain("→");
  // No trace of the program's insides.
  expect(ran.stderr).not.toMatch(/\.ts:\d|at .*\(/);
}

function filesOf(folder: string): Record<string, string> {
  const files = readdirSync(folder).filter((name) => !/lock|-shm|-wal/.test(name));
  return Object.fromEntries(
    files.map((name) => [name, Bun.hash(readFileSync(join(folder, name))).toString()]),
  );
}

const DAMAGES: readonly [string, (file: string) => void, string][] = [
  ["overwritten", (file) => writeFileSync(file, readFileSync(file).fill(0x55)), "database"],
  ["cut", (file) => writeFileSync(file, readFileSync(file).subarray(0, 6000)), "malformed"],
  ["empty", (file) => writeFileSync(file, ""), "version 0"],
];
test.each(DAMAGES)(
  "commands that read say that a database is %s, and how it is repaired",
  async (_name, harm, words) => {
    const folder = await copyOf("app1", "spoilt");
    harm(join(folder, "scd.sqlite"));
    const before = filesOf(folder);
    for (const command of ["status", "blocks", "contracts", "export"]) {
      const ran = await abs("ledger", command, "--dir", folder);
      expect([ran.exitCode, ran.stderr]).toEqual([1, expect.stringContaining("LEDGER_STORE")]);
      expect(ran.stderr).toContain(words);
      expect(ran.stderr).toContain("Start ");
    }
    expect(filesOf(folder)).toEqual(before);
  },
  PATIENCE_MS,
);

test(
  "a chain that somebody changed is not shown as if it held",
  async () => {
    const folder = await copyOf("app1", "changed");
    const database = new Database(join(folder, "scd.sqlite"));
    database.run("UPDATE block SET bytes = x'0000000000000000' WHERE height = 1");
    database.close();
    expectRefusal(await abs("ledger", "contracts", "--dir", folder), "LEDGER_DAMAGED", "block 1");
  },
  PATIENCE_MS,
);

test(
  "a newer version's database is refused, and left as it is",
  async () => {
    const folder = await copyOf("app1", "newer");
    const database = new Database(join(folder, "scd.sqlite"));
    database.run("PRAGMA user_version = 9");
    database.close();
    const before = filesOf(folder);
    const code = "LEDGER_STORE_VERSION";
    expectRefusal(await runNode(folder), code, "version 9", "newer program");
    expectRefusal(await abs("ledger", "status", "--dir", folder), code, "version 9");
    expect(filesOf(folder)).toEqual(before);
  },
  PATIENCE_MS,
);

test(
  "an older version's database is read by no command before its node has brought it up to date",
  async () => {
    const folder = join(site.dir, "older");
    cpSync(join(import.meta.dir, "../data/ledger-version-1"), folder, { recursive: true });
    const before = filesOf(folder);
    const ran = await abs("ledger", "blocks", "--dir", folder);
    expectRefusal(ran, "LEDGER_STORE_VERSION", "version 1", "Start its node once");
    expect(filesOf(folder)).toEqual(before);
  },
  PATIENCE_MS,
);

test(
  "a genesis file of another ledger is refused at the start: for the database, and without one",
  async () => {
    const other = await LedgerSite.create(["web1"]);
    const folder = await copyOf("app1", "other");
    cpSync(join(other.folder("web1"), "genesis.json"), join(folder, "genesis.json"));
    await other.end();
    expectRefusal(await runNode(folder), "LEDGER_CHAIN_OTHER", "certificate.json", "genesis.json");
    const inspected = await abs("ledger", "status", "--dir", folder);
    expectRefusal(inspected, "LEDGER_CHAIN_OTHER", "scd.sqlite is of chain");
    for (const end of ["", "-wal", "-shm"]) {
      rmSync(join(folder, `scd.sqlite${end}`), { force: true });
    }
    expectRefusal(await runNode(folder), "LEDGER_CHAIN_OTHER", "genesis.json");
  },
  PATIENCE_MS,
);

const GENESIS: readonly [string, (text: string) => string][] = [
  ["no JSON", () => "not a genesis file"],
  ["cut off half-way", (text) => text.slice(0, text.length >> 1)],
  ["given a field too many", (text) => text.replace("{", '{"colour":"red",')],
  ["given a float", (text) => text.replace(/"vcpu":\d+/, '"vcpu":1.5')],
];
test.each(GENESIS)(
  "a genesis file that is %s is refused at the start",
  async (_name, change) => {
    const folder = await copyOf("app1", "genesis");
    const file = join(folder, "genesis.json");
    writeFileSync(file, change(readFileSync(file, "utf8")));
    expectRefusal(await runNode(folder), "GENESIS_INVALID", "genesis.json");
  },
  PATIENCE_MS,
);

test(
  "nodes whose genesis files differ by a parameter say of which chain each is, and do not connect",
  async () => {
    await site.stop("db1");
    const folder = site.folder("db1");
    const file = join(folder, "genesis.json");
    const right = readFileSync(file, "utf8");
    const kept = join(site.dir, "kept");
    mkdirSync(kept);
    for (const name of readdirSync(folder).filter((one) => one.startsWith("scd.sqlite"))) {
      cpSync(join(folder, name), join(kept, name));
      rmSync(join(folder, name));
    }
    writeFileSync(file, right.replace('"view_timeout_ms":1000', '"view_timeout_ms":1001'));
    expect(readFileSync(file, "utf8")).not.toBe(right);
    const since = new Map(site.all.map((name) => [name, site.events(name).length]));
    site.start("db1");
    const wrong = await site.until("db1", () => true);
    const { chain_id: ours } = await site.agree(2, site.others("db1"));
    expect(wrong.chain_id).not.toBe(ours);
    const endMs = performance.now() + 20_000;
    const told = (): string =>
      site.all
        .flatMap((name) => site.events(name).slice(since.get(name)))
        .filter(({ event }) => event === "peer-refused")
        .map(({ detail }) => detail ?? "")
        .join("\n");
    // Whichever of two calls, the caller names both.
    const pattern = /it is of chain ([0-9a-f]{64}), this node of ([0-9a-f]{64})/;
    while (!pattern.test(told()) && performance.now() < endMs) await Bun.sleep(50);
    const [, theirs, own] = pattern.exec(told()) ?? [];
    expect([theirs, own].sort()).toEqual([ours, wrong.chain_id].sort());
    expect((await site.status("db1"))?.peers.some(({ is_connected }) => is_connected)).toBe(false);
    await site.stop("db1");
    writeFileSync(file, right);
    for (const name of readdirSync(folder).filter((one) => one.startsWith("scd.sqlite"))) {
      rmSync(join(folder, name));
    }
    cpSync(kept, folder, { recursive: true });
    site.start("db1");
    await site.agree(2);
  },
  PATIENCE_MS,
);

const OPTIONS: readonly (readonly string[])[] = [
  ["--algorithm", "rot13"],
  ["--hash", "md5"],
  ["--protection", "none"],
  ["--lifetime", "0"],
  ["--lifetime", "1.5"],
  ["--busytime", "-1"],
  ["--idletime", "x"],
  ["--keyregen", ""],
];
test.each(OPTIONS.map((words) => [words.join(" "), words] as const))(
  "a contract with %s is refused before anything is proposed",
  async (_name, words) => {
    const ran = await abs(
      ...["ledger", "contract", "create", "--dir", site.folder(MASTER), ...words],
    );
    expect([ran.exitCode, ran.stdout]).toEqual([2, ""]);
    expect(ran.stderr).toContain("→");
    expect(await site.status(MASTER)).toMatchObject({ waiting: 0 });
  },
  PATIENCE_MS,
);

type Fields = Record<string, unknown>;
const CONTRACTS: readonly [string, (fields: Fields) => unknown, string][] = [
  ["an unknown field", (fields) => ({ ...fields, colour: "red" }), "colour"],
  ["no sc-id", ({ "sc-id": _, ...fields }) => fields, "sc-id"],
  ["an sc-id that is no UUID", (fields) => ({ ...fields, "sc-id": "7" }), "sc-id"],
  ["a float", (fields) => ({ ...fields, generation: 1.5 }), "json-number"],
  ["an unknown algorithm", (fields) => ({ ...fields, encryption_algo: "des" }), "encryption_algo"],
  ["a short commitment", (fields) => ({ ...fields, secret_commitment: "00" }), "secret_commitment"],
  ["a lifetime that is text", (fields) => ({ ...fields, lifetime: "long" }), "lifetime"],
  ["nothing in it", () => ({}), "contracts[0]"],
  ["a list in its place", () => [], "contracts[0]"],
];
test.each(CONTRACTS)(
  "a proposal of a contract with %s is refused with its place",
  async (_name, change, word) => {
    const now = Math.floor(Date.now() / 1000);
    const life = { scLifetime: now + 1000, keyregen: now + 500 } as never;
    const contracts = [change(contractJson(contractOf(700, life)) as Fields)];
    const file = join(site.dir, "proposal.json");
    writeFileSync(file, JSON.stringify({ contracts, records: [] }));
    const ran = await abs("ledger", "propose", file, "--dir", site.folder(MASTER));
    expectRefusal(ran, "PROPOSAL_REFUSED", word);
    expect(await site.status(MASTER)).toMatchObject({ waiting: 0 });
  },
  PATIENCE_MS,
);

const FILES: readonly [string, string, string][] = [
  ["no JSON", "contracts: none", "PROPOSAL_REFUSED"],
  ["cut", '{"contracts":[', "PROPOSAL_REFUSED"],
  ["a number", "7", "PROPOSAL_REFUSED"],
  ["a duplicate key", '{"contracts":[],"contracts":[],"records":[]}', "PROPOSAL_REFUSED"],
  ["records of an unknown kind", '{"contracts":[],"records":[{"kind":"X"}]}', "PROPOSAL_REFUSED"],
];
test.each(FILES)(
  "a proposal that is %s is refused",
  async (_name, text, code) => {
    const file = join(site.dir, "proposal.json");
    writeFileSync(file, text);
    const ran = await abs("ledger", "propose", file, "--dir", site.folder(MASTER));
    expectRefusal(ran, code);
  },
  PATIENCE_MS,
);

test(
  "what the fields allow and the chain does not is dropped and told, and the rest is sealed",
  async () => {
    const { height } = await site.agree(0);
    const now = Math.floor(Date.now() / 1000);
    const life = { scLifetime: now + 1000, keyregen: now + 500 };
    const over = contractOf(800, { scLifetime: now - 10, keyregen: now - 20 } as never);
    const right = contractOf(801, life as never);
    const contracts = [contractJson(over), contractJson(right)];
    const file = join(site.dir, "proposal.json");
    writeFileSync(file, JSON.stringify({ contracts, records: [] }));
    const ran = await abs("ledger", "propose", file, "--dir", site.folder(MASTER));
    expect(ran.exitCode).toBe(0);
    await site.agree(height + 1);
    const refusals = site.events(MASTER).filter(({ event }) => event === "ledger-refused");
    const pattern = new RegExp(`^contract ${over.scId}: contract-rule .`);
    expect(refusals.some(({ detail }) => pattern.test(detail ?? ""))).toBe(true);
    expect(await site.status(MASTER)).toMatchObject({ waiting: 0 });
  },
  PATIENCE_MS,
);
