/** The audit log: every command, log-in and enrolment. docs/manager.md "Audit". */
import type { AuditRow } from "../../answers/administration.ts";
import { FindField, isFound, useFind } from "../find-field.tsx";
import { Clock } from "../moment.tsx";
import { Shown, useResource } from "../resource.tsx";
import { Badge, type Column, Table } from "../table.tsx";

const columns: readonly Column<AuditRow>[] = [
  { title: "Time (UTC)", cell: ({ at }) => <Clock at={at} /> },
  { title: "Who", cell: ({ who }) => who },
  { title: "From", cell: ({ address }) => address || "–" },
  { title: "Did", cell: ({ command }) => <code>{command}</code> },
  {
    title: "Outcome",
    cell: ({ outcome }) => <Badge tone={outcome === "done" ? "good" : "bad"}>{outcome}</Badge>,
  },
];

export function AuditPage() {
  const wanted = useFind();
  const audit = useResource<readonly AuditRow[]>("/audit?count=500");
  const isWanted = (row: AuditRow) => isFound(Object.values(row).join(" "), wanted);
  return (
    <>
      <search class="filters">
        <FindField />
      </search>
      <Shown of={audit}>
        {(rows) => (
          <Table
            caption="The last 500 entries, newest first"
            columns={columns}
            rows={rows.filter(isWanted)}
            keyOf={(row) => Object.values(row).join(" ")}
            empty={
              <p>No entry has “{wanted}” in it. Who changes something is written down here.</p>
            }
          />
        )}
      </Shown>
    </>
  );
}
