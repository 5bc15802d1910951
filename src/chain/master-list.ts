/**
 * The master keeps the Trusted Nodes List to those who are there (design "Choosing"): a node that
 * was not heard of for 10 minutes leaves it while a quorum remains, so that stopped VMs do not halt
 * a tenant, and is put back with its own stake when it is heard of again. What this took off is in
 * the log; what an operator took off stays off. Validators see a TNL record like any other.
 */
import { ascii } from "../bytes.ts";
import { quorumOf } from "./certificate.ts";
import { isChangePending, newest } from "./chain-state.ts";
import { report, write } from "./ledger-node.ts";
import type { Height, NodeId } from "./ledger-units.ts";
import type { Master } from "./master-state.ts";
import { keysAt, type Member, type Stake } from "./member.ts";
import { encodeRecord } from "./record-schema.ts";
import { TNL_LINES_MAX } from "./record-types.ts";

export const UNSEEN_MS = 600_000;
const TNL_START = ascii('{"kind":"TNL"');

/** Anything at all that a member sends shows that it is there. */
export function noteSeen(master: Master, nodeId: NodeId): void {
  if (master.chain.members.has(nodeId)) master.seenMs.set(nodeId, master.at.ms);
}

/** Asks for a change of the list where one is due. */
export function keepList(master: Master): void {
  const { chain, records } = master;
  if (isChangePending(chain) || records.some(isTnl)) return;
  const lines = newest(chain.tnl) ?? [];
  const listed = new Set(lines.map(({ nodeId }) => nodeId));
  const present = lines.filter(({ nodeId }) => isEffective(master, nodeId));
  const leaving = unseenOf(master, present);
  const returning = [...master.parked.values()].filter(({ nodeId }) => {
    return !listed.has(nodeId) && isEffective(master, nodeId) && wasHeard(master, nodeId);
  });
  const set = returning.slice(0, TNL_LINES_MAX).sort(byId);
  const remove = leaving.map(({ nodeId }) => nodeId).sort();
  if (set.length + remove.length === 0) return;
  for (const line of leaving) master.parked.set(line.nodeId, line);
  forgetOthers(master, new Set([...listed].filter((nodeId) => !remove.includes(nodeId))));
  write(master, { kind: "parked", lines: [...master.parked.values()].sort(byId) });
  for (const nodeId of remove) report(master, "unseen", `${nodeId} leaves the list`);
  for (const { nodeId } of set) report(master, "seen-again", `${nodeId} returns to the list`);
  records.push(encodeRecord({ kind: "TNL", set, remove }));
}

/** Those who were not heard of, the longest first, as many as leave a quorum behind. */
function unseenOf(master: Master, present: readonly Stake[]): Stake[] {
  const mayLeave = present.length - quorumOf(present.length);
  const unseen = present.filter(({ nodeId }) => isUnseen(master, nodeId));
  const at = ({ nodeId }: Stake): number => lastSeenMs(master, nodeId);
  unseen.sort((one, other) => at(one) - at(other) || byId(one, other));
  return unseen.slice(0, Math.min(mayLeave, TNL_LINES_MAX));
}

function isUnseen(master: Master, nodeId: NodeId): boolean {
  return master.at.ms - lastSeenMs(master, nodeId) >= UNSEEN_MS;
}

/** Whoever was never heard of has its time from the first look on: a start, or a new line. */
function lastSeenMs({ seenMs, watchedMs, at }: Master, nodeId: NodeId): number {
  const watched = watchedMs.get(nodeId) ?? at.ms;
  watchedMs.set(nodeId, watched);
  return seenMs.get(nodeId) ?? watched;
}

function wasHeard({ seenMs, at }: Master, nodeId: NodeId): boolean {
  return at.ms - (seenMs.get(nodeId) ?? Number.NEGATIVE_INFINITY) < UNSEEN_MS;
}

/** Back on the list by whatever way, or revoked: nothing is owed to it any more. */
function forgetOthers(master: Master, listed: ReadonlySet<NodeId>): void {
  for (const nodeId of [...master.parked.keys()]) {
    const isGone = master.chain.members.get(nodeId)?.revokedFrom !== undefined;
    if (listed.has(nodeId) || isGone) master.parked.delete(nodeId);
  }
}

function isEffective({ chain }: Master, nodeId: NodeId): boolean {
  const member: Member | undefined = chain.members.get(nodeId);
  return member !== undefined && keysAt(member, (chain.height + 2) as Height) !== undefined;
}

/** Canonical JSON begins with `kind`: nothing has to be parsed each second. */
function isTnl(bytes: Uint8Array): boolean {
  return Buffer.compare(bytes.subarray(0, TNL_START.length), TNL_START) === 0;
}

function byId(one: Stake, other: Stake): number {
  return one.nodeId < other.nodeId ? -1 : 1;
}
