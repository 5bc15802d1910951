/**
 * The identity authority: certificates of agents, signed by the manager's secp256k1 key.
 * design/manager.md; docs/manager.md "Certificates". A certificate says under which keys an agent
 * is known; an address in it is where to reach the agent, never who it is.
 */
import {
  type IdentityCertificate,
  type SignedCertificate,
  signCertificate,
} from "../chain/identity-certificate.ts";
import type { ChainId, NodeId } from "../chain/ledger-units.ts";
import type { AgentMachine } from "../channel/enrolment-messages.ts";
import { type PublicKeys, publicKeysOf } from "../channel/possession.ts";
import type { OwnKeys } from "../node/node-keys.ts";
import type { EpochSeconds } from "../units.ts";
import type { Tenant } from "./tenants.ts";

export const CERTIFICATE_LIFE_SECONDS = 365 * 24 * 3600;
/** Clocks may be a day apart. */
const SKEW_SECONDS = 24 * 3600;

export type Subject = {
  readonly tenant: string;
  readonly chainId: ChainId;
  readonly nodeId: NodeId;
  readonly keys: PublicKeys;
  readonly machine: AgentMachine;
  readonly applicationTags: readonly string[];
  readonly seq: number;
};

export class IdentityAuthority {
  constructor(private readonly keys: OwnKeys) {}

  /** Of the manager itself, as the master of a tenant's ledger. */
  ownCertificate(tenant: Tenant, host: string, now: EpochSeconds): SignedCertificate {
    const { keys } = this;
    const certificate: IdentityCertificate = {
      ...{ chainId: tenant.chainId, nodeId: keys.nodeId, tenant: tenant.name, roles: ["master"] },
      ...publicKeysOf(keys),
      ...{ addresses: [host], applicationTags: [], carrier: "ip", peerPort: tenant.peerPort },
      ...{ seq: 0, issuer: keys.nodeId },
      notBefore: (now - SKEW_SECONDS) as EpochSeconds,
      notAfter: (now + CERTIFICATE_LIFE_SECONDS) as EpochSeconds,
    };
    return signCertificate(certificate, keys.ledger.signer);
  }

  issue(subject: Subject, now: EpochSeconds): SignedCertificate {
    const { keys, machine } = subject;
    const certificate: IdentityCertificate = {
      chainId: subject.chainId,
      nodeId: subject.nodeId,
      ...{ tenant: subject.tenant, roles: ["agent", "validator"] },
      ...{ ledgerPub: keys.ledgerPub, sessionPub: keys.sessionPub },
      ...{ sshPub: keys.sshPub, vrfPub: keys.vrfPub },
      ...{ addresses: machine.addresses, applicationTags: [...subject.applicationTags].sort() },
      ...{ carrier: machine.carrier, peerPort: machine.peerPort, seq: subject.seq },
      notBefore: (now - SKEW_SECONDS) as EpochSeconds,
      notAfter: (now + CERTIFICATE_LIFE_SECONDS) as EpochSeconds,
      issuer: this.keys.nodeId,
    };
    return signCertificate(certificate, this.keys.ledger.signer);
  }
}
