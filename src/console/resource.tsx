/** What a page shows of the API: loading, a problem with its remedy, or the thing itself. */
import type { ComponentChildren } from "preact";
import { useCallback, useEffect, useState } from "preact/hooks";
import { ask, Problem } from "./api.ts";
import { liveEvents } from "./live.ts";

/** Events come in bursts: one reload is enough for all of them. */
const SETTLE_MS = 400;

export type Resource<T> = {
  readonly value: T | undefined;
  readonly problem: Problem | undefined;
  readonly reload: () => void;
};

/** @param path undefined: nothing to ask for; it is read anew when the manager tells of anything */
export function useResource<T>(path: string | undefined, everyMs = 0): Resource<T> {
  const [value, setValue] = useState<T>();
  const [problem, setProblem] = useState<Problem>();
  const [turn, setTurn] = useState(0);
  const reload = useCallback(() => setTurn((before) => before + 1), []);
  useEffect(() => setValue(undefined), [path]);
  useEffect(() => {
    if (path === undefined) return;
    let isWanted = true;
    ask<T>("GET", path).then(
      (answer) => {
        if (!isWanted) return;
        setValue(() => answer);
        setProblem(undefined);
      },
      (thrown) => {
        if (isWanted) setProblem(thrown as Problem);
      },
    );
    return () => {
      isWanted = false;
    };
  }, [path, turn]);
  useEffect(() => afterEvents(reload), [reload]);
  useEffect(() => {
    if (everyMs === 0) return;
    const timer = setInterval(reload, everyMs);
    return () => clearInterval(timer);
  }, [everyMs, reload]);
  return { value, problem, reload };
}

function afterEvents(reload: () => void): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const stop = liveEvents.listen(() => {
    timer ??= setTimeout(() => {
      timer = undefined;
      reload();
    }, SETTLE_MS);
  });
  return () => {
    clearTimeout(timer);
    stop();
  };
}

type ShownProps<T> = {
  readonly of: Resource<T>;
  readonly children: (value: T) => ComponentChildren;
};

export function Shown<T>({ of, children }: ShownProps<T>) {
  const { value, problem } = of;
  return (
    <>
      {problem !== undefined && <ProblemNote problem={problem} />}
      {value === undefined && problem === undefined && <p class="quiet">Loading…</p>}
      {value !== undefined && children(value)}
    </>
  );
}

export function ProblemNote({ problem }: { readonly problem: Problem | Error }) {
  const isOurs = problem instanceof Problem;
  return (
    <div class="problem" role="alert">
      <strong>{problem.message}</strong>
      {isOurs && problem.remedy !== "" && <span> {problem.remedy}</span>}
      {isOurs && <code>{problem.code}</code>}
    </div>
  );
}
