/**
 * How well labelled flows were recognised: per flow and per application. Unknown counts against
 * accuracy and recall, not against precision: a wrong application is worse than none.
 */
import { type LabelledFlow, verdictOf } from "./labels.ts";

export interface AppScore {
  labelled: number;
  correct: number;
  unknown: number;
  /** correct / labelled, and correct / all labelled flows that were taken for it. */
  recall: number;
  precision: number;
  /** Flows taken for another application, by its name. */
  wrong_as: Record<string, number>;
}

export interface Score {
  readonly labelled: number;
  /** Labelled flows that no capture holds; they are among the unknown. */
  readonly missing: number;
  readonly correct: number;
  readonly wrong: number;
  readonly unknown: number;
  readonly accuracy: number;
  readonly per_app_mean: number;
  readonly precision: number;
  readonly apps: Record<string, AppScore>;
}

export function scoreOf(rows: readonly LabelledFlow[]): Score {
  const apps = new Map<string, AppScore>();
  const takenFor = new Map<string, number>();
  const counts = { correct: 0, wrong: 0, unknown: 0 };
  for (const row of rows) {
    const app = apps.get(row.app) ?? emptyScore();
    apps.set(row.app, app);
    const verdict = verdictOf(row);
    counts[verdict]++;
    app.labelled++;
    if (verdict === "correct") app.correct++;
    if (verdict === "unknown") app.unknown++;
    if (row.found === undefined) continue;
    takenFor.set(row.found, (takenFor.get(row.found) ?? 0) + 1);
    if (verdict === "wrong") app.wrong_as[row.found] = (app.wrong_as[row.found] ?? 0) + 1;
  }
  for (const [name, app] of apps) {
    app.recall = app.correct / app.labelled;
    app.precision = ratio(app.correct, takenFor.get(name) ?? 0);
  }
  const recalls = [...apps.values()].map(({ recall }) => recall);
  const names = [...apps.keys()].sort();
  return {
    labelled: rows.length,
    missing: rows.filter(({ seen }) => seen === "no").length,
    ...counts,
    accuracy: ratio(counts.correct, rows.length),
    per_app_mean: ratio(
      recalls.reduce((sum, recall) => sum + recall, 0),
      recalls.length,
    ),
    precision: ratio(counts.correct, counts.correct + counts.wrong),
    apps: Object.fromEntries(names.map((name) => [name, apps.get(name) ?? emptyScore()])),
  };
}

function emptyScore(): AppScore {
  return { labelled: 0, correct: 0, unknown: 0, recall: 0, precision: 0, wrong_as: {} };
}

/** 0 of nothing: a score of nothing must not look good. */
function ratio(part: number, whole: number): number {
  return whole === 0 ? 0 : part / whole;
}
