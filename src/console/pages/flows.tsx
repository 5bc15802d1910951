/** Flows as agents report them, with the rule behind every verdict; filters are in the URL. */

import type { Flow } from "../../answers/flows.ts";
import { AllowFlow } from "../allow-flow.tsx";
import { FindField, isFound, useFind } from "../find-field.tsx";
import { endsOf, flowsPath, REFRESH_MS, VERDICTS } from "../flow.ts";
import { Moment } from "../moment.tsx";
import type { PageProps } from "../pages.tsx";
import { hrefOf, Link, setQuery, usePlace } from "../place.tsx";
import { Shown, useResource } from "../resource.tsx";
import { Badge, type Column, Command, Table } from "../table.tsx";

const TONES = { allowed: "good", refused: "bad", "would-refuse": "warn" } as const;

export function FlowsPage({ tenant }: PageProps) {
  const { query } = usePlace();
  const [verdict, find] = [query.get("verdict") ?? "", useFind()];
  const path = flowsPath(tenant, verdict);
  const flows = useResource<readonly Flow[]>(path, REFRESH_MS);
  const isWanted = (flow: Flow) =>
    isFound(`${endsOf(flow).join(" ")} ${Object.values(flow).join(" ")}`, find);
  return (
    <>
      <search class="filters">
        <label>
          <span>Verdict</span>
          <select
            value={verdict}
            onChange={(event) => setQuery({ verdict: event.currentTarget.value })}
          >
            <option value="">all</option>
            {Object.entries(VERDICTS).map(([value, words]) => (
              <option key={value} value={value}>
                {words}
              </option>
            ))}
          </select>
        </label>
        <FindField hint="agent, application, rule…" />
      </search>
      <Shown of={flows}>
        {(rows) => (
          <Table
            caption="Flows since the manager started, seen last first"
            columns={columnsOf(tenant, flows.reload)}
            rows={rows.filter(isWanted)}
            keyOf={({ id }) => id}
            empty={<NoFlows isFiltered={verdict !== "" || find !== ""} />}
          />
        )}
      </Shown>
    </>
  );
}

function columnsOf(tenant: string, done: () => void): readonly Column<Flow>[] {
  return [
    {
      title: "Verdict",
      cell: ({ verdict }) => <Badge tone={TONES[verdict]}>{VERDICTS[verdict]}</Badge>,
    },
    { title: "From", cell: (flow) => endsOf(flow)[0] },
    { title: "To", cell: (flow) => endsOf(flow)[1] },
    { title: "Application", cell: ({ app }) => app || <span class="quiet">unknown</span> },
    { title: "Port", cell: ({ protocol, port }) => `${protocol} ${port}` },
    { title: "Rule", cell: ({ rule, reason }) => <code>{rule || reason}</code> },
    { title: "Times", cell: ({ count }) => count, isNumber: true },
    { title: "Last", cell: ({ last }) => <Moment at={last} /> },
    {
      title: "Decided by",
      cell: ({ agent }) => <Link href={hrefOf("agents", { agent })}>{agent}</Link>,
    },
    {
      title: "Change",
      cell: (flow) =>
        flow.verdict === "allowed" ? null : <AllowFlow tenant={tenant} flow={flow} done={done} />,
    },
  ];
}

function NoFlows({ isFiltered }: { readonly isFiltered: boolean }) {
  if (isFiltered) return <p>No flow that was reported is like that.</p>;
  return (
    <>
      <p>
        No agent has reported a flow yet. Agents that run tell once a second what they decided; on
        the VM this shows the same:
      </p>
      <Command>abs flows --follow</Command>
    </>
  );
}
