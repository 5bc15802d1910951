/**
 * The examples of docs/signatures.md work: they pass lint and their schema, and with the library
 * tell app1 from other clients of the same protocol in captures of real programs
 * (test/captures/README.md). Through the commands that the guide shows. A capture's flows stand in
 * the order in which its scenario runs the clients, so remade captures give the same list.
 */
import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { schemaProblems } from "../json-schema.ts";

const ROOT = join(import.meta.dir, "../..");
const FOLDER = "examples/app-signatures";
const EXAMPLES = readdirSync(join(ROOT, FOLDER)).map((name) => `${FOLDER}/${name}`);

interface Line {
  readonly type: string;
  readonly app?: string;
}

function sig(...words: readonly string[]): { status: number; out: string } {
  const command = [process.execPath, "src/cli/main.ts", "sig", ...words];
  const child = Bun.spawnSync(command, { cwd: ROOT, stdout: "pipe", stderr: "pipe" });
  return { status: child.exitCode, out: child.stdout.toString() };
}

/** The application of each flow of a capture, in the order of their first packets. */
function identify(capture: string): string[] {
  const signatures = EXAMPLES.join(",");
  const file = `test/captures/${capture}.pcap`;
  const { status, out } = sig("test", "--output", "jsonl", "--signatures", signatures, file);
  expect(status).toBe(0);
  const lines = out
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Line);
  return lines.filter(({ type }) => type === "flow").map(({ app }) => app ?? "unknown");
}

test.each(EXAMPLES)("%s keeps to the published schema", (path) => {
  expect(
    schemaProblems("signature.schema.json", JSON.parse(readFileSync(join(ROOT, path), "utf8"))),
  ).toEqual([]);
});

test("all examples pass lint beside the library", () => {
  expect(sig("lint", "--library", "--no-overlaps", ...EXAMPLES).status).toBe(0);
});

const CASES = [
  {
    name: "MySQL user",
    capture: "mysql",
    // app1, app1, other, app12, other by TLS, app1 compressed, dump, another library; no login.
    apps: "app1 app1 mysql mysql mysql app1 app1 app1 mysql",
  },
  {
    name: "PostgreSQL application_name",
    capture: "postgresql",
    // app1, other, psql, SSLRequest twice, pg_dump, replication, GSSENC, cancel, another library.
    apps: `app1 ${"postgresql ".repeat(8)}app1`,
  },
  {
    name: "Redis client name",
    capture: "redis",
    // The sixth says CLIENT SETNAME app1; the third and last log in as user app1, which is not it.
    apps: `${"redis ".repeat(5)}app1${" redis".repeat(6)}`,
  },
  {
    name: "HTTP path and header, download and upload",
    capture: "http",
    // GET, PUT, POST of /app1/; /other/; User-Agent; header; HEAD, OPTIONS, DELETE; GET; others.
    apps:
      "app1-download app1-upload app1-upload http app1 app1 http http http app1-download " +
      "http http",
  },
  {
    name: "TLS server name",
    capture: "tls",
    // app1, other, none, app1 by 1.3 and 1.2, 1.1 and 1.0 without name, ALPN, curl; wget; DTLS.
    apps: "app1 tls tls app1 app1 tls tls app1 app1 tls dtls dtls",
  },
];

test.each(CASES)("app1 is told from other clients by $name", ({ capture, apps }) => {
  expect(identify(capture).join(" ")).toBe(apps);
});
