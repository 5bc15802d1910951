/**
 * `abs agent reload`: makes a running agent read its provisioning file again, with policy,
 * signatures and keys that it names, and prints what changed and what is enforced now; SIGHUP does
 * the same without words. Exit 0: enforced, or nothing had changed; 1: refused, and what was
 * enforced before still is. docs/provisioning.md "Changing a running agent".
 */
import { defineCommand } from "citty";
import { askReload, type ReloadAnswer } from "../agent/status-server.ts";
import type { UpdateResult } from "../agent/updates.ts";
import { EXIT } from "../errors.ts";
import { notes } from "./notes.ts";
import { isJsonOutput, outputArgument } from "./options.ts";

/** Entries of one kind that are named; the rest is counted. */
const NAMES_MAX = 8;
const SHORT_DIGEST = 12;

export const agentReload = defineCommand({
  meta: {
    name: "reload",
    description: "make a running agent read its provisioning again, without losing a packet",
  },
  args: {
    state: {
      type: "string",
      alias: "dir",
      default: "/run/abs",
      description: "state folder of the agent",
    },
    output: outputArgument,
  },
  async run({ args }) {
    const isJson = isJsonOutput(args.output);
    const answer = await askReload(args.state);
    if (isJson) process.stdout.write(`${JSON.stringify(answer)}\n`);
    else process.stdout.write(`${reloadText(answer)}\n`);
    if (answer.state !== "refused") return;
    notes.error(`${answer.error.message} [${answer.error.code}]`);
    if (answer.error.remedy !== "") notes.log(`  → ${answer.error.remedy}`);
    process.exitCode = EXIT.failed;
  },
});

/** What changed, a line a kind of change, and what is enforced. */
export function reloadText(answer: ReloadAnswer): string {
  const { generation, since, versions } = answer.enforced;
  const digests = Object.entries(versions).map(
    ([part, digest]) => `  ${part.padEnd(10)}  ${digest.slice(0, SHORT_DIGEST)}`,
  );
  const head = {
    enforced: `Enforced since ${since} (generation ${generation}).`,
    unchanged: `Nothing changed; enforced since ${since} (generation ${generation}).`,
    refused: `Refused; enforced is what was since ${since} (generation ${generation}).`,
  }[answer.state];
  const changes = answer.state === "refused" ? [] : changeLines(answer.changes);
  return [...changes, head, ...digests].join("\n");
}

function changeLines(changes: UpdateResult["changes"]): string[] {
  return Object.entries(changes).flatMap(([part, change]) => [
    ...namesLine(part, "+", change.added),
    ...namesLine(part, "-", change.removed),
    ...namesLine(part, "~", change.changed),
    ...(change.reordered ? [`${part} in another order`] : []),
  ]);
}

function namesLine(part: string, sign: string, names: readonly string[]): string[] {
  if (names.length === 0) return [];
  const more = names.length > NAMES_MAX ? ` and ${names.length - NAMES_MAX} more` : "";
  return [`${part} ${sign}${names.length}: ${names.slice(0, NAMES_MAX).join(", ")}${more}`];
}
