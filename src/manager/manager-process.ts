/**
 * The running manager: `abs manager serve`. docs/manager.md. It joins the SSH server, the tables
 * and what is done on each kind of channel; everything it does is written to the database before it
 * is answered, so that it may be killed at any moment.
 */
import type { Database } from "bun:sqlite";
import { rmSync, writeFileSync } from "node:fs";
import { isIP } from "node:net";
import { toHex } from "../bytes.ts";
import type { LedgerCrypto } from "../chain/crypto-interface.ts";
import { ENROLMENT_BODY_BYTES_MAX } from "../channel/enrolment-messages.ts";
import { messageOf } from "../errors.ts";
import { createLedgerCrypto } from "../node/ledger-crypto.ts";
import { epochNow } from "../node/ledger-runner.ts";
import type { EventLog } from "../observe/event-log.ts";
import { RateLimit } from "../peer/rate-limit.ts";
import { FrameChannel } from "../ssh/frame-channel.ts";
import type { SshLogin, SubsystemChannel } from "../ssh/ssh-login.ts";
import { SshServer } from "../ssh/ssh-server.ts";
import { SSH_LIMITS, type SshLimits } from "../ssh/ssh-settings.ts";
import type { EpochSeconds } from "../units.ts";
import { managementTag } from "../wire/manager-frame.ts";
import { AgentSession } from "./agent-session.ts";
import { Announcements } from "./announcements.ts";
import { type CommandHost, executeCommand } from "./command-runner.ts";
import { keepContracts } from "./contract-keeper.ts";
import { Enrolment } from "./enrolment.ts";
import { inFolder, type ManagerPlace, openManager } from "./manager-folder.ts";
import { ManagerState } from "./manager-state.ts";
import { RefusalNotices } from "./refusal-notices.ts";
import { TenantLedger } from "./tenant-ledger.ts";
import type { Tenant } from "./tenants.ts";

const ENROLMENT_MS = 60_000;
const ADMIN_CONNECTIONS_MAX = 8;
const KEEP_MS = 60_000;
const FRAME_RATE = { perSecond: 200, burst: 1000 };

/** Who is at the other end of a connection. */
export type Principal =
  | { readonly kind: "token"; readonly tokenPub: string }
  | { readonly kind: "agent"; readonly nodeId: string }
  | { readonly kind: "administrator"; readonly name: string };

export type ManagerOptions = {
  readonly dir: string;
  readonly dataKey: string | undefined;
  /** Where to listen; the port of a manager's address if undefined. */
  readonly listen: { readonly host: string; readonly port: number } | undefined;
  readonly events: EventLog;
  readonly now?: () => EpochSeconds;
  readonly limits?: Partial<SshLimits>;
  /** How often contracts are looked after. */
  readonly keepMs?: number;
};

export class ManagerProcess {
  readonly state: ManagerState;
  readonly #database: Database;
  readonly #crypto: LedgerCrypto = createLedgerCrypto();
  readonly #tag: Uint8Array;
  readonly #refusals: RefusalNotices;
  readonly #announcements: Announcements;
  /** By tenant. */
  readonly #ledgers = new Map<string, TenantLedger>();
  #keeper: Timer | undefined;
  #server: SshServer<Principal> | undefined;

  /** @throws AbsError of folder, database and listening */
  static async start(options: ManagerOptions): Promise<ManagerProcess> {
    const manager = new ManagerProcess(options);
    await manager.#startLedgers();
    manager.#keepContracts();
    await manager.#listen();
    return manager;
  }

  private constructor(readonly options: ManagerOptions) {
    const open = openManager(options.dir, options.dataKey);
    this.#database = open.database;
    this.state = new ManagerState(open, options.now ?? epochNow);
    this.#tag = managementTag(Uint8Array.fromHex(open.keys.ledger.signer.publicKey));
    this.#announcements = new Announcements(this.state.tenants);
    this.#refusals = new RefusalNotices((event) => options.events.write(event));
  }

