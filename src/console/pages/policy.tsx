/** The policy of a tenant: editor, what a change would do, why a flow is decided as it is. */
import { useState } from "preact/hooks";
import type { ChangedFlow, Replay } from "../../answers/flows.ts";
import type { Checked, Policy, VersionRow } from "../../answers/policies.ts";
import { Action } from "../action.tsx";
import { askSuggestion, putPolicy } from "../allow-flow.tsx";
import { ask, mayAct } from "../api.ts";
import { Moment } from "../moment.tsx";
import type { PageProps } from "../pages.tsx";
import { PatchView } from "../patch-view.tsx";
import { PolicyExplain } from "../policy-explain.tsx";
import { ProblemNote, Shown, useResource } from "../resource.tsx";
import { type Column, Table } from "../table.tsx";

type Tried = Checked & { readonly replay: Replay };

const ROWS = 18;

export function PolicyPage({ tenant }: PageProps) {
  const policy = useResource<Policy>(`/tenants/${encodeURIComponent(tenant)}/policy`);
  // What somebody has begun to change stays, whatever others apply meanwhile.
  const [held, setHeld] = useState<Policy>();
  const done = () => {
    setHeld(undefined);
    policy.reload();
  };
  return (
    <>
      <Shown of={policy}>
        {(value) => {
          const shown = held ?? value;
          const hold = () => setHeld(shown);
          return <Editor key={shown.version} {...{ tenant, policy: shown, hold, done }} />;
        }}
      </Shown>
      <PolicyExplain tenant={tenant} />
      <Versions tenant={tenant} done={done} />
    </>
  );
}

type EditorProps = PageProps & {
  readonly policy: Policy;
  /** It is being changed. */
  readonly hold: () => void;
  readonly done: () => void;
};

function Editor({ tenant, policy, hold, done }: EditorProps) {
  const { version } = policy;
  const [document, setDocument] = useState(policy.body);
  const [tried, setTried] = useState<Tried>();
  const [problem, setProblem] = useState<Error>();
  const isOwn = mayAct("operator");
  const attempt = (work: () => Promise<void>) => {
    setProblem(undefined);
    setTried(undefined);
    work().catch(setProblem);
  };
  const suggest = async () => {
    const { suggestion } = await askSuggestion(tenant);
    hold();
    setDocument(suggestion.document);
  };
  return (
    <section class="card" aria-label="Editor">
      <label class="field">
        <span>Version {version}</span>
        <textarea
          rows={ROWS}
          spellcheck={false}
          readOnly={!isOwn}
          value={document}
          onInput={(event) => {
            hold();
            setDocument(event.currentTarget.value);
          }}
        />
      </label>
      {problem !== undefined && <ProblemNote problem={problem} />}
      {isOwn && (
        <div class="buttons">
          <button type="button" class="primary" onClick={() => attempt(tryOut)}>
            Try it
          </button>
          <button type="button" onClick={() => attempt(suggest)}>
            Suggest rules for what was refused
          </button>
        </div>
      )}
      {tried !== undefined && (
        <Trial
          tried={tried}
          tenant={tenant}
          apply={() => putPolicy(tenant, { document, version, isDry: false })}
          done={done}
        />
      )}
    </section>
  );

  async function tryOut(): Promise<void> {
    const dry = { document, version, isDry: true };
    const checked = await putPolicy<Checked>(tenant, dry);
    const path = `/tenants/${encodeURIComponent(tenant)}/policy/replay`;
    setTried({ ...checked, replay: await ask<Replay>("POST", path, { yaml: document }) });
  }
}

type TrialProps = PageProps & {
  readonly tried: Tried;
  readonly apply: () => Promise<unknown>;
  readonly done: () => void;
};

function Trial({ tenant, tried: { patch, warnings, replay }, apply, done }: TrialProps) {
  const title = `Apply this to all agents of ${tenant}?`;
  return (
    <>
      <PatchView patch={patch} />
      {warnings.length > 0 && (
        <ul class="note" aria-label="Warnings">
          {warnings.map((words) => (
            <li key={words}>{words}</li>
          ))}
        </ul>
      )}
      <ReplayView replay={replay} />
      <Action label="Apply…" title={title} confirm="Apply" run={apply} done={done}>
        <PatchView patch={patch} />
      </Action>
    </>
  );
}

const changedColumns: readonly Column<ChangedFlow>[] = [
  { title: "Agent", cell: ({ agent }) => agent },
  { title: "Direction", cell: ({ direction }) => direction },
  { title: "Other end", cell: ({ other }) => other },
  { title: "Application", cell: ({ app }) => app || "unknown" },
  { title: "Port", cell: ({ port }) => port, isNumber: true },
  { title: "Times", cell: ({ count }) => count, isNumber: true },
  { title: "Now", cell: ({ now }) => now },
  { title: "With this", cell: ({ draft }) => draft },
];

function ReplayView({ replay: { flows, changed } }: { readonly replay: Replay }) {
  return (
    <Table
      caption={`Replayed over ${flows} reported flows: ${changed.length} change`}
      columns={changedColumns}
      rows={changed}
      keyOf={(row) => JSON.stringify(row)}
      empty={<p>None of the {flows} reported flows would be decided differently.</p>}
    />
  );
}

function Versions({ tenant, done }: PageProps & { readonly done: () => void }) {
  const path = `/tenants/${encodeURIComponent(tenant)}/policy`;
  const versions = useResource<readonly VersionRow[]>(`${path}/versions`);
  const newest = versions.value?.[0]?.version;
  const columns: readonly Column<VersionRow>[] = [
    { title: "Version", cell: ({ version }) => version, isNumber: true },
    { title: "By", cell: ({ author }) => author },
    { title: "Applied", cell: ({ made }) => <Moment at={made} /> },
    {
      title: "Change",
      cell: ({ version }) =>
        version === newest ? null : (
          <Action
            label="Roll back…"
            title={`Apply version ${version} again?`}
            confirm="Roll back"
            run={() => ask("POST", `${path}/rollback`, { json: { version } })}
            done={() => {
              versions.reload();
              done();
            }}
          />
        ),
    },
  ];
  return (
    <Shown of={versions}>
      {(rows) => (
        <Table
          caption="Versions, newest first"
          columns={columns}
          rows={rows}
          keyOf={({ version }) => String(version)}
          empty={<p>There is no version yet.</p>}
        />
      )}
    </Shown>
  );
}
