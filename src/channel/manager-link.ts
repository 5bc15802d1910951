/**
 * The agent's standing connection to its manager. docs/manager-channel.md "Update". It hears that
 * something changed, fetches the newest state, has it applied, and reports which version is in
 * force. A manager that is away is called again, with pauses that grow; nothing of the agent waits
 * for it. What cannot be applied is reported, the version before stays, and it is tried again.
 */
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { type IdentityCertificate, isIssuedBy } from "../chain/identity-certificate.ts";
import type { PublicKey } from "../chain/ledger-units.ts";
import { AbsError, messageOf } from "../errors.ts";
import { createLedgerCrypto } from "../node/ledger-crypto.ts";
import type { PeerPassage } from "../peer/peer-passage.ts";
import { SshClient } from "../ssh/ssh-client.ts";
import { MANAGER_FLAG, type ManagerFrame, managementTag } from "../wire/manager-frame.ts";
import type { KnownManager } from "./agent-folder.ts";
import type { AgentIdentity } from "./agent-identity.ts";
import { type AgentState, type MarkedState, readMarkedState } from "./agent-state.ts";
import { type Announcement, ChannelTalk } from "./channel-talk.ts";
import { checkState } from "./enrolment-client.ts";
import { readIssued } from "./enrolment-messages.ts";
import { HostMeeting, type HostPin } from "./host-meeting.ts";
import { KnownCertificates } from "./known-certificates.ts";
import { frameOf, refusedJson, UPDATE } from "./message-reading.ts";
import { Pause } from "./pause.ts";
import { agreedJson, offerJson, type RenewalWish } from "./renewal-messages.ts";

const AWAY = { minMs: 500, maxMs: 30_000 };
/** After a state that could not be put in force. */
const REFUSED = { minMs: 2_000, maxMs: 60_000 };
/** A key that the manager lets in no more was revoked: who asks again and again is a nuisance. */
const SHUT_OUT_MS = 3_600_000;
/** A log-in may fail once for another reason. */
const LOGIN_REFUSALS_MAX = 3;

export type ManagerLinkOptions = {
  readonly manager: KnownManager;
  readonly identity: AgentIdentity;
  /** Its next session key is drawn, and peers' sessions to it must be answered from now on. */
  readonly sessionKeyDrawn?: () => Promise<void>;
  /** The manager has another host key, by its own word: to be remembered. */
  readonly hostKeyMoved?: (manager: KnownManager) => void;
  /** To call from, on a machine that has several; the system chooses without. */
  readonly localAddress?: string;
  /** In force now; 0: none. */
  readonly version: number;
  /** Puts it in force; an AbsError says why it cannot be. */
  readonly apply: (state: AgentState) => Promise<void> | void;
  readonly notice: (event: string, fields: Readonly<Record<string, unknown>>) => void;
  /** Through the agent's own data plane, where there is one. */
  readonly passage?: Pick<PeerPassage, "open" | "close">;
};

/** What `abs agent status` shows of it. */
export type ManagerLinkStatus = {
  readonly state: "connected" | "away" | "shut-out";
  readonly version: number;
  /** Why it is away, or why the newest state is not in force. */
  readonly reason?: string;
};

export class ManagerLink {
  #version: number;
  #client: SshClient | undefined;
  #talk: ChannelTalk | undefined;
  #isOver = false;
  #loginRefusals = 0;
  /** It calls again at once, with the new key: then the manager forgets the old one. */
  #isKeyNew = false;
  #reason: string | undefined;
  readonly #certificates = new KnownCertificates();
  /** The newest that came and was right: what it has is not sent again. */
  #last: MarkedState | undefined;
  readonly #away = new Pause(AWAY);
  readonly #refused = new Pause(REFUSED);
  readonly #done: Promise<void>;

  #host: HostPin;

  constructor(private readonly options: ManagerLinkOptions) {
    this.#version = options.version;
    const { hostFingerprint, hostSeq = 0 } = options.manager;
    this.#host = { hostFingerprint, hostSeq };
    this.#done = this.#run();
  }

