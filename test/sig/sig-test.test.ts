/**
 * `abs sig test` as a command: what it prints, scores, writes and answers to bad input. Signatures
 * are the test's own (--only), so that the library's changes do not matter here.
 */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { concat } from "../../src/bytes.ts";
import {
  BACK,
  enhanced,
  ethernet,
  FORWARD,
  interfaceBlock,
  pcap,
  SYN,
  SYN_ACK,
  section,
  tcp,
  udp,
} from "./capture-bytes.ts";
import { readAll } from "./recorder.ts";

const ROOT = join(import.meta.dir, "../..");
const FOLDER = mkdtempSync(join(tmpdir(), "abs-sig-test-"));
afterAll(() => rmSync(FOLDER, { recursive: true }));

const any = { src_ip: "any", src_port: "any", dst_ip: "any" };
const signatures = [
  { id: "alpha-hello", app: "alpha", expr: "HELLO", dst_port: "any", usual_ports: ["80"] },
  { id: "beta-hello", app: "beta", expr: "HELLO", dst_port: "any", usual_ports: ["81"] },
  { id: "gamma-port", app: "gamma", expr: "GAM", dst_port: "80", usual_ports: ["80"] },
].map(({ id, app, expr, dst_port, usual_ports }) => ({
  ...{ sig_id: id, app_name: app, version: 1, status: "enabled", ...any, dst_port },
  ...{ proto_type: "tcp", usual_ports, contents: [{ offset: 0, depth: 16, expr }] },
}));
const delta = {
  ...{ sig_id: "delta-both", app_name: "delta", version: 1, status: "enabled", ...any },
  ...{ dst_port: "any", proto_type: "tcp", priority: 5 },
  contents: [
    { offset: 0, depth: 8, expr: "ASK" },
    { offset: 0, depth: 8, expr: "/^OK [0-9]/", direction: "response" },
  ],
};

function file(name: string, content: string | Uint8Array): string {
  const path = join(FOLDER, name);
  writeFileSync(path, content);
  return path;
}

const SIGNATURES = file("own.json", JSON.stringify([...signatures, delta]));

/** A connection on a port, with what both sides say first. */
function connection(sourcePort: number, port: number, request: string, response = "") {
  const ends = { ...FORWARD, sourcePort, destinationPort: port };
  const back = { ...BACK, sourcePort: port, destinationPort: sourcePort };
  return [
    tcp({ ends, flags: SYN, sequence: 9 }),
    tcp({ ends: back, flags: SYN_ACK, sequence: 20, acknowledgement: 10 }),
    tcp({ ends, sequence: 10, acknowledgement: 21, payload: request }),
    tcp({ ends: back, sequence: 21, acknowledgement: 15, payload: response }),
  ].map((packet) => ethernet(packet));
}

const FRAMES = [
  ...connection(1001, 80, "HELLO"),
  ...connection(1002, 81, "HELLO"),
  ...connection(1003, 80, "GAMMA"),
  ...connection(1004, 82, "GAMMA"),
  ...connection(1005, 80, "ASK?", "OK 1"),
  ...connection(1006, 80, "ASK?", "NO"),
  ...connection(1007, 80, ""),
  ...connection(1008, 80, "x"),
  ethernet(udp("HELLO")),
];
const CAPTURE = file("flows.pcap", pcap(FRAMES));
const APPS = ["alpha", "beta", "gamma", null, "delta", null, null, null, null];

function run(words: readonly string[], stdin?: string) {
  const command = [process.execPath, "src/cli/main.ts", "sig", "test"];
  const child = Bun.spawnSync([...command, "--only", "--signatures", SIGNATURES, ...words], {
    cwd: ROOT,
    stdin: stdin === undefined ? "ignore" : Bun.file(stdin),
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, XDG_CACHE_HOME: FOLDER },
  });
  const { stdout, stderr, exitCode } = child;
  return { out: stdout.toString(), errors: stderr.toString(), exitCode };
}

