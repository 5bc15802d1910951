/** Agents: mode, stage, versions wanted and in force, when they were last heard of. */
import type { AgentDescription, AgentRow } from "../../answers/agents.ts";
import { Action, Field } from "../action.tsx";
import { ask } from "../api.ts";
import { Moment } from "../moment.tsx";
import type { PageProps } from "../pages.tsx";
import { hrefOf, Link, usePlace } from "../place.tsx";
import { Shown, useResource } from "../resource.tsx";
import { Badge, type Column, Command, Table } from "../table.tsx";

/** Agents report at least every minute while they are connected. */
const SILENT_MS = 5 * 60_000;

/** @returns what to look at, if anything */
function Health({ agent }: { readonly agent: AgentRow }) {
  const [inForce, wanted] = agent.version.split("/");
  if (agent.state === "revoked") return <Badge tone="bad">revoked</Badge>;
  const seen = Date.parse(agent.last_seen);
  if (Number.isNaN(seen)) return <Badge tone="warn">not seen yet</Badge>;
  if (inForce !== wanted) return <Badge tone="warn">behind</Badge>;
  if (Date.now() - seen > SILENT_MS) return <Badge tone="calm">silent</Badge>;
  return <Badge tone="good">up to date</Badge>;
}

const STAGE_TONE = { enforce: "good", observe: "calm" } as const;

const columns: readonly Column<AgentRow>[] = [
  {
    title: "Name",
    cell: ({ name }) => <Link href={hrefOf("agents", { agent: name })}>{name}</Link>,
  },
  { title: "Health", cell: (agent) => <Health agent={agent} /> },
  { title: "Mode", cell: ({ mode }) => mode },
  {
    title: "Stage",
    cell: ({ stage }) => <Badge tone={STAGE_TONE[stage as "enforce"] ?? "warn"}>{stage}</Badge>,
  },
  { title: "Groups", cell: ({ groups }) => groups },
  { title: "Addresses", cell: ({ addresses }) => addresses.replaceAll(",", ", ") },
  { title: "In force / wanted", cell: ({ version }) => version, isNumber: true },
  { title: "Last seen", cell: ({ last_seen }) => <Moment at={last_seen} /> },
];

export function AgentsPage({ tenant }: PageProps) {
  const agents = useResource<readonly AgentRow[]>(`/agents?tenant=${encodeURIComponent(tenant)}`);
  const chosen = usePlace().query.get("agent");
  return (
    <>
      {chosen !== null && <OneAgent tenant={tenant} name={chosen} />}
      <Shown of={agents}>
        {(rows) => (
          <Table
            caption={`Agents of ${tenant}`}
            columns={columns}
            rows={rows}
            keyOf={({ node }) => node}
            empty={<Nobody tenant={tenant} />}
          />
        )}
      </Shown>
    </>
  );
}

function Nobody({ tenant }: PageProps) {
  return (
    <>
      <p>No agent has enrolled yet. Invite one here, then start it in its VM with the token:</p>
      <Command>{`abs manager invite --name web1 --tenant ${tenant}`}</Command>
      <Command>abs agent run --enroll TOKEN --inside veth:abs0 --outside af_packet:eth0</Command>
    </>
  );
}

function OneAgent({ tenant, name }: { readonly tenant: string; readonly name: string }) {
  const query = `?tenant=${encodeURIComponent(tenant)}`;
  const path = `/agents/${encodeURIComponent(name)}`;
  const agent = useResource<AgentDescription>(`${path}${query}`);
  return (
    <section class="card" aria-label={`Agent ${name}`}>
      <h2>{name}</h2>
      <Shown of={agent}>
        {(value) => (
          <>
            <dl class="facts">
              {Object.entries(value).map(([field, fact]) => (
                <div key={field}>
                  <dt>{field.replaceAll("_", " ")}</dt>
                  <dd>{[fact].flat().join(", ") || "–"}</dd>
                </div>
              ))}
            </dl>
            <div class="buttons">
              <Link href={hrefOf("agents")}>Close</Link>
              <Change tenant={tenant} name={name} agent={value} done={agent.reload} />
              <Revoke tenant={tenant} name={name} path={path} done={agent.reload} />
            </div>
          </>
        )}
      </Shown>
    </section>
  );
}

type OneProps = { readonly tenant: string; readonly name: string; readonly done: () => void };

function Change({ tenant, name, agent, done }: OneProps & { readonly agent: AgentDescription }) {
  const run = (form: FormData) => {
    const [mode, stage] = [form.get("mode"), form.get("stage")];
    return ask("PATCH", "/agents", { json: { agent: [name], tenant, mode, stage } });
  };
  return (
    <Action label="Change…" title={`Change ${name}`} confirm="Change" run={run} done={done}>
      <Choice name="mode" label="Mode" now={agent.mode} of={["quick", "full"]} />
      <Choice name="stage" label="Stage" now={agent.stage} of={["observe", "warn", "enforce"]} />
    </Action>
  );
}

type ChoiceProps = {
  readonly name: string;
  readonly label: string;
  readonly now: unknown;
  readonly of: readonly string[];
};

function Choice({ name, label, now, of }: ChoiceProps) {
  return (
    <Field label={label}>
      <select name={name}>
        {of.map((one) => (
          <option key={one} selected={one === now}>
            {one}
          </option>
        ))}
      </select>
    </Field>
  );
}

function Revoke({ tenant, name, path, done }: OneProps & { readonly path: string }) {
  const run = (form: FormData) =>
    ask("POST", `${path}/revoke`, { json: { tenant, reason: form.get("reason") } });
  return (
    <Action
      label="Revoke…"
      title={`Revoke ${name} for good?`}
      confirm="Revoke"
      isGrave
      run={run}
      done={done}
    >
      <p>Its connections end, and no other agent speaks with it any more.</p>
      <Field label="Reason, for the record">
        <input name="reason" required maxLength={200} />
      </Field>
    </Action>
  );
}