  /** With the host key that it was met under last. */
  get manager(): KnownManager {
    return { ...this.options.manager, ...this.#host };
  }

  get version(): number {
    return this.#version;
  }

  get status(): ManagerLinkStatus {
    const away = this.#isShutOut ? "shut-out" : "away";
    return {
      state: this.#client === undefined ? away : "connected",
      version: this.#version,
      ...(this.#reason === undefined ? {} : { reason: this.#reason }),
    };
  }

  /** Sends what nobody asked for. False: the manager is not there, and nothing was sent. */
  tell(frame: ManagerFrame): boolean {
    this.#talk?.send(frame);
    return this.#talk !== undefined;
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    this.#client?.close();
    this.#away.end();
    await this.#done;
  }

  get #isShutOut(): boolean {
    return this.#loginRefusals >= LOGIN_REFUSALS_MAX;
  }

  async #run(): Promise<void> {
    while (!this.#isOver) {
      try {
        await this.#follow();
      } catch (thrown) {
        if (!this.#isOver) this.#complain(thrown);
      }
      if (this.#isOver) return;
      if (this.#isKeyNew) {
        this.#isKeyNew = false;
        continue;
      }
      if (this.#isShutOut) await this.#away.sleep(SHUT_OUT_MS);
      else await this.#away.sleep();
    }
  }

  /** One connection, until it ends by an error. */
  async #follow(): Promise<void> {
    const { manager, passage } = this.options;
    const host = await addressOf(manager.host);
    const localPort = await passage?.open(host, manager.port);
    if (passage !== undefined && localPort === undefined) throw noWayOut(host);
    try {
      return await this.#converse(host, localPort);
    } finally {
      if (localPort !== undefined) passage?.close(localPort);
    }
  }

  async #converse(host: string, localPort: number | undefined): Promise<void> {
    const { manager, identity, localAddress, notice } = this.options;
    const { port, managerKey } = manager;
    const meeting = new HostMeeting(manager, this.#host);
    const login = { host, port, user: "agent", seed: identity.seed, ...meeting.words };
    const client = await SshClient.connect({ ...login, localAddress, localPort });
    if (meeting.found !== this.#host) this.#keepHost(meeting.found);
    if (this.#isOver) client.close();
    this.#client = client;
    this.#loginRefusals = 0;
    try {
      const talk = new ChannelTalk(await client.subsystem(), managementTag(managerKey));
      this.#talk = talk;
      notice("manager-connected", { host: manager.host, port });
      this.#reason = undefined;
      let said: Announcement | undefined = await talk.announced();
      this.#away.reset();
      let wish: RenewalWish | undefined;
      for (let wanted = this.#version, isInForce = true; ; ) {
        if (said?.kind === "renew") wish = said.wish;
        else {
          wanted = said?.version ?? wanted;
          isInForce = await this.#reach(talk, wanted);
        }
        if (this.#isKeyNew) return;
        if (wish !== undefined && (await this.#renew(talk, wish))) wish = undefined;
        const isDone: boolean = isInForce && wish === undefined;
        said = await talk.announced(isDone ? undefined : this.#refused.next());
        if (said?.kind === "changed") this.#refused.reset();
      }
    } finally {
      client.close();
      this.#talk = undefined;
      this.#client = undefined;
    }
  }

  #keepHost(host: HostPin): void {
    const { hostKeyMoved, notice } = this.options;
    this.#host = host;
    hostKeyMoved?.(this.manager);
    notice("manager-host-key-renewed", { fingerprint: host.hostFingerprint });
  }

  /** Whether that version, or a newer one, is in force now; the manager is told either way. */
  async #reach(talk: ChannelTalk, wanted: number): Promise<boolean> {
    const { notice } = this.options;
    const flag = MANAGER_FLAG.update;
    let version = wanted;
    try {
      if (wanted !== this.#version) version = await this.#take(talk);
    } catch (thrown) {
      const { code, message: what, remedy } = refusalOf(thrown);
      // The connection is of no use any more.
      if (code === "MANAGER_SILENT") throw thrown;
      talk.send(frameOf(flag, UPDATE.refused, refusedJson({ code, what, remedy })));
      this.#reason = what;
      notice("manager-update-refused", { version: wanted, code, reason: what });
      return false;
    }
    talk.send(frameOf(flag, UPDATE.applied, { version }));
    return true;
  }

  async #take(talk: ChannelTalk): Promise<number> {
    const { manager, identity, apply, notice } = this.options;
    const last = this.#last;
    talk.send(frameOf(MANAGER_FLAG.update, UPDATE.fetch, { have: { ...last?.marks } }));
    const known = this.#certificates;
    const next = await talk.next(MANAGER_FLAG.update, UPDATE.state, (fields) => {
      return readMarkedState(fields, known, last);
    });
    const { state } = next;
    const isOurs = (mine: IdentityCertificate) => identity.isOver(mine);
    checkState(state, { managerKey: manager.managerKey, isOurs }, known);
    this.#last = next;
    await apply(state);
    const { certificate } = state.own.certificate;
    const settled = identity.settle(state.own);
    this.#isKeyNew = settled.includes("ssh");
    const { seq } = certificate;
    if (settled.includes("ledger")) notice("ledger-key-renewed", { seq });
    if (settled.includes("session")) notice("session-key-renewed", { seq });
    if (settled.includes("ssh")) notice("ssh-key-renewed", { seq });
    const { version } = state;
    this.#version = version;
    this.#reason = undefined;
    notice("manager-update-enforced", { version });
    return version;
  }

  /**
   * Offers the next keys, and signs for the certificate over them. They are in use when the ledger
   * has it: the next state says so. A talk that is cut short is begun anew by the manager. False:
   * they cannot be offered yet.
   */
  async #renew(talk: ChannelTalk, { kinds, challenge }: RenewalWish): Promise<boolean> {
    const { manager, identity } = this.options;
    const { keys } = identity;
    const flag = MANAGER_FLAG.update;
    const managerKey = manager.managerKey.toHex();
    const { signer } = keys.ledger;
    const next = identity.next(kinds);
    if (next.session !== undefined && !(await this.#answersForNext(talk))) return false;
    const offer = offerJson(next, { managerKey, nodeId: keys.nodeId, challenge }, signer);
    talk.send(frameOf(flag, UPDATE.offer, offer));
    const signed = await talk.next(flag, UPDATE.issued, readIssued);
    const { certificate } = signed;
    const { signatures } = createLedgerCrypto();
    if (!identity.isOver(certificate) || !isIssuedBy(signed, managerKey as PublicKey, signatures)) {
      const what = "The renewed certificate is not over our keys, or not by our manager.";
      throw new AbsError("MANAGER_CERTIFICATE_WRONG", what, "Tell the manager's administrator.");
    }
    const after = identity.keys.ring.find(certificate)?.signer ?? signer;
    talk.send(frameOf(flag, UPDATE.agreed, agreedJson(certificate, signer, after)));
    return true;
  }

  /** Or the manager hears why not. */
  async #answersForNext(talk: ChannelTalk): Promise<boolean> {
    try {
      await this.options.sessionKeyDrawn?.();
      return true;
    } catch (thrown) {
      const { code, message: what, remedy } = refusalOf(thrown);
      const refused = refusedJson({ code, what, remedy });
      talk.send(frameOf(MANAGER_FLAG.update, UPDATE.refused, refused));
      return false;
    }
  }

  #complain(thrown: unknown): void {
    const { code, message: reason } = refusalOf(thrown);
    this.#reason = reason;
    if (code === "MANAGER_LOGIN_REFUSED") this.#loginRefusals++;
    const event = this.#isShutOut ? "manager-shut-out" : "manager-lost";
    this.options.notice(event, { code, reason });
  }
}

function refusalOf(thrown: unknown): AbsError {
  if (thrown instanceof AbsError) return thrown;
  return new AbsError("INTERNAL", messageOf(thrown), "", thrown);
}

/** The data plane is told an address. */
async function addressOf(host: string): Promise<string> {
  if (isIP(host) !== 0) return host;
  try {
    return (await lookup(host)).address;
  } catch (cause) {
    const what = `The manager's name ${host} has no address: ${messageOf(cause)}.`;
    throw new AbsError("MANAGER_UNREACHABLE", what, "Look at this VM's DNS.", cause);
  }
}

function noWayOut(host: string): AbsError {
  const what = `The agent's own data plane lets no call to ${host} through now.`;
  return new AbsError("MANAGER_UNREACHABLE", what, "It is tried again.");
}
