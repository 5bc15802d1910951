/** Quarantine: who, why, by whom, until when; by hand what evidence does. */
import type { QuarantineRow } from "../../answers/quarantines.ts";
import { Action, Field } from "../action.tsx";
import { ask } from "../api.ts";
import { Moment } from "../moment.tsx";
import type { PageProps } from "../pages.tsx";
import { setQuery, usePlace } from "../place.tsx";
import { Shown, useResource } from "../resource.tsx";
import { Badge, type Column, Command, Table } from "../table.tsx";

export function QuarantinePage({ tenant }: PageProps) {
  const isAll = usePlace().query.get("all") === "yes";
  const quarantines = useResource<readonly QuarantineRow[]>(
    `/quarantines${isAll ? "?all=true" : ""}`,
  );
  const { reload } = quarantines;
  return (
    <>
      <div class="buttons">
        <label class="check">
          <input
            type="checkbox"
            checked={isAll}
            onChange={(event) => setQuery({ all: event.currentTarget.checked ? "yes" : "" })}
          />
          those that are over, too
        </label>
        <Begin tenant={tenant} done={reload} />
      </div>
      <Shown of={quarantines}>
        {(rows) => (
          <Table
            caption="Quarantined VMs"
            columns={columnsOf(reload)}
            rows={rows}
            keyOf={({ number }) => String(number)}
            empty={<NoneQuarantined tenant={tenant} />}
          />
        )}
      </Shown>
    </>
  );
}

function columnsOf(reload: () => void): readonly Column<QuarantineRow>[] {
  return [
    { title: "VM", cell: ({ host }) => host },
    {
      title: "State",
      cell: ({ over }) =>
        over === undefined || over === "-" ? (
          <Badge tone="bad">dropped</Badge>
        ) : (
          <Badge tone="calm">over</Badge>
        ),
    },
    { title: "Addresses", cell: ({ addresses }) => addresses.join(", ") || "–" },
    { title: "Why", cell: ({ reason }) => reason },
    { title: "By", cell: ({ by }) => by },
    { title: "Since", cell: ({ since }) => <Moment at={since} /> },
    {
      title: "Until",
      cell: ({ until }) => (until === "released" ? "it is released" : <Moment at={until} />),
    },
    {
      title: "Change",
      cell: ({ over, number, host }) =>
        over === undefined || over === "-" ? (
          <Release number={number} host={host} done={reload} />
        ) : null,
    },
  ];
}

function NoneQuarantined({ tenant }: PageProps) {
  return (
    <>
      <p>
        Nobody is in quarantine. Evidence of refused packets brings a VM into it once you say how
        much is too much:
      </p>
      <Command>{`abs manager quarantine set --tenant ${tenant} --violations 100`}</Command>
    </>
  );
}

function Begin({ tenant, done }: PageProps & { readonly done: () => void }) {
  const run = (form: FormData) => {
    const [agent, reason, lasting] = ["agent", "reason", "for"].map((name) => form.get(name));
    return ask("POST", "/quarantines", { json: { agent, tenant, reason, for: lasting } });
  };
  return (
    <Action
      label="Quarantine a VM…"
      title="Drop a VM's traffic"
      confirm="Quarantine"
      isGrave
      run={run}
      done={done}
    >
      <Field label="Agent">
        <input name="agent" required />
      </Field>
      <Field label="For (90s, 15m, 24h, 7d or ever)">
        <input name="for" required defaultValue="1h" />
      </Field>
      <Field label="Reason, for the record">
        <input name="reason" required maxLength={200} />
      </Field>
    </Action>
  );
}

type ReleaseProps = {
  readonly number: number;
  readonly host: string;
  readonly done: () => void;
};

function Release({ number, host, done }: ReleaseProps) {
  const run = (form: FormData) =>
    ask("POST", `/quarantines/${number}/release`, { json: { reason: form.get("reason") } });
  return (
    <Action label="Release…" title={`Release ${host}?`} confirm="Release" run={run} done={done}>
      <Field label="Reason, for the record">
        <input name="reason" required maxLength={200} />
      </Field>
    </Action>
  );
}
