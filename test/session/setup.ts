/**
 * Contracts, tags and agents for the simulations: two agents of one tenant, unless told otherwise.
 */
import { ascii, concat } from "../../src/bytes.ts";
import { type Contract, type GenerationSecret, parseContract } from "../../src/session/contract.ts";
import type { RsaKeyPair } from "../../src/session/rsa-wrap.ts";
import type { SessionsConfig } from "../../src/session/session-api.ts";
import { KeyPair } from "../../src/session/x25519.ts";
import type { PeerIndex, TagIndex } from "../../src/units.ts";
import type { SimulatedAgent } from "./simulated-agent.ts";
import { SimulatedNetwork, START_WALL } from "./simulated-network.ts";

export const APP1 = 1 as TagIndex;
export const APP2 = 2 as TagIndex;
export const TENANT_A = ascii("tenant A........");
export const TENANT_B = ascii("tenant B........");

export const TAGS = [
  { name: "tenant", bytes: new Uint8Array(16) },
  { name: "app1", bytes: ascii("application 1...") },
  { name: "app2", bytes: ascii("application 2...") },
];

export function secretOf(seed: number, generation = 1): GenerationSecret {
  return { generation, secret: new Uint8Array(32).fill(seed) };
}

/** The contract of Fig. 6 with other values. */
export function contractOf(
  changes: Record<string, unknown> = {},
  secrets: readonly GenerationSecret[] = [secretOf(1)],
): Contract {
  const { busytime = 600, idletime = 180, ...entry } = changes;
  return parseContract(
    {
      "sc-id": "a156fe4c-27af-4692-b205-58ad201c5cf9",
      encryption_algo: "aes-128-gcm",
      hash_algo: "sha256",
      quickmode: "false",
      active: "true",
      "sc-lifetime": START_WALL / 1000 + 86_400 * 365,
      lifetime: { keyregen: START_WALL / 1000 + 86_400, busytime, idletime },
      ...entry,
    },
    secrets,
  );
}

/** An `rsa256` contract with this key pair. */
export function rsaContract(rsa: RsaKeyPair): Contract {
  const { generation, secret } = secretOf(1);
  return contractOf({ encryption_algo: "rsa256" }, [
    { generation, secret: concat(secret, rsa.der) },
  ]);
}

export const SECOND_SC_ID = "b156fe4c-27af-4692-b205-58ad201c5cf9";

export type PairOptions = {
  readonly contracts?: readonly Contract[];
  readonly a?: Partial<SessionsConfig>;
  readonly b?: Partial<SessionsConfig>;
};

export type Pair = {
  readonly network: SimulatedNetwork;
  readonly a: SimulatedAgent;
  readonly b: SimulatedAgent;
};

export const PEER = 0 as PeerIndex;

export const SECRET_A = new Uint8Array(32).fill(0xa1);
export const SECRET_B = new Uint8Array(32).fill(0xb2);

/** The configuration of one of two agents whose other one has this secret key. */
export function configOf(
  staticSecret: Uint8Array,
  otherSecret: Uint8Array,
  contracts: readonly Contract[],
): Omit<SessionsConfig, "random"> {
  const other = new KeyPair(otherSecret).publicKey;
  return {
    identity: { staticSecret },
    tenantTag: TENANT_A,
    tags: TAGS,
    peers: [{ id: "other", staticPublic: other, entitledTags: [APP1] }],
    contracts,
    hasAllowedFlow: () => false,
  };
}

/** Agents `a` and `b`, each the other's only peer, entitled to APP1 and not to APP2. */
export function pairOf(seed: number, options: PairOptions = {}): Pair {
  const network = new SimulatedNetwork(seed);
  const contracts = options.contracts ?? [contractOf()];
  const a = network.add({
    name: "a",
    address: new Uint8Array([10, 0, 0, 1]),
    config: { ...configOf(SECRET_A, SECRET_B, contracts), ...options.a },
  });
  const b = network.add({
    name: "b",
    address: new Uint8Array([10, 0, 0, 2]),
    config: { ...configOf(SECRET_B, SECRET_A, contracts), ...options.b },
  });
  return { network, a, b };
}
