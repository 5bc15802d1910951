/** What `abs sig test` prints for people: a line a flow, a summary, a table of scores. */
import { toHex } from "../bytes.ts";
import { protocolWord } from "../store/network-values.ts";
import { formatAddress, formatEnd, type IpAddress } from "../wire/ip-text.ts";
import type { FlowRecord } from "./flow-record.ts";
import { type LabelledFlow, verdictOf } from "./labels.ts";
import type { Score } from "./score.ts";
import type { TestSummary } from "./test-report.ts";

const MARKS = { correct: "✔", wrong: "✘", unknown: "?" } as const;

export function flowLine(record: FlowRecord, label: LabelledFlow | undefined): string {
  const { identity } = record;
  const from = end(record.source, record.sourcePort);
  const ends = `${from} → ${end(record.destination, record.destinationPort)}`;
  const what =
    identity === undefined
      ? `unknown (${record.unknown}) ${toHex(record.request?.head ?? new Uint8Array(0))}`
      : `${identity.signature.app} (${identity.signature.id})`;
  const mark = label === undefined ? "" : `  ${MARKS[verdictOf(label)]} labelled ${label.app}`;
  return `${record.file}  ${protocolWord(record.protocol)} ${ends}  ${what}${mark}`;
}

function end(address: IpAddress, port: number): string {
  return formatEnd(formatAddress(address), port);
}

export function summaryText(summary: TestSummary): string {
  const list = (counts: Record<string, number>) =>
    Object.entries(counts)
      .map(([name, count]) => `${name} ${count}`)
      .join(", ") || "none";
  return (
    `\n${summary.captures} captures, ${summary.packets} packets, ${summary.flows} flows\n` +
    `applications: ${list(summary.apps)}\nunknown: ${list(summary.unknown)}`
  );
}

export function scoreText(score: Score): string {
  const percent = (part: number) => `${(100 * part).toFixed(1)} %`;
  const rows = Object.entries(score.apps).map(([name, app]) => {
    const wrong = Object.entries(app.wrong_as)
      .map(([as, count]) => `${as} ${count}`)
      .join(", ");
    const cells = [name.padEnd(16), `${app.correct}/${app.labelled}`.padStart(8)];
    cells.push(percent(app.recall).padStart(8), percent(app.precision).padStart(8));
    return `${cells.join(" ")}  unknown ${app.unknown}${wrong === "" ? "" : `, wrong: ${wrong}`}`;
  });
  return [
    `\n\n${"application".padEnd(16)}    right   recall precision`,
    ...rows,
    `\nlabelled ${score.labelled}, correct ${score.correct}, wrong ${score.wrong}, ` +
      `unknown ${score.unknown} (${score.missing} not in the captures)`,
    `accuracy ${percent(score.accuracy)}, per application ${percent(score.per_app_mean)}, ` +
      `precision ${percent(score.precision)}`,
  ].join("\n");
}
