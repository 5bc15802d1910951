/**
 * The runbooks of docs/ledger.md "Recovery", by commands and real processes: the master is killed
 * for good and a new term takes over; three members lose one and agree again; one is revoked.
 */
import { afterEach, expect, test } from "bun:test";
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { freePorts } from "../free-port.ts";
import { abs, absJson, LedgerSite, MASTER, type Status } from "./ledger-site.ts";

const PATIENCE_MS = 180_000;
let site: LedgerSite | undefined;

afterEach(async () => {
  await site?.end();
  site = undefined;
});

async function begin(names: readonly string[], contracts: number): Promise<LedgerSite> {
  const made = await LedgerSite.create(names);
  site = made;
  made.startAll();
  await made.reach(0, [...names, MASTER]);
  for (let i = 1; i <= contracts; i++) await made.createContract();
  await made.reach(contracts, [...names, MASTER]);
  return made;
}

function auditOf(place: LedgerSite): Record<string, unknown>[] {
  const text = readFileSync(join(place.folder("recovery"), "recoveries.jsonl"), "utf8");
  return text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
}

function eventsOf(place: LedgerSite, name: string): string {
  return readFileSync(join(place.dir, `${name}.events`), "utf8");
}

test(
  "a master that is killed for good: the recovery key makes another, which seals blocks",
  async () => {
    const names = ["web1", "web2", "app1", "db1"];
    const place = await begin(names, 2);
    await place.kill(MASTER);
    renameSync(place.folder(MASTER), place.folder("stolen"));
    const [port] = await freePorts(1);
    const words = [
      ...["ledger", "recover", "master-term", "--recovery", place.folder("recovery")],
      ...["--from", place.folder("web2"), "--into", place.folder("heir")],
      ...["--master", `127.0.0.1:${port}`],
    ];
    const asked = await abs(...words);
    expect([asked.exitCode, asked.stdout]).toEqual([1, ""]);
    expect(asked.stderr).toContain("RECOVERY_UNCONFIRMED");
    expect(asked.stderr).toContain("deposed for good");
    const made = await absJson<{ term: number; node_id: string }>(...words, "--yes");
    expect(made.term).toBe(2);
    expect(auditOf(place)).toMatchObject([{ action: "master-term", term: 2 }]);
    place.start("heir", { role: MASTER });
    await place.reach(0, ["heir"]);
    expect((await place.createContract("heir")).sealed).toBe(true);
    expect((await place.createContract("heir")).sealed).toBe(true);
    // The first contract is in the block that records the term, or in the one after it.
    const height = (await place.status("heir"))?.height ?? 0;
    expect([4, 5]).toContain(height);
    const tips = await place.reach(height, [...names, "heir"]);
    expect(new Set(tips.map(({ block_hash: hash }) => hash)).size).toBe(1);
    expect(tips.map(({ term }) => term)).toEqual([2, 2, 2, 2, 2]);
    for (const name of names) expect(eventsOf(place, name)).toContain("ledger-new-term");
    // Its first block records it; the whole chain verifies from the genesis file.
    const shown = await abs("ledger", "show", "3", "--dir", place.folder("web1"));
    expect(JSON.parse(shown.stdout).records).toMatchObject([{ kind: "MASTER_TERM", term: 2 }]);
    const verified = await absJson("ledger", "verify", "--dir", place.folder("heir"));
    expect(verified).toMatchObject({ valid: true, height });
    // The old keys, wherever they are: nobody lets them in, and the others go on.
    place.start("stolen", { role: MASTER });
    const create = ["contract", "create", "--dir", place.folder("stolen"), "--wait", "3"];
    await place.reach(2, ["stolen"]);
    expect((await abs("ledger", ...create)).stderr).toContain("NOT_SEALED");
    expect((await place.createContract("heir")).sealed).toBe(true);
    // Where its id is the higher one it calls only after some seconds.
    await place.until("web1", () => eventsOf(place, "web1").includes("peer-refused"));
    // All of them start again: the term is on the chain now.
    for (const name of [...names, "heir"]) await place.kill(name);
    for (const name of names) place.start(name);
    place.start("heir", { role: MASTER });
    await place.reach(height + 1, [...names, "heir"]);
    expect((await place.createContract("heir")).sealed).toBe(true);
    // The next one has the next number, and never one that was given already.
    const into = words.map((word) => (word.endsWith("/heir") ? place.folder("heir3") : word));
    expect(await absJson<{ term: number }>(...into, "--yes")).toMatchObject({ term: 3 });
    const again = await abs(...into, "--yes");
    expect(again.stderr).toContain("LEDGER_EXISTS");
    // What was refused was not given a number.
    expect(auditOf(place).map(({ term }) => term)).toEqual([2, 3]);
  },
  PATIENCE_MS,
);

