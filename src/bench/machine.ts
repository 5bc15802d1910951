/** What a bench ran on: figures without it mean nothing. For reports only. */
import { readFileSync } from "node:fs";
import { cpus, release } from "node:os";

export interface MachineReport {
  readonly cpu: string;
  readonly cores: number;
  readonly kernel: string;
  readonly bun: string;
  /** One-minute load average when the bench began: above 0.3 the figures are for debugging only. */
  readonly load: number;
  readonly programs: Readonly<Record<string, string>>;
}

/** @param programs name → command line that prints its version */
export function describeMachine(programs: Readonly<Record<string, readonly string[]>>) {
  const versions: Record<string, string> = {};
  for (const [name, argv] of Object.entries(programs)) versions[name] = versionOf(argv);
  const report: MachineReport = {
    cpu: cpus()[0]?.model ?? "unknown",
    cores: cpus().length,
    kernel: release(),
    bun: Bun.version,
    load: Number(readFileSync("/proc/loadavg", "utf8").split(" ")[0]),
    programs: versions,
  };
  return report;
}

/** First line that holds a digit; "missing" when the program is not there. */
function versionOf(argv: readonly string[]): string {
  try {
    const result = Bun.spawnSync([...argv], { stdin: "ignore" });
    const lines = `${result.stdout}\n${result.stderr}`.split("\n");
    return lines.find((line) => /\d/.test(line))?.trim() ?? "unknown";
  } catch {
    return "missing";
  }
}

/** The middle value; of an even count the lower of the two in the middle. NaN of nothing. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((left, right) => left - right);
  return sorted[(sorted.length - 1) >>> 1] ?? Number.NaN;
}

/** Rounded to `digits` decimals, for reports. */
export function rounded(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
