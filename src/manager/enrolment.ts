/**
 * The manager's side of one enrolment. docs/manager-channel.md "Enrolment". The token's key has
 * logged in already; here the agent proves its own keys, gets a certificate, and signs for it. Only
 * then is it written down, in one transaction with the token's use: killed in between, the manager
 * has either a new agent and a used token, or neither. The same agent may ask again with the same
 * keys, if the last answer did not reach it.
 */

import type { JsonObject } from "../chain/canonical-json.ts";
import type { LedgerCrypto } from "../chain/crypto-interface.ts";
import type { SignedCertificate } from "../chain/identity-certificate.ts";
import { certificateHash, encodeSignedCertificate } from "../chain/identity-certificate.ts";
import type { JsonFields } from "../chain/json-fields.ts";
import type { Signature } from "../chain/ledger-units.ts";
import { nodeIdOf } from "../chain/message-signing.ts";
import { possessionHash } from "../chain/registration.ts";
import { stateJson } from "../channel/agent-state.ts";
import {
  challengeJson,
  ENROLMENT_BODY_BYTES_MAX,
  type EnrolmentRequest,
  issuedJson,
  PROTOCOL_VERSION,
  readBegin,
  readPossession,
  readProvenRequest,
  requestJson,
} from "../channel/enrolment-messages.ts";
import { ENROLMENT, frameOf, readMessage, refusedJson } from "../channel/message-reading.ts";
import { type Challenge, challengeOf, unprovenKey } from "../channel/possession.ts";
import { AbsError } from "../errors.ts";
import { kernelRandom } from "../native/kernel-random.ts";
import { KeyPair } from "../session/x25519.ts";
import { formatAddress, isUnicast, parseAddress } from "../wire/ip-text.ts";
import { MANAGER_FLAG, type ManagerFrame } from "../wire/manager-frame.ts";
import { refusalOf } from "./invitations.ts";
import type { ManagerState } from "./manager-state.ts";
import { addressTaken, type MappedNode } from "./mapping-service.ts";

const NONCE_BYTES = 32;
/** Lower case, of one interface: the lowest bit of the first byte is 0. */
const MAC = /^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$/;
/** What the ledger's stake is computed from until trusted applications are known. */
const FIRST_TRUST_LEVEL = 50;

export type EnrolmentSeams = {
  readonly state: ManagerState;
  readonly crypto: LedgerCrypto;
  /** Public half of the token that logged in, hexadecimal. */
  readonly tokenPub: string;
  readonly send: (frame: ManagerFrame) => void;
  /** Within the transaction that makes it an agent. */
  readonly writeDown: (node: MappedNode) => void;
  readonly enrolled: (node: MappedNode) => void;
  /** Refused: nothing more is said on this channel. */
  readonly failed: (reason: AbsError) => void;
};

type Asked = { readonly challenge: Challenge; readonly key: KeyPair };
type Offered = { readonly request: EnrolmentRequest; readonly signed: SignedCertificate };

export class Enrolment {
  #asked: Asked | undefined;
  #offered: Offered | undefined;
  #isOver = false;

  constructor(private readonly seams: EnrolmentSeams) {}

  take({ flag, type, body }: ManagerFrame): void {
    if (this.#isOver || flag !== MANAGER_FLAG.enrolment) return;
    try {
      this.#step(type, body);
    } catch (thrown) {
      this.#isOver = true;
      if (!(thrown instanceof AbsError)) throw thrown;
      const { code, message: what, remedy } = thrown;
      this.#send(ENROLMENT.refused, refusedJson({ code, what, remedy }));
      this.seams.failed(thrown);
    }
  }

  #step(type: number, body: Uint8Array): void {
    if (type === ENROLMENT.begin) return this.#begin(read(body, readBegin));
    if (type === ENROLMENT.request && this.#asked !== undefined) {
      const { request, proofs } = read(body, readProvenRequest);
      return this.#judge(this.#asked, request, proofs);
    }
    if (type === ENROLMENT.possession && this.#offered !== undefined) {
      return this.#finish(this.#offered, read(body, readPossession));
    }
    throw misunderstood(`a frame of type ${type} does not come here`);
  }

