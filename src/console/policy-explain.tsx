/** What an agent's policy decides about a flow, and why: each rule considered, in order. */
import type { TargetedSubmitEvent } from "preact";
import { useState } from "preact/hooks";
import type { AgentRow } from "../answers/agents.ts";
import type { Explanation } from "../answers/flows.ts";
import { Field } from "./action.tsx";
import { ask } from "./api.ts";
import type { PageProps } from "./pages.tsx";
import { ProblemNote, useResource } from "./resource.tsx";
import { Badge, Table } from "./table.tsx";

export function PolicyExplain({ tenant }: PageProps) {
  const [found, setFound] = useState<Explanation>();
  const [problem, setProblem] = useState<Error>();
  const name = encodeURIComponent(tenant);
  const agents = useResource<readonly AgentRow[]>(`/agents?tenant=${name}`).value ?? [];
  const submit = (event: TargetedSubmitEvent<HTMLFormElement>) => {
    event.preventDefault();
    const words = [...new FormData(event.currentTarget)].filter(([, value]) => value !== "");
    const query = new URLSearchParams(words as [string, string][]);
    setProblem(undefined);
    const path = `/tenants/${name}/policy/explanation?${query}`;
    ask<Explanation>("GET", path).then(setFound, setProblem);
  };
  return (
    <section class="card" aria-label="Explain">
      <h2>Explain a decision</h2>
      <form class="filters" onSubmit={submit}>
        <Field label="Decided by">
          <select name="agent" required>
            {agents.map((agent) => (
              <option key={agent.node}>{agent.name}</option>
            ))}
          </select>
        </Field>
        <Field label="Direction">
          <select name="direction">
            <option>in</option>
            <option>out</option>
          </select>
        </Field>
        <Field label="Other end">
          <input name="other" required placeholder="agent or address" />
        </Field>
        <Field label="Protocol">
          <input name="protocol" required defaultValue="tcp" size={6} />
        </Field>
        <Field label="Port">
          <input name="port" type="number" min={0} max={65_535} defaultValue="443" />
        </Field>
        <Field label="Application, if proven">
          <input name="app" />
        </Field>
        <button type="submit">Explain</button>
      </form>
      {problem !== undefined && <ProblemNote problem={problem} />}
      {found !== undefined && <Found {...found} />}
    </section>
  );
}

function Found({ action, rule, stage, considered }: Explanation) {
  return (
    <div aria-live="polite">
      <p>
        <Badge tone={action === "allow" ? "good" : "bad"}>{action}</Badge>
        {" by "}
        <code>{rule}</code> (stage {stage})
      </p>
      <Table
        caption="Rules considered, in order"
        columns={[
          { title: "Rule", cell: (row) => <code>{row.rule}</code> },
          { title: "Applies", cell: (row) => (row.applies ? "yes" : "no") },
          { title: "Why", cell: (row) => row.why },
        ]}
        rows={considered}
        keyOf={(row) => row.rule}
        empty={<p>The policy has no rules: the defaults decide.</p>}
      />
    </div>
  );
}
