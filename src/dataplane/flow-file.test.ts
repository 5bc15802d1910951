/** The flow file: kill -9 and on, every field out of bounds by one, and files full of noise. */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, statSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Prng, seed } from "../../test/prng.ts";
import { type FlowFileOptions, mapFlowRecords, openFlowFile } from "./flow-file.ts";
import * as flow from "./flow-table.ts";

const folder = mkdtempSync(join(tmpdir(), "abs-flow-file-"));
afterAll(() => rmSync(folder, { recursive: true }));

const HEADER_BYTES = 4096;
let files = 0;

function options(over: Partial<FlowFileOptions> = {}): FlowFileOptions {
  return {
    path: join(folder, `flows${files++}`),
    capacity: 1000,
    digest: new Uint8Array(32).fill(7),
    limits: { peers: 4, pairs: 8, tags: 3, rules: 5 },
    nowSeconds: 100,
    ...over,
  };
}

/** One allowed IPv4 flow at the edge of every limit. */
function addFlow(table: flow.FlowTable, ports: number): number {
  const hash = table.hashOf(1, 2, ports, 6, 0, 0, 0, 0, 0, 0);
  const found = table.insert(hash, 1, 2, ports, 6, 100);
  const at = found * flow.FLOW_WORDS;
  table.words[at + flow.F_PEER] = (7 << 16) | 4;
  table.words[at + flow.F_TAG_RULE] = (2 << 16) | 4;
  table.words[at + flow.F_STATE] = flow.FLOW_ALLOWED | flow.FLOW_FROM_REMOTE;
  table.words[at + flow.F_BINDING] = 9;
  return found;
}

function findFlow(table: flow.FlowTable, ports: number): number {
  return table.find(table.hashOf(1, 2, ports, 6, 0, 0, 0, 0, 0, 0), 1, 2, ports, 6);
}

test("allowed flows outlive kill -9 of their process, others do not", async () => {
  const config = options({ nowSeconds: 110 });
  const script = new URL("../../test/flow-file-child.ts", import.meta.url).pathname;
  const child = Bun.spawn([process.execPath, script, config.path, "300"], { stdout: "pipe" });
  const ready = await child.stdout.getReader().read();
  expect(new TextDecoder().decode(ready.value)).toBe("ready\n");
  child.kill("SIGKILL");
  await child.exited;
  const opened = openFlowFile(config);
  expect(opened.ignored).toBe("");
  const allowed = Array.from({ length: 300 }, (_, i) => i).filter((i) => i % 3 && i % 10 !== 9);
  expect(opened.restored).toBe(allowed.length);
  expect(opened.flows.count).toBe(allowed.length);
  for (let i = 0; i < 300; i++) {
    expect(findFlow(opened.flows, i) >= 0).toBe(allowed.includes(i));
  }
  // The table works on: what was restored can go, and new flows come.
  opened.flows.remove(findFlow(opened.flows, allowed[0]));
  for (let i = 1000; i < 1800; i++) expect(addFlow(opened.flows, i)).toBeGreaterThanOrEqual(0);
  const again = openFlowFile(config);
  expect(again.restored).toBe(allowed.length - 1 + 800);
}, 30_000);

test("a restored flow keeps key, peer, tag, rule and role, and forgets its binding", () => {
  const config = options();
  const first = openFlowFile(config);
  expect([first.restored, first.dropped, first.ignored]).toEqual([0, 0, ""]);
  const removed = addFlow(first.flows, 5);
  addFlow(first.flows, 6);
  first.flows.words[flow.FLOW_WORDS + flow.F_STATE] |= 0xabcd0000;
  first.flows.remove(removed);
  const opened = openFlowFile(config);
  const words = opened.flows.words.slice(0, flow.FLOW_WORDS);
  expect(findFlow(opened.flows, 6)).toBe(0);
  expect(words[flow.F_PEER]).toBe((7 << 16) | 4);
  expect(words[flow.F_TAG_RULE]).toBe((2 << 16) | 4);
  expect(words[flow.F_STATE]).toBe(flow.FLOW_ALLOWED | flow.FLOW_FROM_REMOTE);
  expect(words[flow.F_BINDING]).toBe(0);
  expect(words[flow.F_SEEN]).toBe(100);
  expect([...mapFlowRecords(config.path, 1000).slice(0, flow.FLOW_WORDS)]).toEqual([...words]);
  expect(() => mapFlowRecords(config.path, 999)).toThrow("capacity");
});

