/** Application signatures of a tenant (AppDB): versions, status, what the ledger holds of them. */
import type { SignatureRow } from "../../answers/signatures.ts";
import { Action } from "../action.tsx";
import { ask } from "../api.ts";
import type { PageProps } from "../pages.tsx";
import { Shown, useResource } from "../resource.tsx";
import { SignatureTester } from "../signature-tester.tsx";
import { Badge, type Column, Command, Table } from "../table.tsx";

export function SignaturesPage({ tenant }: PageProps) {
  const path = `/tenants/${encodeURIComponent(tenant)}/signatures`;
  const signatures = useResource<readonly SignatureRow[]>(path);
  return (
    <>
      <Shown of={signatures}>
        {(rows) => (
          <Table
            caption={`Signatures of ${tenant}`}
            columns={columnsOf(path, signatures.reload)}
            rows={rows}
            keyOf={({ sig_id }) => sig_id}
            empty={<NoSignature tenant={tenant} />}
          />
        )}
      </Shown>
      <SignatureTester tenant={tenant} />
    </>
  );
}

function columnsOf(path: string, done: () => void): readonly Column<SignatureRow>[] {
  return [
    { title: "Signature", cell: ({ sig_id }) => sig_id },
    { title: "Application", cell: ({ app }) => app },
    { title: "Newest", cell: ({ newest }) => newest, isNumber: true },
    { title: "Published", cell: ({ published }) => published ?? "–", isNumber: true },
    { title: "Status", cell: ({ status }) => <Badge tone="calm">{status}</Badge> },
    { title: "On the ledger", cell: ({ sealed }) => (sealed ? "yes" : "no") },
    { title: "Change", cell: ({ sig_id }) => <Changes path={path} id={sig_id} done={done} /> },
  ];
}

type ChangesProps = { readonly path: string; readonly id: string; readonly done: () => void };

function Changes({ path, id, done }: ChangesProps) {
  const run = (verb: string) => () =>
    ask("POST", `${path}/${encodeURIComponent(id)}/${verb}`, { json: {} });
  return (
    <span class="buttons">
      <Action
        label="Publish…"
        title={`Publish ${id}?`}
        confirm="Publish"
        run={run("publish")}
        done={done}
      >
        <p>Its commitment goes onto the ledger, its contents to the agents that host it.</p>
      </Action>
      <Action
        label="Disable…"
        title={`Disable ${id}?`}
        confirm="Disable"
        isGrave
        run={run("disable")}
        done={done}
      >
        <p>Agents are given it no more, until it is published again.</p>
      </Action>
    </span>
  );
}

function NoSignature({ tenant }: PageProps) {
  return (
    <>
      <p>
        No application is recognised yet. Look at a capture of it, here or at a prompt, then add its
        signature:
      </p>
      <Command>abs sig test capture.pcap</Command>
      <Command>{`abs manager sig add --tenant ${tenant} --publish < app.json`}</Command>
    </>
  );
}
