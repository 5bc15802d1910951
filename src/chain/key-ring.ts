/**
 * The secret keys that one node holds: one set, or several while a KEY_ROTATE is under way.
 * design/ledger.md "Keys". Which of them signs is the chain's to say, height by height
 * (ledger-node.ts): a set that it does not name there is never used in its place.
 */
import type { NodeKeys } from "./crypto-interface.ts";
import type { NodeId } from "./ledger-units.ts";
import { nodeIdOf } from "./message-signing.ts";
import type { KeyWords } from "./registration.ts";

export class KeyRing {
  #sets: readonly [NodeKeys, ...NodeKeys[]];

  /** @param nodeId of the first ledger key that the node ever had */
  constructor(
    readonly nodeId: NodeId,
    sets: readonly [NodeKeys, ...NodeKeys[]],
  ) {
    this.#sets = sets;
  }

  /** Of a node whose keys were never rotated. */
  static of(keys: NodeKeys): KeyRing {
    return new KeyRing(nodeIdOf(keys.signer.publicKey), [keys]);
  }

  /** Those of a master, and of a node that the chain does not know yet. */
  get own(): NodeKeys {
    return this.#sets[0];
  }

  get sets(): readonly [NodeKeys, ...NodeKeys[]] {
    return this.#sets;
  }

  find({ ledgerPub, vrfPub }: Omit<KeyWords, "certificate">): NodeKeys | undefined {
    return this.#sets.find(({ signer, vrf }) => {
      return signer.publicKey === ledgerPub && vrf.publicKey === vrfPub;
    });
  }

  /** Others are held from now on: between two steps. */
  replace(sets: readonly [NodeKeys, ...NodeKeys[]]): void {
    this.#sets = sets;
  }
}
