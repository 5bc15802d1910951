/**
 * Four validators and a master as processes over loopback, with their disks: they agree, one is
 * killed and catches up, the master is killed and goes on, and what they export verifies.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type ContractEntry, contractJson } from "../../src/chain/contract-entry.ts";
import { contractOf } from "../chain/chain-builder.ts";
import { abs, absJson, LedgerSite, MAIN, MASTER } from "./ledger-site.ts";

const NAMES = ["web1", "web2", "app1", "db1"];
/** Several views may have to time out, on a busy machine. */
const PATIENCE_MS = 90_000;
let site: LedgerSite;

beforeAll(async () => {
  site = await LedgerSite.create(NAMES);
  site.startAll();
  await site.reach(0, [...NAMES, MASTER]);
}, PATIENCE_MS);

afterAll(async () => {
  await site?.end();
});

test(
  "they agree on contracts, and every node has the same tip",
  async () => {
    for (let i = 0; i < 3; i++) expect((await site.createContract()).sealed).toBe(true);
    const tips = await site.reach(3, [...NAMES, MASTER]);
    expect(new Set(tips.map((tip) => tip.block_hash)).size).toBe(1);
  },
  PATIENCE_MS,
);

test(
  "three of four go on without the one that is killed; it catches up and votes again",
  async () => {
    await site.kill("app1");
    for (let i = 0; i < 2; i++) await site.createContract();
    const others = NAMES.filter((name) => name !== "app1");
    await site.reach(5, others);
    site.start("app1");
    const [again] = await site.reach(5, ["app1"]);
    expect(again?.is_observing).toBe(false);
    // Now it is needed: without it three of four would be two.
    await site.kill("db1");
    await site.createContract();
    const tips = await site.reach(6, ["web1", "web2", "app1", MASTER]);
    expect(new Set(tips.map((tip) => tip.block_hash)).size).toBe(1);
    site.start("db1");
    await site.reach(6, ["db1"]);
  },
  PATIENCE_MS,
);

test(
  "a master that is killed goes on after its start",
  async () => {
    await site.kill(MASTER);
    site.start(MASTER);
    await site.reach(6, [MASTER]);
    await site.createContract();
    await site.reach(7, [...NAMES, MASTER]);
  },
  PATIENCE_MS,
);

test(
  "two of four are no quorum: nothing is sealed, and it is when the third is back",
  async () => {
    await site.kill("web1");
    await site.kill("web2");
    const place = ["--dir", site.folder(MASTER), "--wait", "2"];
    const refused = await abs("ledger", "contract", "create", ...place);
    expect(refused.exitCode).toBe(1);
    expect(refused.stderr).toContain("NOT_SEALED");
    site.start("web1");
    await site.reach(8, ["web1", "app1", "db1", MASTER]);
    site.start("web2");
    await site.reach(8, ["web2"]);
  },
  PATIENCE_MS,
);

test(
  "a contract changes by commands: deactivate, regenerate, expire",
  async () => {
    const { "sc-id": scId } = await site.createContract();
    const place = ["--dir", site.folder(MASTER)];
    const change = (word: string) =>
      absJson<Record<string, unknown>>("ledger", "contract", word, scId, ...place);
    expect(await change("deactivate")).toMatchObject({ active: false, generation: 1, seq: 1 });
    expect(await change("regenerate")).toMatchObject({ active: false, generation: 2, seq: 2 });
    expect(await change("activate")).toMatchObject({ active: true, generation: 2, seq: 3 });
    expect(await change("expire")).toMatchObject({ active: "expired", seq: 4 });
    const gone = await abs("ledger", "contract", "activate", scId, ...place);
    expect([gone.exitCode, gone.stderr.includes("CONTRACT_ABSENT")]).toEqual([1, true]);
  },
  PATIENCE_MS,
);

const SIGNATURE = {
  ...{ kind: "SIGNATURE", signature_id: "app1", seq: 1, version: 4, status: "published" },
  commitment: "5a".repeat(32),
};

/** In one block, from a file. */
async function proposeMany(count: number): Promise<void> {
  const now = Math.floor(Date.now() / 1000);
  const life = { scLifetime: now + 10_000, keyregen: now + 5000 } as Partial<ContractEntry>;
  const contracts = Array.from({ length: count }, (_, i) => contractJson(contractOf(i, life)));
  const file = join(site.dir, "proposal.json");
  writeFileSync(file, JSON.stringify({ contracts, records: [SIGNATURE] }));
  const proposed = await abs("ledger", "propose", file, "--dir", site.folder(MASTER));
  expect([proposed.stdout, proposed.stderr, proposed.exitCode]).toEqual(["proposed\n", "", 0]);
}

