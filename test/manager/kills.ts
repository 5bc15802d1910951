/**
 * kill -9 of a manager at random moments of what changes it: enrolment, policy, signatures,
 * revocation, contracts, tenants, an agent's keys and its own host key. After each its next start
 * mends everything by itself; what had been answered is there, what had not is there whole or not
 * at all, and asking again succeeds. The ledger node of one agent runs all the while: it sees one
 * history.
 */
import { Database } from "bun:sqlite";
import { expect } from "bun:test";
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadProvisioning } from "../../src/agent/provisioning.ts";
import { decodeContract } from "../../src/chain/contract-entry.ts";
import type { NodeId, ScId } from "../../src/chain/ledger-units.ts";
import { ensureKeys } from "../../src/channel/agent-folder.ts";
import { enrol } from "../../src/channel/enrolment-client.ts";
import { decodeToken } from "../../src/channel/enrolment-token.ts";
import { fetchState } from "../../src/channel/update-client.ts";
import { askManager } from "../../src/manager/command-client.ts";
import { inFolder, initManager } from "../../src/manager/manager-folder.ts";
import { LedgerProcess } from "../../src/node/ledger-process.ts";
import { epochNow } from "../../src/node/ledger-runner.ts";
import { openJournal } from "../../src/node/store-journal.ts";
import type { AbsEvent } from "../../src/observe/event-record.ts";
import { freePort } from "../free-port.ts";
import type { Prng } from "../prng.ts";
import { enrolFolder } from "./enrolled-folder.ts";
import { FollowedAgent } from "./followed-agent.ts";
import { Durations, signatureText, startOf } from "./kill-words.ts";
import { machineOf } from "./manager-site.ts";

const LOCAL = "127.0.0.1";
const KINDS = [
  ...["enrol", "policy", "publish", "withdraw", "revoke", "regenerate", "issue", "expire"],
  ...["tenant", "key", "host-key"],
] as const;
/** How often ledger and tables are looked at as a whole. */
const LOOK_EVERY = 20;
const TENANTS_MAX = 3;
const PATIENCE_MS = 180_000;
/** A manager takes so many calls of one address a minute and no more. */
const ASK_EVERY_MS = 250;

type AgentRow = { readonly name: string; readonly node: NodeId; readonly state: string };
type ContractRow = {
  readonly "sc-id": ScId;
  readonly active: unknown;
  readonly generation: number;
};
type KeyRow = { readonly name: string; readonly renewals: number; readonly renewal: string };
type SignatureRow = {
  readonly sig_id: string;
  readonly status?: string;
  readonly sealed: boolean;
};
/** Asks for a change; and looks, after a start, at what came of it: `isAnswered` if it was said. */
type Change = {
  readonly ask: () => Promise<unknown>;
  readonly check: (isAnswered: boolean) => Promise<void>;
};

export class KillSite {
  readonly base = mkdtempSync(join(tmpdir(), "abs-kills-"));
  readonly dir = join(this.base, "manager");
  readonly told: AbsEvent[] = [];
  /** Changes that were answered before the kill, and that were not, by kind. */
  readonly counts = new Map<string, { answered: number; cut: number }>();
  readonly #durations = new Durations();
  #port = 0;
  #child: Bun.Subprocess<"ignore", "pipe", "inherit"> | undefined;
  #watch: LedgerProcess | undefined;
  #watchDir = "";
  #followed: FollowedAgent | undefined;
  #made = 0;

  private constructor(private readonly prng: Prng) {}

