/**
 * `sig test`: which application is each flow of a capture, by the signatures that a tenant has, by
 * one that is not kept yet, or both. docs/manager.md "Signatures". Nothing is changed, nothing is
 * kept; what looks is a child process (capture-tests.ts).
 */
import { Type } from "typebox";
import { findings } from "../answers/signatures.ts";
import { formatEnd } from "../wire/ip-text.ts";
import { adminCommand } from "./admin-command.ts";
import type { AppDb } from "./app-db.ts";
import type { CaptureTestHead, CaptureTestResult } from "./capture-test-child.ts";
import { flag, tenantName } from "./command-schemas.ts";
import { tableText, warningLines } from "./command-values.ts";
import { checkSignatures, type CheckedSignatures as Draft } from "./signature-check.ts";

/** It goes in a request's head, which Bun takes 16 KiB of. */
const DRAFT_CHARACTERS_MAX = 4000;

const WITHDRAWN: readonly string[] = ["disabled", "decommissioned"];
const NO_DRAFT: Draft = { signatures: [], warnings: [] };

export const signatureTestCommand = adminCommand({
  name: "sig test",
  description: "which application is each flow of a capture (pcap, pcapng) on standard input",
  role: "operator",
  standardInput: { property: "capture", mediaType: "application/vnd.tcpdump.pcap" },
  http: { method: "POST", path: "/tenants/{tenant}/signature-tests" },
  claim: ({ captureTests }) => captureTests.claim(),
  input: {
    tenant: tenantName,
    capture: Type.Unsafe<Uint8Array>({
      description: "pcap or pcapng, at most 8 MiB",
      contentMediaType: "application/vnd.tcpdump.pcap",
    }),
    draft: Type.Optional(
      Type.String({
        description: "one signature or a list that is not kept: in place of those with its ids",
        maxLength: DRAFT_CHARACTERS_MAX,
      }),
    ),
    only: Type.Optional(flag("the draft without the tenant's signatures")),
    library: Type.Optional(flag("the built-in signatures too")),
    inner: Type.Optional(flag("look inside tunnels")),
  },
  answer: findings,
  async run({ tenant, capture, draft: text, only, library, inner }, { state, captureTests }) {
    state.tenants.need(tenant);
    const draft: Draft = text === undefined ? NO_DRAFT : checkSignatures(text);
    const signatures = [
      ...(only === true ? [] : newestOf(state.appDb, tenant, draft)),
      ...draft.signatures.map(({ contents }) => ({ place: "draft", contents })),
    ];
    const head = { signatures, library: library === true, inner: inner === true };
    const { told, ...counts } = await captureTests.run(head, capture);
    const warnings = [...draft.warnings, ...counts.warnings];
    const value = { tenant, ...counts, warnings, told };
    return { value, text: textOf(value) };
  },
});

/** What is in use or may come into use; the draft takes the place of what has its ids. */
function newestOf(appDb: AppDb, tenant: string, draft: Draft): CaptureTestHead["signatures"] {
  const drafted = new Set(draft.signatures.map(({ sigId }) => sigId));
  return appDb
    .list(tenant)
    .filter(({ status, sigId }) => !WITHDRAWN.includes(status) && !drafted.has(sigId))
    .map(({ sigId, newest: version }) => {
      const { contents } = appDb.version(tenant, sigId, version);
      return { place: `${sigId} version ${version}`, contents };
    });
}

type Shown = Pick<CaptureTestResult, "flows" | "signatures" | "warnings" | "told">;

function textOf({ flows, signatures, warnings, told }: Shown): string {
  const rows = told.map((flow) => {
    return {
      ...{ first: flow.first_packet, proto: flow.proto },
      from: formatEnd(flow.src_ip, flow.src_port),
      to: formatEnd(flow.dst_ip, flow.dst_port),
      app: flow.app ?? "-",
      by: "unknown" in flow ? flow.unknown : `${flow.signature} version ${flow.version}`,
    };
  });
  const more = flows > told.length ? `, the first ${told.length} of them above` : "";
  const counts = `${flows} flows by ${signatures} signatures${more}`;
  return [tableText(rows), counts, ...warningLines(warnings)].join("\n");
}