test(
  "what a node holds can be read, exported and verified offline",
  async () => {
    const before = (await site.status(MASTER)) ?? { height: 0 };
    await proposeMany(300);
    const { height } = (await site.reach(before.height + 1, ["web1"]))[0] ?? { height: 0 };
    const place = ["--dir", site.folder("web1")];
    const file = join(site.dir, "chain.jsonl");
    expect((await abs("ledger", "export", ...place, "--file", file)).exitCode).toBe(0);
    // More than a pipe holds, read slowly.
    expect(readFileSync(file).length).toBeGreaterThan(64 * 1024);
    const piped = join(site.dir, "piped.jsonl");
    const pipe = `"$0" "$1" ledger export --dir "$2" | (sleep 0.3; cat) > "$3"`;
    const words = [process.execPath, MAIN, site.folder("web1"), piped];
    expect(await Bun.spawn(["bash", "-o", "pipefail", "-c", pipe, ...words]).exited).toBe(0);
    expect(Buffer.compare(readFileSync(piped), readFileSync(file))).toBe(0);
    const found = await absJson<{ valid: boolean; height: number }>("ledger", "verify", file);
    expect(found).toMatchObject({ valid: true, height, error: null });
    const blocks = await absJson<{ height: number; votes: number }[]>("ledger", "blocks", ...place);
    expect(blocks.map((block) => block.height)).toEqual(
      Array.from({ length: height }, (_, i) => height - i),
    );
    expect(blocks.every((block) => block.votes >= 3)).toBe(true);
    const members = await absJson<{ is_effective: boolean }[]>("ledger", "members", ...place);
    expect(members.map((member) => member.is_effective)).toEqual([true, true, true, true]);
    expect(await absJson<unknown[]>("ledger", "signatures", ...place)).toEqual([SIGNATURE]);
    const shown = await abs("ledger", "show", "1", ...place);
    expect(JSON.parse(shown.stdout)).toMatchObject({ height: 1 });
    // One flipped bit somewhere in the middle.
    const bytes = readFileSync(file);
    const at = bytes.length >> 1;
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    writeFileSync(file, bytes);
    const spoilt = await abs("ledger", "verify", file, "--output", "json");
    expect(spoilt.exitCode).toBe(1);
    expect(JSON.parse(spoilt.stdout)).toMatchObject({ valid: false });
  },
  PATIENCE_MS,
);

test(
  "a contract has a proof, members have stake, and nobody was proven to lie",
  async () => {
    const { "sc-id": scId } = await site.createContract();
    const { height } = (await site.status(MASTER)) ?? { height: 0 };
    await site.reach(height, ["web2"]);
    const place = ["--dir", site.folder("web2")];
    const proof = await abs("ledger", "proof", scId, ...place);
    expect(JSON.parse(proof.stdout)).toMatchObject({ height, holds: true });
    const contracts = await absJson<{ "sc-id": string }[]>("ledger", "contracts", ...place);
    expect(contracts.map((contract) => contract["sc-id"])).toContain(scId);
    const stake = await absJson<{ vcpu: number; weight: number }[]>("ledger", "stake", ...place);
    expect(stake.map(({ vcpu, weight }) => [vcpu, weight])).toEqual(Array(4).fill([2, 27]));
    expect(await absJson<unknown[]>("ledger", "evidence", ...place)).toEqual([]);
  },
  PATIENCE_MS,
);

test(
  "a node whose disk is lost observes: it catches up, and is no vote that is missing",
  async () => {
    await site.stop("web2");
    for (const end of ["", "-wal", "-shm"]) {
      rmSync(join(site.folder("web2"), `scd.sqlite${end}`), { force: true });
    }
    const { height } = (await site.status(MASTER)) ?? { height: 0 };
    site.start("web2");
    const [back] = await site.reach(height, ["web2"]);
    expect(back?.is_observing).toBe(true);
    // The other three seal without it.
    expect((await site.createContract()).sealed).toBe(true);
    await site.reach(height + 1, [...NAMES, MASTER]);
    // With one of them gone there are two who vote: no quorum.
    await site.kill("db1");
    const create = ["contract", "create", "--dir", site.folder(MASTER), "--wait", "2"];
    expect((await abs("ledger", ...create)).stderr).toContain("NOT_SEALED");
    site.start("db1");
    await site.reach(height + 2, [...NAMES, MASTER]);
  },
  PATIENCE_MS,
);

test(
  "SIGTERM ends a node cleanly, and its folder is still read",
  async () => {
    expect(await site.stop("web1")).toBe(0);
    const status = await absJson<Record<string, unknown>>(
      ...["ledger", "status", "--dir", site.folder("web1")],
    );
    expect(status).toMatchObject({ is_running: false, tenant: "test" });
  },
  PATIENCE_MS,
);
