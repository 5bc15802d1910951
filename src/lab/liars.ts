/**
 * VMs that are played as compromised: enrolled like the others, but root there starts the agent
 * from a file of its own, made from what enrolment wrote, and so follows the manager no more.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { ANYTHING, VMS } from "./lab-plan.ts";
import type { Machine } from "./machine.ts";
import type { Provisioning, SignaturePlan } from "./tenant.ts";

const FOLDER = "/var/lib/abs/agent";

/** Makes a file with the lies; the options of `abs agent run` that start from it. */
export function writeLies(
  machine: Machine,
  lies: (truth: Provisioning) => Provisioning,
): readonly string[] {
  const file = `${FOLDER}/lies.json`;
  const text = JSON.stringify(lies(truthOf(machine)), null, 2);
  writeFileSync(machine.path(file), text, { mode: 0o600 });
  return ["--config", file];
}

/** What the manager has given the VM. */
function truthOf(machine: Machine): Provisioning {
  return JSON.parse(readFileSync(machine.path(`${FOLDER}/provisioning.json`), "utf8"));
}

function nodeOf(truth: Provisioning): Provisioning {
  return truth["node"] as Provisioning;
}

/**
 * It claims every application for itself, and what no signature of the tenant knows it sends under
 * the tag of ping, which the others let it have.
 */
export function claimsEverything(signatures: readonly SignaturePlan[]) {
  const anything = {
    sig_id: "anything",
    app_name: "ping",
    version: 1,
    description: "whatever rogue likes to send",
    status: "enabled",
    proto_type: "tcp",
    contents: [],
    priority: -1,
  };
  return (truth: Provisioning): Provisioning => {
    const tags = (truth["tags"] as readonly { readonly name: string }[]).map(({ name }) => name);
    const peers = truth["peers"] as readonly Provisioning[];
    return {
      ...truth,
      node: { ...nodeOf(truth), mode: "full", stage: "enforce", tags },
      peers: peers.map((peer) => ({ ...peer, mode: "full" })),
      signatures: [...signatures, anything].map(everywhere),
      policy: { version: 1, rules: ANYTHING },
    };
  };
}

function everywhere(signature: Provisioning): Provisioning {
  return { src_ip: "any", src_port: "any", dst_ip: "any", dst_port: "any", ...signature };
}

/**
 * A VM of tenant B that knows db as the manager does, and takes it for a peer; over IPv4 only,
 * so that over IPv6 it sends without any field, as honest neighbours do.
 */
export function believesIn(db: Provisioning, signatures: readonly SignaturePlan[]) {
  return (truth: Provisioning): Provisioning => {
    const tags = (truth["tags"] as readonly { readonly name: string }[]).map(({ name }) => name);
    const known = signatures.filter(({ app_name: app }) => tags.includes(app));
    return {
      ...truth,
      node: { ...nodeOf(truth), mode: "full", stage: "enforce" },
      peers: [
        {
          ...{ id: db["name"], addresses: [VMS.db.ipv4], macs: db["macs"], mode: "full" },
          ...{ carrier: db["carrier"], staticKey: db["session_pub"], groups: [], tags: [] },
        },
      ],
      signatures: known.map(everywhere),
      policy: { version: 1, rules: ANYTHING },
    };
  };
}

/** Other secrets than those that the ledger has commitments of. */
export function otherSecrets(truth: Provisioning): Provisioning {
  const contracts = truth["contracts"] as readonly { readonly secrets: readonly Provisioning[] }[];
  return {
    ...truth,
    contracts: contracts.map((contract) => ({
      ...contract,
      secrets: contract.secrets.map((one) => ({ ...one, secret: "00".repeat(32) })),
    })),
  };
}
