/** What `abs sim fleet` and its processes of agents tell each other: JSON, one value a line. */
import type { FleetSeat } from "./fleet-plan.ts";

/** An agent to start. */
export type AgentOrder = FleetSeat & {
  readonly token: string;
  /** Its folder. */
  readonly dir: string;
};

export type FleetOrder =
  | { readonly do: "start"; readonly agents: readonly AgentOrder[] }
  | { readonly do: "heights" }
  | { readonly do: "stop" };

/** How far one agent's copy of its tenant's chain goes. */
export type AgentHeight = {
  readonly number: number;
  readonly tenant: string;
  readonly holds: "ledger" | "headers";
  readonly height: number;
};

export type FleetWord =
  | { readonly said: "enrolled"; readonly number: number; readonly retries: number }
  /** A state is in force. */
  | { readonly said: "applied"; readonly number: number; readonly version: number }
  | { readonly said: "failed"; readonly number: number; readonly reason: string }
  | { readonly said: "heights"; readonly heights: readonly AgentHeight[] };
