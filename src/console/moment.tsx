/** Times: how long ago or how long still, with the exact one beside it for who points at it. */
const UNITS: readonly (readonly [string, number])[] = [
  ["d", 86_400],
  ["h", 3600],
  ["min", 60],
  ["s", 1],
];

function distance(seconds: number): string {
  const [unit, size] = UNITS.find(([, size]) => seconds >= size * 2) ?? ["s", 1];
  return `${Math.floor(seconds / size)} ${unit}`;
}

/** @param at ISO 8601, or `-` for never */
export function Moment({ at }: { readonly at: string | undefined }) {
  const time = Date.parse(at ?? "");
  if (Number.isNaN(time))
    return <span class="quiet">{at === "-" ? "never" : (at ?? "never")}</span>;
  const seconds = (Date.now() - time) / 1000;
  const words = seconds >= 0 ? `${distance(seconds)} ago` : `in ${distance(-seconds)}`;
  return (
    <time dateTime={at} title={at}>
      {Math.abs(seconds) < 2 ? "now" : words}
    </time>
  );
}

export function Clock({ at }: { readonly at: string | undefined }) {
  const text = at?.replace("T", " ").replace(/(\.\d+)?Z$/, "") ?? "";
  return (
    <time dateTime={at} title={`${at} (UTC)`} class="clock">
      {text}
    </time>
  );
}
