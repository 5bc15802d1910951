/**
 * What `abs agent run` starts from: a provisioning file of an administrator's (--config), or the
 * folder of an enrolled agent (--dir), which it enrols first if that has not been done (--enroll).
 * docs/manager.md "Enrolment".
 */
import { existsSync } from "node:fs";
import { networkInterfaces } from "node:os";
import type { OutsideSpec } from "../agent/port-spec.ts";
import { agentFile } from "../channel/agent-folder.ts";
import { AbsError } from "../errors.ts";
import { enrolFolder, enrolmentArguments } from "./agent-enroll.ts";
import { notes } from "./notes.ts";
import { optionError } from "./options.ts";

export const configArguments = {
  config: { type: "string", description: "provisioning file (docs/provisioning.md)" },
  enroll: {
    type: "string",
    description: "token of `abs manager invite`, or - to read it: join first, unless DIR has",
  },
  ...enrolmentArguments,
} as const;

type ConfigWords = {
  readonly config?: string | undefined;
  readonly enroll?: string | undefined;
  readonly dir: string;
  readonly address?: string | undefined;
  readonly carrier: string;
  readonly "peer-port": string;
};

/**
 * Those of the interface that the agent will take over, without link-local ones; undefined: it has
 * none, or is no interface of the kernel.
 */
function addressesOn(outside: OutsideSpec): string | undefined {
  if (outside.kind !== "af_packet") return undefined;
  const found = networkInterfaces()[outside.name] ?? [];
  const isGlobal = (address: string) => !/^(fe80:|169\.254\.)/i.test(address);
  return (
    found.flatMap(({ address }) => (isGlobal(address) ? [address] : [])).join(",") || undefined
  );
}

/** The provisioning file. @throws AbsError OPTION_INVALID, AGENT_NOT_ENROLLED, of the enrolment */
export async function configOf(words: ConfigWords, outside: OutsideSpec): Promise<string> {
  const { config, enroll, dir } = words;
  if (config !== undefined && enroll !== undefined) {
    const remedy = "Give --config for a file of yours, --enroll for one from a manager.";
    throw optionError("--config and --enroll exclude each other.", remedy);
  }
  if (config !== undefined) return config;
  // It comes last into the folder.
  const isEnrolled = existsSync(agentFile(dir, "manager"));
  if (!isEnrolled && enroll === undefined) {
    const what = `${dir} holds no enrolled agent, and no --config is given.`;
    const remedy = "Give --enroll TOKEN of `abs manager invite`, or --config FILE.";
    throw new AbsError("AGENT_NOT_ENROLLED", what, remedy);
  }
  if (isEnrolled && enroll !== undefined) {
    notes.info(`${dir} is enrolled already: the token is not used.`);
  }
  if (!isEnrolled && enroll !== undefined) {
    const address = words.address ?? addressesOn(outside);
    const { own, tenant } = await enrolFolder({ ...words, address, token: enroll });
    notes.success(`${own.name} of ${tenant.name} is enrolled.`);
  }
  return agentFile(dir, "provisioning");
}
