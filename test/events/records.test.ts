/** Event records: Community IDs as published, the stamp, the schema, a kind for every name. */
import { expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { communityId } from "../../src/observe/community-id.ts";
import { EVENT_KINDS } from "../../src/observe/event-kinds.ts";
import { EventLog } from "../../src/observe/event-log.ts";
import { EventStamp } from "../../src/observe/event-record.ts";
import { schemaProblems } from "../json-schema.ts";
import { reversed, TCP, text } from "../plane/frames.ts";
import { play, WEB_TO_DB } from "../plane/pair.ts";
import { TcpTalk } from "../plane/rare-frames.ts";
import { eventSamples, hostileSamples } from "./event-samples.ts";

/** Of corelight/community-id-spec; the IPv6 and SCTP ones as other implementations test them. */
const PUBLISHED = [
  ["tcp", "128.232.110.120", 34855, "66.35.250.204", 80, "1:LQU9qZlK+B5F3KDmev6m5PMibrg="],
  ["udp", "192.168.1.52", 54585, "8.8.8.8", 53, "1:d/FP5EW3wiY1vCndhwleRRKHowQ="],
  ["sctp", "192.168.170.8", 7, "192.168.170.56", 80, "1:jQgCxbku+pNGw8WPbEc/TS/uTpQ="],
  [
    "6",
    "2001:470:e5bf:dead:4957:2174:e82c:4887",
    63943,
    "2607:f8b0:400c:c03::1a",
    25,
    "1:/qFaeAR+gFe1KYjMzVDsMv+wgU4=",
  ],
] as const;

test.each([...PUBLISHED])("%s from %s: the published Community ID", (...row) => {
  const [protocol, source, sourcePort, destination, destinationPort, id] = row;
  const ends = { protocol, source, sourcePort, destination, destinationPort };
  expect(communityId(ends)).toBe(id);
  const back = { source: destination, sourcePort: destinationPort };
  const reply = { protocol, ...back, destination: source, destinationPort: sourcePort };
  expect(communityId(reply)).toBe(id);
});

test("what is no 5-tuple has none: ICMP, words, two versions", () => {
  const ends = { source: "10.0.0.1", sourcePort: 0, destination: "10.0.0.2", destinationPort: 0 };
  for (const protocol of ["icmp", "58", "nonsense", "256", "-1"]) {
    expect(communityId({ ...ends, protocol })).toBeUndefined();
  }
  expect(communityId({ ...ends, protocol: "tcp", source: "::1" })).toBeUndefined();
  expect(communityId({ ...ends, protocol: "tcp", source: "here" })).toBeUndefined();
  expect(communityId({ ...ends, protocol: "gre" })).toMatch(/^1:/);
});

test("numbers count up, and fields of an event cannot hide the stamp's", () => {
  const stamp = new EventStamp({ role: "agent", node: "web" });
  const wall = new Date(0);
  const [first, second] = [1, 2].map(() => {
    return stamp.record({ event: "refused", id: "x", class: "flow", origin: "y" }, wall);
  });
  const run = first?.id.split("-")[0];
  expect([first?.id, second?.id]).toEqual([`${run}-1`, `${run}-2`]);
  expect([first?.class, first?.origin]).toEqual(["security", { role: "agent", node: "web" }]);
  const unknown = stamp.record({ event: "never-heard-of" }, wall);
  expect(unknown.class).toBe("security");
});

test("every kind of event keeps to the schema", () => {
  const samples = eventSamples();
  expect(new Set(samples.map(({ event }) => event)).size).toBe(EVENT_KINDS.size);
  for (const record of [...samples, ...hostileSamples()]) {
    expect(schemaProblems("event.schema.json", record)).toEqual([]);
  }
  const [one] = samples;
  for (const wrong of [{ class: "x" }, { id: "1" }, { time: "now" }, { schema: 2 }]) {
    expect(schemaProblems("event.schema.json", { ...one, ...wrong })).not.toEqual([]);
  }
});

test("what agents say of real frames keeps to the schema, both with one Community ID", () => {
  play({}, (pair) => {
    const talk = new TcpTalk(WEB_TO_DB, reversed(WEB_TO_DB), 40_000);
    pair.webSends(talk.out(TCP.syn));
    pair.dbSends(talk.in(TCP.syn | TCP.ack));
    pair.webSends(talk.out(TCP.ack));
    pair.webSends(talk.out(TCP.push | TCP.ack, text("APP1 question")));
    const records = [pair.web, pair.db].map(({ events }, i) => {
      const stamp = new EventStamp({ role: "agent", node: i === 0 ? "web" : "db" });
      return events.map((event) => stamp.record(event, new Date()));
    });
    for (const record of records.flat()) {
      expect(schemaProblems("event.schema.json", record)).toEqual([]);
    }
    const ids = records.map((own) => own.find(({ event }) => event === "flow-allowed"));
    expect(ids[0]?.communityId).toMatch(/^1:/);
    expect(ids[1]?.communityId).toBe(ids[0]?.communityId ?? "none");
  });
});

test("the log writes records, and tells listeners the same until they leave", () => {
  const folder = mkdtempSync(join(tmpdir(), "abs-events-"));
  const log = new EventLog(join(folder, "events"), { role: "manager" });
  const heard: object[] = [];
  const leave = log.listen((record) => heard.push(record));
  log.write({ event: "manager-started", host: "::", port: 1 });
  log.write({ event: "ledger-block" });
  leave();
  log.write({ event: "ledger-block" });
  log.close();
  const lines = readFileSync(join(folder, "events"), "utf8").trim().split("\n");
  rmSync(folder, { recursive: true });
  expect(lines.slice(0, 2).map((line) => JSON.parse(line) as object)).toEqual(heard);
  expect(lines).toHaveLength(3);
});
