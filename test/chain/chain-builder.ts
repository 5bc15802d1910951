/**
 * A small ledger in memory for tests: keys, genesis file, and blocks that a real quorum of their
 * committee has signed, without messages in between. With noble's curves or the simulator's
 * stand-ins.
 */
import { applyBlock, draftBlock, withSeal } from "../../src/chain/apply-block.ts";
import type { Block, BlockBody, SealProof } from "../../src/chain/block.ts";
import type { Refusal } from "../../src/chain/block-fault.ts";
import { encodeBlockJson } from "../../src/chain/block-json.ts";
import {
  type Committee,
  leaderSeat,
  NO_QUORUM_NEEDED,
  type Quorum,
  quorumOf,
} from "../../src/chain/certificate.ts";
import { type ChainState, committeeOf } from "../../src/chain/chain-state.ts";
import { vrfAlpha } from "../../src/chain/choosing.ts";
import { type ContractEntry, encodeContract } from "../../src/chain/contract-entry.ts";
import type { LedgerCrypto, NodeKeys } from "../../src/chain/crypto-interface.ts";
import { vrfLibrary } from "../../src/chain/edwards25519.ts";
import { DEFAULT_PARAMS, type GenesisFile, type GenesisMember } from "../../src/chain/genesis.ts";
import { genesisState } from "../../src/chain/genesis-block.ts";
import { encodeGenesis } from "../../src/chain/genesis-file.ts";
import type { Attempt, NodeId, ScId, Signature, Term, View } from "../../src/chain/ledger-units.ts";
import { nodeIdOf, signingHash } from "../../src/chain/message-signing.ts";
import type { CommitMessage, Draft } from "../../src/chain/message-types.ts";
import { NobleSigner, NobleVerifier } from "../../src/chain/noble-signatures.ts";
import { encodeRecord } from "../../src/chain/record-schema.ts";
import { type LedgerRecord, recordId } from "../../src/chain/record-types.ts";
import { possessionHash } from "../../src/chain/registration.ts";
import { checkSeal, sealWords } from "../../src/chain/seal-check.ts";
import { hashOf, sha256 } from "../../src/chain/sha256.ts";
import { StandInRegistry } from "../../src/chain/stand-in-crypto.ts";
import { exportLine } from "../../src/chain/verify-chain.ts";
import type { EpochSeconds } from "../../src/units.ts";

export const START = 1_700_000_000 as EpochSeconds;

export type KeyMaker = { readonly crypto: LedgerCrypto; makeKeys(): NodeKeys };

/** Real curves, with keys that follow from the seed. */
export class NobleKeys implements KeyMaker {
  readonly crypto: LedgerCrypto = { signatures: new NobleVerifier(), vrf: vrfLibrary().verifier };
  private made = 0;

  constructor(private readonly seed: number) {}

  makeKeys(): NodeKeys {
    const name = `keys ${this.seed} ${this.made++}`;
    const signer = new NobleSigner(sha256(Buffer.from(`${name} ledger`)));
    return { signer, vrf: vrfLibrary().proverOf(sha256(Buffer.from(`${name} vrf`))) };
  }
}

export function standInKeys(seed: number): KeyMaker {
  return new StandInRegistry(seed);
}

/** A refusal that a test did not ask for. */
export function must<T extends object>(value: T): Exclude<T, Refusal> {
  if ("fault" in value) throw new Error(JSON.stringify(value));
  return value as Exclude<T, Refusal>;
}

export class ChainBuilder {
  readonly master: NodeKeys;
  readonly recovery: NodeKeys;
  readonly nodes = new Map<NodeId, NodeKeys>();
  readonly file: GenesisFile;
  readonly blocks: Block[] = [];
  readonly states: ChainState[] = [];
  readonly crypto: LedgerCrypto;

  constructor(
    readonly keys: KeyMaker,
    memberCount: number,
  ) {
    this.crypto = keys.crypto;
    this.master = keys.makeKeys();
    this.recovery = keys.makeKeys();
    const members = Array.from({ length: memberCount }, (_, i) => this.member(i));
    this.file = {
      tenant: "test",
      timestamp: START,
      masterPub: this.master.signer.publicKey,
      recoveryPub: this.recovery.signer.publicKey,
      params: DEFAULT_PARAMS,
      members,
    };
    const state = genesisState(this.file, this.crypto);
    if (typeof state === "string") throw new Error(state);
    this.states.push(state);
  }

  get state(): ChainState {
    const state = this.states.at(-1);
    if (state === undefined) throw new Error("no genesis");
    return state;
  }

