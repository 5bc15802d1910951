/** Flows of a capture that was tested: what each is, by which signature, or why it is unknown. */
import { formatEnd } from "../wire/ip-text.ts";
import { Badge, type Column, Table } from "./table.tsx";

type Payload = {
  readonly text: string;
  /** Where the signature matched, in bytes. */
  readonly matched?: { readonly start: number; readonly end: number };
};
type Flow = {
  readonly proto: string;
  readonly src_ip: string;
  readonly src_port: number;
  readonly dst_ip: string;
  readonly dst_port: number;
  readonly first_packet: number;
  readonly packets: number;
  readonly app: string | null;
  readonly signature?: string;
  readonly version: number | null;
  readonly unknown?: string;
  readonly nearest?: { readonly signature: string; readonly why: string };
  readonly request: Payload | null;
  readonly response: Payload | null;
};

/** As the manager answers: docs/sig-test.md has the fields. */
export type Findings = {
  readonly signatures: number;
  readonly packets: number;
  readonly flows: number;
  /** Flows without an application, by reason. */
  readonly unknown: Readonly<Record<string, number>>;
  readonly warnings: readonly string[];
  readonly told: readonly Flow[];
};

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

const columns: readonly Column<Flow>[] = [
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

function Because({ signature, version, unknown = "", nearest, request, response }: Flow) {
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

function spotOf(direction: string, payload: Payload | null): string | undefined {
  const spot = payload?.matched;
  return spot === undefined
    ? undefined
    : `bytes ${spot.start} to ${spot.end - 1} of the ${direction}`;
}

function Begin({ of }: { readonly of: Payload | null }) {
  return of === null ? null : <code>{of.text}</code>;
}