const FIELDS: readonly { name: string; word: number; value: number; kept: boolean }[] = [
  { name: "as written", word: flow.F_BINDING, value: 5, kept: true },
  { name: "state establishing", word: flow.F_STATE, value: flow.FLOW_ESTABLISHING, kept: false },
  { name: "state outside", word: flow.F_STATE, value: flow.FLOW_OUTSIDE, kept: false },
  { name: "state unknown", word: flow.F_STATE, value: 255, kept: false },
  { name: "one FIN", word: flow.F_STATE, value: 0x204, kept: true },
  { name: "both FIN", word: flow.F_STATE, value: 0x604, kept: false },
  { name: "RST", word: flow.F_STATE, value: 0x804, kept: false },
  { name: "state bit 15", word: flow.F_STATE, value: 0x8004, kept: false },
  { name: "greatest peer", word: flow.F_PEER, value: 4, kept: true },
  { name: "peer one too great", word: flow.F_PEER, value: 5, kept: false },
  { name: "no peer", word: flow.F_PEER, value: 7 << 16, kept: false },
  { name: "pair one too great", word: flow.F_PEER, value: (8 << 16) | 1, kept: false },
  { name: "tag one too great", word: flow.F_TAG_RULE, value: 3 << 16, kept: false },
  { name: "rule one too great", word: flow.F_TAG_RULE, value: 5, kept: false },
  { name: "no rule", word: flow.F_TAG_RULE, value: 0xffff, kept: true },
  { name: "protocol bit 9", word: flow.F_PROTOCOL, value: 0x206, kept: false },
  { name: "protocol bit 28", word: flow.F_PROTOCOL, value: 0x10000006, kept: false },
  { name: "freed", word: flow.F_PROTOCOL, value: 0x80000006, kept: false },
  { name: "IPv4 with an IPv6 address", word: flow.F_LOCAL1, value: 1, kept: false },
  { name: "seen in the future", word: flow.F_SEEN, value: 101, kept: false },
  { name: "link of another process", word: flow.F_LINK, value: 0xffffffff, kept: true },
];
test.each(FIELDS)("a record's field: $name", ({ word, value, kept }) => {
  const config = options();
  addFlow(openFlowFile(config).flows, 6);
  mapFlowRecords(config.path, 1000)[word] = value;
  const opened = openFlowFile(config);
  expect(opened.restored).toBe(kept ? 1 : 0);
  expect(findFlow(opened.flows, 6)).toBe(kept ? 0 : -1);
  expect(opened.ignored).toBe("");
});

test("a flow not seen for longer than any timeout is dropped, an IPv6 one is kept", () => {
  const config = options({ nowSeconds: 100 + flow.FLOW_TIMEOUTS.tcp - 1 });
  const { flows } = openFlowFile(options({ path: config.path }));
  addFlow(flows, 1);
  const key = [3, 4, 5, 6 | flow.FLOW_IPV6, 6, 7, 8, 9, 10, 11] as const;
  const six = flows.insert6(flows.hashOf(...key), ...key, 100);
  const state = flows.words.slice(0, flow.FLOW_WORDS);
  for (const word of [flow.F_STATE, flow.F_PEER, flow.F_TAG_RULE]) {
    flows.words[six * flow.FLOW_WORDS + word] = state[word];
  }
  const opened = openFlowFile(config).flows;
  expect(opened.count).toBe(2);
  expect(opened.find6(opened.hashOf(...key), ...key)).toBe(1);
  expect(openFlowFile({ ...config, nowSeconds: 100 + flow.FLOW_TIMEOUTS.tcp }).dropped).toBe(2);
});

