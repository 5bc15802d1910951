/**
 * What `abs policy replay` and `suggest` read: an agent's provisioning and its event logs
 * (docs/events.md), line by line; `-` is standard input.
 */
import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import { loadProvisioning, type Provisioning, policyNames } from "../agent/provisioning.ts";
import { type PmdbPlace, readPmdb, type StoredPolicy } from "../channel/pmdb-file.ts";
import { AbsError, messageOf } from "../errors.ts";
import { ObservedFlows } from "../policy/observed-flows.ts";
import type { Policy, PolicyNames } from "../policy/policy.ts";

/** What enrolment writes (docs/manager.md "The agent's folder"). */
export const configArgument = {
  type: "string",
  default: "/var/lib/abs/agent/provisioning.json",
  description: "provisioning file of the agent",
} as const;
export const stateArgument = {
  type: "string",
  default: "/run/abs",
  description: "state folder of the agent",
} as const;

/** @throws AbsError PMDB_ABSENT */
export function requirePmdb({ file, pmdb }: Provisioning): PmdbPlace {
  if (pmdb !== undefined) return pmdb;
  const what = `The policy of ${file} is in no PMdb: no manager keeps it.`;
  const remedy = "Change the file that it names, then `abs agent reload`.";
  throw new AbsError("PMDB_ABSENT", what, remedy);
}

/** As it was written. @throws AbsError PMDB_ABSENT and what reading it throws */
export function storedPolicy(provisioning: Provisioning): StoredPolicy {
  const { file, policy } = requirePmdb(provisioning);
  return readPmdb(file, policy);
}

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
