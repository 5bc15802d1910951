/**
 * What `abs policy replay` and `suggest` read: an agent's provisioning and its event logs
 * (docs/events.md), line by line; `-` is standard input.
 */
import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import { loadProvisioning, policyNames } from "../agent/provisioning.ts";
import { AbsError, messageOf } from "../errors.ts";
import { ObservedFlows } from "../policy/observed-flows.ts";
import type { Policy, PolicyNames } from "../policy/policy.ts";

export interface AgentPolicy {
  readonly policy: Policy;
  readonly names: PolicyNames;
}

export function agentPolicy(config: string): AgentPolicy {
  const provisioning = loadProvisioning(config);
  return { policy: provisioning.policy, names: policyNames(provisioning) };
}

/** The flows of all the logs together. Throws AbsError `EVENTS_UNREADABLE`. */
export async function observedFlows(
  files: readonly string[],
  names: PolicyNames,
): Promise<ObservedFlows> {
  const observed = new ObservedFlows(names);
  if (files.length === 0) {
    throw new AbsError("OPTION_INVALID", "No event log is named.", "Name files, or - for a pipe.");
  }
  for (const file of files) {
    const input = file === "-" ? process.stdin : createReadStream(file);
    try {
      for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
        observed.addLine(line);
      }
    } catch (thrown) {
      const message = `${file} cannot be read: ${messageOf(thrown)}.`;
      throw new AbsError(
        "EVENTS_UNREADABLE",
        message,
        "Name a file that `--events` wrote.",
        thrown,
      );
    }
  }
  return observed;
}

/** What was not taken from the logs, in a sentence each. */
export function remarks({ counts }: ObservedFlows): string[] {
  const told: readonly (readonly [number, string])[] = [
    [counts.others, "decisions are not the policy's (no signature, no proof, …)"],
    [counts.malformed, "lines are no events of an agent with these peers"],
    [counts.beyond, "decisions on more flows than are kept were left out"],
  ];
  return told.flatMap(([count, words]) => (count === 0 ? [] : [`${count} ${words}.`]));
}

export function isJson(output: string): boolean {
  if (output === "text" || output === "json") return output === "json";
  const message = `--output ${output} is not known.`;
  throw new AbsError("OPTION_INVALID", message, "Use text or json.");
}
