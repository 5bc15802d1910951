/**
 * Static provisioning: the file that gives one agent, without a manager, what enrolment will
 * deliver (docs/provisioning.md, docs/schemas/provisioning.schema.json): its identity, the tenant,
 * tags, peers, contracts with secrets, signatures and policy. Everything that refers to something
 * else is checked here, so that an agent that starts has a file that makes sense.
 * provisioning-fields.ts reads the single entries.
 */

import { createHash } from "node:crypto";
import { toHex } from "../bytes.ts";
import { readAppDb } from "../channel/appdb-file.ts";
import { type PmdbPlace, readPmdb } from "../channel/pmdb-file.ts";
import { compileSignatures } from "../dpi/compile.ts";
import { librarySignature } from "../dpi/library.ts";
import { loadSignatures, parseSignatures, readSignature } from "../dpi/schema.ts";
import type { AppSignature } from "../dpi/signature.ts";
import { compilePolicy } from "../policy/compile.ts";
import { parseLocalRules, withLocalRules } from "../policy/local-rules.ts";
import type { KnownNames, Policy, PolicyNames } from "../policy/policy.ts";
import { loadPolicy, parsePolicy, readPolicy } from "../policy/schema.ts";
import type { Contract } from "../session/contract.ts";
import { type DocumentNode, loadDocument, parseDocument } from "../store/document.ts";
import { readCidrs } from "../store/network-values.ts";
import { besideDocument, requirePrivate } from "../store/secret-file.ts";
import { formatAddress, type IpRange } from "../wire/ip-text.ts";
import {
  type CarrierSettings,
  type OwnNode,
  type Peer,
  readCarrierSettings,
  readContracts,
  readKnown,
  readOwnNode,
  readPeers,
  readTags,
  readTenant,
  type Tag,
} from "./provisioning-fields.ts";
import { type LedgerSettings, readLedger } from "./provisioning-ledger.ts";

export interface Provisioning {
  /** As given on the command line. */
  readonly file: string;
  readonly node: OwnNode;
  readonly tenant: { readonly name: string; readonly tag: Uint8Array };
  /** By TagIndex; index 0 is the zero tag and has no name. */
  readonly tags: readonly Tag[];
  /** By PeerIndex. */
  readonly peers: readonly Peer[];
  readonly carriers: CarrierSettings;
  /** Empty with a ledger, which has them. */
  readonly contracts: readonly Contract[];
  readonly ledger?: LedgerSettings;
  readonly signatures: readonly AppSignature[];
  /** What was delivered and the ledger does not hold (committed-signatures.ts). */
  readonly unused?: readonly UnusedSignature[];
  /** Rules of the VM's owner included. */
  readonly policy: Policy;
  /** Where it comes from, if not from files that people keep. */
  readonly pmdb?: PmdbPlace;
  /** Addresses of other tenants. */
  readonly otherTenants: readonly IpRange[];
  /** Names that the policy may use though no peer has them. */
  readonly known?: KnownNames;
  /** SHA-256, in hex, of what gives PeerIndex and TagIndex their meaning: a saved flow table is
   * only reused when it is the same. */
  readonly digest: string;
}

export interface UnusedSignature {
  readonly id: string;
  readonly version: number;
  readonly reason: string;
}

const KEYS = [
  "version",
  "node",
  "tenant",
  "tags",
  "peers",
  "carriers",
  "ledger",
  "contracts",
  "signatures",
  "policy",
  "otherTenants",
  "known",
] as const;

/**
 * Reads and checks a provisioning file. Throws AbsError `SECRET_FILE_OPEN`,
 * `PROVISIONING_UNREADABLE`, `PROVISIONING_INVALID`, `POLICY_INVALID` or `SIGNATURE_INVALID`.
 */
export function loadProvisioning(file: string): Provisioning {
  requirePrivate(file);
  return readProvisioning(loadDocument(file, "PROVISIONING"));
}

/** The same from text; relative paths in it count from the folder of `file`. */
export function parseProvisioning(text: string, file: string): Provisioning {
  return readProvisioning(parseDocument(text, file, "PROVISIONING"));
}

/** As loadProvisioning(), for a caller that compiles the signatures, which checks them together. */
export function loadUncompiled(file: string): Provisioning {
  requirePrivate(file);
  return readProvisioning(loadDocument(file, "PROVISIONING"), false);
}

/** What the policy compiler needs to know of this file. */
export function policyNames(
  provisioning: Pick<Provisioning, "node" | "peers" | "tags" | "otherTenants" | "known">,
): PolicyNames {
  const { node, peers, tags, otherTenants, known } = provisioning;
  return {
    own: {
      id: node.id,
      groups: node.groups,
      mode: node.mode,
      ...(node.stage === undefined ? {} : { stage: node.stage }),
    },
    peers,
    apps: tags.map(({ name }) => name),
    otherTenants,
    ...(known === undefined ? {} : { known }),
  };
}

/** Tag index of an application by name; 0 when no tag is issued for it. */
export function tagIndexOf(tags: readonly Tag[], app: string): number {
  return Math.max(
    0,
    tags.findIndex(({ name }) => name === app),
  );
}

