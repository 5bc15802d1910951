/**
 * Quarantine on evidence: when agents have refused so many packets of a VM within a time, each
 * covered by the proof of a session with it, or when the ledger proves that its node contradicted
 * itself. docs/manager.md "Quarantine on evidence". Who reports is known by its channel; what is
 * reported is of its own tenant only.
 */
import type { Violations } from "../channel/violation-report.ts";
import type { EpochSeconds } from "../units.ts";
import type { ManagerState } from "./manager-state.ts";
import type { MappedNode } from "./mapping-service.ts";
import type { SwitchDesk } from "./switch-desk.ts";

const AUTHOR = "evidence";
/** Of one VM: reports that are remembered; of more the oldest go. */
const REPORTS_MAX = 256;
const SUSPECTS_MAX = 20_000;

type Report = {
  readonly atMs: number;
  readonly reporter: string;
  readonly count: number;
  readonly reason: string;
};

export class ViolationWatch {
  /** By node id. */
  readonly #reports = new Map<string, Report[]>();

  constructor(
    private readonly state: ManagerState,
    private readonly switches: SwitchDesk,
    private readonly nowMs: () => number = () => performance.now(),
  ) {}

  /** What the agent of `reporter` says of its peers. */
  take(reporter: MappedNode, list: readonly Violations[]): void {
    const { violations, windowSeconds } = this.state.quarantines.terms(reporter.tenant);
    if (violations === 0) return;
    for (const { sessionPub, count, reason } of list) {
      const suspect = this.state.nodes.ofSessionKey(sessionPub);
      const isOther = suspect !== undefined && suspect.nodeId !== reporter.nodeId;
      if (!isOther || suspect.tenant !== reporter.tenant || suspect.state === "revoked") continue;
      const atMs = this.nowMs();
      const report = { atMs, reporter: reporter.name, count, reason };
      this.#judge(suspect, this.#remember(suspect.nodeId, report, windowSeconds * 1000));
    }
  }

  /** The ledger holds the proof: it has revoked the node, and the switch is to drop its VM. */
  proven(node: MappedNode): void {
    const { violations } = this.state.quarantines.terms(node.tenant);
    if (violations > 0)
      this.#quarantine(node, "the ledger proves that its node contradicted itself");
  }

  #remember(nodeId: string, report: Report, windowMs: number): Report[] {
    if (this.#reports.size >= SUSPECTS_MAX) this.#reports.clear();
    const before = this.#reports.get(nodeId) ?? [];
    const kept = before.filter(({ atMs }) => report.atMs - atMs <= windowMs);
    const all = [...kept, report].slice(-REPORTS_MAX);
    this.#reports.set(nodeId, all);
    return all;
  }

  #judge(suspect: MappedNode, reports: readonly Report[]): void {
    const { violations, windowSeconds, reporters } = this.state.quarantines.terms(suspect.tenant);
    const count = reports.reduce((sum, report) => sum + report.count, 0);
    const tellers = [...new Set(reports.map(({ reporter }) => reporter))].sort();
    if (count < violations || tellers.length < reporters) return;
    const reasons = [...new Set(reports.map(({ reason }) => reason))].sort().join(", ");
    const what = `${count} of its packets were refused within ${windowSeconds} s (${reasons})`;
    this.#quarantine(suspect, `${what}, by ${tellers.slice(0, 8).join(", ")}`);
  }

  #quarantine(node: MappedNode, reason: string): void {
    this.#reports.delete(node.nodeId);
    const { state } = this;
    if (state.quarantines.ofNode(node.nodeId) !== undefined) return;
    const { nodeId, tenant, name, addresses, macs } = node;
    const now = state.now();
    const { seconds } = state.quarantines.terms(tenant);
    const endsAt = (now + seconds) as EpochSeconds;
    const one = state.transaction(() => {
      state.tenants.countUp(tenant);
      const command = `quarantine add --agent ${name} --tenant ${tenant}`;
      state.audit.add({ at: now, who: AUTHOR, address: "", command, outcome: "done" });
      const host = { tenant, nodeId, name, addresses, macs, ports: [] };
      return state.quarantines.add(host, { reason, author: AUTHOR }, { now, endsAt });
    });
    void this.switches.began(one);
  }
}