function flowsOf(words: readonly string[], stdin?: string) {
  const lines = run(["--output", "jsonl", ...words], stdin)
    .out.trim()
    .split("\n");
  return lines.map((line) => JSON.parse(line)).filter(({ type }) => type === "flow");
}

test("flows are told one by one: application, signature, where it matched, who lost and why", () => {
  const flows = flowsOf([CAPTURE]);
  expect(flows.map(({ app }) => app)).toEqual(APPS);
  expect(flows[0]).toMatchObject({
    proto: "tcp",
    src_ip: "10.0.0.1",
    src_port: 1001,
    dst_port: 80,
    signature: "alpha-hello",
    direction: "request",
    basis: "both",
    packets: 4,
    request: { length: 5, hex: "48454c4c4f", matched: { start: 0, end: 5, hex: "48454c4c4f" } },
    response: null,
    others: [{ app: "beta", signature: "beta-hello" }],
  });
  expect(flows[4]).toMatchObject({ direction: "both", others: [] });
  expect(flows[5].unknown).toBe("no-match");
  expect(flows[6].unknown).toBe("no-payload");
  expect(flows[7]).toMatchObject({ unknown: "too-short", request: { length: 1 } });
  expect(flows[3].nearest).toMatchObject({ why: expect.stringContaining("port 80") });
});

test("standard input gives the same", () => {
  expect(flowsOf(["-"], CAPTURE).map(({ app }) => app)).toEqual(APPS);
});

test("--ignore-ports: no usual port breaks a tie, no numeric port is asked for", () => {
  const apps = flowsOf([CAPTURE, "--ignore-ports"]).map(({ app }) => app);
  expect(apps).toEqual(["alpha", "alpha", "gamma", "gamma", "delta", null, null, null, null]);
});

test("--inner takes the flow inside a tunnel", () => {
  const vxlan = concat(Uint8Array.of(8, 0, 0, 0, 0, 0, 1, 0), FRAMES[2]);
  const outer = ethernet(udp(vxlan, { ...FORWARD, destinationPort: 4789 }));
  const path = file("vxlan.pcap", pcap([outer]));
  expect(flowsOf([path])).toMatchObject([{ proto: "udp", app: null }]);
  expect(flowsOf([path, "--inner"])).toMatchObject([{ proto: "tcp", app: "alpha" }]);
});

const row = (port: number, to: number, app: string) =>
  `flows.pcap,tcp,10.0.0.1,${port},10.0.0.2,${to},${app}`;
const HEAD = "file,proto,src_ip,src_port,dst_ip,dst_port,app";

test("labels are scored by flow and by application; exit 1 when one is not right", () => {
  const labels = file(
    "labels.csv",
    [
      HEAD,
      row(1001, 80, "alpha"),
      "flows.pcap,tcp,10.0.0.2,81,10.0.0.1,1002,beta", // from the other end
      row(1003, 80, "alpha"),
      row(1004, 82, "gamma"),
      row(9999, 82, "gamma"),
      "another.pcap,tcp,10.0.0.1,1,10.0.0.2,2,gamma",
    ].join("\r\n"),
  );
  const { out, exitCode } = run(["--labels", labels, "--output", "json", CAPTURE]);
  expect(exitCode).toBe(1);
  expect(JSON.parse(out)).toMatchObject({
    packets: FRAMES.length,
    flows: APPS.length,
    score: {
      labelled: 5,
      missing: 1,
      correct: 2,
      wrong: 1,
      unknown: 2,
      accuracy: 0.4,
      per_app_mean: (0.5 + 1 + 0) / 3,
      precision: 2 / 3,
      apps: {
        alpha: { labelled: 2, correct: 1, unknown: 0, recall: 0.5, wrong_as: { gamma: 1 } },
        beta: { labelled: 1, correct: 1, recall: 1, precision: 1, wrong_as: {} },
        gamma: { labelled: 2, correct: 0, unknown: 2, recall: 0, precision: 0, wrong_as: {} },
      },
    },
  });
  const right = file("right.csv", `${HEAD}\n${row(1001, 80, "alpha")}\n`);
  expect(run(["--labels", right, CAPTURE]).exitCode).toBe(0);
});

