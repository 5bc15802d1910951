/**
 * README's commands "From nothing to two VMs that talk under proof", as the lab types them; a test
 * holds them against README.
 */

export interface TypedLine {
  readonly machine: string;
  readonly line: string;
}

export const SERVE = "abs manager serve";

export function inviteLine(vm: string, apps: readonly string[], ...more: readonly string[]) {
  const tags = apps.map((app) => `--tag ${app}`);
  return ["abs manager invite", `--name ${vm}`, ...tags, ...more].join(" ");
}

/** Enrols if that has not been done, and runs. */
export function runLine(token: string, ...more: readonly string[]): string {
  const ports = "--inside veth:abs0 --outside af_packet:eth0";
  return [`abs agent run --enroll ${token} ${ports}`, ...more].join(" ");
}

export const FIVE_COMMANDS: readonly TypedLine[] = [
  { machine: "manager", line: SERVE },
  { machine: "manager", line: inviteLine("web", ["app1", "app2", "ping"]) },
  { machine: "manager", line: inviteLine("db", ["ping"]) },
  { machine: "web", line: runLine("TOKEN") },
  { machine: "db", line: runLine("TOKEN") },
];

export const SIXTH_COMMAND: TypedLine = {
  machine: "manager",
  line: "abs manager agents set --all --mode full --stage enforce",
};
