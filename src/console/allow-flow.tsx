/**
 * From a refused flow to an allowed one: the manager proposes rules, shows what they change in the
 * policy, and applies them when that is confirmed. docs/console.md "Three clicks".
 */
import { useState } from "preact/hooks";
import type { Flow, Suggestion } from "../answers/flows.ts";
import type { Checked } from "../answers/policies.ts";
import { Confirmation } from "./action.tsx";
import { ask, mayAct } from "./api.ts";
import { endsOf } from "./flow.ts";
import { PatchView } from "./patch-view.tsx";
import { ProblemNote } from "./resource.tsx";

type Proposal = { readonly suggestion: Suggestion; readonly patch: string | null };

type AllowProps = { readonly tenant: string; readonly flow: Flow; readonly done: () => void };

/** A document for the policy of a tenant: checked, or applied if nobody changed it meanwhile. */
export function putPolicy<T>(
  tenant: string,
  { document, version, isDry }: { document: string; version: number; isDry: boolean },
): Promise<T> {
  const query = new URLSearchParams({
    expect_version: String(version),
    ...(isDry ? { dry_run: "true" } : {}),
  });
  const path = `/tenants/${encodeURIComponent(tenant)}/policy?${query}`;
  return ask<T>("PUT", path, { yaml: document });
}

export async function askSuggestion(tenant: string, flow?: string): Promise<Proposal> {
  const query = flow === undefined ? "" : `?flow=${flow}`;
  const path = `/tenants/${encodeURIComponent(tenant)}/policy/suggestion${query}`;
  const suggestion = await ask<Suggestion>("GET", path);
  if (suggestion.rules.length === 0) return { suggestion, patch: "" };
  const { patch } = await putPolicy<Checked>(tenant, { ...suggestion, isDry: true });
  return { suggestion, patch };
}

export function AllowFlow({ tenant, flow, done }: AllowProps) {
  const [proposal, setProposal] = useState<Proposal>();
  const [problem, setProblem] = useState<Error>();
  if (!mayAct("operator")) return null;
  const open = () => {
    setProblem(undefined);
    askSuggestion(tenant, flow.id).then(setProposal, setProblem);
  };
  const [from, to] = endsOf(flow);
  return (
    <>
      <button type="button" onClick={open} aria-label={`Allow this: ${from} to ${to}…`}>
        Allow this…
      </button>
      {problem !== undefined && <ProblemNote problem={problem} />}
      {proposal !== undefined && (
        <Confirmation
          label="Allow"
          title={`Allow ${from} → ${to}?`}
          confirm={`Apply to ${tenant}`}
          isPossible={proposal.suggestion.rules.length > 0}
          run={() => putPolicy(tenant, { ...proposal.suggestion, isDry: false })}
          done={done}
          close={() => setProposal(undefined)}
        >
          <Proposed {...proposal} />
        </Confirmation>
      )}
    </>
  );
}

function Proposed({ suggestion, patch }: Proposal) {
  const { rules, unknown_app: unknown, denied_by_rule: denied } = suggestion;
  if (rules.length > 0) {
    return (
      <>
        <p>These rules allow exactly what was seen, at both ends. Policy of all agents:</p>
        <PatchView patch={patch} />
      </>
    );
  }
  if (denied > 0)
    return <p>A rule of the policy denies it. Change that rule on the policy page.</p>;
  if (unknown > 0) {
    return <p>Its application is not known: it needs a signature first, then a rule.</p>;
  }
  return <p>The policy as it is allows this already, or it was refused for another reason.</p>;
}