  /** Drafts, lets a quorum sign, seals and appends a block. */
  add(
    body: Partial<{ contracts: ContractEntry[]; records: LedgerRecord[] }> = {},
    view = 0,
  ): Block {
    const bytes: BlockBody = {
      contracts: (body.contracts ?? []).map(encodeContract),
      records: sortedRecords(body.records ?? []),
    };
    const timestamp = (this.state.core.timestamp + 1) as EpochSeconds;
    const plan = { term: this.state.core.term, timestamp, body: bytes };
    const { core, next } = must(draftBlock(this.state, plan, this.crypto));
    must(applyBlock(this.state, core, bytes, this.crypto));
    const proof = this.prove(next, view as View);
    const seal = must(checkSeal(this.state, next, proof, this.crypto));
    this.states.push(withSeal(next, seal));
    const block = { core, body: bytes, proof };
    this.blocks.push(block);
    return block;
  }

  /** q COMMITs of the first seats, the leader's VRF proof, the master's seal. */
  prove(next: ChainState, view: View): SealProof {
    const attempt = 0 as Attempt;
    const committee = committeeOf(this.state, attempt);
    const isBare = committee.length === 0;
    const quorum = isBare ? NO_QUORUM_NEEDED : this.quorum(next, committee, view);
    const leader = committee[leaderSeat(view, committee.length)];
    const place = { chainId: next.chainId, height: next.height, attempt, view };
    const alpha = vrfAlpha(place, this.state.seed);
    const vrfProof = leader === undefined ? undefined : this.keysOf(leader).vrf.prove(alpha);
    const words = { quorum, vrfProof, redraw: undefined, masterTerm: undefined };
    const proof = { ...words, sealTerm: next.core.term };
    return { ...proof, blockSignature: this.sealSignature(next, proof) };
  }

  quorum(next: ChainState, committee: Committee, view: View): Quorum {
    const attempt = 0 as Attempt;
    const signers = committee.slice(0, quorumOf(committee.length));
    const signatures = signers.map((signer) => this.commit(next, signer, attempt, view));
    return { attempt, view, bitmap: 2 ** signers.length - 1, signatures };
  }

  commit(next: ChainState, signer: NodeId, attempt: Attempt, view: View): Signature {
    const { chainId, height, core, blockHash } = next;
    const place = { chainId, term: core.term, height, attempt, view, signer };
    const draft: Draft<CommitMessage> = { kind: "COMMIT", ...place, blockHash };
    return this.keysOf(signer).signer.sign(signingHash(draft));
  }

  sealSignature(next: ChainState, proof: Omit<SealProof, "blockSignature">): Signature {
    const words = sealWords(next, proof, this.master.signer.publicKey);
    return this.master.signer.sign(signingHash(words));
  }

  keysOf(nodeId: NodeId): NodeKeys {
    const keys = this.nodes.get(nodeId);
    if (keys === undefined) throw new Error(`no keys of ${nodeId}`);
    return keys;
  }

  /** The lines of an export. */
  lines(): Uint8Array[] {
    return [encodeGenesis(this.file), ...this.blocks.map(encodeBlockJson)].map(exportLine);
  }

  /** Makes keys and signs what they register. */
  member(i: number): GenesisMember {
    const keys = this.keys.makeKeys();
    const ledgerPub = keys.signer.publicKey;
    const vrfPub = keys.vrf.publicKey;
    const certificate = hashOf(Buffer.from(`certificate ${i}`));
    this.nodes.set(nodeIdOf(ledgerPub), keys);
    const possession = keys.signer.sign(possessionHash({ ledgerPub, vrfPub, certificate }));
    const resources = { vcpu: 2 + (i % 4), ramMib: 4096, securityScore: 50 };
    return { ledgerPub, vrfPub, certificate, possession, ...resources };
  }
}

export function sortedRecords(records: readonly LedgerRecord[]): Uint8Array[] {
  return [...records].sort((a, b) => (recordId(a) < recordId(b) ? -1 : 1)).map(encodeRecord);
}

/** A UUID version 4 that follows from a number. */
export function scIdOf(number: number): ScId {
  const hex = hashOf(Buffer.from(`sc ${number}`));
  const groups = [hex.slice(0, 8), hex.slice(8, 12), `4${hex.slice(13, 16)}`];
  return `${groups.join("-")}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}` as ScId;
}

export function contractOf(number: number, change: Partial<ContractEntry> = {}): ContractEntry {
  return {
    scId: scIdOf(number),
    encryptionAlgo: "aes-128-gcm",
    hashAlgo: "sha256",
    quickmode: false,
    active: true,
    scLifetime: (START + 1_000_000) as EpochSeconds,
    keyregen: (START + 500_000) as EpochSeconds,
    busySeconds: 600,
    idleSeconds: 180,
    protection: "integrity",
    generation: 1,
    secretCommitment: hashOf(Buffer.from(`secret ${number}`)),
    scope: { agents: [], applications: [], groups: [] },
    seq: 0,
    ...change,
  };
}

export const TERM_1 = 1 as Term;
