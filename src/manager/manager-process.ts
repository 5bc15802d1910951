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
import { AbsError, messageOf } from "../errors.ts";
import { createLedgerCrypto } from "../node/ledger-crypto.ts";
import { epochNow } from "../node/ledger-runner.ts";
import type { EventLog } from "../observe/event-log.ts";
import { RateLimit } from "../peer/rate-limit.ts";
import { FrameChannel } from "../ssh/frame-channel.ts";
import { fingerprintOf } from "../ssh/ssh-keys.ts";
import type { SshLogin, SubsystemChannel } from "../ssh/ssh-login.ts";
import { type SshCounts, SshServer } from "../ssh/ssh-server.ts";
import { SSH_LIMITS, type SshLimits } from "../ssh/ssh-settings.ts";
import type { EpochSeconds } from "../units.ts";
import { type ManagerFrame, managementTag } from "../wire/manager-frame.ts";
import type { CommandHost } from "./admin-command.ts";
import { AgentSession } from "./agent-session.ts";
import { Announcements } from "./announcements.ts";
import { type ApiPlace, ApiServer } from "./api/server.ts";
import { type CaptureTestOptions, CaptureTests } from "./capture-tests.ts";
import { PROVEN_REASON } from "./chain-lead.ts";
import { executeCommand } from "./command-runner.ts";
import { keepContracts } from "./contract-keeper.ts";
import { Enrolment } from "./enrolment.ts";
import { askDueRenewals, KEY_DAYS_DEFAULT } from "./key-renewal.ts";
import { inFolder, type ManagerPlace, openManager, writeHostKey } from "./manager-folder.ts";
import { ManagerState } from "./manager-state.ts";
import { RefusalNotices } from "./refusal-notices.ts";
import { RenewalTalk } from "./renewal-talk.ts";
import { ReportedFlows } from "./reported-flows.ts";
import { SwitchDesk } from "./switch-desk.ts";
import { TenantLedger } from "./tenant-ledger.ts";
import type { Tenant } from "./tenants.ts";
import { ViolationWatch } from "./violation-watch.ts";

const ENROLMENT_MS = 60_000;
const ADMIN_CONNECTIONS_MAX = 8;
const KEEP_MS = 60_000;
const FRAME_RATE = { perSecond: 200, burst: 1000 };

/** Who is at the other end of a connection. */
export type Principal =
  | { readonly kind: "token"; readonly tokenPub: string }
  | { readonly kind: "agent"; readonly nodeId: string; readonly sshPub: string }
  | { readonly kind: "administrator"; readonly name: string };