  #begin(version: number): void {
    if (version !== PROTOCOL_VERSION) {
      const what = `The agent speaks version ${version} of enrolment, the manager 1.`;
      throw new AbsError("ENROLMENT_VERSION", what, "Use the same version of `abs` on both.");
    }
    const key = new KeyPair(kernelRandom(NONCE_BYTES));
    const challenge = challengeOf(kernelRandom(NONCE_BYTES), key);
    this.#asked = { challenge, key };
    this.#send(ENROLMENT.challenge, challengeJson(challenge));
  }

  #judge(asked: Asked, request: EnrolmentRequest, proofs: Parameters<typeof unprovenKey>[1]): void {
    const { state, crypto, tokenPub } = this.seams;
    this.#asked = undefined;
    const transcript = {
      managerKey: state.manager.keys.ledger.signer.publicKey,
      ...{ tokenPub, challenge: asked.challenge, request: requestJson(request) },
    };
    const by = { challengeKey: asked.key, crypto };
    const unproven = unprovenKey(request.keys, proofs, transcript, by);
    if (unproven !== undefined) {
      const what = `The agent does not prove that it holds its ${unproven} key.`;
      throw new AbsError("PROOF_WRONG", what, "Delete the agent's folder and enrol anew.");
    }
    const known = this.#sameAgain(request);
    if (known !== undefined) return this.#welcome(known);
    this.#check(request);
    this.#offer(request);
  }

  /** The agent that this token has enrolled already, if it is the one that asks. */
  #sameAgain({ keys }: EnrolmentRequest): MappedNode | undefined {
    const { state, tokenPub } = this.seams;
    const nodeId = state.invitations.ofToken(tokenPub)?.nodeId;
    const node = nodeId === undefined ? undefined : state.nodes.find(nodeId);
    if (node === undefined || node.state === "revoked") return undefined;
    const isSame = node.ledgerPub === keys.ledgerPub && node.sshPub === keys.sshPub;
    return isSame && node.sessionPub === keys.sessionPub ? node : undefined;
  }

  /** May this agent be enrolled now? @returns its invitation; @throws AbsError why not */
  #check({ keys, machine }: EnrolmentRequest) {
    const { state, tokenPub } = this.seams;
    const invitation = state.invitations.ofToken(tokenPub);
    if (invitation === undefined) {
      throw new AbsError("TOKEN_UNKNOWN", "The token was withdrawn.", "Ask for a new one.");
    }
    const refusal = refusalOf(invitation, state.now());
    if (refusal !== undefined) throw refusal;
    const { tenant, name } = invitation;
    if (state.nodes.named(tenant, name) !== undefined) {
      const what = `${tenant} has an agent ${name} already.`;
      const remedy = "Revoke it first if its machine is gone, or invite under another name.";
      throw new AbsError("NAME_TAKEN", what, remedy);
    }
    if (state.nodes.hasKeyOf(keys)) {
      const what = "One of the agent's keys belongs to another agent.";
      throw new AbsError("KEY_TAKEN", what, "Delete the agent's folder and enrol anew.");
    }
    checkAddresses(machine.addresses);
    checkMacs(machine.macs);
    const taken = state.nodes.ownerOf(tenant, [...machine.addresses, ...machine.macs]);
    if (taken !== null) throw addressTaken(taken);
    return invitation;
  }

  #offer(request: EnrolmentRequest): void {
    const { state } = this.seams;
    const { tenant, tags } = this.#check(request);
    const { chainId } = state.tenants.need(tenant);
    const { keys, machine } = request;
    const nodeId = nodeIdOf(keys.ledgerPub);
    const subject = { tenant, chainId, nodeId, keys, machine, applicationTags: tags, seq: 0 };
    const signed = state.authority.issue(subject, state.now());
    this.#offered = { request, signed };
    this.#send(ENROLMENT.certificate, issuedJson(signed));
  }

  #finish({ request, signed }: Offered, possession: Signature): void {
    const { state, crypto } = this.seams;
    this.#offered = undefined;
    const { keys } = request;
    const words = { ...keys, certificate: certificateHash(signed.certificate) };
    const check = { hash: possessionHash(words), signature: possession, publicKey: keys.ledgerPub };
    if (!crypto.signatures.verify(check)) {
      const what = "The agent does not sign for its certificate.";
      throw new AbsError("PROOF_WRONG", what, "Delete the agent's folder and enrol anew.");
    }
    const node = state.transaction(() => {
      // Anew: another agent may have come in between.
      const invitation = this.#check(request);
      const { tenant, name, groups, tags } = invitation;
      const now = state.now();
      const added: MappedNode = {
        ...{ nodeId: signed.certificate.nodeId, tenant, name, groups, tags },
        ...{ ...request.machine, ...keys, mode: "quick", stage: "observe" },
        ...{ trustLevel: FIRST_TRUST_LEVEL, certificate: encodeSignedCertificate(signed) },
        ...{ possession: possession.toHex(), seq: 0, state: "enrolled" },
        ...{ enrolledAt: now, lastSeen: now, revokedAt: undefined, revokedWhy: undefined },
        enforcedVersion: 0,
      };
      state.nodes.add(added);
      state.invitations.use(invitation.number, added.nodeId, now);
      state.tenants.countUp(tenant, "newcomer");
      this.seams.writeDown(added);
      return added;
    });
    this.#welcome(node);
    this.seams.enrolled(node);
  }

  #welcome(node: MappedNode): void {
    this.#isOver = true;
    this.#send(ENROLMENT.welcome, stateJson(this.seams.state.stateFor(node)));
  }

  #send(type: number, value: JsonObject): void {
    this.seams.send(frameOf(MANAGER_FLAG.enrolment, type, value));
  }
}

function read<T>(body: Uint8Array, reader: (fields: JsonFields) => T): T {
  const result = readMessage(body, ENROLMENT_BODY_BYTES_MAX, reader);
  if ("message" in result) return result.message;
  throw misunderstood(result.complaint);
}

function misunderstood(why: string): AbsError {
  const what = `The manager does not understand the agent: ${why}.`;
  return new AbsError("ENROLMENT_MESSAGE", what, "Use the same version of `abs` on both.");
}

/** In one form, so that nobody has the address of another in other letters. */
function checkAddresses(addresses: readonly string[]): void {
  if (addresses.length === 0) throw wrongAddress("The agent names no address");
  for (const text of addresses) {
    const address = parseAddress(text);
    if (address === undefined) throw wrongAddress(`${text} is no IP address`);
    if (!isUnicast(address)) throw wrongAddress(`${text} is no address of a host on a network`);
    const usual = formatAddress(address);
    if (usual !== text) throw wrongAddress(`${text} must be written ${usual}`);
  }
}

/** Those of interfaces, in one form; agents refuse others. */
function checkMacs(macs: readonly string[]): void {
  for (const text of macs) {
    if (!MAC.test(text)) throw wrongAddress(`${text} is no MAC address of an interface`);
  }
}

function wrongAddress(what: string): AbsError {
  const remedy = "Name the VM's addresses, as its neighbours reach them, with --address.";
  return new AbsError("ADDRESS_WRONG", `${what}.`, remedy);
}
