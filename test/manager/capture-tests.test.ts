/**
 * `sig test`: a capture handed to the manager, judged by a tenant's signatures in a real child
 * process; what is no capture, too much of it, too long or too often; and that nothing is left.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { AbsError } from "../../src/errors.ts";
import { FLOWS_TOLD_MAX } from "../../src/manager/capture-test-child.ts";
import { type CaptureTestOptions, CaptureTests } from "../../src/manager/capture-tests.ts";
import { askManager } from "../../src/manager/command-client.ts";
import { CAPTURE_BYTES_MAX } from "../../src/manager/standard-input.ts";
import { childrenOf, readProcess } from "../processes.ts";
import { ethernet, FORWARD, pcap, udp } from "../sig/capture-bytes.ts";
import { ApiSite } from "./api-site.ts";
import { CAPTURE_TEST_PROGRAM, codeOf } from "./manager-site.ts";

const PATH = "/api/v1/tenants/t1/signature-tests";
const CAPTURES = join(import.meta.dir, "../captures");
const SSH = readFileSync(join(CAPTURES, "ssh.pcap"));
const HTTP = readFileSync(join(CAPTURES, "http.pcap"));
/** SSH as the tests' tenant knows it: two versions, of which the newest is right. */
const SSH_SIGNATURE = {
  ...{ sig_id: "shell", app_name: "shell", status: "enabled", proto_type: "tcp" },
  contents: [{ offset: 0, depth: 4, expr: "SSH-", direction: "response" }],
};
const DRAFT = {
  ...{ sig_id: "web", app_name: "web", version: 3, status: "enabled", proto_type: "tcp" },
  contents: [{ offset: 0, depth: 4, expr: "GET " }],
};
const HEAD = { signatures: [], library: false, inner: false };

type Body = string | Uint8Array<ArrayBuffer> | ReadableStream;
type Told = Record<string, unknown> & { readonly request: Record<string, unknown> | null };
type Result = Record<string, unknown> & { readonly told: readonly Told[] };

let api: ApiSite;
/** Where the manager and its children would put temporary files. */
let temporary: string;
const { TMPDIR } = process.env;

beforeAll(async () => {
  api = await ApiSite.open();
  temporary = join(api.site.base, "temporary");
  mkdirSync(temporary);
  process.env["TMPDIR"] = temporary;
  const never = { ...SSH_SIGNATURE, version: 1, contents: [{ expr: "never sent" }] };
  const add = ["sig", "add", "--tenant", "t1"];
  await api.site.send(add, JSON.stringify([never]));
  await api.site.send(add, JSON.stringify([{ ...SSH_SIGNATURE, version: 2 }]));
});

afterAll(async () => {
  if (TMPDIR === undefined) delete process.env["TMPDIR"];
  else process.env["TMPDIR"] = TMPDIR;
  const left = { files: readdirSync(temporary), children: childrenWith("test-capture") };
  await api.close();
  expect(left).toEqual({ files: [], children: [] });
});

/** Children of this process whose command line has the word. */
function childrenWith(word: string): number[] {
  const hasWord = (pid: number) => readProcess(pid, "cmdline").split("\0").includes(word);
  return childrenOf(process.pid).filter(hasWord);
}

type Asked = {
  readonly query?: Record<string, string>;
  readonly role?: "viewer" | "operator";
  readonly type?: string;
};

function send(body: Body, asked: Asked = {}): Promise<Response> {
  const { query = {}, role = "operator", type = "application/vnd.tcpdump.pcap" } = asked;
  const headers = { Authorization: `Bearer ${api.tokens.get(role)}`, "Content-Type": type };
  const url = `${api.url}${PATH}?${new URLSearchParams(query)}`;
  return fetch(url, { method: "POST", headers, body });
}

async function resultOf(body: Body, query: Record<string, string> = {}): Promise<Result> {
  const response = await send(body, { query });
  expect(response.status).toBe(200);
  return (await response.json()) as Result;
}

async function problemOf(response: Response): Promise<string> {
  const problem = (await response.json()) as Record<string, unknown>;
  expect(response.headers.get("content-type")).toBe("application/problem+json");
  expect(problem["remedy"]).not.toBe("");
  return `${response.status} ${problem["code"]}`;
}

test("flows of a capture are told with application, signature, version and place", async () => {
  const result = await resultOf(SSH);
  expect(result).toMatchObject({
    ...{ tenant: "t1", signatures: 1, packets: 80, flows: 7, apps: { shell: 7 } },
    ...{ unknown: {}, warnings: [] },
  });
  expect(result.told).toHaveLength(7);
  expect(result.told[0]).toMatchObject({
    ...{ proto: "tcp", src_ip: "10.77.0.2", src_port: 47852, dst_ip: "10.77.0.1", dst_port: 22 },
    ...{ app: "shell", signature: "shell", version: 2, direction: "response", first_packet: 1 },
    response: { matched: { start: 0, end: 4, hex: Buffer.from("SSH-").toString("hex") } },
  });
});

