/**
 * Revocations that the master signed and no block holds yet: on the disk before they count, so that
 * a restart forgets none. docs/peer-channel.md "Revocations". What the ledger has revoked leaves
 * the list, for the ledger says it better.
 */
import { existsSync, renameSync, writeFileSync } from "node:fs";
import type { ChainState } from "../chain/chain-state.ts";
import type { NodeId } from "../chain/ledger-units.ts";
import {
  decodeRevocations,
  encodeRevocations,
  REVOCATIONS_MAX,
  type SignedRevocation,
} from "../chain/revocation.ts";
import { AbsError } from "../errors.ts";
import { fileIn, readBytes } from "./node-folder.ts";

export class RevocationList {
  readonly #byNode = new Map<NodeId, SignedRevocation>();
  readonly #file: string;

  /** @throws AbsError REVOCATIONS_INVALID: a node must not forget whom it was told to shun */
  constructor(dir: string) {
    this.#file = fileIn(dir, "revocations");
    if (!existsSync(this.#file)) return;
    const read = decodeRevocations(readBytes(this.#file));
    if ("complaint" in read) {
      throw new AbsError(
        "REVOCATIONS_INVALID",
        `${this.#file}: ${read.complaint}.`,
        "Restore it, or delete it where the ledger's own revocations are enough.",
      );
    }
    for (const signed of read.revocations) this.#byNode.set(signed.revocation.nodeId, signed);
  }

  has(nodeId: NodeId): boolean {
    return this.#byNode.has(nodeId);
  }

  all(): readonly SignedRevocation[] {
    return [...this.#byNode.values()];
  }

  /** On entry its signature was verified. False where it says nothing new, or the list is full. */
  add(signed: SignedRevocation): boolean {
    const { nodeId } = signed.revocation;
    if (this.has(nodeId) || this.#byNode.size >= REVOCATIONS_MAX) return false;
    this.#byNode.set(nodeId, signed);
    this.#save();
    return true;
  }

  /** Drops what the ledger has revoked by now. */
  settle({ members, height }: ChainState): void {
    const done = [...this.#byNode.keys()].filter((nodeId) => {
      return (members.get(nodeId)?.revokedFrom ?? Number.POSITIVE_INFINITY) <= height + 1;
    });
    for (const nodeId of done) this.#byNode.delete(nodeId);
    if (done.length > 0) this.#save();
  }

  #save(): void {
    writeFileSync(`${this.#file}.new`, encodeRevocations(this.all()), { flush: true });
    renameSync(`${this.#file}.new`, this.#file);
  }
}