test(
  "three members with one gone: a redraw seals, its revocation lets them go on by themselves",
  async () => {
    const names = ["web1", "web2", "app1"];
    const place = await begin(names, 1);
    const members = await absJson<{ node_id: string }[]>(
      ...["ledger", "members", "--dir", place.folder("web1")],
    );
    const gone = (await place.status("app1"))?.node_id ?? "";
    expect(members.map(({ node_id: id }) => id)).toContain(gone);
    await place.kill("app1");
    const create = ["contract", "create", "--dir", place.folder(MASTER), "--wait", "2"];
    expect((await abs("ledger", ...create)).stderr).toContain("NOT_SEALED");
    const file = join(place.dir, "revoke.json");
    const record = { kind: "NODE_REVOKE", node_id: gone, reason: "burnt" };
    writeFileSync(file, JSON.stringify({ contracts: [], records: [record] }));
    await absJson("ledger", "propose", file, "--dir", place.folder(MASTER));
    const words = [
      ...["ledger", "recover", "redraw", "--dir", place.folder(MASTER)],
      ...["--recovery", place.folder("recovery"), "--ask", "2"],
    ];
    const asked = await abs(...words);
    expect([asked.exitCode, asked.stdout]).toEqual([1, ""]);
    expect(asked.stderr).toContain("RECOVERY_UNCONFIRMED");
    expect(asked.stderr).toContain(gone);
    for (const height of [2, 3]) {
      const forced = await absJson(...words, "--yes");
      expect(forced).toMatchObject({ height, sealed: true, silent: [gone] });
    }
    expect(auditOf(place)).toMatchObject([{ action: "redraw" }, { action: "redraw" }]);
    const present = ["web1", "web2"];
    await place.reach(3, [...present, MASTER]);
    expect((await place.createContract()).sealed).toBe(true);
    await place.reach(4, [...present, MASTER]);
    for (const name of present) expect(eventsOf(place, name)).toContain("ledger-forced-redraw");
    const verified = await absJson("ledger", "verify", "--dir", place.folder("web1"));
    expect(verified).toMatchObject({ valid: true, height: 4 });
  },
  PATIENCE_MS,
);

test(
  "four members with two gone: the redraw is refused and what was frozen goes on; or may fork",
  async () => {
    const names = ["web1", "web2", "app1", "db1"];
    const place = await begin(names, 1);
    const gone = ["app1", "db1"];
    for (const name of gone) await place.kill(name);
    const create = ["contract", "create", "--dir", place.folder(MASTER), "--wait", "1"];
    expect((await abs("ledger", ...create)).stderr).toContain("NOT_SEALED");
    const words = [
      ...["ledger", "recover", "redraw", "--dir", place.folder(MASTER)],
      ...["--recovery", place.folder("recovery"), "--ask", "2", "--yes"],
    ];
    const refused = await abs(...words);
    expect([refused.exitCode, refused.stdout]).toEqual([1, ""]);
    expect(refused.stderr).toContain("REDRAW_UNSAFE");
    expect(refused.stderr).toContain("WOULD FORK");
    expect(existsSync(join(place.folder("recovery"), "recoveries.jsonl"))).toBe(false);
    // Those who answered vote again: one that comes back is enough.
    place.start("app1");
    await place.reach(2, ["web1", "web2", "app1", MASTER]);
    await place.kill("app1");
    expect((await abs("ledger", ...create)).stderr).toContain("NOT_SEALED");
    const forced = await absJson(...words, "--may-fork");
    expect(forced).toMatchObject({
      height: 3,
      sealed: true,
      dangers: [expect.any(String), expect.any(String)],
    });
    expect(auditOf(place)).toMatchObject([{ action: "redraw", height: 3 }]);
    for (const name of gone) place.start(name);
    const tips = await place.reach(3, [...names, MASTER]);
    expect(new Set(tips.map(({ block_hash: hash }) => hash)).size).toBe(1);
  },
  PATIENCE_MS,
);

