/**
 * What is proposed to the master in a simulation: contracts, application signatures through all
 * their statuses, and the records that some lies need: a liar that is revoked, or whose key is
 * rotated, and goes on signing with what no longer counts.
 */
import type { Hash } from "../chain/ledger-units.ts";
import { encodeRecord } from "../chain/record-schema.ts";
import type { LedgerRecord } from "../chain/record-types.ts";
import { rotationHash } from "../chain/registration.ts";
import { hashOf } from "../chain/sha256.ts";
import { Prng } from "./prng.ts";
import type { Scenario } from "./scenario.ts";
import { contractOf, type World } from "./world.ts";

export type Proposal = {
  readonly contracts: readonly Uint8Array[];
  readonly records: readonly Uint8Array[];
};

/** In which proposal keys are revoked and rotated. */
const KEYS_AT = 2;

export function proposalsOf(scenario: Scenario, world: World, index: number): Proposal {
  const prng = Prng.of(scenario.seed, 10_000 + index);
  const contracts = Array.from({ length: prng.between(1, 2) }, () => contractOf(prng));
  const records = [...signaturesOf(scenario, index), ...keyRecordsOf(scenario, world, index, prng)];
  return { contracts, records: records.map(encodeRecord) };
}

/**
 * Each proposal publishes one, and leads those of the proposals before on: disabled, published
 * again, decommissioned. A proposal that was lost makes the next ones of its signature wrong, which
 * the master refuses.
 */
function signaturesOf({ seed }: Scenario, index: number): LedgerRecord[] {
  const steps = ["published", "disabled", "published", "decommissioned"] as const;
  return steps.flatMap((status, age) => {
    const born = index - age;
    if (born < 0) return [];
    const signatureId = `app-${born}`;
    const commitment = hashOf(new TextEncoder().encode(`${seed}/${signatureId}`));
    return [{ kind: "SIGNATURE", signatureId, seq: age + 1, version: 1, status, commitment }];
  });
}

function keyRecordsOf({ lies }: Scenario, world: World, index: number, prng: Prng): LedgerRecord[] {
  if (index !== KEYS_AT) return [];
  return lies.flatMap(({ kind, participant }) => {
    if (kind === "revoked-key") return [revocation(world, participant)];
    if (kind === "rotated-key") return [rotation(world, participant, prng)];
    return [];
  });
}

function revocation(world: World, participant: number): LedgerRecord {
  const nodeId = idOf(world, participant);
  return { kind: "NODE_REVOKE", nodeId, reason: "simulated" };
}

/** In order, by both keys; the liar just never uses the new one. */
function rotation(world: World, participant: number, prng: Prng): LedgerRecord {
  const nodeId = idOf(world, participant);
  const [old, fresh] = [world.nodes[participant] ?? world.master, world.moreKeys()];
  const words = {
    ledgerPub: fresh.signer.publicKey,
    vrfPub: fresh.vrf.publicKey,
    certificate: prng.bytes(32).toHex() as Hash,
  };
  const hash = rotationHash(world.genesis.chainId, nodeId, 1, words);
  return {
    ...{ kind: "KEY_ROTATE", nodeId, seq: 1, ...words },
    oldSignature: old.signer.sign(hash),
    newSignature: fresh.signer.sign(hash),
  };
}

function idOf(world: World, participant: number) {
  return world.nodeIds[participant] ?? world.genesis.genesis.members[0]?.nodeId ?? ("" as never);
}
