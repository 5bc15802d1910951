/**
 * An agent that runs no node of the ledger and holds its headers: over the real peer channel it
 * asks one member of its tenant for what comes after its tip, and keeps headers that follow each
 * other and that the master has sealed. Votes it cannot judge: who may vote is in the bodies.
 * docs/ledger.md "Catching up".
 */
import type { SealedHeader } from "../chain/block.ts";
import { blockHashOf } from "../chain/block-core.ts";
import type { ChainState } from "../chain/chain-state.ts";
import type { LedgerCrypto } from "../chain/crypto-interface.ts";
import type { SignedCertificate } from "../chain/identity-certificate.ts";
import { encodeIntroduction } from "../chain/introduction.ts";
import type { Attempt, Hash, Height, NodeId, View } from "../chain/ledger-units.ts";
import { decodeMessage, encodeMessage } from "../chain/message-codec.ts";
import { signingHash } from "../chain/message-signing.ts";
import { type HeadersRequest, MESSAGE_CODES } from "../chain/message-types.ts";
import { sealWords } from "../chain/seal-check.ts";
import { bytesOf } from "../chain/sha256.ts";
import { kernelRandom } from "../native/kernel-random.ts";
import { epochNow } from "../node/ledger-runner.ts";
import type { OwnKeys } from "../node/node-keys.ts";
import { PeerIdentities } from "../node/peer-identities.ts";
import { onlyKey, peerNoise } from "../node/peer-noise-ik.ts";
import { PeerChannel } from "../peer/peer-channel.ts";
import { PEER_FLAG, type PeerFrame } from "../wire/peer-frame.ts";

const ASK_MS = 5000;
const HEADERS_ASKED = 256;

export type HolderOptions = {
  readonly keys: OwnKeys;
  readonly own: SignedCertificate;
  readonly genesis: ChainState;
  readonly crypto: LedgerCrypto;
};

export class HeaderHolder {
  readonly headers: SealedHeader[] = [];
  readonly #identities: PeerIdentities;
  readonly #channel: PeerChannel;
  readonly #asking: Timer;
  #hash: string;
  #nonce: Hash | undefined;

  constructor(private readonly options: HolderOptions) {
    const { keys, own, genesis, crypto } = options;
    const { masterPub } = genesis.genesis.file;
    this.#hash = genesis.blockHash;
    const basis = { chain: genesis, masterPub, term: genesis.core.term };
    this.#identities = new PeerIdentities(keys.nodeId, () => {
      return { ...basis, verifier: crypto.signatures, now: epochNow() };
    });
    this.#channel = new PeerChannel({
      ...{ self: keys.nodeId, listen: { host: "", port: 0 }, random: kernelRandom },
      noise: peerNoise(genesis.chainId, onlyKey(keys.session)),
      realm: bytesOf(genesis.chainId),
      certificate: encodeIntroduction({ signed: own, masterTerm: undefined }),
      // Nobody can call it: it does not listen.
      callsAll: true,
      authenticate: (introduction, key) => this.#identities.authenticate(introduction, key),
      onFrame: (_from, frame) => this.#take(frame),
      onNotice: () => {},
    });
    this.#asking = setInterval(() => this.#ask(), ASK_MS * (0.75 + Math.random() / 2));
  }

  get height(): number {
    return this.headers.length;
  }

  /** Whom to ask from now on. */
  meet(member: SignedCertificate): void {
    if (!this.#identities.learn(member)) return;
    const { nodeId } = member.certificate;
    this.#channel.meet(this.#identities.callees().filter((callee) => callee.nodeId === nodeId));
  }

  close(): void {
    clearInterval(this.#asking);
    this.#channel.close();
  }

  #ask(): void {
    const [member] = this.#channel.connected();
    if (member === undefined) return;
    const { keys, genesis } = this.options;
    this.#nonce = kernelRandom(32).toHex() as Hash;
    const request: HeadersRequest = {
      ...{ kind: "HEADERS_REQ", chainId: genesis.chainId, term: genesis.core.term },
      ...{ height: (this.height + 1) as Height, attempt: 0 as Attempt, view: 0 as View },
      ...{ signer: keys.nodeId, nonce: this.#nonce, count: HEADERS_ASKED },
    };
    const type = MESSAGE_CODES[request.kind];
    this.#channel.send(member as NodeId, {
      ...{ flag: PEER_FLAG.ledger, type, body: encodeMessage(request) },
    });
  }

  /** Other messages of a member are for those who have a node. */
  #take({ flag, body }: PeerFrame): void {
    if (flag !== PEER_FLAG.ledger) return;
    const read = decodeMessage(body);
    if (!("message" in read) || read.message.kind !== "HEADERS_RESP") return;
    if (read.message.nonce !== this.#nonce) return;
    for (const header of read.message.headers) {
      if (!this.#isNext(header)) return;
      this.headers.push(header);
      this.#hash = blockHashOf(header.core);
    }
  }

  #isNext({ core, proof }: SealedHeader): boolean {
    const { genesis, crypto } = this.options;
    if (core.chainId !== genesis.chainId || core.height !== this.height + 1) return false;
    if (core.previousBlockHash !== this.#hash) return false;
    const { masterPub } = genesis.genesis.file;
    const { chainId, height } = core;
    const words = { chainId, height, blockHash: blockHashOf(core), core };
    const hash = signingHash(sealWords(words, proof, masterPub));
    const check = { hash, signature: proof.blockSignature, publicKey: masterPub };
    return crypto.signatures.verify(check);
  }
}
