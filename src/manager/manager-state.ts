/**
 * The manager as its parts see it: tables, keys, authority and clock in one place, and what an
 * agent is told, put together from them. Nothing here knows of a connection.
 */
import { decodeSignedCertificate, type SignedCertificate } from "../chain/identity-certificate.ts";
import type { AgentState, AgentWords } from "../channel/agent-state.ts";
import { AbsError } from "../errors.ts";
import type { EpochSeconds } from "../units.ts";
import { Administrators } from "./administrators.ts";
import { AuditLog } from "./audit-log.ts";
import { IdentityAuthority } from "./identity-authority.ts";
import { Invitations } from "./invitations.ts";
import type { OpenManager } from "./manager-folder.ts";
import { type MappedNode, MappingService } from "./mapping-service.ts";
import { type IssuedContract, Tenants } from "./tenants.ts";

/** Of a contract's secrets that agents are given: older ones open nothing any more. */
const GENERATIONS = 4;
/** Read ones that are kept. */
const CERTIFICATES_MAX = 20_000;

export class ManagerState {
  readonly administrators: Administrators;
  readonly audit: AuditLog;
  readonly authority: IdentityAuthority;
  readonly invitations: Invitations;
  readonly nodes: MappingService;
  readonly tenants: Tenants;
  readonly #certificates = new Map<string, SignedCertificate>();

  constructor(
    readonly manager: OpenManager,
    readonly now: () => EpochSeconds,
  ) {
    const { database, sealer, keys } = manager;
    this.administrators = new Administrators(database);
    this.audit = new AuditLog(database);
    this.authority = new IdentityAuthority(keys);
    this.invitations = new Invitations(database);
    this.nodes = new MappingService(database);
    this.tenants = new Tenants(database, sealer);
  }

  /** Names that a policy may use: of all who are, were, or are invited. */
  knownNames(tenant: string): AgentState["known"] {
    const invited = this.invitations.list().filter((one) => one.tenant === tenant);
    const all = [...this.nodes.list(tenant), ...invited];
    const sorted = (names: readonly string[]): string[] => [...new Set(names)].sort();
    return {
      agents: sorted(all.map(({ name }) => name)),
      groups: sorted(all.flatMap(({ groups }) => groups)),
    };
  }

  /** Reading one takes 0.3 ms, and a state has one of every neighbour. */
  certificateOf(node: MappedNode): SignedCertificate {
    const key = `${node.nodeId}/${node.seq}`;
    const known = this.#certificates.get(key);
    if (known !== undefined) return known;
    const read = decodeSignedCertificate(node.certificate);
    if ("complaint" in read) {
      const what = `The certificate of ${node.name} is damaged: ${read.complaint}.`;
      throw new AbsError("DATABASE_DAMAGED", what, "Restore the database from a backup.");
    }
    if (this.#certificates.size >= CERTIFICATES_MAX) this.#certificates.clear();
    this.#certificates.set(key, read.signed);
    return read.signed;
  }

  #wordsOf(node: MappedNode): AgentWords {
    const { name, mode, groups, tags } = node;
    return { name, mode, groups, tags, certificate: this.certificateOf(node) };
  }

  /** All of it or nothing. */
  transaction<T>(change: () => T): T {
    return this.manager.database.transaction(change)();
  }

  /** All that one agent needs. Its neighbours are the others of its tenant. */
  stateFor(node: MappedNode): AgentState {
    const { tenants } = this;
    const tenant = tenants.need(node.tenant);
    const neighbours = this.nodes
      .list(node.tenant)
      .filter(({ state, nodeId }) => state === "enrolled" && nodeId !== node.nodeId);
    return {
      version: tenant.version,
      own: { ...this.#wordsOf(node), stage: node.stage },
      tenant: { name: tenant.name, tag: tenants.tagOf(tenant.name) },
      ...{ ipProtocol: tenant.ipProtocol, udpPort: tenant.udpPort },
      tags: tenants.applicationTags(tenant.name),
      neighbours: neighbours.map((other) => ({
        ...this.#wordsOf(other),
        trustLevel: other.trustLevel,
      })),
      contracts: tenants
        .contracts(tenant.name)
        .filter(({ entry }) => entry.active !== "expired")
        .filter((contract) => isInScope(contract, node))
        .map(({ entry, secrets }) => ({ entry, secrets: secrets.slice(-GENERATIONS) })),
      ledger: {
        genesis: tenants.genesisOf(tenant.name),
        master: this.authority.ownCertificate(tenant, this.manager.place.host, this.now()),
      },
      known: this.knownNames(tenant.name),
      policy: tenants.document(tenant.name, "policy").body,
      signatures: tenants.document(tenant.name, "signatures").body,
    };
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
