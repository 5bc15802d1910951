/** What pages read off a flow of `GET /tenants/{tenant}/flows`. */
import type { Flow, Verdict } from "../answers/flows.ts";

/** How often pages ask: agents report once a second. */
export const REFRESH_MS = 2_000;

export const VERDICTS: Readonly<Record<Verdict, string>> = {
  allowed: "allowed",
  refused: "refused",
  "would-refuse": "would be refused",
};

export function flowsPath(tenant: string, verdict = ""): string {
  const query = verdict === "" ? "" : `?verdict=${encodeURIComponent(verdict)}`;
  return `/tenants/${encodeURIComponent(tenant)}/flows${query}`;
}

/** Who begins, who answers. */
export function endsOf({ agent, direction, peer, address }: Flow): readonly [string, string] {
  const other = peer || address;
  return direction === "in" ? [other, agent] : [agent, other];
}
