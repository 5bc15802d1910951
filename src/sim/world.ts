/**
 * What all participants of a simulation begin with: keys, genesis, and the contracts that somebody
 * will propose. One in fifty seeds has real keys: secp256k1 by the product's library, edwards25519
 * by noble; the others keyed hashes that a liar cannot forge (src/chain/stand-in-crypto.ts).
 */

import type { BlockRules } from "../chain/block-rules.ts";
import type { ChainState } from "../chain/chain-state.ts";
import { encodeContract } from "../chain/contract-entry.ts";
import type { LedgerCrypto, NodeKeys, SignatureCheck } from "../chain/crypto-interface.ts";
import { vrfLibrary } from "../chain/edwards25519.ts";
import { DEFAULT_PARAMS, type GenesisFile, type GenesisMember } from "../chain/genesis.ts";
import { genesisState } from "../chain/genesis-block.ts";
import type { Hash, NodeId, ScId } from "../chain/ledger-units.ts";
import { nodeIdOf } from "../chain/message-signing.ts";
import { possessionHash } from "../chain/registration.ts";
import { signatureLibrary } from "../chain/secp256k1.ts";
import { StandInRegistry } from "../chain/stand-in-crypto.ts";
import { assert } from "../errors.ts";
import type { EpochSeconds } from "../units.ts";
import { Prng } from "./prng.ts";
import { RememberedRules } from "./remembered-rules.ts";
import type { Scenario } from "./scenario.ts";

/** Wall clock at the start of every simulation. */
export const START_SECONDS = 1_900_000_000 as EpochSeconds;
const LIFETIME_SECONDS = 365 * 86_400;

export class World {
  readonly nodes: readonly NodeKeys[];
  readonly nodeIds: readonly NodeId[];
  readonly master: NodeKeys;
  readonly recovery: NodeKeys;
  readonly crypto: LedgerCrypto;
  readonly rules: BlockRules = new RememberedRules();
  readonly genesis: ChainState;
  private readonly makeKeys: () => NodeKeys;

  constructor(scenario: Scenario) {
    const prng = Prng.of(scenario.seed, 1);
    const registry = new StandInRegistry(scenario.seed);
    this.makeKeys = scenario.isReal ? () => realKeys(prng) : () => registry.makeKeys();
    this.crypto = scenario.isReal ? realCrypto() : registry.crypto;
    this.master = this.makeKeys();
    this.recovery = this.makeKeys();
    this.nodes = Array.from({ length: scenario.nodes }, () => this.makeKeys());
    this.nodeIds = this.nodes.map(({ signer }) => nodeIdOf(signer.publicKey));
    const genesis = genesisState(this.genesisFile(scenario, prng), this.crypto);
    assert(typeof genesis !== "string", `the simulator's genesis is right: ${genesis}`);
    this.genesis = genesis;
  }

  /** New keys of somebody, for a KEY_ROTATE. */
  moreKeys(): NodeKeys {
    return this.makeKeys();
  }

  private genesisFile(scenario: Scenario, prng: Prng): GenesisFile {
    return {
      tenant: "simulated",
      timestamp: START_SECONDS,
      masterPub: this.master.signer.publicKey,
      recoveryPub: this.recovery.signer.publicKey,
      params: { ...DEFAULT_PARAMS, committeeMax: scenario.validators },
      members: this.nodes.map((keys) => memberOf(keys, prng)),
    };
  }
}

function memberOf({ signer, vrf }: NodeKeys, prng: Prng): GenesisMember {
  const certificate = prng.bytes(32).toHex() as Hash;
  const words = { ledgerPub: signer.publicKey, vrfPub: vrf.publicKey, certificate };
  return {
    ...words,
    possession: signer.sign(possessionHash(words)),
    vcpu: prng.between(1, 64),
    ramMib: prng.between(1, 256) * 1024,
    securityScore: prng.between(0, 100),
  };
}

/** The `index`-th contract that somebody proposes. */
export function contractOf(prng: Prng): Uint8Array {
  const id = prng.bytes(16);
  id[6] = ((id[6] ?? 0) & 0x0f) | 0x40;
  id[8] = ((id[8] ?? 0) & 0x3f) | 0x80;
  const scId = id.toHex().replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-") as ScId;
  const scLifetime = (START_SECONDS + LIFETIME_SECONDS) as EpochSeconds;
  return encodeContract({
    ...{ scId, scLifetime, encryptionAlgo: "aes-128-gcm", hashAlgo: "sha256" },
    ...{ quickmode: prng.oneIn(2), active: true, keyregen: scLifetime },
    ...{ busySeconds: 3600, idleSeconds: 300, protection: "integrity" },
    generation: 1,
    secretCommitment: prng.bytes(32).toHex() as Hash,
    scope: { agents: [], applications: [], groups: [] },
    seq: 0,
  });
}

function realKeys(prng: Prng): NodeKeys {
  const secret = prng.bytes(32);
  // Below the order of the curve, and not 0.
  secret[0] = 1;
  return {
    signer: signatureLibrary().signerOf(secret),
    vrf: vrfLibrary().proverOf(prng.bytes(32)),
  };
}

/** A vote is checked by everyone: the answer is the same, so it is computed once a simulation. */
function realCrypto(): LedgerCrypto {
  const { verifier } = signatureLibrary();
  const answers = new Map<string, boolean>();
  const verify = (check: SignatureCheck): boolean => {
    const key = check.publicKey + check.hash.toHex() + check.signature.toHex();
    const known = answers.get(key);
    if (known !== undefined) return known;
    const answer = verifier.verify(check);
    answers.set(key, answer);
    return answer;
  };
  const vrf = vrfLibrary().verifier;
  const betas = new Map<string, ReturnType<typeof vrf.verify>>();
  return {
    signatures: {
      verify,
      verifyMany: (checks) => checks.map(verify),
      isPublicKey: (publicKey) => verifier.isPublicKey(publicKey),
    },
    vrf: {
      verify: (publicKey, alpha, proof) => {
        const key = publicKey + alpha.toHex() + proof.toHex();
        if (!betas.has(key)) betas.set(key, vrf.verify(publicKey, alpha, proof));
        return betas.get(key);
      },
      outputOf: (proof) => vrf.outputOf(proof),
      isPublicKey: (publicKey) => vrf.isPublicKey(publicKey),
    },
  };
}
