/** What to look at first: how many agents are there and up to date, and what happened last. */
import type { AgentRow } from "../../answers/agents.ts";
import type { Flow } from "../../answers/flows.ts";
import { flowsPath, REFRESH_MS } from "../flow.ts";
import { FlowMap } from "../flow-map.tsx";
import { liveEvents } from "../live.ts";
import type { PageProps } from "../pages.tsx";
import { hrefOf, Link } from "../place.tsx";
import { useResource } from "../resource.tsx";
import { useStore } from "../store.ts";
import { EventTable } from "./notifications.tsx";

const SHOWN_MAX = 8;

export function OverviewPage({ tenant }: PageProps) {
  const path = `/agents?tenant=${encodeURIComponent(tenant)}`;
  const agents = useResource<readonly AgentRow[]>(path).value ?? [];
  const flows = useResource<readonly Flow[]>(flowsPath(tenant), REFRESH_MS).value ?? [];
  return (
    <>
      <Figures tenant={tenant} agents={agents} />
      {agents.length > 0 && <FlowMap agents={agents} flows={flows} />}
      <LastEvents />
    </>
  );
}

type FiguresProps = PageProps & { readonly agents: readonly AgentRow[] };

function Figures({ tenant, agents }: FiguresProps) {
  const name = encodeURIComponent(tenant);
  const held = useResource<readonly unknown[]>("/quarantines").value ?? [];
  const contracts = useResource<readonly { active: unknown }[]>(`/tenants/${name}/contracts`);
  const behind = agents.filter(({ version }) => new Set(version.split("/")).size > 1).length;
  const enforcing = agents.filter(({ stage }) => stage === "enforce").length;
  const active = (contracts.value ?? []).filter((one) => one.active === true).length;
  return (
    <ul class="figures">
      <Figure page="agents" count={agents.length} what="agents" />
      <Figure page="agents" count={enforcing} what="enforcing" />
      <Figure page="agents" count={behind} what="behind the wanted version" isBad={behind > 0} />
      <Figure page="contracts" count={active} what="contracts active" isBad={active === 0} />
      <Figure page="quarantine" count={held.length} what="in quarantine" isBad={held.length > 0} />
    </ul>
  );
}

type FigureProps = {
  readonly page: string;
  readonly count: number;
  readonly what: string;
  readonly isBad?: boolean;
};

function Figure({ page, count, what, isBad = false }: FigureProps) {
  return (
    <li class={isBad ? "bad" : ""}>
      <Link href={hrefOf(page)}>
        <strong>{count}</strong> {what}
      </Link>
    </li>
  );
}

function LastEvents() {
  const events = useStore(liveEvents).slice(0, SHOWN_MAX);
  return <EventTable events={events} caption="What happened last" />;
}
