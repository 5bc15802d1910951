/**
 * The live map: agents in their groups, and the flows between them. Drawn by cytoscape; who does
 * not see it has the same in the table of flows, and a sentence here.
 */
import cytoscape from "cytoscape";
import { useEffect, useRef } from "preact/hooks";
import type { AgentRow } from "../answers/agents.ts";
import type { Flow, Verdict } from "../answers/flows.ts";
import { endsOf } from "./flow.ts";

type MapProps = { readonly agents: readonly AgentRow[]; readonly flows: readonly Flow[] };
type Element = cytoscape.ElementDefinition;

/** The worst of several verdicts on one edge is what is shown. */
const WORST: readonly Verdict[] = ["refused", "would-refuse", "allowed"];
const OUTSIDE_MAX = 12;
/** By forces: who speaks with each other stands together. */
const LAYOUT = {
  ...{ name: "cose", animate: false, randomize: false, nodeDimensionsIncludeLabels: true },
  ...{ padding: 12, componentSpacing: 60, nodeOverlap: 20, idealEdgeLength: () => 70 },
};

export function FlowMap({ agents, flows }: MapProps) {
  const place = useRef<HTMLDivElement>(null);
  const elements = elementsOf(agents, flows);
  const shape = JSON.stringify(elements);
  useEffect(() => {
    const container = place.current;
    if (container === null) return;
    const drawn = draw(container, JSON.parse(shape) as Element[]);
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    const recolour = () => drawn.style(styleOf(container));
    scheme.addEventListener("change", recolour);
    return () => {
      scheme.removeEventListener("change", recolour);
      drawn.destroy();
    };
  }, [shape]);
  return (
    <figure class="card map">
      <div ref={place} class="canvas" role="img" aria-label={sentenceOf(agents, flows)} />
      <figcaption>
        <span class="key allowed">allowed</span>
        <span class="key refused">refused</span>
        <span class="key would-refuse">would be refused</span>
      </figcaption>
    </figure>
  );
}

function sentenceOf(agents: readonly AgentRow[], flows: readonly Flow[]): string {
  const count = (verdict: Verdict) => flows.filter((flow) => flow.verdict === verdict).length;
  const [refused = 0, would = 0, allowed = 0] = WORST.map(count);
  const kinds = `${allowed} allowed, ${refused} refused, ${would} would be refused`;
  return `Map of ${agents.length} agents and ${flows.length} kinds of flows: ${kinds}`;
}

function elementsOf(agents: readonly AgentRow[], flows: readonly Flow[]): Element[] {
  const edges = edgesOf(flows);
  const known = new Set(agents.map(({ name }) => name));
  const outside = [...new Set(edges.flatMap(({ ends }) => ends))]
    .filter((name) => !known.has(name))
    .slice(0, OUTSIDE_MAX);
  const shown = new Set([...known, ...outside]);
  const groups = new Set(agents.flatMap(groupOf));
  return [
    ...[...groups].map((name) => ({ data: { id: `group ${name}`, label: name } })),
    ...agents.map((agent) => {
      const [group] = groupOf(agent);
      const parent = group === undefined ? {} : { parent: `group ${group}` };
      return { data: { id: agent.name, label: agent.name, ...parent }, classes: "agent" };
    }),
    ...outside.map((name) => ({ data: { id: name, label: name }, classes: "outside" })),
    ...edges
      .filter(({ ends }) => ends.every((name) => shown.has(name)))
      .map(({ ends: [source, target], label, verdict }) => ({
        data: { id: `${source} ${target} ${label}`, source, target, label },
        classes: verdict,
      })),
  ];
}

function groupOf({ groups }: AgentRow): string[] {
  const [first = "-"] = groups.split(",");
  return first === "-" ? [] : [first];
}

type Edge = { ends: readonly [string, string]; label: string; verdict: Verdict };

function edgesOf(flows: readonly Flow[]): Edge[] {
  const edges = new Map<string, Edge>();
  for (const flow of flows) {
    const ends = endsOf(flow);
    const label = flow.app || `${flow.protocol} ${flow.port}`;
    const key = JSON.stringify([ends, label]);
    const known = edges.get(key)?.verdict;
    const verdict = WORST.find((one) => one === known || one === flow.verdict) ?? flow.verdict;
    edges.set(key, { ends, label, verdict });
  }
  return [...edges.values()].sort((left, right) => (left.label < right.label ? -1 : 1));
}

function draw(container: HTMLElement, elements: Element[]): cytoscape.Core {
  return cytoscape({
    container,
    elements,
    style: styleOf(container),
    layout: { ...LAYOUT },
    // The page is scrolled by the wheel, not the map.
    ...{ userZoomingEnabled: false, autoungrabify: false, boxSelectionEnabled: false },
  });
}

/** Colours are those of the page. */
function styleOf(container: HTMLElement): cytoscape.StylesheetJson {
  const style = getComputedStyle(container);
  const colour = (name: string) => style.getPropertyValue(`--${name}`).trim();
  const text = { label: "data(label)", color: colour("ink"), "font-size": 12, "text-margin-y": 4 };
  const edge = (name: string) => ({ "line-color": name, "target-arrow-color": name });
  return [
    {
      selector: "node",
      style: { ...text, "background-color": colour("accent"), "text-valign": "bottom" },
    },
    {
      selector: ":parent",
      style: {
        ...{ "background-color": colour("calm-bg"), "border-color": colour("line") },
        ...{
          color: colour("quiet"),
          "text-valign": "top",
          padding: "22px",
          shape: "round-rectangle",
        },
      },
    },
    { selector: ".outside", style: { "background-color": colour("quiet"), shape: "diamond" } },
    {
      selector: "edge",
      style: {
        ...{ ...text, "font-size": 10, width: 2, "curve-style": "bezier" },
        ...{ "target-arrow-shape": "triangle", "text-rotation": "autorotate" },
        ...{ "text-background-color": colour("card"), "text-background-opacity": 1 },
      },
    },
    { selector: ".allowed", style: edge(colour("good")) },
    { selector: ".refused", style: { ...edge(colour("bad")), "line-style": "dotted", width: 3 } },
    { selector: ".would-refuse", style: { ...edge(colour("warn")), "line-style": "dashed" } },
  ];
}