  get port(): number {
    return this.#server?.port ?? 0;
  }

  async stop(): Promise<void> {
    clearInterval(this.#keeper);
    this.#announcements.close();
    await this.#server?.close();
    for (const ledger of this.#ledgers.values()) ledger.stop();
    rmSync(inFolder(this.options.dir, "listening"), { force: true });
    this.#refusals.flush();
    this.#database.close();
  }

  /** Of the node that is the master of a tenant's ledger; empty: there is none. */
  ledgerStatus(tenant: string): Readonly<Record<string, unknown>> {
    return this.#ledgers.get(tenant)?.status ?? {};
  }

  #commands(): CommandHost {
    const cut = (kind: Principal["kind"]) => (key: string) =>
      this.#server?.cut(loginName(kind, key), "revoked");
    return {
      state: this.state,
      counts: () => this.#server?.counts() ?? { strangers: 0, loggedIn: 0 },
      ...{ cutAgent: cut("agent"), cutAdministrator: cut("administrator") },
      ledgers: {
        start: (tenant) => this.#startLedger(tenant),
        reconcile: (tenant) => this.#ledgers.get(tenant)?.reconcile(),
        status: (tenant) => this.ledgerStatus(tenant),
      },
    };
  }

  #keepContracts(): void {
    const keep = (): void => {
      void this.#startLedgers();
      for (const { name } of this.state.tenants.list()) {
        const kept = keepContracts(this.state, name);
        for (const done of kept) this.options.events.write({ ...done, tenant: name });
        if (kept.length > 0) this.#ledgers.get(name)?.reconcile();
      }
    };
    keep();
    this.#keeper = setInterval(keep, this.options.keepMs ?? KEEP_MS);
  }

