/**
 * The API against values made from its own description: right ones, wrong ones, hostile ones. Every
 * answer is one that the description has, no fault is the manager's own, and its memory stays.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { apiDescription } from "../../src/manager/api/description.ts";
import { inFolder } from "../../src/manager/manager-folder.ts";
import { Prng, seed } from "../prng.ts";
import { ApiSite } from "./api-site.ts";

const ROUNDS = 40;
const GROWTH_BYTES_MAX = 200 * 1024 * 1024;

type Schema = {
  type?: string;
  enum?: readonly string[];
  pattern?: string;
  format?: string;
  minimum?: number;
  maximum?: number;
  minLength?: number;
  items?: Schema;
};
type Parameter = { name: string; in: string; required?: boolean; schema: Schema };
type Operation = {
  operationId: string;
  parameters?: Parameter[];
  requestBody?: {
    content: Record<string, { schema: Schema & { properties?: Record<string, Schema> } }>;
  };
};

const paths = apiDescription()["paths"] as Record<string, Record<string, Operation>>;
const operations = Object.entries(paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({
    ...{ name: operation.operationId, method: method.toUpperCase(), path, operation },
  })),
);

let api: ApiSite;

beforeAll(async () => {
  api = await ApiSite.open();
  await api.site.enrol(await api.site.invite("a", "--group", "g"), api.site.freshDir());
});

afterAll(() => api.close());

const HOSTILE: readonly unknown[] = [
  ...[
    "",
    " ",
    "\u0000",
    "a\r\nSet-Cookie: x",
    "../../etc/passwd",
    "%2e%2e%2f",
    "'; DROP TABLE node; --",
  ],
  ...[
    "\ud800",
    "\u202e",
    "é".repeat(1000),
    "x".repeat(100_000),
    "__proto__",
    "constructor",
    "toString",
  ],
  ...[-1, 0, 1.5, 1e308, -0, 2 ** 53, "9".repeat(400), "NaN", "0x10", true, false, null, [], {}],
  ...[
    [[]],
    [null],
    ["a", "a"],
    Array(1000).fill("a"),
    { length: 5 },
    { toString: "x" },
    { __proto__: 1 },
  ],
  JSON.parse(`${"[".repeat(2000)}${"]".repeat(2000)}`),
  ...[
    "a: &a [*a]",
    "!!js/function x",
    "- {builtin: ping}",
    "version: 1\nrules: []\n",
    "{",
    "---\n---\n",
  ],
];
/** What is there: so that some of it is done. */
const KNOWN = [
  "t1",
  "a",
  "viewer",
  "local",
  "g",
  "24h",
  "1h",
  "full",
  "enforce",
  "operator",
  "12 characters long",
];

/** One that the schema lets through, as far as this knows how to make one. */
function fitting(schema: Schema, prng: Prng): unknown {
  const { type, enum: words, minimum = 0, maximum = 100, items } = schema;
  if (words !== undefined) return words[prng.below(words.length)];
  if (type === "integer") return minimum + prng.below(Math.min(maximum - minimum + 1, 100));
  if (type === "boolean") return prng.oneIn(2);
  if (type === "array")
    return Array.from({ length: prng.below(4) }, () => fitting(items ?? {}, prng));
  return KNOWN[prng.below(KNOWN.length)];
}

function drawValue(name: string, schema: Schema, prng: Prng): unknown {
  // A new tenant's ledger listens: ports of this machine are not ours to take.
  const mayFit = name !== "peer_port";
  if (mayFit && !prng.oneIn(3)) return fitting(schema, prng);
  const value = HOSTILE[prng.below(HOSTILE.length)];
  return name === "peer_port" && value === undefined ? "" : value;
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : (JSON.stringify(value) ?? "");
}

/** Lone surrogates cannot be in a URL. */
function encoded(value: unknown): string {
  return encodeURIComponent(textOf(value).toWellFormed().slice(0, 2000));
}

function requestOf({ method, path, operation }: (typeof operations)[number], prng: Prng) {
  const parameters = (operation.parameters ?? []).filter(
    ({ required }) => required || !prng.oneIn(3),
  );
  let url = `/api/v1${path}`;
  const query: string[] = [];
  const headers: Record<string, string> = {};
  for (const { name, in: place, schema } of parameters) {
    const value = drawValue(name, schema, prng);
    if (place === "path") url = url.replace(`{${name}}`, encoded(value));
    if (place === "query") query.push(`${name}=${encoded(value)}`);
    if (place === "header") headers[name] = prng.oneIn(2) ? '"1"' : encoded(value).slice(0, 200);
  }
  if (prng.oneIn(10)) query.push(`${encoded(HOSTILE[prng.below(HOSTILE.length)])}=1`);
  const [mediaType, content] = Object.entries(operation.requestBody?.content ?? {})[0] ?? [];
  let body: string | undefined;
  if (mediaType !== undefined) {
    headers["Content-Type"] = prng.oneIn(20) ? "text/html" : mediaType;
    const { properties } = content?.schema ?? {};
    const made = Object.entries(properties ?? {}).filter(() => !prng.oneIn(6));
    const json = Object.fromEntries(
      made.map(([name, schema]) => [name, drawValue(name, schema, prng)]),
    );
    body = properties === undefined ? textOf(drawValue("", {}, prng)) : JSON.stringify(json);
    if (prng.oneIn(15)) body = body.slice(0, prng.below(body.length + 1));
    // What has no peer_port would take the next free one.
    if (operation.operationId === "tenant-add" && !body.includes('"peer_port":')) body = "{}";
  }
  if (method !== "GET" && mediaType === undefined && prng.oneIn(5)) body = "{}";
  if (query.length > 0) url += `?${query.join("&")}`;
  return { url, init: { method, headers, ...(body === undefined ? {} : { body }) } };
}

const STATUSES = [200, 304, 400, 401, 403, 404, 405, 409, 412, 413, 415, 422, 429, 503];

test.each(
  operations.filter(({ name }) => name !== "events").map((one) => [one.name, one] as const),
)(`%s: values made of its description get an answer of it (SEED=${seed})`, async (_, operation) => {
  const prng = new Prng(seed);
  const socket = inFolder(api.site.dir, "socket");
  const before = process.memoryUsage().rss;
  for (let i = 0; i < ROUNDS; i++) {
    const { url, init } = requestOf(operation, prng);
    const response = await fetch(`http://manager${url}`, { ...init, unix: socket } as RequestInit);
    const text = await response.text();
    const shown = `${init.method} ${url.slice(0, 200)} ${text.slice(0, 200)}`;
    if (!STATUSES.includes(response.status)) throw new Error(`${response.status}: ${shown}`);
    if (response.status === 304) continue;
    const answer = JSON.parse(text);
    if (response.status !== 200) expect(Object.keys(answer)).toContain("remedy");
  }
  expect(process.memoryUsage().rss - before).toBeLessThan(GROWTH_BYTES_MAX);
});

test("after all that the manager serves as before, and no fault was its own", async () => {
  expect((await api.ask("GET", "/api/v1/agents")).status).toBe(200);
  expect(await api.site.command("tenant", "list")).toHaveLength(1);
  expect(api.site.events().filter(({ event }) => event === "api-failed")).toEqual([]);
});
