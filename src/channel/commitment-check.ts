/**
 * Whether an application signature that was delivered may be used: the own replica of the ledger
 * must hold its commitment as published. docs/ledger.md "Signatures". What is in force already
 * stays so while the replica is behind, or while the next version is under way to this VM; it ends
 * when the ledger says so.
 */
import type { SignatureRecord } from "../chain/record-types.ts";
import { AbsError } from "../errors.ts";
import { askStatus } from "../node/control-server.ts";
import { fileIn } from "../node/node-folder.ts";
import { ReplicaSignatures } from "../node/replica-signatures.ts";
import type { CommittedSignature } from "./appdb-file.ts";

const PATIENCE_MS = 10_000;
const POLL_MS = 200;

export type Refusal = { readonly signature: CommittedSignature; readonly reason: string };

/** What may be used as it is, of a VM that goes on with what it had. */
export function refusalOf(
  signature: CommittedSignature,
  replica: ReplicaSignatures | undefined,
  isInForce: boolean,
): string | undefined {
  const { id, version, commitment } = signature;
  const history = (): SignatureRecord[] => replica?.history(id) ?? [];
  const last = replica?.find(id) ?? (isInForce ? history().at(-1) : undefined);
  if (last === undefined) return isInForce ? undefined : "the ledger does not hold it";
  if (last.status !== "published") return `the ledger says that it is ${last.status}`;
  if (last.version === version && last.commitment === commitment) return undefined;
  if (last.version === version) return "the ledger holds another commitment of this version";
  if (isInForce) return undefined;
  const wasPublished =
    last.version > version && history().some((record) => record.commitment === commitment);
  return wasPublished ? undefined : `the ledger holds version ${last.version} of it`;
}

/** Those that the ledger does not hold, as they are. */
function refused(dir: string, signatures: readonly CommittedSignature[]): Refusal[] {
  const replica = ReplicaSignatures.open(dir);
  try {
    return signatures.flatMap((signature) => {
      const record = replica?.find(signature.id);
      const isHeld =
        record?.status === "published" &&
        record.version === signature.version &&
        record.commitment === signature.commitment;
      if (isHeld) return [];
      const reason = refusalOf(signature, replica, false) ?? "a newer version is published";
      return [{ signature, reason }];
    });
  } finally {
    replica?.close();
  }
}

/**
 * Waits until the replica of a running node holds all, for ten seconds: blocks may be under way.
 * Where no node runs, what its folder holds is judged when it starts.
 * @throws AbsError SIGNATURE_NOT_ON_LEDGER
 */
export async function requireCommitted(
  dir: string,
  signatures: readonly CommittedSignature[],
): Promise<void> {
  if (signatures.length === 0 || !(await isRunning(dir))) return;
  const endMs = performance.now() + PATIENCE_MS;
  let left = refused(dir, signatures);
  while (left.length > 0 && performance.now() < endMs) {
    await Bun.sleep(POLL_MS);
    left = refused(dir, signatures);
  }
  const [first] = left;
  if (first === undefined) return;
  const { signature, reason } = first;
  const more = left.length > 1 ? ` So are ${left.length - 1} more.` : "";
  throw new AbsError(
    "SIGNATURE_NOT_ON_LEDGER",
    `Signature ${signature.id}, version ${signature.version}, is refused: ${reason}.${more}`,
    "Nothing was changed. Look at `abs ledger signatures` here and `abs manager sig list` there.",
  );
}

async function isRunning(dir: string): Promise<boolean> {
  try {
    await askStatus(fileIn(dir, "control"));
    return true;
  } catch (thrown) {
    if (thrown instanceof AbsError && thrown.code === "LEDGER_NOT_RUNNING") return false;
    throw thrown;
  }
}
