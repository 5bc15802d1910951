/**
 * Long chains for `abs bench ledger`, made without waiting for anybody: blocks that the quorum, the
 * leader and the master of a ledger's folders have really signed, written as a node's own store.
 * For what catching up with 10,000 blocks and checking 100,000 contracts at a start cost.
 */
import { draftBlock, withSeal } from "../chain/apply-block.ts";
import type { BlockBody, SealProof } from "../chain/block.ts";
import { leaderSeat, quorumOf } from "../chain/certificate.ts";
import { type ChainState, committeeOf } from "../chain/chain-state.ts";
import { vrfAlpha } from "../chain/choosing.ts";
import { encodeContract } from "../chain/contract-entry.ts";
import type { NodeKeys } from "../chain/crypto-interface.ts";
import type { Attempt, NodeId, View } from "../chain/ledger-units.ts";
import { signingHash } from "../chain/message-signing.ts";
import type { CommitMessage, Draft } from "../chain/message-types.ts";
import { checkSeal, sealWords } from "../chain/seal-check.ts";
import { AbsError } from "../errors.ts";
import { createLedgerCrypto } from "../node/ledger-crypto.ts";
import { fileIn, loadGenesis } from "../node/node-folder.ts";
import { loadKeys } from "../node/node-keys.ts";
import { SqliteJournal } from "../node/sqlite-journal.ts";
import type { EpochSeconds } from "../units.ts";
import { contractOfBench } from "./ledger-load.ts";

/** Blocks written in one transaction. */
const SAVED_AT_ONCE = 64;

export type ChainPlan = {
  readonly masterDir: string;
  readonly memberDirs: readonly string[];
  readonly blocks: number;
  readonly contractsPerBlock: number;
  /** The store to write: it must not exist. */
  readonly store: string;
};

export function makeChain(plan: ChainPlan): void {
  const crypto = createLedgerCrypto();
  const master = loadKeys(fileIn(plan.masterDir, "keys")).ledger;
  const members = new Map<NodeId, NodeKeys>();
  for (const dir of plan.memberDirs) {
    const { nodeId, ledger } = loadKeys(fileIn(dir, "keys"));
    members.set(nodeId, ledger);
  }
  const genesis = loadGenesis(plan.masterDir, crypto);
  const journal = new SqliteJournal(plan.store, genesis, { kind: "write", hasRun: false });
  let chain = genesis;
  let unsaved: Parameters<SqliteJournal["save"]>[0][number][] = [];
  for (let i = 1; i <= plan.blocks; i++) {
    const timestamp = Math.max(chain.core.timestamp, epochOfBlock(genesis, i)) as EpochSeconds;
    const body = bodyOf(plan.contractsPerBlock, timestamp);
    const drafted = draftBlock(chain, { term: chain.core.term, timestamp, body }, crypto);
    if ("fault" in drafted) throw unusable(drafted.fault);
    const proof = proofOf(chain, drafted.next, { master, members });
    const seal = checkSeal(chain, drafted.next, proof, crypto);
    if ("fault" in seal) throw unusable(seal.fault);
    chain = withSeal(drafted.next, seal);
    unsaved.push({ kind: "block", block: { core: drafted.core, body, proof }, next: chain });
    if (unsaved.length < SAVED_AT_ONCE && i < plan.blocks) continue;
    journal.save(unsaved);
    journal.sync();
    unsaved = [];
  }
  journal.close();
}

/** Four a second from the genesis file's time on: never ahead of the clock for 10,000. */
function epochOfBlock(genesis: ChainState, height: number): number {
  return genesis.core.timestamp + Math.floor(height / 4);
}

function bodyOf(count: number, timestamp: number): BlockBody {
  const contracts = Array.from({ length: count }, () => encodeContract(contractOfBench(timestamp)));
  return { contracts, records: [] };
}

type Signers = { readonly master: NodeKeys; readonly members: ReadonlyMap<NodeId, NodeKeys> };

/** COMMITs of the first q seats, the leader's VRF proof, the master's seal. */
function proofOf(chain: ChainState, next: ChainState, signers: Signers): SealProof {
  const [attempt, view] = [0 as Attempt, 0 as View];
  const committee = committeeOf(chain, attempt);
  const { chainId, height, core, blockHash } = next;
  const keysOf = (nodeId: NodeId | undefined): NodeKeys => {
    const keys = nodeId === undefined ? undefined : signers.members.get(nodeId);
    if (keys === undefined) throw unusable(`no keys of ${nodeId}`);
    return keys;
  };
  const voters = committee.slice(0, quorumOf(committee.length));
  const signatures = voters.map((signer) => {
    const place = { chainId, term: core.term, height, attempt, view, signer };
    const draft: Draft<CommitMessage> = { kind: "COMMIT", ...place, blockHash };
    return keysOf(signer).signer.sign(signingHash(draft));
  });
  const alpha = vrfAlpha({ chainId, height, attempt, view }, chain.seed);
  const words = {
    quorum: { attempt, view, bitmap: 2 ** voters.length - 1, signatures },
    vrfProof: keysOf(committee[leaderSeat(view, committee.length)]).vrf.prove(alpha),
    ...{ redraw: undefined, masterTerm: undefined, sealTerm: core.term },
  };
  const { signer } = signers.master;
  const blockSignature = signer.sign(signingHash(sealWords(next, words, signer.publicKey)));
  return { ...words, blockSignature };
}

function unusable(why: string): AbsError {
  return new AbsError("BENCH_LEDGER", `The bench's chain cannot be made: ${why}.`);
}
