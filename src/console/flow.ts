/** A flow of `GET /tenants/{tenant}/flows`, and what pages read off it. */
export type Verdict = "allowed" | "refused" | "would-refuse";

export type Flow = {
  readonly id: string;
  /** Who decided. */
  readonly agent: string;
  readonly direction: "in" | "out";
  /** Of the other end. */
  readonly address: string;
  readonly peer: string;
  readonly app: string;
  readonly protocol: string;
  readonly port: number;
  readonly verdict: Verdict;
  readonly rule: string;
  readonly reason: string;
  readonly count: number;
  readonly last: string;
};

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
