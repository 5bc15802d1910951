/**
 * Peers that the master has revoked: no session with them, whatever the provisioning file still
 * says. docs/manager.md "Ledgers". Kept beside the node's own list of revocations, which names
 * nodes and not their session keys, so that a restart without a manager forgets nobody.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { toHex } from "../bytes.ts";
import { AbsError } from "../errors.ts";
import type { PeerConfig } from "../session/session-api.ts";
import type { Provisioning } from "./provisioning.ts";
import { publicKeysOf } from "./provisioning-fields.ts";
import { replaceFile } from "./state-dir.ts";

const FILE = "cut-off.json";
const KEY = /^[0-9a-f]{64}$/;
const NO_KEY = new Uint8Array(32);

export class CutOffPeers {
  /** X25519, hexadecimal. */
  readonly #keys: Set<string>;
  readonly #file: string;

  /** @param dir of the ledger's node; @throws AbsError CUT_OFF_INVALID */
  constructor(dir: string) {
    this.#file = join(dir, FILE);
    this.#keys = new Set(existsSync(this.#file) ? readKeys(this.#file) : []);
  }

  has(key: Uint8Array): boolean {
    return this.#keys.has(toHex(key));
  }

  /** From now on, for good. @throws AbsError STATE_UNWRITABLE: only until the next start */
  add(sessionPub: string): void {
    this.#keys.add(sessionPub);
    replaceFile(this.#file, JSON.stringify([...this.#keys]));
  }

  /** As the session machine takes them. */
  configsOf(provisioning: Provisioning): PeerConfig[] {
    return peerConfigsOf(provisioning, (key) => this.has(key));
  }
}

/** Whoever is cut off, or in quarantine, has no key that could be met. */
export function peerConfigsOf(
  { peers }: Pick<Provisioning, "peers">,
  isCutOff: (key: Uint8Array) => boolean = () => false,
): PeerConfig[] {
  return peers.map((peer) => {
    const { id, tags: entitledTags, staticPublic, otherPublic, quarantined = false } = peer;
    if (quarantined || publicKeysOf(peer).some(isCutOff)) {
      return { id, entitledTags, staticPublic: NO_KEY };
    }
    const other = otherPublic === undefined ? {} : { otherPublic };
    return { id, entitledTags, staticPublic, ...other };
  });
}

function readKeys(file: string): string[] {
  let keys: unknown;
  try {
    keys = JSON.parse(readFileSync(file, "utf8"));
  } catch {
    keys = undefined; // said below
  }
  if (Array.isArray(keys) && keys.every((key) => KEY.test(String(key)))) return keys as string[];
  const remedy = "Delete it where the manager can be reached: it says who is a neighbour.";
  throw new AbsError("CUT_OFF_INVALID", `${file} is damaged.`, remedy);
}
