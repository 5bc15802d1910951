/**
 * The genesis file: what a chain begins with and is named by. docs/ledger.md "Genesis". Shapes;
 * genesis-block.ts makes the block of it, which is a function of the file alone.
 */
import type { EpochSeconds } from "../units.ts";
import type { ChainId, Hash, Height, PublicKey, Signature, VrfPublicKey } from "./ledger-units.ts";
import type { Member, Stake } from "./member.ts";

/** What a PARAMS record may change. */
export type LedgerParams = {
  /** 1 to 20. */
  readonly committeeMax: number;
  /** Blocks for which a leader that let its view pass sits last. */
  readonly coolDownBlocks: number;
  /** T0 of the view timer, and its cap. */
  readonly viewTimeoutMs: number;
  readonly viewTimeoutMaxMs: number;
  /** How far a time stamp may lie from the clock at a first vote. */
  readonly clockWindowSeconds: number;
};

export const DEFAULT_PARAMS: LedgerParams = {
  committeeMax: 20,
  coolDownBlocks: 8,
  viewTimeoutMs: 1000,
  viewTimeoutMaxMs: 16_000,
  clockWindowSeconds: 30,
};

/** A member from the beginning: effective at height 1. */
export type GenesisMember = {
  readonly ledgerPub: PublicKey;
  readonly vrfPub: VrfPublicKey;
  readonly certificate: Hash;
  /** The node's own signature over what it registers (proof of possession). */
  readonly possession: Signature;
  readonly vcpu: number;
  readonly ramMib: number;
  readonly securityScore: number;
};

export type GenesisFile = {
  /** The tenant's name: two tenants with the same keys are two chains. */
  readonly tenant: string;
  readonly timestamp: EpochSeconds;
  readonly masterPub: PublicKey;
  readonly recoveryPub: PublicKey;
  readonly params: LedgerParams;
  readonly members: readonly GenesisMember[];
};

/** What follows from the file. */
export type Genesis = {
  readonly file: GenesisFile;
  readonly chainId: ChainId;
  readonly members: readonly Member[];
  readonly stakes: readonly Stake[];
};

export const GENESIS_HEIGHT = 0 as Height;
/** Members of the genesis file sit in the committee of the first block. */
export const FIRST_HEIGHT = 1 as Height;