  static async open(prng: Prng): Promise<KillSite> {
    const site = new KillSite(prng);
    const place = { host: LOCAL, port: 1 };
    const words = { dir: site.dir, dataKey: undefined, place, now: epochNow() };
    const made = initManager(words);
    made.database.close();
    site.#port = await freePort();
    await site.#start();
    await site.#command("tenant", "add", "t1", "--peer-port", `${await freePort()}`);
    await site.#openWatch(made.keys.nodeId);
    site.#followed = await FollowedAgent.enrol({
      ...{
        name: "followed",
        dir: join(site.base, "followed"),
        token: await site.#invite("followed"),
      },
      machine: machineOf({ addresses: ["10.78.0.2"] }),
    });
    return site;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#watch?.stop();
    await this.#followed?.stop();
    this.#child?.kill("SIGTERM");
    expect(await this.#child?.exited).toBe(0);
    rmSync(this.base, { recursive: true });
  }

  /** Kills it so often, and looks at everything in between. */
  async kill(times: number): Promise<void> {
    for (let i = 0; i < times; i++) {
      const kind = KINDS[this.prng.below(KINDS.length)] ?? "enrol";
      const change = await this.#changeOf(kind);
      const lastsMs = this.#durations.next(kind);
      const from = performance.now();
      const asked = change.ask().then(
        () => {
          this.#durations.answered(kind, performance.now() - from);
          return true;
        },
        () => false,
      );
      // On fast machines and slow ones about half of the kills come before the answer.
      await Bun.sleep((this.prng.below(1000) / 1000) * 2 * lastsMs);
      this.#child?.kill("SIGKILL");
      await this.#child?.exited;
      const isAnswered = await asked;
      const count = this.counts.get(kind) ?? { answered: 0, cut: 0 };
      if (isAnswered) count.answered++;
      else count.cut++;
      this.counts.set(kind, count);
      await this.#start();
      await change.check(isAnswered).catch((cause: unknown) => {
        const said = isAnswered ? "answered" : "cut short";
        throw new Error(`after kill ${i + 1}, of a ${kind} that was ${said}`, { cause });
      });
      if (i % LOOK_EVERY === LOOK_EVERY - 1 || i === times - 1) await this.#look();
    }
  }

  #changeOf(kind: string): Promise<Change> {
    switch (kind) {
      case "policy":
        return this.#policy();
      case "publish":
        return this.#publish();
      case "withdraw":
        return this.#withdraw();
      case "key":
        return this.#key();
      case "host-key":
        return this.#hostKey();
      case "revoke":
        return this.#revoke();
      case "regenerate":
        return this.#regenerate();
      case "issue":
        return this.#issue();
      case "expire":
        return this.#expire();
      case "tenant":
        return this.#tenant();
      default:
        return this.#enrolment();
    }
  }

  async #enrolment(): Promise<Change> {
    const name = `a${++this.#made}`;
    const token = await this.#invite(name);
    const { keys, secrets } = ensureKeys(join(this.base, name));
    const machine = machineOf({
      addresses: [`10.77.${this.#made >> 7}.${1 + (this.#made & 127)}`],
    });
    const sshSeed = Uint8Array.fromHex(secrets.ssh_secret);
    const ask = () => enrol({ token, keys, sshSeed, machine: () => machine });
    return {
      ask,
      check: async (isAnswered) => {
        const before = (await this.#agents()).filter((row) => row.name === name);
        if (isAnswered) expect(before.length).toBe(1);
        const { own } = await ask();
        const after = (await this.#agents()).filter((row) => row.name === name);
        expect(after.map(({ node }) => node)).toEqual([own.certificate.certificate.nodeId]);
      },
    };
  }

  async #policy(): Promise<Change> {
    const before = await this.#policyText();
    const text = `# ${++this.#made}\nversion: 1\n`;
    const ask = () => this.#give(text, "policy", "apply", "--tenant", "t1");
    return {
      ask,
      check: async (isAnswered) => {
        const after = await this.#policyText();
        expect(isAnswered ? [text] : [before, text]).toContain(after);
        // Agents are told the same.
        expect((await fetchState(this.#watchDir, loadProvisioning)).policy).toBe(after);
        await ask();
        expect(await this.#policyText()).toBe(text);
      },
    };
  }

  async #publish(): Promise<Change> {
    const sigId = randomUUID();
    const ask = () => this.#give(signatureText(sigId), "sig", "add", "--publish", "--tenant", "t1");
    return {
      ask,
      check: async (isAnswered) => {
        const status = (await this.#signature(sigId))?.status;
        expect(isAnswered ? ["published"] : [undefined, "published"]).toContain(status);
        await ask();
        expect((await this.#signature(sigId))?.status).toBe("published");
      },
    };
  }

  async #withdraw(): Promise<Change> {
    const rows = (await this.#signatures()).filter(({ status }) => status === "published");
    const row = rows[this.prng.below(rows.length)];
    if (row === undefined) return this.#publish();
    const ask = () => this.#command("sig", "disable", row.sig_id, "--tenant", "t1");
    return {
      ask,
      check: async (isAnswered) => {
        const status = (await this.#signature(row.sig_id))?.status;
        expect(isAnswered ? ["disabled"] : ["published", "disabled"]).toContain(status ?? "");
        await ask();
        expect((await this.#signature(row.sig_id))?.status).toBe("disabled");
      },
    };
  }

  /** The followed agent's: over when the ledger has the new one and the agent logs in with it. */
  async #key(): Promise<Change> {
    const agent = this.#followed as FollowedAgent;
    const row = async () => {
      const rows = await this.#command<KeyRow[]>("keys", "list", "--tenant", "t1");
      return rows.find(({ name }) => name === agent.name) as KeyRow;
    };
    const { renewals } = await row();
    const isRenewed = async () => {
      const { renewals: now, renewal } = await row();
      return now > renewals && renewal === "-" && agent.isConnected && agent.hasOneKey;
    };
    const ask = async () => {
      const whose = ["--agent", agent.name, "--tenant", "t1"];
      await this.#command("keys", "rotate", ...whose, "--kind", "all");
      await until(isRenewed, `another key of ${agent.name}`).catch(async (cause: unknown) => {
        throw new Error(`${renewals} renewals, then ${JSON.stringify(await row())}`, { cause });
      });
    };
    return { ask, check: async () => ((await isRenewed()) ? undefined : ask()) };
  }

  async #hostKey(): Promise<Change> {
    const agent = this.#followed as FollowedAgent;
    const before = await this.#hostFingerprint();
    return {
      ask: () => this.#command("keys", "rotate", "--host"),
      check: async (isAnswered) => {
        const after = await this.#hostFingerprint();
        if (isAnswered) expect(after).not.toBe(before);
        // It knows the new one by the manager's word, whichever it is.
        await until(() => agent.isConnected && agent.hostFingerprint === after, "the agent's call");
      },
    };
  }

  async #revoke(): Promise<Change> {
    const kept = ["watch", this.#followed?.name];
    const rows = (await this.#agents()).filter(({ name }) => !kept.includes(name));
    const row = rows[this.prng.below(rows.length)];
    if (row === undefined) return this.#enrolment();
    const ask = () => this.#command("agents", "revoke", row.node, "--reason", "a test");
    const isIn = async () => (await this.#agents()).some(({ node }) => node === row.node);
    return {
      ask,
      check: async (isAnswered) => {
        if (isAnswered) expect(await isIn()).toBe(false);
        await ask();
        expect(await isIn()).toBe(false);
      },
    };
  }

  async #regenerate(): Promise<Change> {
    const row = await this.#liveContract();
    const scId = row["sc-id"];
    const ask = () => this.#command("contract", "regenerate", scId, "--tenant", "t1");
    const generation = async () => {
      const rows = await this.#contracts();
      return rows.find((one) => one["sc-id"] === scId)?.generation;
    };
    return {
      ask,
      check: async (isAnswered) => {
        const next = row.generation + 1;
        expect(isAnswered ? [next] : [row.generation, next]).toContain((await generation()) ?? 0);
      },
    };
  }

  async #issue(): Promise<Change> {
    const before = (await this.#contracts()).map((row) => row["sc-id"]);
    let issued: ScId | undefined;
    const ask = async () => {
      const words = ["contract", "issue", "--tenant", "t1"];
      issued = (await this.#command<{ "sc-id": ScId }>(...words))["sc-id"];
    };
    return {
      ask,
      // The keeper may have issued others meanwhile.
      check: async () => {
        const after = (await this.#contracts()).map((row) => row["sc-id"]);
        expect(after).toEqual(expect.arrayContaining(before));
        if (issued !== undefined) expect(after).toContain(issued);
      },
    };
  }

  async #expire(): Promise<Change> {
    const scId = (await this.#liveContract())["sc-id"];
    const isLive = async () => (await this.#live()).some((row) => row["sc-id"] === scId);
    const ask = () => this.#command("contract", "expire", scId, "--tenant", "t1");
    return {
      ask,
      check: async (isAnswered) => {
        if (isAnswered) expect(await isLive()).toBe(false);
        if (await isLive()) await ask();
        expect(await isLive()).toBe(false);
        // The keeper has looked after it at the start, or does so now: two are active.
        if ((await this.#live()).length < 2) {
          await this.#command("contract", "issue", "--tenant", "t1");
        }
      },
    };
  }

  async #tenant(): Promise<Change> {
    const rows = await this.#command<{ name: string }[]>("tenant", "list");
    if (rows.length >= TENANTS_MAX) return this.#policy();
    const name = `t${rows.length + 1}`;
    const port = `${await freePort()}`;
    const ask = () => this.#command("tenant", "add", name, "--peer-port", port);
    const isThere = async () => {
      const found = await this.#command<{ name: string }[]>("tenant", "list");
      return found.some((row) => row.name === name);
    };
    return {
      ask,
      check: async (isAnswered) => {
        if (isAnswered) expect(await isThere()).toBe(true);
        if (!(await isThere())) await ask();
        expect(await isThere()).toBe(true);
      },
    };
  }

  /** The ledger says what the tables say, its watcher saw one history, the agent gets its state. */
  async #look(): Promise<void> {
    const watch = this.#watch as LedgerProcess;
    const chain = () => watch.runner.participant.chain;
    const sealed = (await this.#command<{ "sc-id": ScId }>("contract", "issue", "--tenant", "t1"))[
      "sc-id"
    ];
    await until(() => chain().scd.find(sealed) !== undefined, "the ledger to go on");
    const rows = await this.#contracts();
    for (const row of rows) {
      const wanted = row.active === "expired" ? undefined : row.generation;
      const found = () => generationOn(chain().scd.find(row["sc-id"])?.bytes);
      await until(() => found() === wanted, `contract ${row["sc-id"]}, generation ${wanted}`);
    }
    for (const { node, name } of await this.#agents()) {
      const isMember = () => {
        const member = chain().members.get(node);
        return member !== undefined && member.revokedFrom === undefined;
      };
      await until(isMember, `${name} to be a member`);
    }
    const areSealed = async () => {
      const rows = await this.#signatures();
      return rows.every(({ status, sealed }) => sealed === (status === "published"));
    };
    await until(areSealed, "the ledger to hold the signatures");
    expect(watch.runner.participant.stoppedBy).toBeUndefined();
    const alarms = ["ledger-conflict", "ledger-evidence", "peer-twice"];
    expect(this.told.filter(({ event }) => alarms.includes(event))).toEqual([]);
    const { version } = await fetchState(this.#watchDir, loadProvisioning);
    expect(version).toBe(await this.#version());
    const database = new Database(inFolder(this.dir, "database"), { readonly: true });
    expect(database.query("PRAGMA integrity_check").all()).toEqual([{ integrity_check: "ok" }]);
    expect(database.query("PRAGMA foreign_key_check").all()).toEqual([]);
    database.close();
  }

  async #openWatch(masterId: NodeId): Promise<void> {
    // Whoever has the lower id calls: nobody could call this one at the address it has.
    for (let i = 0; ; i++) {
      this.#watchDir = join(this.base, `watch-${i}`);
      if (ensureKeys(this.#watchDir).keys.nodeId < masterId) break;
    }
    const machine = machineOf({ addresses: ["10.78.0.1"] });
    await enrolFolder(this.#watchDir, await this.#invite("watch"), machine);
    const listen = { host: LOCAL, port: await freePort() };
    this.#watch = await LedgerProcess.start({
      ...{ role: "validator", dir: this.#watchDir, listen, openJournal },
      events: { write: (event) => this.told.push(event) },
    });
    const { chain } = this.#watch.runner.participant;
    await until(() => this.#watch?.runner.participant.chain !== chain, "the first block");
  }

  async #start(): Promise<void> {
    const main = join(import.meta.dir, "../../src/cli/main.ts");
    const words = ["manager", "serve", "--dir", this.dir, "--listen", `${LOCAL}:${this.#port}`];
    const child = Bun.spawn([process.execPath, main, ...words], {
      ...{ stdin: "ignore", stdout: "pipe", stderr: "inherit" },
    });
    this.#child = child;
    await startOf(child.stdout);
  }

  async #command<T = unknown>(...words: string[]): Promise<T> {
    return (await this.#give("", ...words)) as T;
  }

  async #give(document: string, ...words: string[]): Promise<unknown> {
    const input = document === "" ? undefined : new Uint8Array(Buffer.from(document));
    const said = await askManager({ dir: this.dir }, [...words, "--output", "json"], input);
    if (said.code !== 0) throw new Error(said.complaint);
    return JSON.parse(said.output);
  }

  async #invite(name: string) {
    const words = ["invite", "--tenant", "t1", "--name", name];
    const { token } = await this.#command<{ token: string }>(...words);
    return { ...decodeToken(token), port: this.#port };
  }

  #agents(): Promise<AgentRow[]> {
    return this.#command<AgentRow[]>("agents", "list", "--tenant", "t1");
  }

  #contracts(): Promise<ContractRow[]> {
    return this.#command<ContractRow[]>("contract", "list", "--tenant", "t1");
  }

  async #live(): Promise<ContractRow[]> {
    return (await this.#contracts()).filter(({ active }) => active !== "expired");
  }

  async #liveContract(): Promise<ContractRow> {
    const rows = await this.#live();
    return rows[this.prng.below(rows.length)] as ContractRow;
  }

  async #policyText(): Promise<string> {
    const said = await askManager({ dir: this.dir }, ["policy", "show", "--tenant", "t1"]);
    return said.output;
  }

  #signatures(): Promise<SignatureRow[]> {
    return this.#command<SignatureRow[]>("sig", "list", "--tenant", "t1");
  }

  async #signature(sigId: string): Promise<SignatureRow | undefined> {
    return (await this.#signatures()).find(({ sig_id }) => sig_id === sigId);
  }

  async #hostFingerprint(): Promise<string> {
    return (await this.#command<{ host_key: string }>("status")).host_key;
  }

  async #version(): Promise<number> {
    const rows = await this.#command<{ name: string; version: number }[]>("tenant", "list");
    return rows.find(({ name }) => name === "t1")?.version ?? 0;
  }
}

function generationOn(bytes: Uint8Array | undefined): number | undefined {
  const read = bytes === undefined ? undefined : decodeContract(bytes);
  return read !== undefined && "contract" in read ? read.contract.generation : undefined;
}

async function until(isTrue: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const endMs = performance.now() + PATIENCE_MS;
  while (!(await isTrue())) {
    if (performance.now() > endMs) throw new Error(`waited in vain for ${what}`);
    await Bun.sleep(ASK_EVERY_MS);
  }
}
