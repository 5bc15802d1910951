/** Flows of a capture that was tested: what each is, by which signature, or why it is unknown. */
import type { Findings, TestedFlow } from "../answers/signatures.ts";
import { formatEnd } from "../wire/ip-text.ts";
import { Badge, type Column, Table } from "./table.tsx";

const REASONS: Readonly<Record<string, string>> = {
  "no-payload": "it carries nothing",
  "mid-stream": "its start is not in the capture",
  fragment: "a fragmented packet never became whole",
  "too-short": "its first payload is too short",
  "no-match": "no signature matches",
};

export function SignatureFindings({ findings }: { readonly findings: Findings }) {
  const { flows, packets, told, warnings } = findings;
  return (
    <>
      {warnings.map((warning) => (
        <p class="note" key={warning}>
          {warning}
        </p>
      ))}
      <Table
        caption={flows > told.length ? `The first ${told.length} of ${flows} flows` : "Flows"}
        columns={columns}
        rows={told}
        keyOf={({ first_packet }) => String(first_packet)}
        empty={<p>The capture has no flow: none of its {packets} packets belongs to one.</p>}
      />
    </>
  );
}

const columns: readonly Column<TestedFlow>[] = [
  { title: "From", cell: (flow) => formatEnd(flow.src_ip, flow.src_port) },
  { title: "To", cell: (flow) => formatEnd(flow.dst_ip, flow.dst_port) },
  { title: "Protocol", cell: ({ proto }) => proto },
  { title: "Packets", cell: ({ packets }) => packets, isNumber: true },
  {
    title: "Application",
    cell: ({ app }) =>
      app === null ? <Badge tone="warn">unknown</Badge> : <Badge tone="good">{app}</Badge>,
  },
  { title: "Because", cell: (flow) => <Because {...flow} /> },
  { title: "Begins with", cell: ({ request, response }) => <Begin of={request ?? response} /> },
];

function Because({ signature, version, unknown = "", nearest, request, response }: TestedFlow) {
  if (signature === undefined) {
    const nearly = nearest && ` (${nearest.signature} came nearest: ${nearest.why})`;
    return (
      <span class="detail">
        {REASONS[unknown] ?? unknown}
        {nearly}
      </span>
    );
  }
  const spots = [spotOf("request", request), spotOf("response", response)];
  return (
    <span class="detail">
      <code>{signature}</code> version {version}
      {spots.flatMap((spot) => spot ?? []).map((spot) => `, ${spot}`)}
    </span>
  );
}

function spotOf(direction: string, payload: TestedFlow["request"]): string | undefined {
  const spot = payload?.matched;
  return spot === undefined
    ? undefined
    : `bytes ${spot.start} to ${spot.end - 1} of the ${direction}`;
}

function Begin({ of }: { readonly of: TestedFlow["request"] }) {
  return of === null ? null : <code>{of.text}</code>;
}
