/**
 * Whether this VM has an allowed flow of an application with a peer: what an initiation with role 1
 * must show (docs/wire.md "Session, tag, role"). The main thread looks at the worker's flow records
 * through the same mapped file; asked rarely, and only by peers that have proven themselves.
 */
import { createHash } from "node:crypto";
import { mapFlowRecords } from "../dataplane/flow-file.ts";
import {
  F_PEER,
  F_SEEN,
  F_STATE,
  F_TAG_RULE,
  FLOW_ALLOWED,
  FLOW_FREE,
  FLOW_WORDS,
} from "../dataplane/flow-table.ts";
import type { PeerIndex, TagIndex } from "../units.ts";

/**
 * What a flow file must have been written under to be reused: the same provisioning, which gives
 * its numbers their meaning, and the same boot, whose clock its ages count from; 32 bytes.
 * @param provisioningDigest in hex
 */
export function flowDigest(provisioningDigest: string, bootId: string): Uint8Array {
  const digest = createHash("sha256").update(provisioningDigest).update("\n").update(bootId);
  return new Uint8Array(digest.digest());
}

export class FlowWitness {
  readonly #words: Uint32Array;

  /** @param file the worker's flow file, which it has opened already */
  constructor(file: string, capacity: number) {
    this.#words = mapFlowRecords(file, capacity);
  }

  hasAllowed(peer: PeerIndex, tag: TagIndex): boolean {
    const words = this.#words;
    for (let at = 0; at < words.length; at += FLOW_WORDS) {
      const state = words[at + F_STATE] & 0xff;
      // Records are used in order: after one that never was, none is.
      if (state === FLOW_FREE && words[at + F_SEEN] === 0) return false;
      if (state !== FLOW_ALLOWED || words[at + F_TAG_RULE] >>> 16 !== tag) continue;
      if ((words[at + F_PEER] & 0xffff) === peer + 1) return true;
    }
    return false;
  }
}
