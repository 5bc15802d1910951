/** The manager's events, newest first, with a filter that is in the URL. docs/events.md. */
import { FindField, isFound, useFind } from "../find-field.tsx";
import { type LiveEvent, liveEvents } from "../live.ts";
import { Clock } from "../moment.tsx";
import { setQuery, usePlace } from "../place.tsx";
import { useStore } from "../store.ts";
import { Badge, type Column, Table } from "../table.tsx";

const TONES = { informational: "calm", low: "calm", medium: "warn" } as const;
/** What the record adds by itself, and columns of their own. */
const KNOWN = new Set(["time", "event", "schema", "id", "class", "severity", "origin"]);

function detailOf(event: LiveEvent): string {
  return Object.entries(event)
    .filter(([name, value]) => !KNOWN.has(name) && value !== undefined && value !== null)
    .map(([name, value]) => `${name}: ${typeof value === "object" ? JSON.stringify(value) : value}`)
    .join(" · ");
}

const columns: readonly Column<LiveEvent>[] = [
  { title: "Time (UTC)", cell: ({ time }) => <Clock at={time} /> },
  { title: "Event", cell: ({ event }) => event },
  {
    title: "Severity",
    cell: ({ severity }) => (
      <Badge tone={TONES[severity as "low"] ?? "bad"}>{String(severity ?? "informational")}</Badge>
    ),
  },
  { title: "Details", cell: (event) => <span class="detail">{detailOf(event)}</span> },
];

type EventsProps = { readonly events: readonly LiveEvent[]; readonly caption: string };

export function EventTable({ events, caption }: EventsProps) {
  return (
    <Table
      caption={caption}
      columns={columns}
      rows={events}
      keyOf={({ id, time, event }) => String(id ?? `${time} ${event}`)}
      empty={<p>Nothing has happened since the manager started. What does is shown at once.</p>}
    />
  );
}

export function NotificationsPage() {
  const events = useStore(liveEvents);
  const { query } = usePlace();
  const wanted = useFind();
  const chosen = query.get("class") ?? "";
  const shown = events.filter(
    (event) =>
      (chosen === "" || event["class"] === chosen) && isFound(JSON.stringify(event), wanted),
  );
  return (
    <>
      <search class="filters">
        <FindField />
        <label>
          <span>Class</span>
          <select
            value={chosen}
            onChange={(event) => setQuery({ class: event.currentTarget.value })}
          >
            <option value="">all</option>
            {[...new Set(events.map((event) => String(event["class"])))].sort().map((one) => (
              <option key={one}>{one}</option>
            ))}
          </select>
        </label>
      </search>
      <EventTable events={shown} caption="Events of the manager, newest first" />
    </>
  );
}
