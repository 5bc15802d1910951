/** What differs between two policies: a unified patch, each line with its sign and a colour. */
type PatchProps = { readonly patch: string | null };

const KINDS = { "+": "added", "-": "removed", "@": "place" } as const;

export function PatchView({ patch }: PatchProps) {
  if (patch === null) return <p>Too much differs to be shown line by line.</p>;
  if (patch === "") return <p>No difference.</p>;
  const lines = patch.trimEnd().split("\n").slice(2);
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: scrolls
    <pre class="patch" tabIndex={0}>
      {lines.map((line, i) => (
        <span key={i} class={KINDS[line[0] as "+"] ?? "same"}>{`${line}\n`}</span>
      ))}
    </pre>
  );
}
