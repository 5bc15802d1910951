/**
 * The agent's keys and, while some are being renewed, those that come next. docs/manager-channel.md
 * "Renewal". All are in the folder's key file before anything is said to anybody; a next one takes
 * the place of the old when the manager has certified it, and not before. Old ledger and VRF keys
 * are kept until the chain counts the new ones, and then destroyed.
 */
import { toHex } from "../bytes.ts";
import type { IdentityCertificate } from "../chain/identity-certificate.ts";
import { kernelRandom } from "../native/kernel-random.ts";
import {
  drawLedgerSecret,
  keysOfSecrets,
  ledgerKeysOf,
  type NodeSecrets,
  type OwnKeys,
} from "../node/node-keys.ts";
import { sshPublicKey } from "../ssh/ssh-keys.ts";
import { keepSecrets } from "./agent-folder.ts";
import type { AgentWords } from "./agent-state.ts";
import { KEY_KINDS, type KeyKind, type NextKeys } from "./renewal-messages.ts";

const SEED_BYTES = 32;

type OwnWords = Pick<AgentWords, "certificate" | "sessionOld">;

export class AgentIdentity {
  #secrets: NodeSecrets;
  #keys: OwnKeys;
  #next: NextKeys;
  /** The ledger key that counts at the open height of the agent's own chain. */
  #counting: string | undefined;
  #onChange = (): void => {};

  /** @param save on the disk when it returns; otherwise it throws */
  constructor(
    secrets: NodeSecrets,
    private readonly save: (secrets: NodeSecrets) => void,
  ) {
    this.#secrets = secrets;
    this.#keys = keysOfSecrets(secrets);
    this.#next = nextOf(secrets);
  }

  /** Of an agent's folder. */
  static in(dir: string, secrets: NodeSecrets): AgentIdentity {
    return new AgentIdentity(secrets, (next) => keepSecrets(dir, next));
  }

  /** Hears of every other set of keys, once it is on the disk. */
  watch(onChange: () => void): void {
    this.#onChange = onChange;
  }

  /** 32 bytes: what the agent logs in with. */
  get seed(): Uint8Array {
    return Uint8Array.fromHex(this.#secrets.ssh_secret);
  }

  /** Of the key file. */
  get secrets(): NodeSecrets {
    return this.#secrets;
  }

  /** In use. */
  get keys(): OwnKeys {
    return this.#keys;
  }

  /** Whether a certificate is over keys of ours: those in use, or offered ones. */
  isOver({ nodeId, ledgerPub, vrfPub, sessionPub, sshPub }: IdentityCertificate): boolean {
    const { keys } = this;
    const { sshSeed } = this.#next;
    const sshPubs = [keys.sshPub, ...(sshSeed === undefined ? [] : [publicOf(sshSeed)])];
    const sessions = keys.sessions.map(({ publicKey }) => toHex(publicKey));
    return (
      nodeId === keys.nodeId &&
      keys.ring.find({ ledgerPub, vrfPub }) !== undefined &&
      sessions.includes(sessionPub) &&
      sshPubs.includes(sshPub)
    );
  }

  /** The next keys of these kinds, drawn once and on the disk. @throws AbsError */
  next(kinds: readonly KeyKind[]): NextKeys {
    const wanted = new Set(kinds);
    const secrets = { ...this.#secrets };
    if (wanted.has("session")) secrets.session_secret_next ??= kernelRandom(SEED_BYTES).toHex();
    if (wanted.has("ssh")) secrets.ssh_secret_next ??= kernelRandom(SEED_BYTES).toHex();
    if (wanted.has("ledger") && secrets.ledger_secret_next === undefined) {
      secrets.ledger_secret_next = drawLedgerSecret().toHex();
      secrets.vrf_secret_next = kernelRandom(SEED_BYTES).toHex();
    }
    this.#write(secrets);
    const { ledger, session, sshSeed } = this.#next;
    return {
      ...(wanted.has("ledger") && ledger && { ledger }),
      ...(wanted.has("session") && session && { session }),
      ...(wanted.has("ssh") && sshSeed && { sshSeed }),
    };
  }

  /**
   * What the manager knows us by is what we are: of which kinds the next keys are ours now. The
   * session key waits until all peers know the next.
   */
  settle({ certificate: signed, sessionOld }: OwnWords): readonly KeyKind[] {
    const { ledgerPub, sessionPub, sshPub } = signed.certificate;
    const { ledger, session, sshSeed } = this.#next;
    const isNextSession = session !== undefined && toHex(session.publicKey) === sessionPub;
    const isSession = isNextSession && sessionOld === undefined;
    const isSsh = sshSeed !== undefined && publicOf(sshSeed) === sshPub;
    const isLedger = ledger?.signer.publicKey === ledgerPub;
    let secrets = this.#secrets;
    if (isSsh) secrets = withNextSsh(secrets);
    if (isSession) secrets = withNextSession(secrets);
    if (isLedger) secrets = withNextLedger(secrets, this.keys.nodeId);
    this.#write(secrets);
    this.#destroy();
    const isOf = { ledger: isLedger, session: isSession, ssh: isSsh };
    return KEY_KINDS.filter((kind) => isOf[kind]);
  }

  /** At the open height of the own chain: no height is left for the keys before it. */
  counts(ledgerPub: string): void {
    this.#counting = ledgerPub;
    this.#destroy();
  }

  #destroy(): void {
    if (this.#counting !== this.keys.ledger.signer.publicKey) return;
    const { ledger_secret_old: _, vrf_secret_old: __, ...rest } = this.#secrets;
    this.#write(rest);
  }

  #write(secrets: NodeSecrets): void {
    if (JSON.stringify(secrets) === JSON.stringify(this.#secrets)) return;
    this.save(secrets);
    this.#secrets = secrets;
    this.#keys = keysOfSecrets(secrets);
    this.#next = nextOf(secrets);
    this.#onChange();
  }
}

function nextOf(secrets: NodeSecrets): NextKeys {
  const { ledger_secret_next: ledger, vrf_secret_next: vrf, ssh_secret_next: ssh } = secrets;
  const [, session] = keysOfSecrets(secrets).sessions;
  return {
    ...(session !== undefined && { session }),
    ...(ledger !== undefined && vrf !== undefined && { ledger: ledgerKeysOf(ledger, vrf) }),
    ...(ssh !== undefined && { sshSeed: Uint8Array.fromHex(ssh) }),
  };
}

function withNextSsh(secrets: NodeSecrets): NodeSecrets {
  const { ssh_secret_next: next, ...rest } = secrets;
  return next === undefined ? secrets : { ...rest, ssh_secret: next };
}

function withNextSession(secrets: NodeSecrets): NodeSecrets {
  const { session_secret_next: next, ...rest } = secrets;
  return next === undefined ? secrets : { ...rest, session_secret: next };
}

function withNextLedger(secrets: NodeSecrets, nodeId: string): NodeSecrets {
  const { ledger_secret_next: ledger, vrf_secret_next: vrf, ...rest } = secrets;
  if (ledger === undefined || vrf === undefined) return secrets;
  return {
    ...rest,
    ...{ node_id: nodeId, ledger_secret: ledger, vrf_secret: vrf },
    ...{ ledger_secret_old: rest.ledger_secret, vrf_secret_old: rest.vrf_secret },
  };
}

function publicOf(seed: Uint8Array): string {
  return sshPublicKey(seed).toHex();
}