test("flows without an application say why; a draft is judged beside or alone, or instead", async () => {
  const without = await resultOf(HTTP);
  expect(without).toMatchObject({ flows: 12, apps: {}, unknown: { "no-match": 12 } });
  expect(without.told[0]).toMatchObject({ app: null, unknown: "no-match", version: null });
  const draft = JSON.stringify(DRAFT);
  const beside = await resultOf(HTTP, { draft });
  expect(beside["signatures"]).toBe(2);
  const web = beside.told.filter(({ app }) => app === "web");
  expect(web.length).toBeGreaterThan(5);
  expect(web[0]).toMatchObject({ signature: "web", version: 3 });
  expect(await resultOf(SSH, { draft, only: "true" })).toMatchObject({ signatures: 1, apps: {} });
  const renamed = JSON.stringify({ ...SSH_SIGNATURE, version: 9, app_name: "other" });
  const instead = await resultOf(SSH, { draft: renamed });
  expect(instead).toMatchObject({ signatures: 1, apps: { other: 7 } });
  expect((await resultOf(SSH, { only: "true", library: "true" }))["apps"]).toEqual({ ssh: 7 });
  // Nothing of it was kept.
  expect(await api.site.command("sig", "list", "--tenant", "t1")).toHaveLength(1);
});

test("a signature that is disabled is not judged by", async () => {
  const disabled = { ...DRAFT, sig_id: "gone", app_name: "gone" };
  const add = ["sig", "add", "--tenant", "t1", "--publish"];
  await api.site.send(add, JSON.stringify(disabled));
  expect((await resultOf(HTTP))["apps"]).toHaveProperty("gone");
  await api.site.command("sig", "disable", "gone", "--tenant", "t1");
  expect((await resultOf(HTTP))["apps"]).toEqual({});
});

test("no more flows are told than may be, all are counted", async () => {
  const frames = Array.from({ length: FLOWS_TOLD_MAX + 100 }, (_, i) => {
    return ethernet(udp("hello", { ...FORWARD, sourcePort: 1000 + i }));
  });
  const result = await resultOf(new Uint8Array(pcap(frames)));
  expect(result["flows"]).toBe(FLOWS_TOLD_MAX + 100);
  expect(result.told).toHaveLength(FLOWS_TOLD_MAX);
});

test("a capture that ends within a packet is judged as far as it goes, and that is said", async () => {
  const result = await resultOf(SSH.subarray(0, SSH.length - 10));
  expect(result["flows"]).toBe(7);
  expect(String(result["warnings"])).toContain("cut");
});

test("a capture without packets has no flows", async () => {
  expect(await resultOf(new Uint8Array(pcap([])))).toMatchObject({
    packets: 0,
    flows: 0,
    told: [],
  });
});

const refused: readonly (readonly [string, Body, Record<string, string>, string])[] = [
  ["no capture", "hello, hello", {}, "422 CAPTURE_FORMAT"],
  ["nothing", new Uint8Array(0), {}, "422 CAPTURE_FORMAT"],
  ["half a header", SSH.subarray(0, 20), {}, "422 CAPTURE_FORMAT"],
  ["more than 8 MiB", new Uint8Array(CAPTURE_BYTES_MAX + 1), {}, "413 BODY_TOO_LONG"],
  ["a draft that is none", SSH, { draft: "sig_id: [" }, "422 SIGNATURE_INVALID"],
  ["a draft too long", SSH, { draft: "x".repeat(4001) }, "400 COMMAND_USAGE"],
  ["another flag", SSH, { only: "yes" }, "400 COMMAND_USAGE"],
];
test.each(refused)("refused: %s", async (_, body, query, code) => {
  expect(await problemOf(await send(body, { query }))).toBe(code);
});

test("what is wrong with a draft is told with line and column", async () => {
  const draft =
    "sig_id: x\napp_name: x\nversion: 1\nstatus: enabled\ncontents: [{ expr: '/(/' }]\n";
  const response = await send(SSH, { query: { draft } });
  expect(JSON.stringify(await response.json())).toMatch(/input:5:\d+/);
});

test("two signatures that could tie are told, and the manager goes on", async () => {
  const draft = JSON.stringify({ ...SSH_SIGNATURE, sig_id: "twin", app_name: "twin", version: 2 });
  expect(await problemOf(await send(SSH, { query: { draft } }))).toBe("422 SIGNATURE_INVALID");
  expect((await resultOf(SSH))["apps"]).toEqual({ shell: 7 });
});

test("a viewer may not, and other types are not taken", async () => {
  expect(await problemOf(await send(SSH, { role: "viewer" }))).toBe("403 NOT_ALLOWED");
  expect(await problemOf(await send(SSH, { type: "text/plain" }))).toBe("415 MEDIA_TYPE_WRONG");
});

