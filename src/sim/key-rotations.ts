/**
 * Honest nodes that get new keys while they vote: drawn, told to the master until a block has them,
 * in use from the height that the chain says, the old ones destroyed once no height is left for
 * them. docs/ledger.md "Members and stake". A crash takes nothing of it: both sets are on the disk
 * before anybody hears of the new one.
 */
import { type ChainState, memberKeysAt, nextHeight } from "../chain/chain-state.ts";
import type { NodeKeys } from "../chain/crypto-interface.ts";
import type { Hash } from "../chain/ledger-units.ts";
import { encodeRecord } from "../chain/record-schema.ts";
import type { KeyRotateRecord } from "../chain/record-types.ts";
import { rotationHash } from "../chain/registration.ts";
import type { Actor } from "./actor.ts";
import type { Prng } from "./prng.ts";
import type { World } from "./world.ts";

export class KeyRotations {
  /** Under way: the keys that come next, of each node. */
  private readonly next = new Map<Actor, NodeKeys>();

  constructor(
    private readonly world: World,
    private readonly prng: Prng,
  ) {}

  begin(actor: Actor): void {
    if (this.next.has(actor)) return;
    const { ring } = actor;
    const fresh = this.world.moreKeys();
    ring.replace([ring.own, fresh]);
    this.next.set(actor, fresh);
  }

  /** What a master with this chain has to hear. */
  records(chain: ChainState): Uint8Array[] {
    return [...this.next].flatMap(([actor, fresh]) => {
      const last = chain.members.get(actor.nodeId)?.keys.at(-1);
      const old = last === undefined ? undefined : actor.ring.find(last);
      if (last === undefined || old === undefined || old === fresh) return [];
      return [encodeRecord(this.rotation(actor, old, fresh, last.seq + 1))];
    });
  }

  private rotation(actor: Actor, old: NodeKeys, fresh: NodeKeys, seq: number): KeyRotateRecord {
    const { nodeId } = actor;
    const words = {
      ledgerPub: fresh.signer.publicKey,
      vrfPub: fresh.vrf.publicKey,
      certificate: this.prng.bytes(32).toHex() as Hash,
    };
    const hash = rotationHash(this.world.genesis.chainId, nodeId, seq, words);
    const [oldSignature, newSignature] = [old.signer.sign(hash), fresh.signer.sign(hash)];
    return { kind: "KEY_ROTATE", nodeId, seq, ...words, oldSignature, newSignature };
  }

  /** A block is on its disk. True: the new keys count from now on, and the old ones are gone. */
  sealed(actor: Actor, tip: ChainState): boolean {
    const fresh = this.next.get(actor);
    const named = memberKeysAt(tip, actor.nodeId, nextHeight(tip));
    if (fresh === undefined || named?.ledgerPub !== fresh.signer.publicKey) return false;
    actor.ring.replace([fresh]);
    this.next.delete(actor);
    return true;
  }
}
