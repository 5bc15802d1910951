/** The manager's SSH host key, and those after it. docs/manager.md "Keys". */
import type { Database } from "bun:sqlite";
import { hostStatement } from "../channel/host-statement.ts";
import { kernelRandom } from "../native/kernel-random.ts";
import type { OwnKeys } from "../node/node-keys.ts";
import { sshPublicKey } from "../ssh/ssh-keys.ts";
import type { EpochSeconds } from "../units.ts";
import type { Sealer } from "./sealer.ts";

const SEED_BYTES = 32;

export class HostKey {
  #seed: Uint8Array;
  #seq = 0;

  /** @param firstSeed drawn with the manager's other keys */
  constructor(
    private readonly database: Database,
    private readonly sealer: Sealer,
    private readonly keys: OwnKeys,
    firstSeed: Uint8Array,
  ) {
    this.#seed = firstSeed;
    const row = database.query("SELECT * FROM host_key ORDER BY seq DESC LIMIT 1").get();
    if (row === null) return;
    const { seq, seed_sealed: sealed } = row as { seq: number; seed_sealed: Uint8Array };
    this.#seed = sealer.open(`host_key/${seq}`, sealed);
    this.#seq = seq;
  }

  get seed(): Uint8Array {
    return this.#seed;
  }

  get publicKey(): Uint8Array {
    return sshPublicKey(this.#seed);
  }

  /** UNIX seconds of the rotation: above those of any key before, after a restore too. */
  get seq(): number {
    return this.#seq;
  }

  /** What is said before SSH begins. */
  get statement(): string {
    const { seq, publicKey: hostPub } = this;
    return hostStatement(this.keys.ledger.signer, { seq, hostPub });
  }

  /** Another key; the one before is good for nothing any more. */
  rotate(now: EpochSeconds): void {
    const [seed, seq] = [kernelRandom(SEED_BYTES), Math.max(now, this.#seq + 1)];
    const sealed = this.sealer.seal(`host_key/${seq}`, Buffer.from(seed));
    this.database.query("INSERT INTO host_key VALUES (?, ?, ?)").run(seq, sealed, now);
    this.#seed = seed;
    this.#seq = seq;
  }
}
