/**
 * Who may speak on the peer channel, and where peers are: identities from the ledger.
 * docs/peer-channel.md "Who is let in". A member is whoever shows the certificate that the ledger
 * commits to; the master is whoever has the ledger's master key; a node that is not on the ledger
 * yet needs the master's signature, and may then catch up. Who was revoked is let in by nothing.
 */
import { equalBytes, fromHex } from "../bytes.ts";
import type { ChainState } from "../chain/chain-state.ts";
import type { Verifier } from "../chain/crypto-interface.ts";
import {
  certificateHash,
  isIssuedBy,
  type SignedCertificate,
} from "../chain/identity-certificate.ts";
import { decodeIntroduction } from "../chain/introduction.ts";
import type { Height } from "../chain/ledger-units.ts";
import {
  type ChainId,
  NO_HASH,
  type NodeId,
  type PublicKey,
  type Term,
} from "../chain/ledger-units.ts";
import { EFFECT_DELAY, keysAt } from "../chain/member.ts";
import { nodeIdOf } from "../chain/message-signing.ts";
import type { MasterTermMessage } from "../chain/message-types.ts";
import { isMasterTerm } from "../chain/seal-check.ts";
import type { Callee } from "../peer/peer-dialler.ts";
import type { EpochSeconds } from "../units.ts";

/** design/manager.md: while the manager cannot be reached to renew it. */
const GRACE_SECONDS = 30 * 24 * 3600;
/** Clocks hours apart must not cut nodes off each other. */
const EARLY_SECONDS = 24 * 3600;
const NO_CHAIN = NO_HASH as string as ChainId;

/** What identities are judged by: it moves with the chain. */
export type IdentityBasis = {
  readonly chain: ChainState;
  /** The newest that is known, recorded or not. */
  readonly masterPub: PublicKey;
  readonly term: Term;
  readonly verifier: Verifier;
  readonly now: EpochSeconds;
};

export type IdentityHooks = {
  /** A MASTER_TERM by the recovery key: it acts on receipt, and the basis is another after. */
  readonly onTerm?: (message: MasterTermMessage) => void;
  /** By the master's word, before the ledger says so. */
  readonly isRevoked?: (nodeId: NodeId) => boolean;
  /** A node that was not known, or one with a newer certificate. */
  readonly onNews?: (signed: SignedCertificate) => void;
};

export class PeerIdentities {
  readonly #known = new Map<NodeId, SignedCertificate>();

  constructor(
    readonly self: NodeId,
    readonly basis: () => IdentityBasis,
    readonly hooks: IdentityHooks = {},
  ) {}

  /** The newest of a node that was valid here, even if it is not any more. */
  certificateOf(nodeId: NodeId): SignedCertificate | undefined {
    return this.#known.get(nodeId);
  }

  /** Whether a certificate, if it is valid, says more than what is known of its node. */
  isNews({ certificate }: SignedCertificate): boolean {
    if (certificate.nodeId === this.self) return false;
    const before = this.#known.get(certificate.nodeId);
    return before === undefined || before.certificate.seq < certificate.seq;
  }

  /** Adds what a file or a handshake brought, if it is valid; the newest of a node is kept. */
  learn(signed: SignedCertificate): boolean {
    const { certificate } = signed;
    if (!this.#maySpeak(signed, this.basis())) return false;
    const before = this.#known.get(certificate.nodeId);
    const isNews = this.isNews(signed);
    if (before === undefined || before.certificate.seq <= certificate.seq) {
      this.#known.set(certificate.nodeId, signed);
    }
    if (isNews) this.hooks.onNews?.(signed);
    return true;
  }

  /** The node that shows this certificate over this key, or undefined. */
  authenticate(bytes: Uint8Array, key: Uint8Array): NodeId | undefined {
    const read = decodeIntroduction(bytes);
    if ("complaint" in read) return undefined;
    const { nodeId, sessionPub, ledgerPub } = read.signed.certificate;
    const owned = fromHex(sessionPub);
    if (owned === undefined || nodeId === this.self) return undefined;
    // It was called by a key that it is leaving: it is called again by the one it shows.
    if (!equalBytes(owned, key)) return void this.learn(read.signed);
    const { masterTerm } = read;
    if (masterTerm?.masterPub === ledgerPub) this.#hearTerm(masterTerm);
    return this.learn(read.signed) ? nodeId : undefined;
  }

  /** Before the certificate is judged: the master of a new term signed its own. */
  #hearTerm(message: MasterTermMessage): void {
    const { chain, term, verifier } = this.basis();
    if (message.term > term && isMasterTerm(chain, message, { signatures: verifier })) {
      this.hooks.onTerm?.(message);
    }
  }

  #maySpeak(signed: SignedCertificate, basis: IdentityBasis): boolean {
    const isRevoked = this.hooks.isRevoked?.(signed.certificate.nodeId) === true;
    return !isRevoked && isValid(signed, basis);
  }

  /** Certificates of everybody known who may still speak here. */
  valid(): SignedCertificate[] {
    const basis = this.basis();
    return [...this.#known.values()].filter((signed) => this.#maySpeak(signed, basis));
  }

  /** The same as the channel calls them. */
  callees(): Callee[] {
    return this.valid().flatMap(({ certificate: { nodeId, sessionPub, addresses, peerPort } }) => {
      const key = fromHex(sessionPub);
      const [host] = addresses;
      if (key === undefined || host === undefined || nodeId === this.self) return [];
      return [{ nodeId, key, host, port: peerPort }];
    });
  }
}

export function isValid(signed: SignedCertificate, basis: IdentityBasis): boolean {
  const { certificate } = signed;
  const { chain, masterPub, verifier, now } = basis;
  if (now < certificate.notBefore - EARLY_SECONDS) return false;
  if (now > certificate.notAfter + GRACE_SECONDS) return false;
  const member = chain.members.get(certificate.nodeId);
  if (member !== undefined) {
    // The genesis file's certificates are older than the chain's name.
    if (certificate.chainId !== chain.chainId && certificate.chainId !== NO_CHAIN) return false;
    const hash = certificateHash(certificate);
    const soon = (chain.height + EFFECT_DELAY) as Height;
    const next = (chain.height + 1) as Height;
    return [keysAt(member, next), keysAt(member, soon)].some((keys) => keys?.certificate === hash);
  }
  if (certificate.chainId !== chain.chainId) return false;
  // Rotated keys are its issuer's to vouch for: this chain has not come as far as their record.
  const isFirst = nodeIdOf(certificate.ledgerPub) === certificate.nodeId;
  if (!isFirst && certificate.seq === 0) return false;
  // A master vouches for itself; whoever claims its id without its key does not get past this.
  return isIssuedBy(signed, masterPub, verifier);
}
