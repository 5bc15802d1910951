/**
 * The manager as the master of one tenant's ledger. design/manager.md; docs/manager.md "Ledgers".
 * The database says what should be: contracts, agents, revocations, stake. What the chain does not
 * have yet is proposed, again after every block, every start and every while; so nothing that was
 * cut short has to be remembered. An agent gets stake when it has been met: one that never ran
 * would only be missed in the committee.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type ChainState, newest } from "../chain/chain-state.ts";
import { encodeContract } from "../chain/contract-entry.ts";
import { DEFAULT_PARAMS, type GenesisFile } from "../chain/genesis.ts";
import { certificateHash, encodeSignedCertificate } from "../chain/identity-certificate.ts";
import type { NodeId, PublicKey, Signature } from "../chain/ledger-units.ts";
import type { Stake } from "../chain/member.ts";
import type { Participant } from "../chain/participant.ts";
import { encodeRecord } from "../chain/record-schema.ts";
import type { LedgerRecord } from "../chain/record-types.ts";
import { REASON_CHARACTERS_MAX, signRevocation } from "../chain/revocation.ts";
import { stakeOf } from "../chain/stake.ts";
import { LedgerProcess } from "../node/ledger-process.ts";
import type { NodeLog } from "../node/node-events.ts";
import { fileIn } from "../node/node-folder.ts";
import { SqliteSnapshot } from "../node/sqlite-snapshot.ts";
import { storeFault } from "../node/store-errors.ts";
import { openJournal } from "../node/store-journal.ts";
import { followChain, unknownContracts, unknownMembers } from "./chain-lead.ts";
import { updateOf } from "./contract-update.ts";
import { areKeysCounted, rotationsOf, settleRenewals } from "./key-renewal.ts";
import type { ManagerState } from "./manager-state.ts";
import type { MappedNode } from "./mapping-service.ts";
import { followOverlaps } from "./session-overlaps.ts";
import { followSignatures, isSealed, signatureStepOf } from "./signature-update.ts";
import type { Tenant } from "./tenants.ts";

/** What was proposed and is not on the chain after so long is proposed again. */
const AGAIN_MS = 15_000;
/** Reports come in crowds. */
const APPLIED_MS = 300;

export type TenantLedgerOptions = {
  readonly state: ManagerState;
  readonly tenant: Tenant;
  /** Of all ledgers; this one's is a folder in it. */
  readonly dir: string;
  /** Where the peer channel listens. */
  readonly host: string;
  readonly events: NodeLog;
  /** Ends an agent's connections at once. */
  readonly cutAgent: (nodeId: string) => void;
  /** The database has what the chain says: whoever waited for a block looks again. */
  readonly followed: () => void;
};

/** The first state of a new tenant's ledger: nobody is a member, the master seals alone. */
export function firstGenesis(
  state: ManagerState,
  tenant: string,
  recoveryPub: PublicKey,
): GenesisFile {
  const { publicKey: masterPub } = state.manager.keys.ledger.signer;
  const words = { tenant, timestamp: state.now(), masterPub, recoveryPub };
  return { ...words, params: DEFAULT_PARAMS, members: [] };
}

export class TenantLedger {
  readonly #proposed = new Map<string, number>();
  readonly #taught = new Set<string>();
  readonly #revoked = new Set<string>();
  /** Members that the database does not know, and that were told of. */
  readonly #told = new Set<string>();
  #process: LedgerProcess | undefined;
  #timer: Timer | undefined;
  #applied: Timer | undefined;

  constructor(private readonly options: TenantLedgerOptions) {}

