/** A manager in this process, on loopback, and agents that enrol with it. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadProvisioning } from "../../src/agent/provisioning.ts";
import { ensureKeys, writeAgentFolder } from "../../src/channel/agent-folder.ts";
import type { AgentState } from "../../src/channel/agent-state.ts";
import { enrol } from "../../src/channel/enrolment-client.ts";
import type { AgentMachine } from "../../src/channel/enrolment-messages.ts";
import {
  decodeToken,
  type EnrolmentToken,
  encodeToken,
  fingerprintOfDigest,
} from "../../src/channel/enrolment-token.ts";
import { askManager } from "../../src/manager/command-client.ts";
import { initManager } from "../../src/manager/manager-folder.ts";
import { ManagerProcess } from "../../src/manager/manager-process.ts";
import { epochNow } from "../../src/node/ledger-runner.ts";
import { EventLog } from "../../src/observe/event-log.ts";
import type { SshLimits } from "../../src/ssh/ssh-settings.ts";
import type { EpochSeconds } from "../../src/units.ts";
import { freePort } from "./ssh-site.ts";

const LOCAL = "127.0.0.1";

export class ManagerSite {
  readonly base = mkdtempSync(join(tmpdir(), "abs-manager-"));
  readonly dir = join(this.base, "manager");
  readonly eventFile = join(this.base, "events");
  /** Added to the manager's clock. */
  skewSeconds = 0;
  manager: ManagerProcess | undefined;
  readonly #events = new EventLog(this.eventFile);
  #agents = 0;

  static async open(limits: Partial<SshLimits> = {}): Promise<ManagerSite> {
    const site = new ManagerSite();
    const place = { host: LOCAL, port: 1 };
    initManager({ dir: site.dir, dataKey: undefined, place, now: epochNow() }).database.close();
    await site.start(limits);
    return site;
  }

  /** @param port 0: another one each time */
  async start(limits: Partial<SshLimits> = {}, port = 0): Promise<void> {
    this.manager = await ManagerProcess.start({
      ...{ dir: this.dir, dataKey: undefined, listen: { host: LOCAL, port } },
      ...{ events: this.#events, limits, keepMs: 100 },
      now: () => (epochNow() + this.skewSeconds) as EpochSeconds,
    });
  }

  async close(): Promise<void> {
    await this.manager?.stop();
    this.#events.close();
    rmSync(this.base, { recursive: true });
  }

  events(): Record<string, unknown>[] {
    const lines = readFileSync(this.eventFile, "utf8").split("\n").filter(Boolean);
    return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  /** A command of `local`; throws what the manager complains of. */
  async command(...words: string[]): Promise<Record<string, unknown>> {
    const said = await askManager({ dir: this.dir }, [...words, "--output", "json"]);
    if (said.code !== 0) throw new Error(said.complaint);
    return JSON.parse(said.output) as Record<string, unknown>;
  }

  /** With a port of its own, since tests run side by side. */
  async addTenant(name: string): Promise<Record<string, unknown>> {
    return this.command("tenant", "add", name, "--peer-port", `${await freePort()}`);
  }

  /** A token that leads to where the manager listens now. */
  async invite(name: string, ...more: string[]): Promise<EnrolmentToken> {
    const answer = await this.command("invite", "--tenant", "t1", "--name", name, ...more);
    return this.here(decodeToken(String(answer["token"])));
  }

  /** The manager's port changes with each start, the token's is that of `init`. */
  here(token: EnrolmentToken): EnrolmentToken {
    return decodeToken(encodeToken({ ...token, port: this.manager?.port ?? 0 }));
  }

  freshDir(): string {
    return join(this.base, `agent-${++this.#agents}`);
  }

  async enrol(
    token: EnrolmentToken,
    dir: string,
    machine: Partial<AgentMachine> = {},
  ): Promise<AgentState> {
    const { keys, secrets } = ensureKeys(dir);
    const sshSeed = Uint8Array.fromHex(secrets.ssh_secret);
    const words = { addresses: [`10.77.0.${10 + this.#agents}`], ...machine };
    const state = await enrol({ token, keys, sshSeed, machine: () => machineOf(words) });
    const hostFingerprint = fingerprintOfDigest(token.hostDigest);
    const manager = { ...token, hostFingerprint };
    writeAgentFolder(dir, state, { manager, secrets, check: loadProvisioning });
    return state;
  }
}

export function machineOf(words: Partial<AgentMachine>): AgentMachine {
  return {
    ...{ addresses: ["10.77.0.1"], carrier: "ip", peerPort: 6254, vcpu: 2, ramMib: 2048 },
    capabilities: [],
    ...words,
  };
}

/** The code of what a promise fails with. */
export async function codeOf(promise: Promise<unknown>): Promise<string> {
  const failure = await promise.then(
    () => ({ code: "done" }),
    (error) => error as { code?: string },
  );
  return failure.code ?? String(failure);
}