test(
  "a wrong recovery key, a stranger in the committee and a member's folder are refused with words",
  async () => {
    const place = await begin(["web1"], 0);
    const other = await LedgerSite.create(["web1"]);
    try {
      const redraw = ["ledger", "recover", "redraw", "--ask", "1", "--yes"];
      const at = (dir: string, recovery: string, ...more: string[]) =>
        abs(...redraw, "--dir", dir, "--recovery", recovery, ...more);
      const own = place.folder("recovery");
      const wrong = await at(place.folder(MASTER), other.folder("recovery"));
      expect(wrong.stderr).toContain("RECOVERY_KEY_WRONG");
      const stranger = await at(place.folder(MASTER), own, "--committee", "00".repeat(16));
      expect(stranger.stderr).toContain("is no member");
      const member = await at(place.folder("web1"), own);
      expect(member.stderr).toContain("only a master");
      const odd = await at(place.folder(MASTER), own, "--committee", "web1");
      expect(odd.stderr).toContain("OPTION_INVALID");
      const absent = await at(other.folder(MASTER), other.folder("recovery"));
      expect(absent.stderr).toContain("LEDGER_NOT_RUNNING");
      const all = [wrong, stranger, member, odd, absent];
      expect(all.map(({ stdout }) => stdout)).toEqual(["", "", "", "", ""]);
      const codes = all.map(({ exitCode }) => exitCode);
      expect([codes[0], codes[3], codes[4]]).toEqual([1, 2, 3]);
      for (const code of codes.slice(1, 3)) expect([1, 2]).toContain(code as number);
    } finally {
      await other.end();
    }
  },
  PATIENCE_MS,
);

test(
  "a revoked member is cut off by all at once, without a block; later the ledger says so too",
  async () => {
    const names = ["web1", "web2", "app1", "db1"];
    const place = await begin(names, 1);
    const thief = (await place.status("app1"))?.node_id ?? "";
    const isCutOff = ({ peers }: Status): boolean =>
      !peers.some((peer) => peer.node_id === thief && peer.is_connected);
    // Two of four are down: no block can say it.
    await place.kill("web2");
    await place.kill("db1");
    await place.until("web1", (status) => !isCutOff(status));
    const words = ["ledger", "revoke", thief, "--dir", place.folder(MASTER), "--reason", "stolen"];
    expect(await absJson(...words)).toMatchObject({ revoked: true, is_member: true });
    for (const name of ["web1", MASTER]) await place.until(name, isCutOff);
    expect(eventsOf(place, "web1")).toContain("peer-revoked");
    expect((await place.status("web1"))?.height).toBe(1);
    // A restart forgets nothing, and who was away hears of it.
    await place.kill("web1");
    for (const name of ["web1", "web2", "db1"]) place.start(name);
    const others = ["web1", "web2", "db1", MASTER];
    await place.reach(2, others);
    for (const name of others) await place.until(name, isCutOff);
    expect((await place.createContract()).sealed).toBe(true);
    const members = await absJson<{ node_id: string; revoked: string | null }[]>(
      ...["ledger", "members", "--dir", place.folder("web1")],
    );
    expect(members.find(({ node_id: id }) => id === thief)?.revoked).toContain("by master");
    const own = await abs(
      ...words.slice(0, 2),
      (await place.status(MASTER))?.node_id ?? "",
      ...words.slice(3),
    );
    expect([own.exitCode, own.stderr.includes("REVOKE_REFUSED")]).toEqual([1, true]);
  },
  PATIENCE_MS,
);
