/** The ledger of a tenant: blocks, who sealed them, and proofs that this browser checks itself. */
import { useState } from "preact/hooks";
import type { BlockRow, Inclusion as Proof } from "../../answers/ledger.ts";
import type { JsonValue } from "../../chain/canonical-json.ts";
import { ask } from "../api.ts";
import { checksOf, isIncluded, readBlockJson } from "../block-check.ts";
import { Moment } from "../moment.tsx";
import type { PageProps } from "../pages.tsx";
import { hrefOf, Link, usePlace } from "../place.tsx";
import { ProblemNote, Shown, useResource } from "../resource.tsx";
import { Badge, type Column, Command, Table } from "../table.tsx";
import { WholeChain } from "../whole-chain.tsx";

const columns: readonly Column<BlockRow>[] = [
  {
    title: "Height",
    cell: ({ height }) => <Link href={hrefOf("ledger", { block: `${height}` })}>{height}</Link>,
  },
  { title: "Hash", cell: ({ block_hash }) => <code>{block_hash.slice(0, 16)}…</code> },
  { title: "Sealed", cell: ({ timestamp }) => <Moment at={timestamp} /> },
  { title: "Contracts", cell: ({ contracts }) => contracts, isNumber: true },
  { title: "Records", cell: ({ records }) => records, isNumber: true },
  { title: "Votes", cell: ({ votes }) => votes || "master alone", isNumber: true },
  { title: "Attempt, view", cell: ({ attempt, view }) => `${attempt}, ${view}`, isNumber: true },
];

export function LedgerPage({ tenant }: PageProps) {
  const path = `/tenants/${encodeURIComponent(tenant)}/ledger/blocks`;
  const blocks = useResource<readonly BlockRow[]>(path);
  const chosen = Number(usePlace().query.get("block") ?? "0");
  return (
    <>
      {chosen > 0 && <OneBlock key={chosen} path={path} height={chosen} />}
      <Shown of={blocks}>
        {(rows) => (
          <Table
            caption={`The newest blocks of ${tenant}`}
            columns={columns}
            rows={rows}
            keyOf={({ height }) => `${height}`}
            empty={<NoBlocks />}
          />
        )}
      </Shown>
      <WholeChain key={tenant} tenant={tenant} />
    </>
  );
}

function NoBlocks() {
  return (
    <>
      <p>
        The master has sealed no block yet; the first contract makes one. To check a whole chain:
      </p>
      <Command>abs ledger export | abs ledger verify -</Command>
    </>
  );
}

type OneProps = { readonly path: string; readonly height: number };

function OneBlock({ path, height }: OneProps) {
  const block = useResource<JsonValue>(`${path}/${height}`);
  const before = useResource<JsonValue>(height > 1 ? `${path}/${height - 1}` : undefined);
  const isReady = height === 1 || before.value !== undefined;
  return (
    <section class="card" aria-label={`Block ${height}`}>
      <h2>Block {height}</h2>
      <Shown of={block}>
        {(json) =>
          isReady && <Checked path={path} height={height} json={json} before={before.value} />
        }
      </Shown>
      <Link href={hrefOf("ledger")}>Close</Link>
    </section>
  );
}

type CheckedProps = OneProps & {
  readonly json: JsonValue;
  readonly before: JsonValue | undefined;
};

function Checked({ path, height, json, before }: CheckedProps) {
  let block: ReturnType<typeof readBlockJson>;
  let previous: ReturnType<typeof readBlockJson> | undefined;
  try {
    block = readBlockJson(json);
    previous = before === undefined ? undefined : readBlockJson(before);
  } catch (thrown) {
    return <ProblemNote problem={thrown as Error} />;
  }
  const entries = [
    ...block.body.contracts.map((bytes, index) => ({ kind: "contract" as const, index, bytes })),
    ...block.body.records.map((bytes, index) => ({ kind: "record" as const, index, bytes })),
  ];
  const included = async (kind: Proof["kind"], index: number) => {
    const proof = await ask<Proof>("GET", `${path}/${height}/proofs/${kind}/${index}`);
    return proof.kind === kind && proof.index === index && isIncluded(block, proof);
  };
  return (
    <>
      <p>Checked by this browser:</p>
      <ul class="checks">
        {checksOf(block, previous).map(({ what, isGood }) => (
          <li key={what}>
            <Badge tone={isGood ? "good" : "bad"}>{isGood ? "right" : "wrong"}</Badge> {what}
          </li>
        ))}
      </ul>
      <Table
        caption={`Contracts and records of block ${height}`}
        columns={[
          { title: "Kind", cell: ({ kind }) => kind },
          { title: "Entry", cell: ({ bytes }) => <code>{new TextDecoder().decode(bytes)}</code> },
          {
            title: "Proof",
            cell: ({ kind, index }) => <Inclusion check={() => included(kind, index)} />,
          },
        ]}
        rows={entries}
        keyOf={({ kind, index }) => `${kind} ${index}`}
        empty={<p>The block has neither: its state is that of the block before.</p>}
      />
    </>
  );
}

function Inclusion({ check }: { readonly check: () => Promise<boolean> }) {
  const [isGood, setGood] = useState<boolean>();
  const [problem, setProblem] = useState<Error>();
  if (problem !== undefined) return <ProblemNote problem={problem} />;
  if (isGood !== undefined) {
    return <Badge tone={isGood ? "good" : "bad"}>{isGood ? "included" : "not included"}</Badge>;
  }
  return (
    <button type="button" onClick={() => void check().then(setGood, setProblem)}>
      Verify
    </button>
  );
}
