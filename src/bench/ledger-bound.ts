/**
 * The bound of `abs bench ledger`: as many processes, with the keys of the same folders and the
 * same peer channel, that send the frames of a block in their sizes, and sign and verify what they
 * carry, and do nothing else: no rules, no encodings, no roots, no disk. docs/benchmarks.md. The
 * order is that of an undisturbed block: CANDIDATE, PRE_PREPARE, PREPAREs, COMMITs, RESULT, SEAL
 * down the line; the next CANDIDATE leaves with the SEAL, as the master's does.
 */

import { quorumOf } from "../chain/certificate.ts";
import type { ChainState } from "../chain/chain-state.ts";
import type { LedgerCrypto, SignatureCheck } from "../chain/crypto-interface.ts";
import { encodeIntroduction } from "../chain/introduction.ts";
import type {
  NodeId,
  PublicKey,
  Signature,
  SigningHash,
  VrfProof,
  VrfPublicKey,
} from "../chain/ledger-units.ts";
import { nodeIdOf } from "../chain/message-signing.ts";
import { bytesOf, sha256 } from "../chain/sha256.ts";
import { kernelRandom } from "../native/kernel-random.ts";
import { countedCrypto, countedKeys, noWork } from "../node/crypto-work.ts";
import { createLedgerCrypto } from "../node/ledger-crypto.ts";
import { epochNow } from "../node/ledger-runner.ts";
import { fileIn, loadCertificate, loadGenesis, loadPeers } from "../node/node-folder.ts";
import { loadKeys, type OwnKeys } from "../node/node-keys.ts";
import { PeerIdentities } from "../node/peer-identities.ts";
import { onlyKey, peerNoise } from "../node/peer-noise-ik.ts";
import { PeerChannel } from "../peer/peer-channel.ts";
import { PEER_FLAG, type PeerFrame } from "../wire/peer-frame.ts";

/** Types of frames, and what of docs/ledger.md's sizes does not depend on the committee. */
const TYPE = { candidate: 1, prePrepare: 2, prepare: 3, commit: 4, result: 7, seal: 10, ack: 33 };
const HEIGHT_BYTES = 8;
const SIGNATURE_BYTES = 64;
const PROOF_BYTES = 80;
const SIGNED_BYTES = 103;
const NOTHING = new Uint8Array(0);

export type BoundOptions = {
  readonly dir: string;
  /** Bytes of the contracts in a block. */
  readonly bodyBytes: number;
  /** The master's measured time, and how long it sends blocks before. */
  readonly seconds: number;
  readonly warmSeconds: number;
};

export type BoundResult = {
  readonly blocks: number;
  readonly seconds: number;
};

type Round = {
  readonly prepares: Map<NodeId, Signature>;
  readonly commits: Map<NodeId, Signature>;
  readonly verified: Set<NodeId>;
  /** The leader's own. */
  proof: Uint8Array;
  hasProposal: boolean;
  hasCommitted: boolean;
  isDecided: boolean;
};

/** Runs until it is ended; the master until its time is over. */
export class BoundNode {
  readonly work = noWork();
  readonly channel: PeerChannel;
  readonly #crypto: LedgerCrypto;
  readonly #keys: OwnKeys;
  readonly #identities: PeerIdentities;
  readonly #genesis: ChainState;
  /** Ascending. */
  readonly #members: readonly NodeId[];
  readonly #publicKeys = new Map<NodeId, PublicKey>();
  readonly #vrfKeys = new Map<NodeId, VrfPublicKey>();
  readonly #masterId: NodeId;
  readonly #quorum: number;
  readonly #sizes: ReturnType<typeof sizesOf>;
  readonly #rounds = new Map<number, Round>();
  #sealed = 0;