export type ManagerOptions = {
  readonly dir: string;
  readonly dataKey: string | undefined;
  /** Where to listen; the port of a manager's address if undefined. */
  readonly listen: { readonly host: string; readonly port: number } | undefined;
  /** Where the HTTP API listens besides its socket. */
  readonly api?: ApiPlace | undefined;
  /** It may be missing: another manager of this machine has the place. */
  readonly isApiOptional?: boolean;
  readonly events: EventLog;
  readonly captureTests: CaptureTestOptions;
  readonly now?: () => EpochSeconds;
  readonly limits?: Partial<SshLimits>;
  /** Days that an agent's SSH key is in use before it is renewed. */
  readonly keyDays?: number;
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
  readonly #switches: SwitchDesk;
  readonly #watch: ViolationWatch;
  readonly #flows = new ReportedFlows();
  readonly #captureTests: CaptureTests;
  #keeper: Timer | undefined;
  #server: SshServer<Principal> | undefined;
  #api: ApiServer | undefined;

  /** @throws AbsError of folder, database and listening */
  static async start(options: ManagerOptions): Promise<ManagerProcess> {
    const manager = new ManagerProcess(options);
    await manager.#startLedgers();
    manager.#keepContracts();
    manager.#switches.start();
    await manager.#listen();
    try {
      manager.#serveApi();
    } catch (thrown) {
      await manager.stop();
      throw thrown;
    }
    return manager;
  }

  private constructor(readonly options: ManagerOptions) {
    const open = openManager(options.dir, options.dataKey);
    this.#database = open.database;
    this.state = new ManagerState(open, options.now ?? epochNow);
    this.#tag = managementTag(Uint8Array.fromHex(open.keys.ledger.signer.publicKey));
    this.#announcements = new Announcements(this.state.tenants);
    this.#refusals = new RefusalNotices((event) => options.events.write(event));
    this.#switches = new SwitchDesk(this.state, (event) => options.events.write(event));
    this.#watch = new ViolationWatch(this.state, this.#switches);
    this.#captureTests = new CaptureTests(options.captureTests);
  }

  get port(): number {
    return this.#server?.port ?? 0;
  }

  /** SSH connections that are open. */
  get connections(): SshCounts {
    return this.#server?.counts() ?? { strangers: 0, loggedIn: 0 };
  }

  /** Of the HTTP API on TCP. */
  get apiPort(): number | undefined {
    return this.#api?.port;
  }

  async stop(): Promise<void> {
    clearInterval(this.#keeper);
    this.#switches.stop();
    this.#captureTests.stop();
    await this.#api?.stop();
    this.#announcements.close();
    await this.#server?.close();
    for (const ledger of this.#ledgers.values()) ledger.stop();
    rmSync(inFolder(this.options.dir, "listening"), { force: true });
    this.#refusals.flush();
    this.state.nodes.writeReports();
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
      counts: () => this.connections,
      ...{ cutAgent: cut("agent"), cutAdministrator: cut("administrator") },
      rotateHostKey: () => this.#rotateHostKey(),
      cutAccount: (name) => this.#api?.cutAccount(name),
      ...{ switches: this.#switches, flows: this.#flows, captureTests: this.#captureTests },
      ledgers: {
        start: (tenant) => this.#startLedger(tenant),
        reconcile: (tenant) => this.#ledgers.get(tenant)?.reconcile(),
        read: (tenant, read) => {
          const ledger = this.#ledgers.get(tenant);
          if (ledger !== undefined) return ledger.read(read);
          const remedy = "Its event ledger-stopped says why.";
          throw new AbsError("LEDGER_ABSENT", `The ledger of ${tenant} does not run.`, remedy);
        },
        status: (tenant) => this.ledgerStatus(tenant),
      },
    };
  }

  #keepContracts(): void {
    const keep = (): void => {
      void this.#startLedgers();
      for (const { name } of this.state.tenants.list()) {
        try {
          askDueRenewals(this.state, name, this.options.keyDays ?? KEY_DAYS_DEFAULT);
          const kept = keepContracts(this.state, name);
          for (const done of kept) this.options.events.write({ ...done, tenant: name });
          if (kept.length > 0) this.#ledgers.get(name)?.reconcile();
        } catch (thrown) {
          // No room, say: it is looked at again, and all else goes on.
          const reason = messageOf(thrown);
          this.options.events.write({ event: "contracts-not-kept", tenant: name, reason });
        }
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
      followed: () => this.#announcements.followLedger(tenant.name),
      cutAgent: (nodeId) => {
        this.#server?.cut(loginName("agent", nodeId), "revoked");
        const node = this.state.nodes.find(nodeId);
        if (node?.revokedWhy === PROVEN_REASON) this.#watch.proven(node);
      },
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
    const { hostKey } = this.state.manager;
    // Killed in a rotation, the file may be of the key before.
    writeHostKey(this.options.dir, hostKey.publicKey);
    const { host, port } = this.#place();
    this.#server = await SshServer.start<Principal>({
      ...{ hostKey, host, port },
      handlers: {
        find: (user, publicKey) => this.#find(user, toHex(publicKey)),
        subsystem: (channel, { principal }) => this.#open(channel, principal),
        execute: (words, { principal }, call) => {
          const who = principal.kind === "administrator" ? principal.name : "";
          const role = this.state.administrators.find(who)?.role ?? "viewer";
          return executeCommand(this.#commands(), words, { who, role, ...call });
        },
        refused: (refusal) => this.#refusals.add(refusal),
      },
      ...(this.options.limits === undefined ? {} : { limits: this.options.limits }),
    });
    const isOnAll = host === "::" || host === "0.0.0.0";
    const near = { host: isOnAll ? "localhost" : host, port: this.port };
    writeFileSync(inFolder(this.options.dir, "listening"), JSON.stringify(near));
    this.options.events.write({ event: "manager-started", host, port: this.port });
  }

  /** On the disk before anybody meets it. */
  #rotateHostKey(): void {
    const { hostKey } = this.state.manager;
    this.state.transaction(() => hostKey.rotate(this.state.now()));
    writeHostKey(this.options.dir, hostKey.publicKey);
    this.#server?.show(hostKey);
    const fingerprint = fingerprintOf(hostKey.publicKey);
    this.options.events.write({ event: "host-key-rotated", fingerprint });
  }

  #serveApi(): void {
    const { dir, events, api: place, isApiOptional = false } = this.options;
    const socket = inFolder(dir, "socket");
    this.#api = new ApiServer({ commands: this.#commands(), events, socket, place });
    this.#api.listenLocally();
    try {
      this.#api.listen();
    } catch (thrown) {
      if (!isApiOptional) throw thrown;
      events.write({ event: "api-not-listening", reason: messageOf(thrown) });
      return;
    }
    if (place !== undefined) {
      events.write({ event: "api-started", host: place.host, port: this.apiPort });
    }
  }

  /** The mapping service at log-in. Used and expired tokens are let in to hear so. */
  #find(user: string, publicKey: string): SshLogin<Principal> | undefined {
    const { administrators, invitations, nodes } = this.state;
    if (user === "agent") {
      const node = nodes.ofSshKey(publicKey);
      if (node === undefined || node.state === "revoked") return undefined;
      const { nodeId } = node;
      return channelLogin({ kind: "agent", nodeId, sshPub: publicKey }, nodeId);
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
    if (principal.kind === "agent") {
      this.state.nodes.forgetOldKey(principal.nodeId, principal.sshPub);
      this.#serve(channel, principal.nodeId, address);
    }
  }

  #serve(channel: FrameChannel, nodeId: string, address: string): void {
    const { events } = this.options;
    const tenant = this.state.nodes.find(nodeId)?.tenant;
    if (tenant === undefined) return channel.close();
    const send = (frame: ManagerFrame): void => void channel.send(frame);
    const renewal = new RenewalTalk(nodeId, {
      ...{ state: this.state, crypto: this.#crypto, send },
      agreed: () => this.#ledgers.get(tenant)?.reconcile(),
      areKeysCounted: (node) => this.#ledgers.get(tenant)?.areKeysCounted(node) ?? false,
    });
    const session = new AgentSession(this.state, nodeId, tenant, {
      ...{ send, renewal },
      refused: ({ code, what }) => {
        events.write({ event: "agent-refuses-update", node: nodeId, code, reason: what });
      },
      applied: () => this.#ledgers.get(tenant)?.noteApplied(),
      violations: (list) => {
        const node = this.state.nodes.find(nodeId);
        if (node !== undefined) this.#watch.take(node, list);
      },
      flows: (rows) => {
        const node = this.state.nodes.find(nodeId);
        if (node !== undefined) this.#flows.take(node, rows, this.state.now(), channel);
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
      writeDown: ({ nodeId }) => note(`enrolled ${nodeId}`),
      enrolled: ({ nodeId, tenant, name }) => {
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
