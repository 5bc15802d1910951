/** The pages of the console, in the order of the navigation. docs/console.md. */
import type { ComponentType } from "preact";
import { AgentsPage } from "./pages/agents.tsx";
import { AuditPage } from "./pages/audit.tsx";
import { ContractsPage } from "./pages/contracts.tsx";
import { FlowsPage } from "./pages/flows.tsx";
import { LedgerPage } from "./pages/ledger.tsx";
import { NotificationsPage } from "./pages/notifications.tsx";
import { OverviewPage } from "./pages/overview.tsx";
import { PolicyPage } from "./pages/policy.tsx";
import { QuarantinePage } from "./pages/quarantine.tsx";
import { SignaturesPage } from "./pages/signatures.tsx";

export type PageProps = { readonly tenant: string };

export type Page = {
  /** Below `/console/`. */
  readonly path: string;
  readonly title: string;
  readonly lead: string;
  readonly view: ComponentType<PageProps>;
};

export const PAGES: readonly [Page, ...Page[]] = [
  {
    ...{ path: "", title: "Overview", view: OverviewPage },
    lead: "Who is there, and what happened last.",
  },
  {
    ...{ path: "flows", title: "Flows", view: FlowsPage },
    lead: "What agents decided, and the rule behind every verdict.",
  },
  {
    ...{ path: "agents", title: "Agents", view: AgentsPage },
    lead: "One beside each VM. “In force” is what the agent reports, not what it was sent.",
  },
  {
    ...{ path: "policy", title: "Policy", view: PolicyPage },
    lead: "One for all agents of a tenant: the first rule that applies decides, else the defaults.",
  },
  {
    ...{ path: "signatures", title: "Signatures", view: SignaturesPage },
    lead: "What applications are recognised by, and which version the ledger holds.",
  },
  {
    ...{ path: "contracts", title: "Contracts", view: ContractsPage },
    lead: "Security Contracts: algorithms, generation of their secrets, how long they last.",
  },
  {
    ...{ path: "ledger", title: "Ledger", view: LedgerPage },
    lead: "Blocks as the master has them; hashes and proofs are checked by your browser.",
  },
  {
    ...{ path: "quarantine", title: "Quarantine", view: QuarantinePage },
    lead: "VMs whose traffic is dropped, at their peers and at the switches.",
  },
  {
    ...{ path: "notifications", title: "Notifications", view: NotificationsPage },
    lead: "What the manager tells, as it happens.",
  },
  {
    ...{ path: "audit", title: "Audit log", view: AuditPage },
    lead: "Who did what, when, and from where.",
  },
];
