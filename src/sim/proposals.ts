/**
 * What is proposed to the master in a simulation: contracts, and the records that some lies need:
 * a liar that is revoked, or whose key is rotated, and goes on signing with what no longer counts.
 */
import type { Hash } from "../chain/ledger-units.ts";
import { encodeRecord } from "../chain/record-schema.ts";
import type { LedgerRecord } from "../chain/record-types.ts";
import { rotationHash } from "../chain/registration.ts";
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
  if (index !== KEYS_AT) return { contracts, records: [] };
  const records = scenario.lies.flatMap(({ kind, participant }) => {
    if (kind === "revoked-key") return [revocation(world, participant)];
    if (kind === "rotated-key") return [rotation(world, participant, prng)];
    return [];
  });
  return { contracts, records: records.map(encodeRecord) };
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
