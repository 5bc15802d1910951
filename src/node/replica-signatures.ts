/**
 * What this VM's own replica of the ledger says of application signatures, read from its disk
 * beside the running node: only what the ledger holds may be used. docs/ledger.md "Signatures". The
 * SCD has the newest record of each; what was there before is looked for in the blocks.
 */
import { existsSync } from "node:fs";
import type { Height } from "../chain/ledger-units.ts";
import type { SignatureRecord } from "../chain/record-types.ts";
import { signatureEntryId } from "../chain/scd-tree.ts";
import { signatureOf } from "../chain/signature-entry.ts";
import { fileIn } from "./node-folder.ts";
import { SqliteSnapshot } from "./sqlite-snapshot.ts";

export class ReplicaSignatures {
  private constructor(private readonly snapshot: SqliteSnapshot) {}

  /**
   * Undefined: the node of this folder has not run yet. Throws what SQLite throws.
   * @param dir of a node of the ledger
   */
  static open(dir: string): ReplicaSignatures | undefined {
    const file = fileIn(dir, "store");
    return existsSync(file) ? new ReplicaSignatures(new SqliteSnapshot(file)) : undefined;
  }

  /** The newest record; undefined: never published here, or decommissioned. */
  find(signatureId: string): SignatureRecord | undefined {
    const bytes = this.snapshot.entry(signatureEntryId(signatureId));
    return bytes === undefined ? undefined : signatureOf(bytes);
  }

  /** All that blocks ever said of it, oldest first: reads the whole chain. */
  history(signatureId: string): SignatureRecord[] {
    const found: SignatureRecord[] = [];
    const tip = this.snapshot.tip();
    for (let height = 1; height <= tip; height++) {
      const records = this.snapshot.block(height as Height)?.body.records ?? [];
      const ours = records.flatMap((bytes) => signatureOf(bytes) ?? []);
      found.push(...ours.filter((record) => record.signatureId === signatureId));
    }
    return found;
  }

  close(): void {
    this.snapshot.close();
  }
}
