/**
 * The agent's ledger node in its thread: it starts with its disk, takes part when told, comes again
 * after a failure, and ends cleanly. One member and a master over loopback, real disks.
 */
import { Database } from "bun:sqlite";
import { afterEach, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type LedgerSeams, LedgerThread } from "../../src/agent/ledger-thread.ts";
import { contractJson } from "../../src/chain/contract-entry.ts";
import { recordJson } from "../../src/chain/record-schema.ts";
import { propose } from "../../src/node/control-server.ts";
import { initLedger, MASTER_FOLDER } from "../../src/node/ledger-init.ts";
import { LedgerProcess } from "../../src/node/ledger-process.ts";
import { epochNow } from "../../src/node/ledger-runner.ts";
import { fileIn } from "../../src/node/node-folder.ts";
import type { ScdContract } from "../../src/node/scd-watch.ts";
import { openJournal } from "../../src/node/store-journal.ts";
import type { EventLog } from "../../src/observe/event-log.ts";
import type { AbsEvent } from "../../src/observe/event-record.ts";
import type { EpochSeconds } from "../../src/units.ts";
import { contractOf, scIdOf } from "../chain/chain-builder.ts";

setDefaultTimeout(60_000);

const SC = scIdOf(1);
let dir = "";
let ports: number[] = [];
let events: AbsEvent[] = [];
let threads: LedgerThread[] = [];
let masters: LedgerProcess[] = [];
const log = { write: (event: AbsEvent) => void events.push(event) } as EventLog;

async function listening(port = 0): Promise<Server> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  return server;
}

async function closed(server: Server): Promise<number> {
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), "abs-thread-"));
  const servers = await Promise.all([listening(), listening()]);
  ports = await Promise.all(servers.map(closed));
  const [port = 0, masterPort = 0] = ports;
  initLedger({
    ...{ dir, tenant: "test", timestamp: epochNow() },
    master: { host: "127.0.0.1", port: masterPort },
    members: [{ name: "web", host: "127.0.0.1", port, vcpu: 2, ramMib: 4096, securityScore: 50 }],
  });
  [events, threads, masters] = [[], [], []];
});

afterEach(async () => {
  for (const thread of threads) await thread.stop();
  for (const master of masters) master.stop();
  rmSync(dir, { recursive: true });
});

function start(): LedgerThread {
  const thread = new LedgerThread({ dir: join(dir, "web"), listen: undefined, scIds: [SC] }, log);
  threads.push(thread);
  return thread;
}

class Seams implements LedgerSeams {
  contracts: readonly ScdContract[] = [];
  readonly passed: string[] = [];
  readonly admitted: string[] = [];
  readonly signed: string[] = [];
  lostCount = 0;

  changed(contracts: readonly ScdContract[]): void {
    this.contracts = contracts;
  }
  revoked(): void {}
  discovered(): void {}
  signatures(ids: readonly string[]): void {
    this.signed.push(...ids);
  }
  async pass({ host, port }: { readonly host: string; readonly port: number }): Promise<boolean> {
    this.passed.push(`${host}:${port}`);
    return true;
  }
  passEnded(): void {}
  admit(port: number, hosts: readonly string[]): void {
    this.admitted.push(`${port} ${hosts.join()}`);
  }
  lost(): void {
    this.lostCount++;
  }
}

