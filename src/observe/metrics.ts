/**
 * Metrics as text: Prometheus' exposition format 0.0.4, and OpenMetrics 1.0 where the Accept header
 * asks for it. docs/metrics.md. Pure.
 */

export type MetricSample = {
  readonly labels?: Readonly<Record<string, string>>;
  readonly value: number;
};

/** One metric with all its samples. A counter's name ends in `_total`, an info's in `_info`. */
export type MetricFamily = {
  readonly name: string;
  readonly type: "counter" | "gauge" | "info";
  readonly help: string;
  readonly samples: readonly MetricSample[];
};

export const PROMETHEUS_TYPE = "text/plain; version=0.0.4; charset=utf-8";
export const OPENMETRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const SUFFIXES = { counter: "_total", gauge: "", info: "_info" } as const;

/** Whether a client would rather have OpenMetrics (RFC 9110 §12.5.1). */
export function wantsOpenMetrics(accept: string): boolean {
  const weights = new Map<string, number>();
  for (const part of accept.toLowerCase().split(",")) {
    const [type = "", ...parameters] = part.split(";").map((word) => word.trim());
    const quality = parameters.find((word) => word.startsWith("q="));
    const weight = quality === undefined ? 1 : Number(quality.slice(2)) || 0;
    weights.set(type, Math.max(weight, weights.get(type) ?? 0));
  }
  const open = weights.get("application/openmetrics-text") ?? 0;
  return open > 0 && open >= (weights.get("text/plain") ?? 0);
}

export function metricsText(families: readonly MetricFamily[], isOpenMetrics: boolean): string {
  const lines = families.flatMap((family) => familyLines(family, isOpenMetrics));
  return [...lines, ...(isOpenMetrics ? ["# EOF"] : []), ""].join("\n");
}

function familyLines({ name, type, help, samples }: MetricFamily, isOpenMetrics: boolean) {
  const suffix = SUFFIXES[type];
  // OpenMetrics names the family without the suffix of its samples.
  const family = isOpenMetrics ? name.slice(0, name.length - suffix.length) : name;
  const shown = type === "info" && !isOpenMetrics ? "gauge" : type;
  const words = help.replace(/\\/g, "\\\\").replace(/\n/g, "\\n");
  return [
    `# HELP ${family} ${isOpenMetrics ? words.replace(/"/g, '\\"') : words}`,
    `# TYPE ${family} ${shown}`,
    ...samples.map(({ labels = {}, value }) => `${name}${labelText(labels)} ${value}`),
  ];
}

function labelText(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(([name, value]) => {
    const text = value.replace(/[\\"]/g, "\\$&").replace(/\n/g, "\\n");
    return `${name}="${text}"`;
  });
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}
