/** Security Contracts of a tenant, with what is left of their lifetimes. */
import type { ContractRow } from "../../answers/contracts.ts";
import { Action } from "../action.tsx";
import { ask } from "../api.ts";
import { Moment } from "../moment.tsx";
import type { PageProps } from "../pages.tsx";
import { Shown, useResource } from "../resource.tsx";
import { Badge, type Column, Command, Table } from "../table.tsx";

const STATES: Readonly<Record<string, string>> = {
  true: "active",
  false: "inactive",
  expired: "expired",
};
const YEAR_MS = 365 * 86_400_000;

/** How much of a year is left: contracts of the manager last one. */
function Left({ until }: { readonly until: string }) {
  const left = Math.max(0, Math.min(1, (Date.parse(until) - Date.now()) / YEAR_MS));
  return (
    <span class="lifetime">
      <meter min={0} max={1} low={0.1} value={left} aria-label="left of a year" />
      <Moment at={until} />
    </span>
  );
}

export function ContractsPage({ tenant }: PageProps) {
  const path = `/tenants/${encodeURIComponent(tenant)}/contracts`;
  const contracts = useResource<readonly ContractRow[]>(path);
  const { reload } = contracts;
  const columns: readonly Column<ContractRow>[] = [
    { title: "Contract", cell: (row) => <code>{row["sc-id"]}</code> },
    {
      title: "State",
      cell: ({ active }) => (
        <Badge tone={active === true ? "good" : "calm"}>{STATES[String(active)]}</Badge>
      ),
    },
    { title: "Encryption", cell: ({ encryption }) => encryption },
    { title: "Protection", cell: ({ protection }) => protection },
    { title: "Generation", cell: ({ generation }) => generation, isNumber: true },
    { title: "Next secret", cell: ({ keyregen }) => <Moment at={keyregen} /> },
    { title: "Ends", cell: ({ until }) => <Left until={until} /> },
    { title: "Change", cell: (row) => <Changes row={row} path={path} done={reload} /> },
  ];
  return (
    <>
      <div class="buttons">
        <Action
          label="Issue another…"
          title={`Issue another contract to ${tenant}?`}
          confirm="Issue"
          run={() => ask("POST", path, { json: {} })}
          done={reload}
        />
      </div>
      <Shown of={contracts}>
        {(rows) => (
          <Table
            caption={`Contracts of ${tenant}`}
            columns={columns}
            rows={rows}
            keyOf={(row) => row["sc-id"]}
            empty={<NoContract tenant={tenant} />}
          />
        )}
      </Shown>
    </>
  );
}

function NoContract({ tenant }: PageProps) {
  return (
    <>
      <p>This tenant has no contract. The manager issues two within a minute, or at once by:</p>
      <Command>{`abs manager contract issue --tenant ${tenant}`}</Command>
    </>
  );
}

type ChangesProps = {
  readonly row: ContractRow;
  readonly path: string;
  readonly done: () => void;
};

function Changes({ row, path, done }: ChangesProps) {
  if (row.active === "expired") return null;
  const id = row["sc-id"];
  const own = `${path}/${encodeURIComponent(id)}`;
  return (
    <span class="buttons">
      <Action
        label="Regenerate…"
        title={`Give ${id} its next secret now?`}
        confirm="Regenerate"
        run={() => ask("POST", `${own}/regenerate`, { json: {} })}
        done={done}
      />
      <Action
        label="Expire…"
        title={`Expire ${id} for good?`}
        confirm="Expire"
        isGrave
        run={() => ask("POST", `${own}/expire`, { json: {} })}
        done={done}
      >
        <p>Sessions under it end; another contract is issued if too few are left.</p>
      </Action>
    </span>
  );
}
