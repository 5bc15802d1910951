/**
 * Building a worker's data plane from its setup message: tables of fixed size, the mapped flow
 * file, the first snapshot. Sizes are docs/wire.md "HANDSHAKE" (queues bounded to a quarter of the
 * pool, a sixteenth a peer) and design/agent.md.
 */
import { AddressPairs } from "../dataplane/address-pairs.ts";
import { BindingTable } from "../dataplane/binding-table.ts";
import { Counters } from "../dataplane/counters.ts";
import { DROP } from "../dataplane/drop-reasons.ts";
import { openFlowFile } from "../dataplane/flow-file.ts";
import { rebindFlows } from "../dataplane/flow-rebinding.ts";
import { FlowTable } from "../dataplane/flow-table.ts";
import { HalfOpen } from "../dataplane/half-open.ts";
import { HoldQueue } from "../dataplane/hold-queue.ts";
import { IDENTIFY_SEATS } from "../dataplane/identification.ts";
import { Plane } from "../dataplane/plane.ts";
import { RecordRing } from "../dataplane/record-ring.ts";
import { ReplayWindow } from "../dataplane/replay-window.ts";
import { Punts } from "../dataplane/reports.ts";
import { SessionTable } from "../dataplane/session-table.ts";
import type { Shim } from "../dataplane/shim.ts";
import { addressOf } from "../dataplane/shim.ts";
import { unpackSnapshot } from "../dataplane/snapshot.ts";
import { PolicyDecision } from "../policy/decision.ts";
import { loadGuard, loadPairs, planeConfig } from "./plane-config.ts";
import type { SnapshotFields } from "./snapshot-fields.ts";
import type { WorkerSetup } from "./worker-setup.ts";

/** Counters beside the drops; the order is that of publishCounters(). */
export const COUNTER_NAMES = [
  "outside-sent-packets",
  "outside-sent-bytes",
  "outside-unsent-packets",
  "inside-sent-packets",
  "inside-sent-bytes",
  "inside-unsent-packets",
  "keep-alives",
  "mac1-checks",
  "flows",
  "flow-evictions",
  "held-packets",
  "reports-suppressed",
] as const;

/** A rule's index has 16 bits; the policy may have changed since, and then only names differ. */
const RULES_MAX = 0x10000;

export interface BuiltPlane {
  readonly plane: Plane;
  readonly restoredFlows: number;
  /** Why the flow file of before was not used; empty when it was, or when there was none. */
  readonly flowFileIgnored: string;
}

export function buildPlane(shim: Shim, setup: WorkerSetup): BuiltPlane {
  const { memory, bytes } = shim.poolView();
  const fields = unpackSnapshot(setup.snapshots[0], 0) as SnapshotFields;
  const pairs = new AddressPairs(setup.pairs);
  const opened = openFlows(shim, setup);
  const plane = new Plane(
    {
      memory,
      poolAddress: addressOf(bytes),
      shim: shim.symbols,
      insidePort: setup.insidePort,
      outsidePort: setup.outsidePort,
      queue: setup.queue,
      lane: setup.lane,
      peers: Math.max(1, setup.peers),
      firstSeatOwner: setup.bindings,
      decision: new PolicyDecision(),
      punts: new Punts(new RecordRing(setup.punts), memory),
      tables: {
        flows: opened.flows,
        sessions: new SessionTable(setup.sessionCapacity, setup.sessions),
        bindings: new BindingTable(setup.bindings),
        pairs,
        windows: new ReplayWindow(setup.sessionCapacity),
        holds: new HoldQueue(
          Math.max(16, setup.poolPackets >>> 2),
          setup.bindings + IDENTIFY_SEATS,
          Math.max(1, setup.peers),
          Math.max(4, setup.poolPackets >>> 4),
        ),
        halfOpen: new HalfOpen(Math.max(1, setup.peers)),
        counters: new Counters(COUNTER_NAMES, setup.counters),
      },
    },
    planeConfig(fields, shim),
  );
  loadPairs(fields, pairs);
  loadGuard(fields, plane.guard);
  rebindFlows(plane);
  return { plane, restoredFlows: opened.restored, flowFileIgnored: opened.ignored };
}

function openFlows(
  shim: Shim,
  setup: WorkerSetup,
): { flows: FlowTable; restored: number; ignored: string } {
  if (setup.flowFile === undefined) {
    return { flows: new FlowTable(setup.flowCapacity), restored: 0, ignored: "" };
  }
  return openFlowFile({
    path: setup.flowFile,
    capacity: setup.flowCapacity,
    digest: setup.flowDigest,
    limits: { peers: setup.peers, pairs: setup.pairs, tags: setup.tags, rules: RULES_MAX },
    nowSeconds: Math.floor(shim.symbols.abs_now_us() / 1e6),
  });
}

/** Copies what the plane counts in its own fields to where the main thread reads it. */
export function publishCounters(plane: Plane): void {
  const values = plane.counters.values;
  values[0] = plane.outside.sentPackets;
  values[1] = plane.outside.sentBytes;
  values[2] = plane.outside.unsentPackets;
  values[3] = plane.inside.sentPackets;
  values[4] = plane.inside.sentBytes;
  values[5] = plane.inside.unsentPackets;
  values[6] = plane.keepAlives;
  values[7] = plane.mac1Checks;
  values[8] = plane.flows.count;
  values[9] = plane.flows.evictions;
  values[10] = plane.holds.count;
  values[11] = plane.punts.suppressed;
  plane.counters.dropsOut[DROP.egressTransmit] = plane.outside.unsentPackets;
  plane.counters.dropsIn[DROP.ingressTransmit] = plane.inside.unsentPackets;
}