  constructor(readonly options: BoundOptions) {
    const { dir, bodyBytes } = options;
    this.#crypto = countedCrypto(createLedgerCrypto(), this.work);
    const keys = loadKeys(fileIn(dir, "keys"));
    this.#keys = { ...keys, ledger: countedKeys(keys.ledger, this.work) };
    this.#genesis = loadGenesis(dir, this.#crypto);
    const { file } = this.#genesis.genesis;
    for (const { ledgerPub, vrfPub } of file.members) {
      this.#publicKeys.set(nodeIdOf(ledgerPub), ledgerPub);
      this.#vrfKeys.set(nodeIdOf(ledgerPub), vrfPub);
    }
    this.#members = [...this.#publicKeys.keys()].sort();
    this.#masterId = nodeIdOf(file.masterPub);
    this.#publicKeys.set(this.#masterId, file.masterPub);
    this.#quorum = quorumOf(this.#members.length);
    this.#sizes = sizesOf(this.#members.length, this.#quorum, bodyBytes);
    this.#identities = new PeerIdentities(keys.nodeId, () => ({
      ...{ chain: this.#genesis, masterPub: file.masterPub, term: this.#genesis.core.term },
      ...{ verifier: this.#crypto.signatures, now: epochNow() },
    }));
    this.channel = this.#openChannel();
  }

  async connect(): Promise<void> {
    const { dir } = this.options;
    await this.channel.listen();
    for (const signed of loadPeers(dir)) this.#identities.learn(signed);
    this.channel.meet(this.#identities.callees());
  }

  /** The master's part. */
  async measure(): Promise<BoundResult> {
    const { seconds, warmSeconds } = this.options;
    const isMet = () => {
      const met = this.channel.status().filter(({ isConnected }) => isConnected);
      return met.length >= this.#members.length;
    };
    while (!isMet()) await Bun.sleep(20);
    // Members still meet each other.
    await Bun.sleep(500);
    this.#offer(1);
    await Bun.sleep(warmSeconds * 1000);
    const [before, beginMs] = [this.#sealed, performance.now()];
    await Bun.sleep(seconds * 1000);
    const measured = (performance.now() - beginMs) / 1000;
    return { blocks: this.#sealed - before, seconds: measured };
  }

  #openChannel(): PeerChannel {
    const own = loadCertificate(this.options.dir);
    const [host = "127.0.0.1"] = own.certificate.addresses;
    return new PeerChannel({
      ...{ self: this.#keys.nodeId, listen: { host, port: own.certificate.peerPort } },
      random: kernelRandom,
      noise: peerNoise(this.#genesis.chainId, onlyKey(this.#keys.session)),
      realm: bytesOf(this.#genesis.chainId),
      certificate: encodeIntroduction({ signed: own, masterTerm: undefined }),
      authenticate: (certificate, key) => this.#identities.authenticate(certificate, key),
      onFrame: (from, frame) => this.#receive(from as NodeId, frame),
      onNotice: () => {},
    });
  }

  #receive(from: NodeId, { type, body }: PeerFrame): void {
    const height = Number(new DataView(body.buffer, body.byteOffset).getBigUint64(0, false));
    switch (type) {
      case TYPE.candidate:
        return this.#onCandidate(height, body);
      case TYPE.prePrepare:
        return this.#onPrePrepare(height, from, body);
      case TYPE.prepare:
        this.#round(height).prepares.set(from, signatureIn(body, 0));
        return this.#progress(height);
      case TYPE.commit:
        this.#round(height).commits.set(from, signatureIn(body, 0));
        return this.#progress(height);
      case TYPE.result:
        return this.#onResult(height, body);
      case TYPE.seal:
        return this.#onSeal(height, from, body);
      default:
    }
  }

  #offer(height: number): void {
    const signature = this.#sign(TYPE.candidate, height, this.#masterId);
    this.#send(this.#members, TYPE.candidate, this.#sizes.candidate, height, [signature]);
  }

  #onCandidate(height: number, body: Uint8Array): void {
    this.#verify([this.#check(TYPE.candidate, height, this.#masterId, signatureIn(body, 0))]);
    if (this.#leader(height) !== this.#keys.nodeId) return;
    const proof = this.#keys.ledger.vrf.prove(alphaOf(height));
    const signature = this.#sign(TYPE.prePrepare, height, this.#keys.nodeId);
    const words = [signature, proof];
    this.#send(this.#others(), TYPE.prePrepare, this.#sizes.prePrepare, height, words);
    const round = this.#round(height);
    round.hasProposal = true;
    round.proof = proof;
    this.#progress(height);
  }

  #onPrePrepare(height: number, from: NodeId, body: Uint8Array): void {
    this.#verify([this.#check(TYPE.prePrepare, height, from, signatureIn(body, 0))]);
    this.#verifyProof(height, body, SIGNATURE_BYTES);
    const round = this.#round(height);
    round.hasProposal = true;
    const signature = this.#sign(TYPE.prepare, height, this.#keys.nodeId);
    round.prepares.set(this.#keys.nodeId, signature);
    this.#send(this.#others(), TYPE.prepare, this.#sizes.vote, height, [signature]);
    this.#progress(height);
  }

  /** Prepared: q - 1 PREPAREs beside the leader's word. Decided: q COMMITs. */
  #progress(height: number): void {
    const round = this.#round(height);
    if (!round.hasProposal) return;
    const own = this.#keys.nodeId;
    if (!round.hasCommitted && round.prepares.size >= this.#quorum - 1) {
      round.hasCommitted = true;
      this.#verifyVotes(TYPE.prepare, height, [...round.prepares].slice(0, this.#quorum - 1));
      const signature = this.#sign(TYPE.commit, height, own);
      round.commits.set(own, signature);
      round.verified.add(own);
      this.#send(this.#others(), TYPE.commit, this.#sizes.vote, height, [signature]);
    }
    if (round.isDecided || round.commits.size < this.#quorum) return;
    round.isDecided = true;
    const chosen = [...round.commits].slice(0, this.#quorum);
    this.#verifyVotes(TYPE.commit, height, chosen);
    for (const [nodeId] of chosen) round.verified.add(nodeId);
    if (this.#leader(height) !== own) return;
    const signature = this.#sign(TYPE.result, height, own);
    const words = [signature, round.proof, ...quorumWords(this.#members, chosen)];
    this.#send([this.#masterId], TYPE.result, this.#sizes.result, height, words);
  }

  #onResult(height: number, body: Uint8Array): void {
    const quorum = quorumIn(this.#members, body, SIGNATURE_BYTES + PROOF_BYTES, this.#quorum);
    this.#verifyVotes(TYPE.commit, height, quorum);
    this.#verifyProof(height, body, SIGNATURE_BYTES);
    const signature = this.#sign(TYPE.seal, height, this.#masterId);
    const words = [signature, ...quorumWords(this.#members, quorum)];
    const [first] = this.#line(height);
    if (first !== undefined) this.#send([first], TYPE.seal, this.#sizes.seal, height, words);
    this.#sealed = height;
    this.#offer(height + 1);
  }

  #onSeal(height: number, from: NodeId, body: Uint8Array): void {
    this.#verify([this.#check(TYPE.seal, height, this.#masterId, signatureIn(body, 0))]);
    const { verified } = this.#round(height);
    const quorum = quorumIn(this.#members, body, SIGNATURE_BYTES, this.#quorum);
    const open = quorum.filter(([nodeId]) => !verified.has(nodeId));
    this.#verifyVotes(TYPE.commit, height, open);
    const line = this.#line(height);
    const next = line[line.indexOf(this.#keys.nodeId) + 1];
    const words = [body.slice(HEIGHT_BYTES)];
    if (next !== undefined) this.#send([next], TYPE.seal, this.#sizes.seal, height, words);
    this.#send([from], TYPE.ack, this.#sizes.ack, height, []);
    this.#rounds.delete(height);
  }

  #round(height: number): Round {
    const known = this.#rounds.get(height);
    if (known !== undefined) return known;
    const round: Round = {
      ...{ prepares: new Map(), commits: new Map(), verified: new Set() },
      proof: NOTHING,
      ...{ hasProposal: false, hasCommitted: false, isDecided: false },
    };
    this.#rounds.set(height, round);
    // Votes that came after the SEAL.
    this.#rounds.delete(height - 16);
    return round;
  }

  #leader(height: number): NodeId | undefined {
    return this.#members[height % this.#members.length];
  }

  #others(): NodeId[] {
    return this.#members.filter((nodeId) => nodeId !== this.#keys.nodeId);
  }

  #line(height: number): readonly NodeId[] {
    return height % 2 === 0 ? this.#members : this.#members.toReversed();
  }

  #sign(type: number, height: number, signer: NodeId): Signature {
    return this.#keys.ledger.signer.sign(hashOf(type, height, signer));
  }

  #check(type: number, height: number, signer: NodeId, signature: Signature): SignatureCheck {
    const publicKey = this.#publicKeys.get(signer) ?? ("" as PublicKey);
    return { hash: hashOf(type, height, signer), signature, publicKey };
  }

  #verifyVotes(type: number, height: number, votes: readonly (readonly [NodeId, Signature])[]) {
    const own = this.#keys.nodeId;
    const open = votes.filter(([nodeId]) => nodeId !== own);
    this.#verify(open.map(([nodeId, signature]) => this.#check(type, height, nodeId, signature)));
  }

  #verify(checks: readonly SignatureCheck[]): void {
    if (!this.#crypto.signatures.verifyMany(checks).includes(false)) return;
    throw new Error("a signature of the bound does not hold");
  }

  #verifyProof(height: number, body: Uint8Array, offset: number): void {
    const key = this.#vrfKeys.get(this.#leader(height) ?? ("" as NodeId));
    const start = HEIGHT_BYTES + offset;
    const proof = body.slice(start, start + PROOF_BYTES) as VrfProof;
    const beta =
      key === undefined ? undefined : this.#crypto.vrf.verify(key, alphaOf(height), proof);
    if (beta === undefined) throw new Error("a VRF proof of the bound does not hold");
  }

  #send(
    to: readonly NodeId[],
    type: number,
    sizeBytes: number,
    height: number,
    words: readonly Uint8Array[],
  ): void {
    const body = new Uint8Array(sizeBytes);
    new DataView(body.buffer).setBigUint64(0, BigInt(height), false);
    let offset = HEIGHT_BYTES;
    for (const word of words) {
      body.set(word.subarray(0, sizeBytes - offset), offset);
      offset += word.length;
    }
    for (const nodeId of to) this.channel.send(nodeId, { flag: PEER_FLAG.ledger, type, body });
  }
}

function alphaOf(height: number): Uint8Array {
  const alpha = new Uint8Array(84);
  new DataView(alpha.buffer).setBigUint64(0, BigInt(height), false);
  return alpha;
}

function hashOf(type: number, height: number, signer: NodeId): SigningHash {
  const text = new Uint8Array(SIGNED_BYTES);
  const memory = new DataView(text.buffer);
  memory.setUint8(0, type);
  memory.setBigUint64(1, BigInt(height), false);
  text.set(bytesOf(signer), 9);
  return sha256(text) as SigningHash;
}

function signatureIn(body: Uint8Array, offset: number): Signature {
  const start = HEIGHT_BYTES + offset;
  return body.slice(start, start + SIGNATURE_BYTES) as Signature;
}

/** Seats as bits in 4 bytes, then the signatures by ascending seat. */
function quorumWords(
  members: readonly NodeId[],
  votes: readonly (readonly [NodeId, Signature])[],
): Uint8Array[] {
  const seats = votes
    .map(([nodeId, signature]) => ({ seat: members.indexOf(nodeId), signature }))
    .sort((one, other) => one.seat - other.seat);
  let bitmap = 0;
  for (const { seat } of seats) bitmap |= 1 << seat;
  const word = new Uint8Array(4);
  new DataView(word.buffer).setUint32(0, bitmap, false);
  return [word, ...seats.map(({ signature }) => signature)];
}

function quorumIn(
  members: readonly NodeId[],
  body: Uint8Array,
  offset: number,
  count: number,
): [NodeId, Signature][] {
  const bitmap = new DataView(body.buffer, body.byteOffset).getUint32(HEIGHT_BYTES + offset, false);
  const voters = members.filter((_, seat) => ((bitmap >>> seat) & 1) === 1).slice(0, count);
  return voters.map((nodeId, i) => [nodeId, signatureIn(body, offset + 4 + i * SIGNATURE_BYTES)]);
}

/** docs/ledger.md "Messages": header 71, core 318, signature 64. */
function sizesOf(members: number, quorum: number, bodyBytes: number) {
  const signed = 71 + SIGNATURE_BYTES;
  const quorumBytes = 8 + SIGNATURE_BYTES * quorum;
  const sealBytes = quorumBytes + 1 + PROOF_BYTES + 2;
  const blockBytes = 318 + 4 + bodyBytes;
  return {
    candidate: signed + 4 + blockBytes + 1 + sealBytes + 4 + SIGNATURE_BYTES + 3,
    prePrepare: signed + 32 + 32 + PROOF_BYTES + 32 + 2 + 16 * members + 2,
    vote: signed + 32,
    result: signed + 64 + quorumBytes + PROOF_BYTES,
    seal: signed + 64 + blockBytes + sealBytes,
    ack: 71 + 32,
  };
}