const HEADERS = [
  { name: "another magic", word: 0, value: 1, ignored: "magic" },
  { name: "another version", word: 1, value: 2, ignored: "version is 2" },
  { name: "another capacity", word: 2, value: 999, ignored: "capacity is 999" },
  { name: "another record size", word: 3, value: 128, ignored: "another size" },
  { name: "another digest", word: 11, value: 0, ignored: "provisioning" },
  { name: "never finished", word: 0, value: 0, ignored: "" },
];
test.each(HEADERS)("a header with $name costs all flows, and the file works on", (row) => {
  const config = options();
  const before = openFlowFile(config).flows;
  addFlow(before, 6);
  const header = new Uint32Array(before.words.buffer, before.words.byteOffset - HEADER_BYTES, 16);
  header[row.word] = row.value;
  const opened = openFlowFile(config);
  expect(opened.ignored).toContain(row.ignored);
  expect(opened.restored).toBe(0);
  expect(findFlow(opened.flows, 6)).toBe(-1);
  addFlow(opened.flows, 7);
  const again = openFlowFile(config);
  expect([again.restored, again.ignored]).toEqual([1, ""]);
});

test("a key that is there twice is restored once", () => {
  const config = options();
  const { flows } = openFlowFile(config);
  for (const ports of [6, 7, 8]) addFlow(flows, ports);
  flows.words[2 * flow.FLOW_WORDS + flow.F_PORTS] = 6;
  const opened = openFlowFile(config);
  expect([opened.restored, opened.dropped]).toEqual([2, 1]);
});

test(`noise: never a throw, and every flow kept is within the limits (SEED=${seed})`, () => {
  const random = new Prng(seed);
  const config = options({ capacity: 200 });
  for (let turn = 0; turn < 300; turn++) {
    const { flows } = openFlowFile(config);
    for (let i = flows.count; i < 150; i++) addFlow(flows, random.u32());
    const changes = random.below(400);
    for (let i = 0; i < changes; i++) {
      const value = random.oneIn(2) ? random.u32() : random.below(12);
      flows.words[random.below(flows.words.length)] = value;
    }
    const opened = openFlowFile(config);
    for (let i = 0; i < opened.flows.count; i++) {
      const words = opened.flows.words.subarray(i * flow.FLOW_WORDS, (i + 1) * flow.FLOW_WORDS);
      expect(words[flow.F_STATE] & 0xff).toBe(flow.FLOW_ALLOWED);
      expect((words[flow.F_PEER] & 0xffff) - 1).toBeLessThan(4);
      expect(words[flow.F_PEER] >>> 16).toBeLessThan(8);
      expect(words[flow.F_TAG_RULE] >>> 16).toBeLessThan(3);
      expect(words[flow.F_SEEN]).toBeLessThanOrEqual(100);
    }
  }
  writeFileSync(config.path, crypto.getRandomValues(new Uint8Array(HEADER_BYTES + 200 * 64)));
  expect(openFlowFile(config).ignored).toContain("magic");
});

test("files of another size are begun anew; the file is sparse and for its owner only", () => {
  const config = options({ capacity: 100_000 });
  addFlow(openFlowFile(config).flows, 6);
  const size = HEADER_BYTES + 100_000 * flow.FLOW_BYTES;
  expect(statSync(config.path).size).toBe(size);
  expect(statSync(config.path).mode & 0o777).toBe(0o600);
  expect(statSync(config.path).blocks * 512).toBeLessThan(65_536);
  for (const cut of [0, 1, HEADER_BYTES, size - 1, size + 1]) {
    truncateSync(config.path, cut);
    expect(openFlowFile(config).restored).toBe(0);
    addFlow(openFlowFile(config).flows, 6);
    expect(openFlowFile(config).restored).toBe(1);
  }
});

test("what is no regular file of this name is refused with a remedy", () => {
  const config = options();
  writeFileSync(join(folder, "target"), "keep me");
  symlinkSync(join(folder, "target"), config.path);
  expect(() => openFlowFile(config)).toThrow("cannot be used");
  expect(() => openFlowFile({ ...config, path: folder })).toThrow("cannot be used");
  expect(() => openFlowFile({ ...config, path: join(folder, "no", "such") })).toThrow("flow file");
  expect(() => openFlowFile({ ...config, digest: new Uint8Array(31) })).toThrow("32 bytes");
});
