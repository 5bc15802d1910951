/** `abs sig lint|list|show|diff|learn` as commands: what they print and how they end. */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const MAIN = join(import.meta.dir, "../../src/cli/main.ts");
const folder = mkdtempSync(join(tmpdir(), "abs-sig-"));
afterAll(() => rmSync(folder, { recursive: true }));

const RIGHT = { app_name: "a", version: 1, status: "enabled", proto_type: "tcp" };

function file(name: string, ...signatures: readonly object[]): string {
  const path = join(folder, name);
  writeFileSync(path, JSON.stringify(signatures, null, 2));
  return path;
}

function sig(...args: readonly string[]): { code: number; out: string; err: string } {
  const { exitCode, stdout, stderr } = Bun.spawnSync([process.execPath, MAIN, "sig", ...args]);
  return { code: exitCode, out: stdout.toString(), err: stderr.toString() };
}

function content(...contents: readonly object[]): object {
  return { ...RIGHT, sig_id: "s", contents };
}

const FAULTS: readonly {
  name: string;
  signatures: readonly object[];
  kind: string;
  says: string;
}[] = [
  {
    name: "an unknown field",
    signatures: [{ ...RIGHT, sig_id: "s", color: "red" }],
    kind: "unreadable",
    says: '[0].color: unknown key "color"',
  },
  {
    name: "what Hyperscan refuses",
    signatures: [content({ expr: "/(?:a$|b)c/" })],
    kind: "expression",
    says: "Embedded end anchors",
  },
  {
    name: "bytes that exclude each other",
    signatures: [content({ expr: "a", offset: 0, depth: 1 }, { expr: "/^b/" })],
    kind: "never",
    says: "different values of byte 0",
  },
  {
    name: "a content required and forbidden",
    signatures: [content({ expr: "abc" }, { expr: "abc", not: true })],
    kind: "never",
    says: "requires and forbids abc",
  },
  {
    name: "an id used twice",
    signatures: [content({ expr: "abc" }), content({ expr: "abd" })],
    kind: "set",
    says: 'sig_id "s" is used',
  },
  {
    name: "a process nobody can attest",
    signatures: [{ ...RIGHT, sig_id: "s", process: { user: "mysql" } }],
    kind: "set",
    says: "cannot attest",
  },
];

test.each([...FAULTS])("lint names $name", ({ signatures, kind, says }) => {
  const path = file("fault.json", ...signatures);
  const { code, out } = sig("lint", path, "--output", "json");
  expect(code).toBe(1);
  const { ok, findings } = JSON.parse(out) as {
    ok: boolean;
    findings: { level: string; kind: string; message: string }[];
  };
  expect(ok).toBe(false);
  const found = findings.find((one) => one.level === "error" && one.kind === kind);
  expect(found?.message).toContain(says);
  expect(found?.message).toContain(path);
});

test("lint tells a signature that never wins, and that is no error", () => {
  const path = file(
    "shadow.json",
    { ...content({ expr: "abc" }), priority: 5 },
    { ...content({ expr: "abc" }, { expr: "xyz" }), sig_id: "t", app_name: "b" },
  );
  const { code, out } = sig("lint", path);
  expect(code).toBe(0);
  expect(out).toContain('"t" (b) never wins: "s" (a)');
});

test("the library passes lint, and is listed and shown", () => {
  expect(sig("lint").out).toMatch(/\d+ signatures of \d+ applications: no errors\n$/);
  const list = JSON.parse(sig("list", "--app", "mysql", "--output", "json").out);
  expect(list[0].app_name).toBe("mysql");
  expect(sig("list", "--app", "mysql").out).toContain("3306");
  expect(sig("show", "mysql").out).toContain("specification");
  const unknown = sig("show", "nothing");
  expect([unknown.code, unknown.out]).toEqual([1, ""]);
  expect(unknown.err).toContain("SIGNATURE_UNKNOWN");
});

test("diff tells fields, and ends with 1 where there is a difference", () => {
  const before = file("before.json", content({ expr: "abc" }));
  const after = file("after.json", { ...content({ expr: "abcd" }), version: 2 });
  expect(sig("diff", before, before)).toEqual({ code: 0, out: "", err: "" });
  const { code, out } = sig("diff", before, after, "--output", "json");
  expect(code).toBe(1);
  const [change] = JSON.parse(out);
  expect(change.change).toBe("changed");
  expect(change.fields.map(({ field }: { field: string }) => field)).toEqual([
    "version",
    "contents[0]",
  ]);
});

test("learn refuses what it cannot use", () => {
  const empty = join(folder, "empty.pcap");
  writeFileSync(empty, Buffer.from("d4c3b2a1020004000000000000000000ffff000001000000", "hex"));
  const { code, err } = sig("learn", "--app", "x", empty);
  expect(code).toBe(1);
  expect(err).toContain("LEARN_FLOWS");
  expect(sig("learn", "--app", "x", empty, "--flow", "tcp:x").err).toContain("OPTION_INVALID");
  expect(readFileSync(empty).length).toBe(24);
});
