/**
 * A tenant as e2e tests and benches describe it that have no manager, and the static provisioning
 * of each of its agents made from that: keys drawn, tags and contracts issued.
 * The file's format is docs/provisioning.md; secrets exist only in these objects and those files.
 */
import { randomUUID } from "node:crypto";
import {
  generateContractSecret,
  generateKeyPair,
  generateTag,
  type KeyPairHex,
} from "../agent/keys.ts";
import { assert } from "../errors.ts";
import type { VmPlan } from "./topology.ts";

/** One entry of a policy's `rules`, as docs/policy.md writes it. */
export type RulePlan = Readonly<Record<string, unknown>>;
/** An application signature as Fig. 10 writes it, without the fields drawn here. */
export interface SignaturePlan {
  readonly app_name: string;
  readonly [field: string]: unknown;
}

export interface AgentPlan {
  readonly vm: VmPlan;
  readonly groups?: readonly string[];
  /** Applications that the manager lets this node claim. */
  readonly apps: readonly string[];
  readonly mode?: "full" | "quick";
  readonly stage?: "observe" | "warn" | "enforce";
  readonly carrier?: "ip" | "udp";
  readonly vlans?: readonly number[];
  /** Addresses beside the VM's own two, for VLANs. */
  readonly moreAddresses?: readonly string[];
  readonly policy: {
    readonly defaults?: Readonly<Record<string, unknown>>;
    readonly rules: readonly RulePlan[];
  };
  /** What this agent believes instead of the truth: how a compromised VM is played. */
  readonly lies?: (truth: Provisioning) => Provisioning;
}

export interface ContractPlan {
  readonly protection?: "integrity" | "confidential";
  readonly algorithm?: string;
  readonly hash?: string;
  readonly quickmode?: boolean;
  readonly generation?: number;
  readonly busySeconds?: number;
  readonly idleSeconds?: number;
}

export interface IssuedContract {
  readonly terms: ContractPlan;
  readonly scId: string;
  /** Its first generation, in hex. */
  readonly secret: string;
}

export interface TenantPlan {
  readonly name: string;
  readonly apps: readonly string[];
  readonly signatures: readonly SignaturePlan[];
  readonly contracts: readonly ContractPlan[];
  readonly agents: readonly AgentPlan[];
}

/** The provisioning file as an object. */
export type Provisioning = Readonly<Record<string, unknown>>;

/** A tenant with everything the manager would have drawn for it. */
export class Tenant {
  readonly plan: TenantPlan;
  readonly #tag = generateTag();
  readonly #tags: readonly { name: string; tag: string }[];
  readonly #keys = new Map<string, KeyPairHex>();
  /** Terms and secrets; what of them a file holds is provisioningOf()'s. */
  readonly contracts: readonly IssuedContract[];
  readonly #signatures: readonly Provisioning[];

  constructor(plan: TenantPlan) {
    this.plan = plan;
    this.#tags = plan.apps.map((name) => ({ name, tag: generateTag() }));
    for (const agent of plan.agents) this.#keys.set(agent.vm.name, generateKeyPair());
    this.contracts = plan.contracts.map((terms) => ({ terms, ...generateContractSecret() }));
    this.#signatures = plan.signatures.map((signature) => ({
      sig_id: randomUUID(),
      version: 1,
      status: "enabled",
      src_ip: "any",
      src_port: "any",
      dst_ip: "any",
      dst_port: "any",
      ...signature,
    }));
  }

  /** The file that the agent of `vm` starts with. */
  provisioningOf(vm: string): Provisioning {
    const agent = this.#agent(vm);
    const truth: Provisioning = {
      version: 1,
      node: {
        id: vm,
        staticKey: this.#keysOf(vm).secretKey,
        mode: agent.mode ?? "full",
        stage: agent.stage ?? "enforce",
        groups: agent.groups ?? [],
        tags: agent.apps,
        carrier: agent.carrier ?? "ip",
        ...(agent.vlans === undefined ? {} : { vlans: agent.vlans }),
        ...(agent.moreAddresses === undefined ? {} : { addresses: addressesOf(agent) }),
      },
      tenant: { name: this.plan.name, tag: this.#tag },
      tags: this.#tags,
      peers: this.plan.agents
        .filter((peer) => peer.vm.name !== vm)
        .map((peer) => this.peerEntry(peer.vm.name)),
      contracts: this.contracts.map(wholeContract),
      signatures: this.#signatures,
      policy: {
        version: 1,
        defaults: { stage: agent.stage ?? "enforce", ...agent.policy.defaults },
        rules: agent.policy.rules,
      },
    };
    return agent.lies === undefined ? truth : agent.lies(truth);
  }

  /** What the mapping service publishes of a node. */
  peerEntry(vm: string): Provisioning {
    const peer = this.#agent(vm);
    return {
      id: vm,
      addresses: addressesOf(peer),
      macs: [peer.vm.mac],
      mode: peer.mode ?? "full",
      carrier: peer.carrier ?? "ip",
      staticKey: this.#keysOf(vm).publicKey,
      groups: peer.groups ?? [],
      tags: peer.apps,
    };
  }

  #agent(vm: string): AgentPlan {
    const found = this.plan.agents.find((agent) => agent.vm.name === vm);
    assert(found !== undefined, `${vm} is an agent of ${this.plan.name}`);
    return found;
  }

  #keysOf(vm: string): KeyPairHex {
    const keys = this.#keys.get(vm);
    assert(keys !== undefined, `${vm} has keys`);
    return keys;
  }
}

function addressesOf({ vm, moreAddresses }: AgentPlan): string[] {
  return [vm.ipv4, vm.ipv6, ...(moreAddresses ?? [])];
}

function wholeContract({ terms, scId, secret }: IssuedContract): Provisioning {
  return {
    id: scId,
    generation: terms.generation ?? 1,
    secret,
    algorithm: terms.algorithm ?? "aes-128-gcm",
    hash: terms.hash ?? "sha256",
    protection: terms.protection ?? "integrity",
    quickmode: terms.quickmode ?? false,
    "sc-lifetime": "2099-01-01T00:00:00Z",
    lifetime: {
      keyregen: "2098-01-01T00:00:00Z",
      busytime: terms.busySeconds ?? 3_600,
      idletime: terms.idleSeconds ?? 600,
    },
  };
}
