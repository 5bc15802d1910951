/** Signatures that are read, and those refused: each refusal names place, reason and remedy. */
import { expect, test } from "bun:test";
import { AbsError } from "../errors.ts";
import { compileSignatures } from "./compile.ts";
import { librarySignatures } from "./library.ts";
import { parseSignatures } from "./schema.ts";

const RIGHT = { sig_id: "s", app_name: "a", version: 1, status: "enabled", proto_type: "tcp" };

/** A signature with `change` over one that is right. */
function text(change: Record<string, unknown>): string {
  return JSON.stringify({ ...RIGHT, ...change });
}

function content(change: Record<string, unknown>): string {
  return text({ contents: [{ expr: "abc", ...change }] });
}

test("every field of Fig. 10 and the additions", () => {
  const [signature] = parseSignatures(
    text({
      description: "d",
      src_ip: ["10.0.0.0/8", "192.0.2.1-192.0.2.9"],
      src_port: "1024-65535",
      dst_ip: "any",
      dst_port: ["3306", 3307],
      proto_type: ["tcp", "udp"],
      contents: [
        { offset: 4, depth: 5, expr: "\\x0a" },
        { offset: 0, depth: 64, expr: "/^GET \\/app1\\//i", direction: "request" },
        { expr: "a\\\\b", direction: "response", not: true },
      ],
      length: "40-60",
      priority: 3,
      usual_ports: "80",
      specification: "RFC 1",
    }),
    "s.json",
  );
  expect(signature?.sourceAddresses).toHaveLength(2);
  expect(signature?.destinationAddresses).toBeUndefined();
  expect(signature?.destinationPorts).toEqual([
    { low: 3306, high: 3306 },
    { low: 3307, high: 3307 },
  ]);
  expect(signature?.protocols).toEqual([6, 17]);
  expect(signature?.length).toEqual({ low: 40, high: 60 });
  expect(
    signature?.contents.map(({ offset, depth, direction, not }) => [offset, depth, direction, not]),
  ).toEqual([
    [4, 5, "request", false],
    [0, 64, "request", false],
    [0, Infinity, "response", true],
  ]);
  const last = signature?.contents[2]?.expression;
  expect(last).toEqual({ kind: "bytes", bytes: Uint8Array.of(0x61, 0x5c, 0x62) });
});

