/**
 * Of the signatures that AppDB delivered, those that this VM's own ledger holds: only they are
 * compiled and used. docs/ledger.md "Signatures". Signatures of a file of this VM are not asked
 * about.
 */
import type { CommittedSignature } from "../channel/appdb-file.ts";
import { refusalOf } from "../channel/commitment-check.ts";
import type { AppSignature } from "../dpi/signature.ts";
import { ReplicaSignatures } from "../node/replica-signatures.ts";
import type { Provisioning, UnusedSignature } from "./provisioning.ts";

/** @param inForce commitments of what the running agent uses */
export function withCommitted(
  provisioning: Provisioning,
  inForce: readonly string[],
): Provisioning {
  const { ledger, signatures } = provisioning;
  if (ledger === undefined || !signatures.some(isCommitted)) return provisioning;
  const replica = openReplica(ledger.directory);
  try {
    const unused: UnusedSignature[] = [];
    const used = signatures.filter((signature) => {
      if (!isCommitted(signature)) return true;
      const { id, version, commitment } = signature;
      const reason = refusalOf(signature, replica, inForce.includes(commitment));
      if (reason !== undefined) unused.push({ id, version, reason });
      return reason === undefined;
    });
    return { ...provisioning, signatures: used, unused };
  } finally {
    replica?.close();
  }
}

/** What an agent uses that the ledger has to hold. */
export function commitmentsOf({ signatures }: Provisioning): string[] {
  return signatures.flatMap(({ commitment }) => commitment ?? []);
}

/** Ids of all that was delivered, used or not. */
export function deliveredIds({ signatures, unused = [] }: Provisioning): Set<string> {
  return new Set([...signatures.filter(isCommitted), ...unused].map(({ id }) => id));
}

function isCommitted(signature: AppSignature): signature is AppSignature & CommittedSignature {
  return signature.commitment !== undefined;
}

/** A damaged one is repaired by its node; until then nothing new is used. */
function openReplica(dir: string): ReplicaSignatures | undefined {
  try {
    return ReplicaSignatures.open(dir);
  } catch {
    return undefined;
  }
}