const badLabels = [
  { name: "no such column", text: "file,proto\n", message: 'there is no column "src_ip"' },
  { name: "no address", text: `${HEAD}\nf,tcp,10.0.0,1,10.0.0.1,2,a\n`, message: ":2: src_ip" },
  { name: "no port", text: `${HEAD}\n\nf,tcp,10.0.0.1,x,10.0.0.1,2,a\n`, message: ":3: src_port" },
  { name: "no application", text: `${HEAD}\nf,tcp,10.0.0.1,1,10.0.0.1,2,\n`, message: "app must" },
];

test.each(badLabels)("labels with $name are refused, with the line", ({ text, message }) => {
  const { errors, exitCode } = run(["--labels", file("bad.csv", text), CAPTURE]);
  expect(errors).toContain(message);
  expect(exitCode).toBe(1);
});

test("--write keeps packets, times and link types, and adds what is known of the flow by then", () => {
  const raw = concat(
    section(),
    interfaceBlock(1, undefined, 9),
    interfaceBlock(101),
    enhanced(FRAMES[0], 0),
    enhanced(udp("raw"), 1),
  );
  const mixed = file("mixed.pcapng", raw);
  const written = join(FOLDER, "out.pcapng");
  expect(run([CAPTURE, mixed, "--write", written]).exitCode).toBe(0);
  const bytes = new Uint8Array(readFileSync(written));
  const copy = readAll(bytes);
  const from = [readAll(new Uint8Array(readFileSync(CAPTURE))), readAll(raw)];
  expect(copy.fault).toBe("");
  const whole = from.flatMap(({ packets }) => packets);
  expect(copy.packets.map((packet) => packet.bytes)).toEqual(whole.map((packet) => packet.bytes));
  expect(copy.packets.map(({ linkType }) => linkType)).toEqual(whole.map((one) => one.linkType));
  for (const [i, { seconds }] of copy.packets.entries()) {
    expect(seconds).toBeCloseTo(whole[i].seconds, 6);
  }
  const text = Buffer.from(bytes).toString("latin1");
  // The request and the empty answer after it; not the handshake.
  expect(text.match(/abs: application alpha, signature alpha-hello/g)?.length).toBe(2);
  expect(text).toContain("abs: application unknown");
});

test("a capture that is cut short is used as far as it goes, and said to be so", () => {
  const path = file("cut.pcap", pcap(FRAMES).slice(0, -3));
  const { out, errors, exitCode } = run([path, "--output", "json"]);
  expect(exitCode).toBe(0);
  expect(errors).toContain("is cut short");
  const { packets, warnings } = JSON.parse(out);
  expect(packets).toBe(FRAMES.length - 1);
  expect(warnings).toEqual([{ file: path, warning: expect.stringMatching(/at byte \d+ is cut/) }]);
});

test("what is no capture is an error of its own; the others are still read", () => {
  const empty = file("empty.pcap", "");
  const words = [empty, join(FOLDER, "none.pcap"), FOLDER, SIGNATURES, CAPTURE];
  const { out, errors, exitCode } = run([...words, "--output", "json"]);
  expect(exitCode).toBe(1);
  const { captures, flows, errors: told } = JSON.parse(out);
  expect({ captures, flows }).toEqual({ captures: 1, flows: APPS.length });
  expect(told.map(({ code }: { code: string }) => code)).toEqual([
    "CAPTURE_FORMAT",
    "CAPTURE_OPEN",
    "CAPTURE_OPEN",
    "CAPTURE_FORMAT",
  ]);
  expect(errors).toContain("is empty");
});

test("wrong usage exits with 2, an unknown output with its name", () => {
  expect(run([]).exitCode).toBe(2);
  expect(run([CAPTURE, "--output", "xml"])).toMatchObject({
    exitCode: 2,
    errors: expect.stringContaining("xml"),
  });
});