  /** Those that do not run; one that cannot start now keeps none of the others from it. */
  async #startLedgers(): Promise<void> {
    for (const tenant of this.state.tenants.list()) {
      if (this.#ledgers.has(tenant.name)) continue;
      await this.#startLedger(tenant).catch((thrown) => {
        const reason = messageOf(thrown);
        this.options.events.write({ event: "ledger-stopped", tenant: tenant.name, reason });
      });
    }
  }

  async #startLedger(tenant: Tenant): Promise<void> {
    const ledger = new TenantLedger({
      ...{ state: this.state, tenant, host: this.#place().host, events: this.options.events },
      dir: inFolder(this.options.dir, "ledgers"),
    });
    this.#ledgers.set(tenant.name, ledger);
    try {
      await ledger.start();
    } catch (thrown) {
      this.#ledgers.delete(tenant.name);
      throw thrown;
    }
  }

  /** Where to listen. */
  #place(): ManagerPlace {
    const { place } = this.state.manager;
    const any = isIP(place.host) === 4 ? "0.0.0.0" : "::";
    return this.options.listen ?? { host: any, port: place.port };
  }

  async #listen(): Promise<void> {
    const { hostSeed } = this.state.manager;
    const { host, port } = this.#place();
    this.#server = await SshServer.start<Principal>({
      ...{ hostSeed, host, port },
      handlers: {
        find: (user, publicKey) => this.#find(user, toHex(publicKey)),
        subsystem: (channel, { principal }) => this.#open(channel, principal),
        execute: (words, { principal }, call) =>
          executeCommand(this.#commands(), words, {
            who: principal.kind === "administrator" ? principal.name : "",
            ...call,
          }),
        refused: (refusal) => this.#refusals.add(refusal),
      },
      ...(this.options.limits === undefined ? {} : { limits: this.options.limits }),
    });
    const isOnAll = host === "::" || host === "0.0.0.0";
    const near = { host: isOnAll ? "localhost" : host, port: this.port };
    writeFileSync(inFolder(this.options.dir, "listening"), JSON.stringify(near));
    this.options.events.write({ event: "manager-started", host, port: this.port });
  }

  /** The mapping service at log-in. Used and expired tokens are let in to hear so. */
  #find(user: string, publicKey: string): SshLogin<Principal> | undefined {
    const { administrators, invitations, nodes } = this.state;
    if (user === "agent") {
      const node = nodes.ofSshKey(publicKey);
      if (node === undefined || node.state === "revoked") return undefined;
      const { nodeId } = node;
      return channelLogin({ kind: "agent", nodeId }, nodeId);
    }
    if (user === "enroll") {
      if (invitations.ofToken(publicKey) === undefined) return undefined;
      return channelLogin({ kind: "token", tokenPub: publicKey }, publicKey);
    }
    const administrator = user === "admin" ? administrators.ofKey(publicKey) : undefined;
    if (administrator === undefined) return undefined;
    const { name } = administrator;
    return {
      ...{ principal: { kind: "administrator", name }, name: loginName("administrator", name) },
      ...{ grants: "exec", connectionsMax: ADMIN_CONNECTIONS_MAX },
    };
  }

  #open({ stream, address }: SubsystemChannel, principal: Principal): void {
    const { waitingBytesMax, stallMs } = { ...SSH_LIMITS, ...this.options.limits };
    const channel = new FrameChannel(stream, {
      ...{ tag: this.#tag, bodyBytesMax: ENROLMENT_BODY_BYTES_MAX, waitingBytesMax, stallMs },
      rate: new RateLimit(FRAME_RATE, performance.now()),
    });
    if (principal.kind === "token") this.#enrol(channel, principal.tokenPub, address);
    if (principal.kind === "agent") this.#serve(channel, principal.nodeId, address);
  }

  #serve(channel: FrameChannel, nodeId: string, address: string): void {
    const { events } = this.options;
    const tenant = this.state.nodes.find(nodeId)?.tenant;
    if (tenant === undefined) return channel.close();
    const session = new AgentSession(this.state, nodeId, tenant, {
      send: (frame) => channel.send(frame),
      refused: ({ code, what }) => {
        events.write({ event: "agent-refuses-update", node: nodeId, code, reason: what });
      },
    });
    events.write({ event: "agent-connected", node: nodeId, address });
    const leave = this.#announcements.join(session);
    channel.open({
      frame: (frame) => session.take(frame),
      ended: (why) => {
        leave();
        events.write({ event: "agent-disconnected", node: nodeId, why });
      },
    });
  }

  #enrol(channel: FrameChannel, tokenPub: string, address: string): void {
    const { events } = this.options;
    const { audit, now } = this.state;
    const note = (outcome: string): void => {
      audit.add({
        at: now(),
        who: `token ${tokenPub.slice(0, 16)}`,
        address,
        command: "enrol",
        outcome,
      });
    };
    const enrolment = new Enrolment({
      ...{ state: this.state, crypto: this.#crypto, tokenPub },
      send: (frame) => channel.send(frame),
      enrolled: ({ nodeId, tenant, name }) => {
        note(`enrolled ${nodeId}`);
        events.write({ event: "agent-enrolled", tenant, name, node: nodeId, address });
        this.#ledgers.get(tenant)?.reconcile();
      },
      failed: ({ code, message }) => {
        note(code);
        events.write({ event: "enrolment-refused", address, code, reason: message });
        channel.close();
      },
    });
    const deadline = setTimeout(() => channel.close(), ENROLMENT_MS);
    channel.open({
      frame: (frame) => enrolment.take(frame),
      ended: () => clearTimeout(deadline),
    });
  }
}

function channelLogin(principal: Principal, key: string): SshLogin<Principal> {
  const name = loginName(principal.kind, key);
  return { principal, name, grants: "subsystem", connectionsMax: 1 };
}

function loginName(kind: Principal["kind"], key: string): string {
  return `${kind} ${key}`;
}