test("two are tested at once; a third is told when to come again, and finds its place", async () => {
  const halves = [SSH.subarray(0, 100), SSH.subarray(100)] as const;
  const ends: (() => void)[] = [];
  // Each has its place from before its capture has come.
  const slow = () =>
    new ReadableStream({
      start: (controller) => {
        controller.enqueue(halves[0]);
        ends.push(() => {
          controller.enqueue(halves[1]);
          controller.close();
        });
      },
    });
  const waiting = [send(slow()), send(slow())];
  // Of another type it would be refused, but not before it has a place.
  const third = () => send("text", { type: "text/plain" });
  let answer = await third();
  for (; answer.status === 415; answer = await third()) await answer.json();
  expect(Number(answer.headers.get("retry-after"))).toBeGreaterThan(0);
  expect(await problemOf(answer)).toBe("503 OVERLOADED");
  for (const end of ends) end();
  for (const response of await Promise.all(waiting)) expect(response.status).toBe(200);
  expect((await resultOf(SSH))["flows"]).toBe(7);
});

test("the command reads a capture from standard input and prints a table, by socket and SSH", async () => {
  const main = join(import.meta.dir, "../../src/cli/main.ts");
  const words = [process.execPath, main, "manager", "sig", "test", "--tenant", "t1"];
  const file = Bun.file(join(CAPTURES, "ssh.pcap"));
  const child = Bun.spawn([...words, "--dir", api.site.dir], { stdin: file, stdout: "pipe" });
  const bySocket = await new Response(child.stdout).text();
  expect(bySocket).toMatch(/tcp +10\.77\.0\.2:47852 +10\.77\.0\.1:22 +shell +shell version 2/);
  expect(bySocket).toContain("7 flows by 1 signatures");
  const bySsh = await askManager({ dir: api.site.dir }, words.slice(3), SSH);
  expect(bySsh).toEqual({ code: 0, output: bySocket, complaint: "" });
  const long = await askManager(
    { dir: api.site.dir },
    words.slice(3),
    new Uint8Array(1024 ** 2 + 1),
  );
  expect([long.code, long.complaint]).toEqual([1, expect.stringContaining("by SSH 1 MiB")]);
});

test("it is in the audit log, without the capture", async () => {
  const { body } = await api.ask("GET", "/api/v1/audit?count=1000");
  const rows = (body as Record<string, string>[]).filter(({ command }) => {
    return command?.startsWith("sig test");
  });
  expect(rows.map(({ outcome }) => outcome)).toContain("CAPTURE_FORMAT");
  expect(rows.map(({ command }) => command)).toContain("sig test --tenant t1");
});

test("the child that reads a capture can open nothing, and is not root", async () => {
  const frames = Array.from({ length: 100_000 }, (_, i) => {
    return ethernet(udp("hello", { ...FORWARD, sourcePort: i % 60_000, destinationPort: i % 7 }));
  });
  const tests = new CaptureTests({ program: CAPTURE_TEST_PROGRAM });
  let confined: number[] = [];
  // A child reads for a quarter of a second; on a busy machine nobody may look in that time.
  for (let turn = 0; turn < 5 && confined.length === 0; turn++) {
    let isDone = false;
    const result = tests.run(HEAD, pcap(frames)).finally(() => {
      isDone = true;
    });
    while (!isDone && confined.length === 0) {
      confined = childrenWith("test-capture").filter(isConfined);
      await Bun.sleep(1);
    }
    expect((await result).packets).toBe(frames.length);
  }
  expect(confined).toHaveLength(1);
});

function isConfined(pid: number): boolean {
  const [limits, status] = [readProcess(pid, "limits"), readProcess(pid, "status")];
  return /^Max open files +0 +0 /m.test(limits) && /^Uid:\s+65534\s+65534/m.test(status);
}

const limited: readonly (readonly [string, CaptureTestOptions["limits"], string])[] = [
  ["time", { timeMs: 1 }, "more than 0.001 s"],
  ["memory", { memoryBytes: 1024 * 1024 }, "more than 1 MiB of memory"],
];
test.each(limited)("a child that takes more %s than it may is killed", async (_, limits, why) => {
  const tests = new CaptureTests({ program: CAPTURE_TEST_PROGRAM, limits: limits ?? {} });
  const failure = await tests.run(HEAD, SSH).catch((error) => error);
  expect(failure).toBeInstanceOf(AbsError);
  expect([failure.code, failure.message]).toEqual([
    "CAPTURE_TEST_LIMIT",
    `The test took ${why}, and was ended.`,
  ]);
  expect(childrenWith("test-capture")).toEqual([]);
});

test("a child that dies says so, and one that is stopped does not stay", async () => {
  const broken = new CaptureTests({ program: [process.execPath, "-e", "process.exit(3)"] });
  expect(await codeOf(broken.run(HEAD, SSH))).toBe("CAPTURE_TEST_FAILED");
  const tests = new CaptureTests({ program: CAPTURE_TEST_PROGRAM });
  const running = codeOf(tests.run(HEAD, SSH));
  tests.stop();
  expect(await running).toBe("CAPTURE_TEST_FAILED");
  expect(childrenWith("test-capture")).toEqual([]);
});