function readProvisioning(node: DocumentNode, compiles = true): Provisioning {
  const map = node.map(KEYS);
  const version = map.need("version");
  if (version.integer(0, 1_000_000) !== 1) version.fail("unknown version.", "Use version 1.");
  const tenant = readTenant(map.need("tenant"));
  const tags = readTags(map.get("tags"));
  const own = readOwnNode(map.need("node"), tags);
  const peers = readPeers(map.get("peers"), own, tags);
  const ledgerNode = map.get("ledger");
  const ledger = ledgerNode && readLedger(ledgerNode, map.get("contracts"));
  const contracts = ledger === undefined ? readContracts(map.get("contracts")) : [];
  const signatures = readSignatureList(map.get("signatures"), ledger !== undefined);
  const pmdb = readPmdbPlace(map.need("policy"));
  const policy = pmdb === undefined ? readPolicyEntry(map.need("policy")) : pmdbPolicy(pmdb);
  const otherNode = map.get("otherTenants");
  const otherTenants = otherNode === undefined ? [] : readCidrs(otherNode);
  const known = readKnown(map.get("known"));
  const provisioning: Provisioning = {
    file: node.file,
    node: own,
    tenant,
    tags,
    peers,
    carriers: readCarrierSettings(map.get("carriers")),
    contracts,
    ...(ledger === undefined ? {} : { ledger }),
    signatures,
    policy,
    ...(pmdb === undefined ? {} : { pmdb }),
    otherTenants,
    ...(known === undefined ? {} : { known }),
    digest: meaningOf(own, tenant, tags, peers),
  };
  if (peers.length > 0 && (ledger?.contracts ?? contracts).length === 0) {
    (map.get("contracts") ?? node).fail("there are peers but no contract.", "Add a contract.");
  }
  checkContractsOfPolicy(provisioning, map.need("policy"));
  compilePolicy(policy, policyNames(provisioning));
  if (compiles) compileSignatures(signatures, (app) => tagIndexOf(tags, app));
  return provisioning;
}

/** In place, `{ builtin: NAME }` of the library, `{ file: PATH }`, or `{ appdb: PATH }`. */
function readSignatureList(node: DocumentNode | undefined, hasLedger: boolean): AppSignature[] {
  if (node === undefined) return [];
  return node.list().flatMap((item) => {
    const keys = item.keys();
    if (keys.includes("file")) {
      const path = item.map(["file"]).need("file").string();
      return loadSignatures(besideDocument(item, path));
    }
    if (keys.includes("appdb")) {
      const map = item.map(["appdb", "set"]);
      const path = map.need("appdb");
      const file = besideDocument(item, path.string());
      if (hasLedger) return appDbSignatures(file, map.need("set").string());
      path.fail("what an AppDB holds is checked against a ledger, and there is none.", "Add one.");
    }
    if (keys.includes("builtin")) {
      const name = item.map(["builtin"]).need("builtin");
      const found = librarySignature(name.string());
      if (found.length > 0) return found;
      name.fail(`the library has no signature of "${name.string()}".`, "See signatures/.");
    }
    return [readSignature(item)];
  });
}

/** Each with what the ledger must hold for it to be used (committed-signatures.ts). */
function appDbSignatures(file: string, set: string): AppSignature[] {
  return readAppDb(file, set).flatMap(({ id, contents, commitment }) =>
    parseSignatures(contents, `${file}, ${id}`).map((signature) => ({ ...signature, commitment })),
  );
}

function readPolicyEntry(node: DocumentNode): Policy {
  if (!node.keys().includes("file")) return readPolicy(node);
  const path = node.map(["file"]).need("file").string();
  return loadPolicy(besideDocument(node, path));
}

function readPmdbPlace(node: DocumentNode): PmdbPlace | undefined {
  if (!node.keys().includes("pmdb")) return undefined;
  const map = node.map(["pmdb", "policy"]);
  const file = besideDocument(node, map.need("pmdb").string());
  return { file, policy: map.need("policy").string() };
}

/** The manager's policy, and before it the rules of the VM's owner. @throws AbsError */
function pmdbPolicy(place: PmdbPlace): Policy {
  const { body, local } = readPmdb(place.file, place.policy);
  const policy = parsePolicy(body, "the manager's policy");
  return local === undefined
    ? policy
    : withLocalRules(policy, parseLocalRules(local.body, "local rules"));
}

/**
 * Every rule's `contract` must be met by a contract that may carry the rule's traffic. With a
 * ledger its terms are not known here, and may change.
 */
function checkContractsOfPolicy(provisioning: Provisioning, node: DocumentNode): void {
  const { contracts, ledger, policy } = provisioning;
  for (const rule of policy.rules) {
    const wanted = rule.contract;
    if (wanted === undefined) continue;
    const isId = ({ scId }: { readonly scId: string }): boolean =>
      wanted.scId === undefined || scId === wanted.scId;
    const met =
      ledger?.contracts.some(isId) ??
      contracts.some(
        (contract) =>
          isId(contract) &&
          (wanted.protection === undefined || contract.protection === wanted.protection) &&
          (wanted.maxBusySeconds === undefined || contract.busySeconds <= wanted.maxBusySeconds) &&
          !(contract.quickmode && rule.app !== undefined),
      );
    if (met) continue;
    const reason = `no contract meets what rule "${rule.id}" at ${rule.place} asks for.`;
    node.fail(reason, "Add such a contract, or ask for less in the rule's `contract`.");
  }
}

/** Digest of what gives PeerIndex and TagIndex their meaning, in hex. */
export function meaningOf(
  own: OwnNode,
  tenant: Provisioning["tenant"],
  tags: readonly Tag[],
  peers: readonly Peer[],
): string {
  const meaning = {
    node: own.id,
    tenant: toHex(tenant.tag),
    tags: tags.map(({ name, bytes }) => [name, toHex(bytes)]),
    peers: peers.map(({ id, addresses }) => [id, addresses.map(formatAddress)]),
  };
  return createHash("sha256").update(JSON.stringify(meaning)).digest("hex");
}
