/**
 * The manager's side of one agent's renewal, on the agent's own channel. docs/manager-channel.md
 * "Renewal". Everything it decides by is in the table; a talk that was cut short begins anew.
 */
import { toHex } from "../bytes.ts";
import type { LedgerCrypto } from "../chain/crypto-interface.ts";
import type { NodeId, PublicKey } from "../chain/ledger-units.ts";
import { issuedJson } from "../channel/enrolment-messages.ts";
import {
  frameOf,
  type Refused,
  readMessage,
  refusedJson,
  UPDATE,
} from "../channel/message-reading.ts";
import {
  isOfKinds,
  type OfferedKeys,
  readAgreed,
  readOffer,
  renewalHash,
  renewJson,
  unprovenOffer,
} from "../channel/renewal-messages.ts";
import { kernelRandom } from "../native/kernel-random.ts";
import { KeyPair } from "../session/x25519.ts";
import { MANAGER_FLAG, type ManagerFrame } from "../wire/manager-frame.ts";
import type { ManagerState } from "./manager-state.ts";
import type { MappedNode } from "./mapping-service.ts";

const BODY_BYTES_MAX = 8 * 1024;

export type RenewalSeams = {
  readonly state: ManagerState;
  readonly crypto: LedgerCrypto;
  readonly send: (frame: ManagerFrame) => void;
  /** The agent has agreed: KEY_ROTATE can be proposed. */
  readonly agreed: () => void;
  /** Whether the ledger keys that the agent was certified with last count by now. */
  readonly areKeysCounted: (nodeId: string) => boolean;
};

export class RenewalTalk {
  /** What a session key proves itself to: fresh for each connection. */
  readonly #challengeKey = new KeyPair(kernelRandom(32));
  #isWaiting = false;

  constructor(
    private readonly nodeId: string,
    private readonly seams: RenewalSeams,
  ) {}

  /**
   * Asks the agent for its next keys, where that is wanted and it has not agreed yet. Ledger keys
   * are renewed one after the other: an agent holds those that count and the next.
   */
  begin(): void {
    const { state, send, areKeysCounted } = this.seams;
    const renewal = state.renewals.find(this.nodeId);
    this.#isWaiting = false;
    if (renewal === undefined || renewal.agreement !== undefined) return;
    const { kinds } = renewal;
    this.#isWaiting = kinds.includes("ledger") && !areKeysCounted(this.nodeId);
    if (this.#isWaiting) return;
    const wish = renewJson({ kinds, challenge: this.#challenge });
    send(frameOf(MANAGER_FLAG.update, UPDATE.renew, wish));
  }

  /** Begins if it was the ledger that it waited for. */
  resume(): void {
    if (this.#isWaiting) this.begin();
  }

  get #challenge(): string {
    return toHex(this.#challengeKey.publicKey);
  }

  take({ type, body }: ManagerFrame): void {
    if (type === UPDATE.offer) this.#offer(body);
    if (type === UPDATE.agreed) this.#agree(body);
  }

  #offer(body: Uint8Array): void {
    const { state, send } = this.seams;
    const node = state.nodes.find(this.nodeId);
    const renewal = state.renewals.find(this.nodeId);
    if (node === undefined || renewal === undefined) {
      return this.#refuse("RENEWAL_NOT_ASKED", "nobody asked for another key");
    }
    const read = readMessage(body, BODY_BYTES_MAX, readOffer);
    if ("complaint" in read) return this.#refuse("OFFER_WRONG", read.complaint);
    const offer = read.message;
    const managerKey = state.manager.keys.ledger.signer.publicKey;
    if (!isOfKinds(offer, renewal.kinds)) {
      return this.#refuse("OFFER_WRONG", "other kinds of keys were asked for");
    }
    const ledgerPub = node.ledgerPub as PublicKey;
    const to = { challenge: this.#challenge, challengeKey: this.#challengeKey };
    const words = { managerKey, nodeId: this.nodeId, ledgerPub, ...to };
    const unproven = unprovenOffer(offer, words, this.seams.crypto);
    if (unproven !== undefined) {
      return this.#refuse("PROOF_WRONG", `the agent does not prove its ${unproven} key`);
    }
    if (state.renewals.areTaken(offer.keys, this.nodeId)) {
      return this.#refuse("KEY_TAKEN", "a new key is in use already");
    }
    const signed = this.#issue(node, offer.keys);
    state.renewals.certify(this.nodeId, signed);
    send(frameOf(MANAGER_FLAG.update, UPDATE.issued, issuedJson(signed)));
  }

  #issue(node: MappedNode, offered: OfferedKeys) {
    const { state } = this.seams;
    const { tenant, tags, seq } = node;
    const { nodeId, ledgerPub, sessionPub, vrfPub, sshPub } = state.certificateOf(node).certificate;
    const { chainId } = state.tenants.need(tenant);
    const subject = {
      ...{ tenant, chainId, nodeId: nodeId as NodeId, machine: node },
      keys: { ledgerPub, sessionPub, vrfPub, sshPub, ...offered },
      ...{ applicationTags: tags, seq: seq + 1 },
    };
    return state.authority.issue(subject, state.now());
  }

  #agree(body: Uint8Array): void {
    const { state, crypto, agreed } = this.seams;
    const renewal = state.renewals.find(this.nodeId);
    const certificate = renewal?.certificate?.certificate;
    const node = state.nodes.find(this.nodeId);
    if (certificate === undefined || node === undefined || renewal?.agreement !== undefined) return;
    const read = readMessage(body, BODY_BYTES_MAX, readAgreed);
    if ("complaint" in read) return this.#refuse("AGREEMENT_WRONG", read.complaint);
    const { oldSignature, newSignature } = read.message;
    const hash = renewalHash(certificate);
    const isSigned = crypto.signatures.verifyMany([
      { hash, signature: oldSignature, publicKey: node.ledgerPub as PublicKey },
      { hash, signature: newSignature, publicKey: certificate.ledgerPub },
    ]);
    if (isSigned.includes(false)) {
      return this.#refuse("PROOF_WRONG", "the agent does not sign for its new certificate");
    }
    state.renewals.agree(this.nodeId, read.message);
    agreed();
  }

  #refuse(code: string, what: string): void {
    const refused: Refused = { code, what: `Not renewed: ${what}.`, remedy: "" };
    this.seams.send(frameOf(MANAGER_FLAG.update, UPDATE.refused, refusedJson(refused)));
  }
}