const REFUSED: readonly { name: string; text: string; message: string }[] = [
  { name: "an unknown field", text: text({ app: "x" }), message: 'unknown key "app"' },
  {
    name: "no sig_id",
    text: JSON.stringify({ ...RIGHT, sig_id: undefined }),
    message: '"sig_id" is missing',
  },
  { name: "a name with a slash", text: text({ app_name: "a/b" }), message: '"a/b" is not a name' },
  { name: "an unknown status", text: text({ status: "on" }), message: 'status: "on" is not' },
  { name: "a negative version", text: text({ version: -1 }), message: "-1 is out of range" },
  { name: "an empty process", text: text({ process: {} }), message: "it requires nothing" },
  { name: "a relative exe", text: text({ process: { exe: "x" } }), message: "not what exe takes" },
  {
    name: "a short digest",
    text: text({ process: { sha256: "ab" } }),
    message: "not what sha256 takes",
  },
  {
    name: "ports without a protocol",
    text: text({ proto_type: "any", dst_port: 80 }),
    message: "ports need a protocol",
  },
  {
    name: "ports of ICMP",
    text: text({ proto_type: "icmp", src_port: 80 }),
    message: "ports need a protocol",
  },
  {
    name: "an address that is none",
    text: text({ src_ip: "10.0.0.256" }),
    message: "is not a CIDR",
  },
  {
    name: "addresses that count down",
    text: text({ src_ip: "10.0.0.9-10.0.0.1" }),
    message: "counts down",
  },
  {
    name: "addresses of two kinds",
    text: text({ src_ip: "10.0.0.9-::1" }),
    message: "mixes IPv4 and IPv6",
  },
  { name: "a length beyond a packet", text: text({ length: 65_536 }), message: "is not a length" },
  { name: "a list of lengths", text: text({ length: [1, 2] }), message: "one value or range" },
  {
    name: "a priority out of range",
    text: text({ priority: 1001 }),
    message: "1001 is out of range",
  },
  {
    name: "33 contents",
    text: text({ contents: new Array(33).fill({ expr: "a" }) }),
    message: "33 contents",
  },
  { name: "a content without expr", text: text({ contents: [{}] }), message: '"expr" is missing' },
  { name: "an empty expr", text: content({ expr: "" }), message: "the expression is empty" },
  {
    name: "an unknown escape",
    text: content({ expr: "a\\n" }),
    message: "character 2 begins no escape",
  },
  {
    name: "half an escape",
    text: content({ expr: "\\x0" }),
    message: "character 1 begins no escape",
  },
  { name: "a letter beyond ASCII", text: content({ expr: "é" }), message: "U+e9" },
  {
    name: "half a regular expression",
    text: content({ expr: "/abc" }),
    message: "does not end as a regular",
  },
  { name: "a slash inside", text: content({ expr: "/a/b/" }), message: "an unescaped / inside" },
  {
    name: "an expression that is refused",
    text: content({ expr: "/a(?=b)/" }),
    message: "look-around",
  },
  {
    name: "an oversized expression",
    text: content({ expr: "a".repeat(4097) }),
    message: "4097 characters",
  },
  { name: "a negative offset", text: content({ offset: -1 }), message: "-1 is out of range" },
  {
    name: "^ after an offset",
    text: content({ expr: "/^a/", offset: 1 }),
    message: "but the search begins at 1",
  },
  {
    name: "a window too small",
    text: content({ offset: 2, depth: 4 }),
    message: "bytes 2 to 4 cannot hold",
  },
  { name: "a depth of 0", text: content({ depth: 0 }), message: "0 is out of range" },
  {
    name: "a payload too short for its content",
    text: text({ length: 2, contents: [{ expr: "abc" }] }),
    message: "at most 2 bytes cannot hold it",
  },
];

test.each([...REFUSED])("refused: $name", ({ text: signature, message }) => {
  try {
    parseSignatures(signature, "s.json");
  } catch (thrown) {
    if (!(thrown instanceof AbsError)) throw thrown;
    expect(thrown.code).toBe("SIGNATURE_INVALID");
    expect(thrown.message).toMatch(/^s\.json:\d+:\d+: /);
    expect(thrown.message).toContain(message);
    expect(thrown.remedy).not.toBe("");
    return;
  }
  throw new Error("it was read");
});

/** Ids in winning order of signatures written in the opposite one. */
function order(...changes: readonly Record<string, unknown>[]): string[] {
  const list = changes.map((change, i) => ({
    ...RIGHT,
    sig_id: `s${i}`,
    app_name: `a${i}`,
    ...change,
  }));
  const signatures = parseSignatures(JSON.stringify(list.reverse()), "s.json");
  return compileSignatures(signatures, () => 0).signatures.map(({ id }) => id);
}

test("winning order: priority, pinned bytes, pinned numbers, version", () => {
  const abc = { contents: [{ expr: "abc" }] };
  expect(order({ ...abc, priority: 1 }, { contents: [{ expr: "abcd" }] })).toEqual(["s0", "s1"]);
  expect(order({ contents: [{ expr: "abcd" }] }, { ...abc, dst_port: 1 })).toEqual(["s0", "s1"]);
  expect(order({ ...abc, dst_port: 1 }, { ...abc, version: 9 })).toEqual(["s0", "s1"]);
  expect(order({ ...abc, version: 9 }, abc)).toEqual(["s0", "s1"]);
  const pinned = { contents: [{ expr: "/a[bc]+d/i" }, { expr: "x", not: true }] };
  expect(order(abc, pinned)).toEqual(["s0", "s1"]);
});

test("disabled and decommissioned signatures take no part", () => {
  expect(order({ status: "disabled" }, { status: "decommission" })).toEqual([]);
});