  /** @throws AbsError PEER_PORT_BUSY and what may be wrong with the folder */
  async start(): Promise<void> {
    const { tenant, host, events, state } = this.options;
    const dir = this.#makeFolder();
    this.#process = await LedgerProcess.start({
      ...{ role: "master", dir, openJournal, keys: state.manager.keys },
      // The manager's own lock is around all its folders.
      isLocked: true,
      listen: { host, port: tenant.peerPort },
      events: { write: (event) => events.write({ ...event, tenant: tenant.name }) },
      // Not at once: the step that made the block is not over.
      onBlock: () => setImmediate(() => this.reconcile()),
    });
    this.#process.ended.catch((error: Error) => {
      events.write({ event: "ledger-stopped", tenant: tenant.name, reason: error.message });
    });
    this.#timer = setInterval(() => this.reconcile(), AGAIN_MS / 3);
    this.reconcile();
  }

  stop(): void {
    clearInterval(this.#timer);
    clearTimeout(this.#applied);
    this.#applied = undefined;
    this.#process?.stop();
    this.#process = undefined;
  }

  get status(): Readonly<Record<string, unknown>> {
    return this.#process?.status() ?? {};
  }

  /** What is on its disk, as of one moment. */
  read<T>(read: (snapshot: SqliteSnapshot) => T): T {
    const { dir, tenant } = this.options;
    const snapshot = new SqliteSnapshot(fileIn(join(dir, tenant.name), "store"));
    try {
      return read(snapshot);
    } finally {
      snapshot.close();
    }
  }

  areKeysCounted(nodeId: string): boolean {
    const chain = this.#process?.runner.participant.chain;
    return chain !== undefined && areKeysCounted(chain, nodeId);
  }

  /** An agent has reported: overlaps of session keys may wait for just that. */
  noteApplied(): void {
    const { state, tenant } = this.options;
    if (this.#applied !== undefined || !state.nodes.hasOverlaps(tenant.name)) return;
    this.#applied = setTimeout(() => {
      this.#applied = undefined;
      this.reconcile();
    }, APPLIED_MS);
  }

  /** Proposes what the database has and the chain has not. */
  reconcile(): void {
    const process = this.#process;
    if (process === undefined) return;
    const { state, tenant } = this.options;
    const { participant } = process.runner;
    const { chain } = participant;
    try {
      this.#follow(participant);
    } catch (thrown) {
      // No room: nothing of it is kept, and it is looked at again with the next block.
      if (storeFault(thrown) !== "full") throw thrown;
    }
    const nodes = state.nodes.list(tenant.name);
    const enrolled = nodes.filter((node) => node.state === "enrolled");
    this.#teach(process, enrolled);
    this.#tellRevoked(process, nodes);
    this.#forgetProposed();
    const issued = state.tenants.contracts(tenant.name);
    const contracts = issued
      .filter(({ entry }) => !chain.scd.isUsed(entry.scId) && entry.active !== "expired")
      .filter(({ entry }) => this.#isDue(entry.scId))
      .map(({ entry }) => encodeContract(entry));
    const signatures = state.appDb.published(tenant.name);
    const records = [
      ...signatures.flatMap((signature) => signatureStepOf(signature, chain) ?? []),
      ...issued.flatMap((contract) => updateOf(contract, chain) ?? []),
      ...nodes.flatMap((node) => this.#recordOf(node, chain) ?? []),
      ...rotationsOf(state, tenant.name, chain),
      ...stakeRecord(enrolled, chain, process.peers.connected()),
      ...(isCopy(participant) ? this.#lost(chain) : []),
    ].map((record) => encodeRecord(record));
    const due = records.filter((bytes) => this.#isDue(bytes.toHex()));
    if (contracts.length + due.length === 0) return;
    process.runner.take({ kind: "propose", contracts, records: due });
  }

  /** What the chain says is so in the database as well. */
  #follow(participant: Participant): void {
    const { state, tenant, events, cutAgent, followed } = this.options;
    const { chain } = participant;
    const { events: done, revoked } = followChain(state, tenant.name, chain);
    const ended = isCopy(participant) ? followSignatures(state, tenant.name, chain) : [];
    const renewed = settleRenewals(state, tenant.name, chain);
    const overlaps = followOverlaps(state, tenant.name);
    for (const event of [...done, ...ended, ...renewed, ...overlaps])
      events.write({ ...event, tenant: tenant.name });
    for (const nodeId of revoked) cutAgent(nodeId);
    this.#noteSealed(chain);
    followed();
  }

  /** From now on agents are given it: their ledgers hold it, or will in a moment. */
  #noteSealed(chain: ChainState): void {
    const { state, tenant } = this.options;
    const { appDb, tenants } = state;
    const { name } = tenant;
    const sealed = appDb.published(name).filter((signature) => isSealed(signature, chain));
    if (sealed.length === 0) return;
    state.transaction(() => {
      const fresh = sealed.filter(({ sigId, version }) => appDb.sealed(name, sigId, version));
      if (fresh.length > 0) tenants.countUp(name);
    });
  }

  /** What came onto a ledger after the backup, and the database never heard of. */
  #lost(chain: ChainState): LedgerRecord[] {
    const { state, tenant, events } = this.options;
    for (const node of unknownMembers(state, tenant.name, chain)) {
      if (this.#told.has(node)) continue;
      this.#told.add(node);
      events.write({ event: "agent-unknown", tenant: tenant.name, node });
    }
    return unknownContracts(state, tenant.name, chain);
  }

  /** Certificates that the node has not seen: each costs a signature's check. */
  #teach(process: LedgerProcess, enrolled: readonly MappedNode[]): void {
    const fresh = enrolled.filter(({ nodeId, seq }) => !this.#taught.has(`${nodeId}/${seq}`));
    if (fresh.length === 0) return;
    process.peers.learn(fresh.map((node) => this.options.state.certificateOf(node)));
    for (const { nodeId, seq } of fresh) this.#taught.add(`${nodeId}/${seq}`);
  }

  /** At once, by the master's word, which peers pass on; the block comes later. */
  #tellRevoked(process: LedgerProcess, nodes: readonly MappedNode[]): void {
    const { manager, now } = this.options.state;
    for (const { nodeId: id, state, revokedAt, revokedWhy } of nodes) {
      if (state !== "revoked" || this.#revoked.has(id)) continue;
      this.#revoked.add(id);
      const nodeId = id as NodeId;
      const words = { nodeId, reason: reasonOf(revokedWhy), at: revokedAt ?? now() };
      const { chainId } = this.options.tenant;
      process.peers.revoke(signRevocation(manager.keys.ledger.signer, { chainId, ...words }));
    }
  }

  /** NODE_ADD or NODE_REVOKE, where the chain knows otherwise. */
  #recordOf(node: MappedNode, chain: ChainState): LedgerRecord | undefined {
    const nodeId = node.nodeId as NodeId;
    const member = chain.members.get(nodeId);
    const isMember = member !== undefined && member.revokedFrom === undefined;
    if (node.state === "revoked") {
      const reason = reasonOf(node.revokedWhy);
      return isMember ? { kind: "NODE_REVOKE", nodeId, reason } : undefined;
    }
    if (member !== undefined) return undefined;
    const { certificate } = this.options.state.certificateOf(node);
    return {
      ...{ kind: "NODE_ADD", nodeId, ledgerPub: certificate.ledgerPub },
      ...{ vrfPub: certificate.vrfPub, certificate: certificateHash(certificate) },
      possession: Uint8Array.fromHex(node.possession) as Signature,
    };
  }

  #isDue(subject: string): boolean {
    if (this.#proposed.has(subject)) return false;
    this.#proposed.set(subject, performance.now());
    return true;
  }

  #forgetProposed(): void {
    const beforeMs = performance.now() - AGAIN_MS;
    for (const [subject, atMs] of this.#proposed) {
      if (atMs < beforeMs) this.#proposed.delete(subject);
    }
  }

  /** From the database, so that it can be lost: only the blocks are the folder's own. */
  #makeFolder(): string {
    const { state, tenant, dir: base } = this.options;
    const dir = join(base, tenant.name);
    const genesis = state.tenants.genesisOf(tenant.name);
    const file = fileIn(dir, "genesis");
    // Of a tenant of this name that never came to be: its chain is another.
    if (existsSync(file) && Buffer.compare(readFileSync(file), genesis) !== 0) {
      rmSync(dir, { recursive: true });
    }
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    writeFileSync(file, genesis);
    if (!existsSync(fileIn(dir, "certificate"))) {
      const { place } = state.manager;
      const own = state.authority.ownCertificate(tenant, place.host, state.now());
      writeFileSync(fileIn(dir, "certificate"), encodeSignedCertificate(own));
    }
    return dir;
  }
}

