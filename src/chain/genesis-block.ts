/**
 * The genesis block and the state it begins with: a function of the genesis file alone.
 * docs/ledger.md "Genesis"; paper §3.3.1: two dummy contracts populate it. It is sealed by nothing:
 * whoever has the file has the block.
 */
import { contractWords } from "./apply-block.ts";
import { type BlockCore, CORE_VERSION } from "./block.ts";
import { blockHashOf } from "./block-core.ts";
import type { ChainState } from "./chain-state.ts";
import { firstSeed } from "./choosing.ts";
import type { LedgerCrypto } from "./crypto-interface.ts";
import { GENESIS_HEIGHT, type Genesis, type GenesisFile } from "./genesis.ts";
import { chainIdOf } from "./genesis-file.ts";
import {
  type Attempt,
  type BlockHash,
  type Height,
  NO_BETA,
  NO_HASH,
  type NodeId,
  type Term,
  type View,
} from "./ledger-units.ts";
import type { Member, Stake } from "./member.ts";
import { EMPTY_ROOT } from "./merkle.ts";
import { nodeIdOf } from "./message-signing.ts";
import { possessionHash } from "./registration.ts";
import { ScdTree } from "./scd-tree.ts";
import { stakeOf } from "./stake.ts";
import { membershipRoot, tnlRoot } from "./state-roots.ts";

/** The term of the genesis file's master. */
export const FIRST_TERM = 1 as Term;

/** The state of height 0, or in words what is wrong with the file's keys. */
export function genesisState(file: GenesisFile, crypto: LedgerCrypto): ChainState | string {
  const why = genesisFault(file, crypto);
  if (why !== undefined) return why;
  const genesis = genesisOf(file);
  const { chainId } = genesis;
  const parts = {
    members: new Map<NodeId, Member>(genesis.members.map((member) => [member.nodeId, member])),
    tnl: [{ from: GENESIS_HEIGHT, value: genesis.stakes }],
    params: [{ from: GENESIS_HEIGHT, value: { seq: 0, params: file.params } }],
    masters: [{ term: FIRST_TERM, masterPub: file.masterPub, isProvenLiar: false }],
  };
  const core: BlockCore = {
    version: CORE_VERSION,
    chainId,
    height: GENESIS_HEIGHT,
    term: FIRST_TERM,
    previousBlockHash: NO_HASH as string as BlockHash,
    parentAttempt: 0 as Attempt,
    parentView: 0 as View,
    parentBeta: NO_BETA,
    timestamp: file.timestamp,
    ...contractWords(chainId, GENESIS_HEIGHT, []),
    recordsRoot: EMPTY_ROOT,
    scdRoot: ScdTree.EMPTY.root,
    tnlRoot: tnlRoot(parts),
    membershipRoot: membershipRoot(parts),
  };
  const blockHash = blockHashOf(core);
  return {
    ...{ genesis, chainId, core, blockHash },
    height: GENESIS_HEIGHT,
    seal: { attempt: 0 as Attempt, view: 0 as View, beta: NO_BETA, committee: [] },
    seed: firstSeed(blockHash),
    scd: ScdTree.EMPTY,
    scdChanges: [],
    ...parts,
    coolingUntil: new Map(),
  };
}

function genesisOf(file: GenesisFile): Genesis {
  const from = GENESIS_HEIGHT as Height;
  const members = file.members.map(({ ledgerPub, vrfPub, certificate }) => ({
    nodeId: nodeIdOf(ledgerPub),
    keys: [{ from, seq: 0, ledgerPub, vrfPub, certificate }],
  }));
  const stakes: Stake[] = file.members.map(({ ledgerPub, vcpu, ramMib, securityScore }) => {
    return stakeOf({ nodeId: nodeIdOf(ledgerPub), vcpu, ramMib, securityScore });
  });
  stakes.sort((left, right) => (left.nodeId < right.nodeId ? -1 : 1));
  return { file, chainId: chainIdOf(file), members, stakes };
}

function genesisFault(file: GenesisFile, crypto: LedgerCrypto): string | undefined {
  const { signatures, vrf } = crypto;
  const { masterPub, recoveryPub } = file;
  if (!signatures.isPublicKey(masterPub)) return "master_pub is no key";
  if (!signatures.isPublicKey(recoveryPub)) return "recovery_pub is no key";
  // One key for both would make a lying master able to redraw at will.
  if (masterPub === recoveryPub) return "recovery_pub must not be master_pub";
  const used = new Set<string>([masterPub, recoveryPub]);
  for (const [i, { ledgerPub, vrfPub, certificate, possession }] of file.members.entries()) {
    const place = `members[${i}]`;
    if (!signatures.isPublicKey(ledgerPub)) return `${place}.ledger_pub is no key`;
    if (!vrf.isPublicKey(vrfPub)) return `${place}.vrf_pub is no key`;
    if (used.has(ledgerPub) || used.has(vrfPub)) return `${place} repeats a key`;
    used.add(ledgerPub).add(vrfPub);
    const hash = possessionHash({ ledgerPub, vrfPub, certificate });
    if (!signatures.verify({ hash, signature: possession, publicKey: ledgerPub })) {
      return `${place}.possession is not by its ledger_pub`;
    }
  }
  return undefined;
}