async function until(what: string, condition: () => boolean, forMs = 20_000): Promise<void> {
  const endMs = performance.now() + forMs;
  while (!condition()) {
    if (performance.now() > endMs) throw new Error(`${what}: ${JSON.stringify(events)}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

const eventsOf = (name: string): AbsEvent[] => events.filter(({ event }) => event === name);

async function master(): Promise<string> {
  const options = { role: "master", dir: join(dir, MASTER_FOLDER), listen: undefined } as const;
  masters.push(await LedgerProcess.start({ ...options, openJournal, events: { write: () => {} } }));
  return fileIn(join(dir, MASTER_FOLDER), "control");
}

function fresh(number: number) {
  const later = (epochNow() + 100_000) as EpochSeconds;
  return contractJson(contractOf(number, { scLifetime: later, keyregen: later }));
}

test("contracts reach the agent as blocks are sealed, older generations with them", async () => {
  const thread = start();
  await thread.untilRead(20_000);
  expect(thread.contracts).toEqual([{ scId: SC, entry: undefined, generations: [] }]);
  const seams = new Seams();
  thread.join(seams);
  const control = await master();
  const now = epochNow();
  const later = (now + 100_000) as typeof now;
  const contract = contractOf(1, { scLifetime: later, keyregen: later });
  const signature = recordJson({
    ...{ kind: "SIGNATURE", signatureId: "app1", seq: 1, version: 1, status: "published" },
    commitment: "cd".repeat(32) as typeof contract.secretCommitment,
  });
  await propose(control, { contracts: [contractJson(contract)], records: [signature] });
  await until("the contract", () => seams.contracts[0]?.entry?.generation === 1);
  await until("news of the signature", () => seams.signed.includes("app1"));
  const { scId, keyregen } = contract;
  const secretCommitment = "ab".repeat(32) as typeof contract.secretCommitment;
  const update = { scId, seq: 1, active: false, generation: 2, secretCommitment, keyregen };
  const record = recordJson({ kind: "SC_UPDATE", ...update });
  await propose(control, { contracts: [], records: [record] });
  await until("its next generation", () => seams.contracts[0]?.entry?.generation === 2);
  expect(seams.contracts[0]?.entry?.active).toBe(false);
  const known = seams.contracts[0]?.generations ?? [];
  expect(known.map(({ commitment }) => commitment)).toEqual([
    contract.secretCommitment,
    secretCommitment,
  ]);
  expect(known[1]?.since).toBeGreaterThanOrEqual(now);
  // One of the two called; both may.
  expect(seams.admitted.at(-1)).toBe(`${ports[0]} 127.0.0.1`);
  expect(await thread.status()).toMatchObject({ role: "validator", height: 2 });
  expect(eventsOf("ledger-block").length).toBe(2);
  // A start anew knows both generations from the blocks of its disk, without anybody.
  await thread.stop();
  for (const process of masters.splice(0)) process.stop();
  const again = start();
  await again.untilRead(20_000);
  expect(again.contracts).toEqual(seams.contracts);
});

test("a clean end leaves the folder to the next one", async () => {
  const first = start();
  await first.untilRead(20_000);
  first.join(new Seams());
  await until("it to listen", () => eventsOf("ledger-ready").length === 1);
  expect(() => start()).toThrow("Another process");
  await first.stop();
  expect(existsSync(fileIn(join(dir, "web"), "control"))).toBe(false);
  const second = start();
  await second.untilRead(20_000);
  second.join(new Seams());
  await until("it to listen again", () => eventsOf("ledger-ready").length === 2);
  expect(eventsOf("ledger-node-failed")).toEqual([]);
});

test("a port that is taken: told, tried again with longer pauses, and taken when free", async () => {
  const taken = await listening(ports[0]);
  const thread = start();
  const seams = new Seams();
  await thread.untilRead(20_000);
  thread.join(seams);
  await until("two failures", () => eventsOf("ledger-node-failed").length === 2);
  expect(eventsOf("ledger-node-failed")).toMatchObject([
    { code: "PEER_PORT_BUSY", againSeconds: 1 },
    { code: "PEER_PORT_BUSY", againSeconds: 2 },
  ]);
  expect(seams.lostCount).toBe(2);
  expect(thread.contracts?.length).toBe(1);
  await closed(taken);
  await until("it to listen", () => eventsOf("ledger-ready").length === 1);
  expect(await thread.status()).toMatchObject({ height: 0 });
});

test("a store that cannot be opened: the agent waits for nobody, and it comes later", async () => {
  const store = fileIn(join(dir, "web"), "store");
  mkdirSync(store);
  const thread = start();
  await thread.untilRead(20_000);
  expect(thread.contracts).toBeUndefined();
  expect(eventsOf("ledger-node-failed")[0]).toMatchObject({ code: "LEDGER_STORE_UNUSABLE" });
  expect(await thread.status()).toBeUndefined();
  thread.join(new Seams());
  rmSync(store, { recursive: true });
  await until("it to listen", () => eventsOf("ledger-ready").length === 1);
  expect(thread.contracts?.length).toBe(1);
});

test("a disk that fails while it runs: contracts stay, and the node comes again", async () => {
  const thread = start();
  await thread.untilRead(20_000);
  const seams = new Seams();
  thread.join(seams);
  const control = await master();
  await propose(control, { contracts: [fresh(1)], records: [] });
  await until("the contract", () => seams.contracts[0]?.entry !== undefined);
  const store = new Database(fileIn(join(dir, "web"), "store"));
  store.run("CREATE TRIGGER fail BEFORE INSERT ON vote BEGIN SELECT RAISE(ABORT, 'test'); END");
  await propose(control, { contracts: [fresh(2)], records: [] });
  await until("the failure", () => eventsOf("ledger-node-failed").length > 0);
  expect(eventsOf("ledger-node-failed")[0]).toMatchObject({ code: "LEDGER_FAILED" });
  expect(thread.contracts?.[0]?.entry?.generation).toBe(1);
  expect(seams.lostCount).toBeGreaterThan(0);
  store.run("DROP TRIGGER fail");
  store.close();
  await until("the next block", () => eventsOf("ledger-block").length === 2);
});

test("a VM that may be a copy: its node observes", async () => {
  const thread = start();
  await thread.untilRead(20_000);
  thread.join(new Seams());
  expect(await thread.status()).toMatchObject({ is_observing: false });
  thread.observe("resumed");
  expect(await thread.status()).toMatchObject({ is_observing: true });
  await until("it to be told", () => eventsOf("ledger-observing").length === 1);
});

test("a folder without keys is an error at once", () => {
  rmSync(fileIn(join(dir, "web"), "keys"));
  expect(() => start()).toThrow("no keys");
});