const TIES: readonly {
  name: string;
  left: object;
  right: object;
  tie: "certain" | "possible" | "none";
}[] = [
  {
    name: "the same content",
    left: { contents: [{ expr: "abc" }] },
    right: { contents: [{ expr: "abc" }] },
    tie: "certain",
  },
  { name: "no content at all", left: {}, right: {}, tie: "certain" },
  {
    name: "different fixed bytes at other positions",
    left: { contents: [{ offset: 0, depth: 2, expr: "ab" }] },
    right: { contents: [{ offset: 2, depth: 4, expr: "ab" }] },
    tie: "certain",
  },
  {
    name: "fixed bytes that differ",
    left: { contents: [{ offset: 0, depth: 2, expr: "ab" }] },
    right: { contents: [{ offset: 1, depth: 3, expr: "ab" }] },
    tie: "none",
  },
  {
    name: "words searched anywhere",
    left: { contents: [{ expr: "abc" }] },
    right: { contents: [{ expr: "xyz" }] },
    tie: "possible",
  },
  { name: "other ports", left: { dst_port: 80 }, right: { dst_port: "81-90" }, tie: "none" },
  {
    name: "ports that overlap",
    left: { dst_port: "80-85" },
    right: { dst_port: "81-90" },
    tie: "certain",
  },
  { name: "other protocols", left: {}, right: { proto_type: "udp" }, tie: "none" },
  {
    name: "other addresses",
    left: { src_ip: "10.0.0.0/9" },
    right: { src_ip: "10.128.0.0/9" },
    tie: "none",
  },
  { name: "other lengths", left: { length: "1-4" }, right: { length: "5-9" }, tie: "none" },
  {
    name: "one forbids what the other asks for",
    left: { contents: [{ expr: "abc" }, { expr: "xyz", not: true }] },
    right: { contents: [{ expr: "xyz" }] },
    tie: "none",
  },
  { name: "the same application", left: { app_name: "a" }, right: { app_name: "a" }, tie: "none" },
  {
    name: "usual ports apart",
    left: { usual_ports: ["53", "54"] },
    right: { usual_ports: "5355" },
    tie: "none",
  },
  {
    name: "usual ports in common",
    left: { usual_ports: ["53", "54"] },
    right: { usual_ports: "54" },
    tie: "certain",
  },
  {
    name: "one judges requests, the other responses",
    left: { contents: [{ expr: "abc" }] },
    right: { contents: [{ expr: "abc", direction: "response" }] },
    tie: "none",
  },
];

test.each([...TIES])("tie of $name: $tie", ({ left, right, tie }) => {
  const list = [
    { ...RIGHT, sig_id: "l", app_name: "left", ...left },
    { ...RIGHT, sig_id: "r", app_name: "right", ...right },
  ];
  const signatures = parseSignatures(JSON.stringify(list), "s.json");
  const compile = () => compileSignatures(signatures, () => 0);
  if (tie === "certain") expect(compile).toThrow("match the same payloads and rank alike");
  else expect(compile().warnings).toHaveLength(tie === "possible" ? 1 : 0);
});

test("a process is read, and refused where nobody would enforce it", () => {
  const process = { exe: "/usr/sbin/mysqld", user: "mysql", unit: "mysql.service" };
  const [off] = parseSignatures(text({ process, status: "disabled" }), "s.json");
  expect(off?.process).toEqual(process);
  expect(compileSignatures(off === undefined ? [] : [off], () => 0).signatures).toEqual([]);
  const on = parseSignatures(text({ process }), "s.json");
  expect(() => compileSignatures(on, () => 0)).toThrow("this version cannot attest");
});

test("a sig_id used twice", () => {
  const twice = parseSignatures(JSON.stringify([RIGHT, RIGHT]), "s.json");
  expect(() => compileSignatures(twice, () => 0)).toThrow('sig_id "s" is used at s.json:1:2 too');
});

test("the library compiles without a warning, every file named for its application", () => {
  const signatures = librarySignatures();
  expect(compileSignatures(signatures, () => 0).warnings).toEqual([]);
  for (const { app, place, description, specification } of signatures) {
    expect(place).toContain(`signatures/${app}.json`);
    expect(description).not.toBe("");
    expect(specification).not.toBe("");
  }
});
