/**
 * The manager as its parts see it: tables, keys, authority and clock in one place, and what an
 * agent is told, put together from them. Nothing here knows of a connection.
 */
import type { JsonObject } from "../chain/canonical-json.ts";
import { decodeSignedCertificate, type SignedCertificate } from "../chain/identity-certificate.ts";
import type { AgentState, AgentWords, NeighbourWords } from "../channel/agent-state.ts";
import { AbsError } from "../errors.ts";
import type { EpochSeconds } from "../units.ts";
import { Accounts } from "./accounts.ts";
import { Administrators } from "./administrators.ts";
import { ApiTokens } from "./api-tokens.ts";
import { AppDb } from "./app-db.ts";
import { AuditLog } from "./audit-log.ts";
import { roomError } from "./disk-room.ts";
import { IdentityAuthority } from "./identity-authority.ts";
import { Invitations } from "./invitations.ts";
import type { OpenManager } from "./manager-folder.ts";
import { type MappedNode, MappingService } from "./mapping-service.ts";
import { PolicyTemplates } from "./policy-templates.ts";
import { Quarantines } from "./quarantines.ts";
import { Renewals } from "./renewals.ts";
import { Switches } from "./switches.ts";
import { type IssuedContract, Tenants } from "./tenants.ts";

/** Of a contract's secrets that agents are given: older ones open nothing any more. */
const GENERATIONS = 4;
/** Read ones that are kept. */
const CERTIFICATES_MAX = 20_000;

/** What is the same for all agents of a tenant. */
type TenantView = {
  readonly madeAt: EpochSeconds;
  readonly shared: Omit<AgentState, "own" | "neighbours" | "contracts" | "signatures">;
  /** By the tags of those who host them. */
  readonly signatures: Map<string, AgentState["signatures"]>;
  /** All of its agents: each one's neighbours are the others. */
  readonly agents: readonly { readonly nodeId: string; readonly words: NeighbourWords }[];
  readonly contracts: readonly IssuedContract[];
};
/** The master's certificate in it is made anew then. */
const VIEW_SECONDS = 3600;

export class ManagerState {
  readonly accounts: Accounts;
  readonly administrators: Administrators;
  readonly appDb: AppDb;
  readonly audit: AuditLog;
  readonly authority: IdentityAuthority;
  readonly invitations: Invitations;
  readonly nodes: MappingService;
  readonly quarantines: Quarantines;
  readonly switches: Switches;
  readonly renewals: Renewals;
  readonly templates: PolicyTemplates;
  readonly tenants: Tenants;
  readonly tokens: ApiTokens;
  /** By node id: an agent has one, the newest that was asked for. */
  readonly #certificates = new Map<string, { seq: number; signed: SignedCertificate }>();
  readonly #neighbours = new Map<string, { said: string; words: NeighbourWords }>();
  readonly #views = new Map<string, TenantView>();

  constructor(
    readonly manager: OpenManager,
    readonly now: () => EpochSeconds,
  ) {
    const { database, sealer, keys } = manager;
    this.accounts = new Accounts(database);
    this.administrators = new Administrators(database);
    this.appDb = new AppDb(database, sealer);
    this.audit = new AuditLog(database);
    this.authority = new IdentityAuthority(keys);
    this.invitations = new Invitations(database);
    this.nodes = new MappingService(database);
    this.quarantines = new Quarantines(database);
    this.switches = new Switches(database, sealer);
    this.renewals = new Renewals(database);
    this.templates = new PolicyTemplates(database);
    this.tenants = new Tenants(database, sealer);
    this.tokens = new ApiTokens(database);
  }

  /** Names that a policy may use: of all who are, were, or are invited. */
  knownNames(tenant: string): AgentState["known"] {
    const invited = this.invitations.list(tenant);
    const all = [...this.nodes.list(tenant), ...invited];
    const sorted = (names: readonly string[]): string[] => [...new Set(names)].sort();
    return {
      agents: sorted(all.map(({ name }) => name)),
      groups: sorted(all.flatMap(({ groups }) => groups)),
    };
  }

  /** Reading one takes 0.3 ms, and a state has one of every neighbour. */
  certificateOf(node: MappedNode): SignedCertificate {
    const { nodeId, seq } = node;
    const known = this.#certificates.get(nodeId);
    if (known?.seq === seq) return known.signed;
    const read = decodeSignedCertificate(node.certificate);
    if ("complaint" in read) {
      const what = `The certificate of ${node.name} is damaged: ${read.complaint}.`;
      throw new AbsError("DATABASE_DAMAGED", what, "Restore the database from a backup.");
    }
    if (this.#certificates.size >= CERTIFICATES_MAX) this.#certificates.clear();
    this.#certificates.set(nodeId, { seq, signed: read.signed });
    return read.signed;
  }

  /** An agent that is gone is not kept in memory: who enrol and go for years do not fill it. */
  forget(nodeId: string): void {
    this.#certificates.delete(nodeId);
    this.#neighbours.delete(nodeId);
  }

  #wordsOf(node: MappedNode): AgentWords {
    const { name, mode, groups, tags, macs, sessionOld } = node;
    const words = { name, mode, groups, tags, macs, certificate: this.certificateOf(node) };
    return sessionOld === undefined ? words : { ...words, sessionOld };
  }

