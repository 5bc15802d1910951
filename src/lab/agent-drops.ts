/** What an agent has dropped, by reason, out of `abs agent status`. */
import type { AgentStatus } from "./agent-process.ts";

/** Drop counters that are not 0, by their names. */
export function dropsOf(status: AgentStatus): Record<string, number> {
  const drops: Record<string, number> = {};
  collect(status["drops"], "", drops);
  return drops;
}

function collect(value: unknown, path: string, into: Record<string, number>): void {
  if (typeof value === "number") {
    if (value !== 0) into[path] = value;
    return;
  }
  if (typeof value !== "object" || value === null) return;
  for (const [key, inner] of Object.entries(value)) {
    collect(inner, path === "" ? key : `${path}.${key}`, into);
  }
}

/** What was dropped in between, in words; counters only grow while an agent runs. */
export function dropWords(before: AgentStatus, after: AgentStatus): string {
  const earlier = dropsOf(before);
  const grown = Object.entries(dropsOf(after)).flatMap(([name, count]) => {
    const more = count - (earlier[name] ?? 0);
    return more > 0 ? [`${more} ${name}`] : [];
  });
  return grown.join(", ") || "none";
}
