/**
 * The new agent's side of an enrolment. docs/manager-channel.md "Enrolment". It trusts what the
 * token says and nothing else: the host key it meets, and the key that signs every certificate. Its
 * keys exist before it begins, so that a try that was cut short is repeated with the same.
 */

import { chainIdOf, parseGenesis } from "../chain/genesis-file.ts";
import {
  certificateHash,
  type IdentityCertificate,
  isIssuedBy,
  type SignedCertificate,
} from "../chain/identity-certificate.ts";
import type { ChainId, PublicKey } from "../chain/ledger-units.ts";
import { possessionHash } from "../chain/registration.ts";
import { AbsError } from "../errors.ts";
import { createLedgerCrypto } from "../node/ledger-crypto.ts";
import type { OwnKeys } from "../node/node-keys.ts";
import { SshClient } from "../ssh/ssh-client.ts";
import { sshPublicKey } from "../ssh/ssh-keys.ts";
import { MANAGER_FLAG, managementTag } from "../wire/manager-frame.ts";
import { type AgentState, readState } from "./agent-state.ts";
import { ChannelTalk } from "./channel-talk.ts";
import {
  type AgentMachine,
  provenRequestJson,
  readChallenge,
  readIssued,
  requestJson,
} from "./enrolment-messages.ts";
import { type EnrolmentToken, fingerprintOfDigest } from "./enrolment-token.ts";
import { HostMeeting } from "./host-meeting.ts";
import { KnownCertificates } from "./known-certificates.ts";
import { ENROLMENT, frameOf } from "./message-reading.ts";
import { proveKeys, publicKeysOf, type Transcript } from "./possession.ts";

export type Enrolling = {
  readonly token: EnrolmentToken;
  readonly keys: OwnKeys;
  readonly sshSeed: Uint8Array;
  /** Given the own address that reaches the manager. */
  readonly machine: (localAddress: string) => AgentMachine;
  /** To call from, on a machine that has several; the system chooses without. */
  readonly localAddress?: string;
};

/** @throws AbsError of the connection, or with the manager's refusal */
export async function enrol(enrolling: Enrolling): Promise<AgentState> {
  const { token } = enrolling;
  const client = await SshClient.connect({
    ...{ host: token.host, port: token.port, user: "enroll", seed: token.seed },
    ...new HostMeeting(token, { hostFingerprint: fingerprintOfDigest(token.hostDigest) }).words,
    localAddress: enrolling.localAddress,
  }).catch((cause) => {
    throw forgedToken(cause);
  });
  try {
    const tag = managementTag(token.managerKey);
    const talk = new ChannelTalk(await client.subsystem(), tag);
    const state = await converse(talk, enrolling, client.localAddress);
    const isOurs = (mine: IdentityCertificate) => isOverKeys(mine, enrolling.keys);
    checkState(state, { managerKey: token.managerKey, isOurs });
    return state;
  } finally {
    client.close();
  }
}

async function converse(
  talk: ChannelTalk,
  { token, keys, sshSeed, machine }: Enrolling,
  localAddress: string,
): Promise<AgentState> {
  const flag = MANAGER_FLAG.enrolment;
  talk.send(frameOf(flag, ENROLMENT.begin, { v: 1 }));
  const challenge = await talk.next(flag, ENROLMENT.challenge, readChallenge);
  const request = requestJson({ keys: publicKeysOf(keys), machine: machine(localAddress) });
  const transcript: Transcript = {
    managerKey: token.managerKey.toHex() as PublicKey,
    tokenPub: sshPublicKey(token.seed).toHex(),
    ...{ challenge, request },
  };
  const proofs = proveKeys(keys, sshSeed, transcript);
  if (proofs === undefined) {
    throw new AbsError("MANAGER_ANSWER_WRONG", "The manager's challenge is no key.", "Try again.");
  }
  talk.send(frameOf(flag, ENROLMENT.request, provenRequestJson(request, proofs)));
  // Who is enrolled already, and did not hear so, is welcome at once.
  if ((await talk.nextType()) === ENROLMENT.welcome) {
    return talk.next(flag, ENROLMENT.welcome, readState);
  }
  const signed = await talk.next(flag, ENROLMENT.certificate, readIssued);
  const words = { ...publicKeysOf(keys), certificate: certificateHash(signed.certificate) };
  const possession = keys.ledger.signer.sign(possessionHash(words)).toHex();
  talk.send(frameOf(flag, ENROLMENT.possession, { possession }));
  return talk.next(flag, ENROLMENT.welcome, readState);
}

/**
 * What came must be signed by this manager, and the own certificate be over our keys.
 * @param known whose certificates are verified once
 */
export function checkState(
  state: AgentState,
  expected: {
    readonly managerKey: Uint8Array;
    /** Whether a certificate is over our keys. */
    readonly isOurs: (certificate: IdentityCertificate) => boolean;
  },
  known = new KnownCertificates(),
): void {
  const { own, neighbours, tenant } = state;
  const managerKey = expected.managerKey.toHex() as PublicKey;
  const { signatures } = createLedgerCrypto();
  const isGood = (signed: SignedCertificate): boolean =>
    known.judge(signed, () => isIssuedBy(signed, managerKey, signatures)) &&
    signed.certificate.tenant === tenant.name;
  const mine = own.certificate.certificate;
  const isMine = expected.isOurs(mine);
  const master = { name: "the ledger's master", certificate: state.ledger.master };
  const bad = [own, ...neighbours, master].find(({ certificate }) => !isGood(certificate));
  const isLedgers = isLedgerOf(state, managerKey, mine.chainId);
  if (isMine && isLedgers && bad === undefined) return;
  const whose = bad === undefined ? "our certificate is over other keys" : `that of ${bad.name}`;
  const what = isLedgers ? whose : "the genesis file is not of this manager's ledger";
  throw new AbsError(
    "MANAGER_CERTIFICATE_WRONG",
    `What came is not what this manager may give us: ${what}.`,
    "Nothing was written. Tell the manager's administrator.",
  );
}

/** Whether a certificate is over keys that were never renewed. */
export function isOverKeys(certificate: IdentityCertificate, keys: OwnKeys): boolean {
  const own = publicKeysOf(keys);
  return (
    certificate.ledgerPub === own.ledgerPub &&
    certificate.sessionPub === own.sessionPub &&
    certificate.sshPub === own.sshPub &&
    certificate.vrfPub === own.vrfPub
  );
}

/** The genesis file must be what our certificate names, and have our manager for its master. */
function isLedgerOf(state: AgentState, managerKey: PublicKey, chainId: ChainId): boolean {
  const read = parseGenesis(state.ledger.genesis);
  if ("complaint" in read) return false;
  return chainIdOf(read.file) === chainId && read.file.masterPub === managerKey;
}

/** A log-in that is refused means that the manager never gave this token, or has taken it back. */
function forgedToken(cause: unknown): unknown {
  if (!(cause instanceof AbsError) || cause.code !== "MANAGER_LOGIN_REFUSED") return cause;
  return new AbsError(
    "TOKEN_UNKNOWN",
    "The manager does not know this token: it is forged, was withdrawn, or is of another manager.",
    "Ask for a new one: `abs manager invite`.",
    cause,
  );
}