  /** As to its neighbours, until its new session key is to be used alone. */
  #ownWordsOf(node: MappedNode): AgentState["own"] {
    const { sessionOld, ...words } = this.#wordsOf(node);
    const isOldUsed = sessionOld !== undefined && node.sessionAlone === undefined;
    return { ...words, ...(isOldUsed && { sessionOld }), stage: node.stage };
  }

  /** All of it or nothing. @throws AbsError DISK_FULL, and what `change` throws */
  transaction<T>(change: () => T): T {
    try {
      return this.manager.database.transaction(change)();
    } catch (thrown) {
      throw roomError(thrown);
    }
  }

  /** The same object as long as the same is said: its text is made once (agent-state.ts). */
  #neighbourOf(node: MappedNode, isQuarantined: boolean): NeighbourWords {
    const { seq, name, mode, trustLevel, sessionOld = "" } = node;
    const key = [seq, name, mode, trustLevel, isQuarantined, sessionOld].join("/");
    const said = `${key} ${[...node.groups, "", ...node.tags].join(",")}`;
    const known = this.#neighbours.get(node.nodeId);
    if (known?.said === said) return known.words;
    if (this.#neighbours.size >= CERTIFICATES_MAX) this.#neighbours.clear();
    const words = { ...this.#wordsOf(node), trustLevel: node.trustLevel, isQuarantined };
    this.#neighbours.set(node.nodeId, { said, words });
    return words;
  }

  /** Made once a version of the tenant: all its agents ask at the same time. */
  #viewOf(name: string): TenantView {
    const { tenants, manager } = this;
    const tenant = tenants.need(name);
    const now = this.now();
    const known = this.#views.get(name);
    const isNew = known !== undefined && Math.abs(now - known.madeAt) < VIEW_SECONDS;
    if (isNew && known.shared.version === tenant.version) return known;
    const quarantined = new Set(this.quarantines.active().flatMap(({ nodeId }) => nodeId ?? []));
    const view: TenantView = {
      madeAt: now,
      signatures: new Map(),
      agents: this.nodes.enrolled(name).map((node) => {
        const { nodeId } = node;
        return { nodeId, words: this.#neighbourOf(node, quarantined.has(nodeId)) };
      }),
      contracts: tenants.contracts(name).filter(({ entry }) => entry.active !== "expired"),
      shared: {
        version: tenant.version,
        tenant: { name, tag: tenants.tagOf(name) },
        ...{ ipProtocol: tenant.ipProtocol, udpPort: tenant.udpPort },
        tags: tenants.applicationTags(name),
        ledger: {
          genesis: tenants.genesisOf(name),
          master: this.authority.ownCertificate(tenant, manager.place.host, now),
        },
        known: this.knownNames(name),
        policy: tenants.policy(name).body,
      },
    };
    // What a transaction has changed may be undone, and its version be another's then.
    if (!manager.database.inTransaction) this.#views.set(name, view);
    return view;
  }

  /** All that one agent needs. Its neighbours are the others of its tenant. */
  stateFor(node: MappedNode): AgentState {
    const view = this.#viewOf(node.tenant);
    const { shared, agents, contracts } = view;
    return {
      ...shared,
      own: this.#ownWordsOf(node),
      neighbours: agents.flatMap(({ nodeId, words }) => (nodeId === node.nodeId ? [] : [words])),
      contracts: contracts
        .filter((contract) => isInScope(contract, node))
        .map(({ entry, secrets }) => ({ entry, secrets: secrets.slice(-GENERATIONS) })),
      signatures: this.#signaturesFor(view, node),
    };
  }

  #signaturesFor({ signatures }: TenantView, node: MappedNode): AgentState["signatures"] {
    const name = node.tags.join(",");
    const known = signatures.get(name);
    if (known !== undefined) return known;
    const hosted = this.appDb.hosted(node.tenant, node.tags).map(({ contents, blinding }) => ({
      contents: JSON.parse(contents) as JsonObject,
      blinding,
    }));
    signatures.set(name, hosted);
    return hosted;
  }
}

/** Secrets go to those whom the contract is for: whoever is named, or everyone if nobody is. */
function isInScope({ entry }: IssuedContract, node: MappedNode): boolean {
  const { agents, applications, groups } = entry.scope;
  const isNamed = (list: readonly string[], own: readonly string[]): boolean =>
    list.length === 0 || list.some((name) => own.includes(name));
  return (
    isNamed(agents, [node.name]) && isNamed(groups, node.groups) && isNamed(applications, node.tags)
  );
}
