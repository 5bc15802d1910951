/**
 * A new ledger: keys of master, recovery and the first members, their certificates, and the genesis
 * file that names the chain. docs/ledger.md "Genesis", "Folders". It writes one folder a node, for
 * the operator to carry to its machine; the recovery key belongs into a safe, not on a machine.
 */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { canonicalJson, canonicalText, type JsonValue } from "../chain/canonical-json.ts";
import { DEFAULT_PARAMS, type GenesisFile, type LedgerParams } from "../chain/genesis.ts";
import { chainIdOf, encodeGenesis } from "../chain/genesis-file.ts";
import {
  certificateHash,
  type IdentityCertificate,
  type SignedCertificate,
  signCertificate,
  signedCertificateJson,
} from "../chain/identity-certificate.ts";
import { type ChainId, NO_HASH, type NodeId } from "../chain/ledger-units.ts";
import { possessionHash } from "../chain/registration.ts";
import { AbsError } from "../errors.ts";
import type { EpochSeconds } from "../units.ts";
import { fileIn } from "./node-folder.ts";
import { drawSecrets, keysOfSecrets, type NodeSecrets, type OwnKeys } from "./node-keys.ts";

const YEAR_SECONDS = 365 * 24 * 3600;

/** Where a node is reached. */
export type NodePlace = { readonly host: string; readonly port: number };
export type FirstMember = NodePlace & {
  /** Of its folder. */
  readonly name: string;
  readonly vcpu: number;
  readonly ramMib: number;
  readonly securityScore: number;
};
export type LedgerPlan = {
  readonly dir: string;
  readonly tenant: string;
  readonly master: NodePlace;
  readonly members: readonly FirstMember[];
  readonly timestamp: EpochSeconds;
  readonly params?: LedgerParams;
};
export type NewLedger = {
  readonly chainId: ChainId;
  readonly master: NodeId;
  readonly members: readonly { readonly name: string; readonly nodeId: NodeId }[];
};

export type NewNode = { readonly secrets: NodeSecrets; readonly keys: OwnKeys };

export const MASTER_FOLDER = "master";
export const RECOVERY_FOLDER = "recovery";

/** @throws AbsError LEDGER_EXISTS when the folder holds a ledger already: nothing is written */
export function initLedger(plan: LedgerPlan): NewLedger {
  const { dir } = plan;
  if (existsSync(join(dir, "genesis.json")) || existsSync(join(dir, MASTER_FOLDER))) {
    const what = `${dir} holds a ledger already.`;
    throw new AbsError("LEDGER_EXISTS", what, "Choose an empty --dir; keys are never overwritten.");
  }
  const [master, recovery] = [newNode(), newNode()];
  const members = plan.members.map((member) => ({ member, node: newNode() }));
  const issue = (node: NewNode, place: NodePlace, role: string, chainId: ChainId) =>
    signCertificate(
      certificateOf(plan, { node, place, role, chainId, issuer: master.keys.nodeId }),
      master.keys.ledger.signer,
    );
  const noChain = NO_HASH as string as ChainId;
  const issued = members.map(({ member, node }) => issue(node, member, "validator", noChain));
  const file = genesisOf(plan, master, recovery, issued, members);
  const chainId = chainIdOf(file);
  const masterCertificate = issue(master, plan.master, "master", chainId);
  const peers = [masterCertificate, ...issued];
  const genesis = encodeGenesis(file);
  const write = { genesis, peers };
  for (const [i, { member, node }] of members.entries()) {
    writeNode(join(dir, member.name), node.secrets, issued[i] ?? masterCertificate, write);
  }
  writeNode(join(dir, MASTER_FOLDER), master.secrets, masterCertificate, write);
  mkdirSync(join(dir, RECOVERY_FOLDER), { recursive: true, mode: 0o700 });
  writeSecrets(join(dir, RECOVERY_FOLDER), recovery.secrets);
  // Last: a folder with it is whole.
  writeFileSync(join(dir, "genesis.json"), genesis);
  const named = members.map(({ member, node }) => ({
    name: member.name,
    nodeId: node.keys.nodeId,
  }));
  return { chainId, master: master.keys.nodeId, members: named };
}

export function newNode(): NewNode {
  const secrets = drawSecrets();
  return { secrets, keys: keysOfSecrets(secrets) };
}

type CertificateWords = {
  readonly node: NewNode;
  readonly place: NodePlace;
  readonly role: string;
  readonly chainId: ChainId;
  readonly issuer: NodeId;
};

export function certificateOf(
  plan: Pick<LedgerPlan, "tenant" | "timestamp">,
  words: CertificateWords,
): IdentityCertificate {
  const { node, place, role, chainId, issuer } = words;
  const { keys } = node;
  return {
    ...{ chainId, nodeId: keys.nodeId, tenant: plan.tenant, roles: [role] },
    ledgerPub: keys.ledger.signer.publicKey,
    sessionPub: Buffer.from(keys.session.publicKey).toString("hex"),
    sshPub: keys.sshPub,
    vrfPub: keys.ledger.vrf.publicKey,
    ...{ addresses: [place.host], applicationTags: [], carrier: "ip", peerPort: place.port },
    seq: 0,
    notBefore: plan.timestamp,
    notAfter: (plan.timestamp + YEAR_SECONDS) as EpochSeconds,
    issuer,
  };
}

function genesisOf(
  plan: LedgerPlan,
  master: NewNode,
  recovery: NewNode,
  issued: readonly SignedCertificate[],
  members: readonly { readonly member: FirstMember; readonly node: NewNode }[],
): GenesisFile {
  return {
    tenant: plan.tenant,
    timestamp: plan.timestamp,
    masterPub: master.keys.ledger.signer.publicKey,
    recoveryPub: recovery.keys.ledger.signer.publicKey,
    params: plan.params ?? DEFAULT_PARAMS,
    members: members.map(({ member, node }, i) => {
      const { signer, vrf } = node.keys.ledger;
      const { certificate } = issued[i] as SignedCertificate;
      const words = {
        ...{ ledgerPub: signer.publicKey, vrfPub: vrf.publicKey },
        certificate: certificateHash(certificate),
      };
      const { vcpu, ramMib, securityScore } = member;
      const possession = signer.sign(possessionHash(words));
      return { ...words, possession, vcpu, ramMib, securityScore };
    }),
  };
}

export function writeNode(
  dir: string,
  secrets: NodeSecrets,
  own: SignedCertificate,
  common: { readonly genesis: Uint8Array; readonly peers: readonly SignedCertificate[] },
): void {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  writeSecrets(dir, secrets);
  writeFileSync(fileIn(dir, "genesis"), common.genesis);
  writeFileSync(fileIn(dir, "certificate"), canonicalJson(signedCertificateJson(own)));
  const peers: JsonValue = common.peers.map(signedCertificateJson);
  writeFileSync(fileIn(dir, "peers"), canonicalText(peers));
}

/** `wx`: keys are never overwritten. */
function writeSecrets(dir: string, secrets: NodeSecrets): void {
  const text = `${JSON.stringify(secrets, null, 2)}\n`;
  writeFileSync(fileIn(dir, "keys"), text, { mode: 0o600, flag: "wx" });
}