/** The disk may be one that was put back from a backup. */
function isCopy(participant: Participant): boolean {
  return participant.kind === "master" && !participant.sealsAlone;
}

function reasonOf(why: string | undefined): string {
  return why?.slice(0, REASON_CHARACTERS_MAX) || "revoked";
}

/** Stake of members that are here now, and whose line is missing or another. */
function stakeRecord(
  enrolled: readonly MappedNode[],
  chain: ChainState,
  connected: readonly NodeId[],
): LedgerRecord[] {
  const lines = new Map((newest(chain.tnl) ?? []).map((stake) => [stake.nodeId, stake]));
  const set = enrolled.flatMap(({ nodeId: id, vcpu, ramMib, trustLevel }): Stake[] => {
    const nodeId = id as NodeId;
    const member = chain.members.get(nodeId);
    if (member === undefined || member.revokedFrom !== undefined) return [];
    const stake = stakeOf({ nodeId, vcpu, ramMib, securityScore: trustLevel });
    const line = lines.get(nodeId);
    if (line === undefined) return connected.includes(nodeId) ? [stake] : [];
    const isSame =
      line.vcpu === vcpu && line.ramMib === ramMib && line.securityScore === trustLevel;
    return isSame ? [] : [stake];
  });
  set.sort((left, right) => (left.nodeId < right.nodeId ? -1 : 1));
  return set.length === 0 ? [] : [{ kind: "TNL", set, remove: [] }];
}
