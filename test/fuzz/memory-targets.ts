/**
 * The decoders of bytes that another thread, another process, the kernel or the network may have
 * spoilt, for the decoder fuzzer: snapshots, record rings, flow files, netlink, frames and punts.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { answerLink, outerFrame } from "../../src/agent/outer-frame.ts";
import { frameEnds } from "../../src/agent/routes.ts";
import { concat } from "../../src/bytes.ts";
import { openFlowFile } from "../../src/dataplane/flow-file.ts";
import * as flow from "../../src/dataplane/flow-table.ts";
import { newRing, RecordRing } from "../../src/dataplane/record-ring.ts";
import { packSnapshot, unpackSnapshot } from "../../src/dataplane/snapshot.ts";
import { compilePolicy } from "../../src/policy/compile.ts";
import { parsePolicy } from "../../src/policy/schema.ts";
import { policySnapshotFrom } from "../../src/policy/snapshot.ts";
import { decodeAddress } from "../../src/takeover/addresses.ts";
import { decodeLink } from "../../src/takeover/links.ts";
import {
  attribute,
  decodeMessages,
  encodeMessage,
  nestedAttribute,
  textAttribute,
  u32Attribute,
} from "../../src/takeover/netlink-message.ts";
import { decodeRoute } from "../../src/takeover/routes.ts";
import { anyOf } from "./document-mutator.ts";
import { FUZZ_FOLDER } from "./document-targets.ts";
import { type DecoderTarget, refusalOf } from "./fuzz-target.ts";
import type { Prng } from "./prng.ts";

const LIMIT_MS = 100;
const NOTABLE_WORDS = [
  0, 1, 2, 4, 7, 8, 15, 16, 64, 255, 4095, 4096, 0x7fffffff, 0x80000000, 0xfffffff8, 0xffffffff,
];

/** Words and bytes set to notable values or noise; perhaps cut. */
export function spoilt(prng: Prng, seed: Uint8Array, from = 0, changes = 1 + prng.below(3)) {
  const bytes = seed.slice();
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < changes && bytes.length - from >= 4; i++) {
    const at = from + prng.below(bytes.length - from - 3);
    const word = anyOf(prng, NOTABLE_WORDS);
    const way = prng.below(4);
    if (way < 2) view.setUint32(at & ~3, way === 0 ? word : prng.next(), true);
    else if (way === 2) view.setUint16(at & ~1, prng.below(2) === 0 ? word : bytes.length, true);
    else bytes[at] = (bytes[at] ?? 0) ^ (1 << prng.below(8));
  }
  return prng.below(10) === 0 ? bytes.slice(0, prng.below(bytes.length + 1)) : bytes;
}

const names = {
  own: { id: "web", groups: [], mode: "full" as const },
  peers: [{ id: "db", groups: ["data"], mode: "full" as const }],
  apps: ["", "app1"],
  otherTenants: [],
};
const RULES =
  "version: 1\nrules: [{id: a, direction: out, to: {agent: db, protocol: tcp}, action: allow}]";
const block = packSnapshot({ ...compilePolicy(parsePolicy(RULES, "p"), names).snapshot });
/** FNV-1a as snapshot.ts has it: with a wrong checksum nothing behind it is reached. */
function mendChecksum(bytes: Uint8Array): void {
  const words = new Uint32Array(bytes.buffer, 0, bytes.length >>> 2);
  const size = Math.min(words[2] ?? 0, bytes.length);
  let hash = 0x811c9dc5;
  for (let i = 0; i < size >>> 2; i++)
    if (i !== 3) hash = Math.imul(hash ^ (words[i] ?? 0), 0x01000193);
  words[3] = (hash ^ size) >>> 0;
}

const snapshot: DecoderTarget = {
  name: "snapshot",
  share: 4,
  limitMs: LIMIT_MS,
  reasons: [
    ...["it is not aligned", "it has no whole header", "its magic number is wrong"],
    ...["N bytes are no size", "it says N bytes, there are N", "it cannot hold N fields"],
    ...["its checksum is wrong", "a field is of an unknown kind", "a field's name lies outside"],
    ...["a field is not aligned", "a field lies outside", "SNAPSHOT_MALFORMED"],
  ],
  make(prng) {
    if (prng.below(4) === 0) return block.slice();
    // Mostly the header and the rows: data has no structure.
    const head = spoilt(prng, block.subarray(0, anyOf(prng, [16, 200, 400])));
    if (prng.below(40) === 0) return head.slice(0, prng.below(20));
    const bytes = block.slice();
    bytes.set(head);
    if (prng.below(8) > 0) mendChecksum(bytes);
    return prng.below(20) === 0 ? bytes.slice(0, bytes.length - 8 * prng.below(20)) : bytes;
  },
  run: (bytes: Uint8Array) =>
    refusalOf(
      () => {
        // A byte of the count decides, so that the same bytes always stand at the same place.
        const offset = bytes[4] === 0xff ? 4 : 0;
        policySnapshotFrom(unpackSnapshot(bytes.buffer, offset) as never);
      },
      ({ code, message }) =>
        code === "SNAPSHOT_INVALID"
          ? message.replace(/.*usable: |\.$/g, "").replace(/\d+/g, "N")
          : code,
    ),
};

/** A ring of 256 bytes with some records, its memory spoilt while they lie in it. */
const ring: DecoderTarget = {
  name: "record ring",
  share: 3,
  limitMs: LIMIT_MS,
  reasons: ["corruption"],
  make: (prng) => prng.next(),
  run(seed: number) {
    const memory = newRing(256);
    const writer = new RecordRing(memory);
    const reader = new RecordRing(memory);
    const words = new Uint32Array(memory);
    let state = seed;
    const next = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0);
    for (let i = 0; i < 12; i++) {
      const at = writer.begin(next() & 7, next() >>> 27);
      if (at >= 0) writer.commit();
      // Control words (but the size, which is read once) or the records' own.
      const spot = [0, 16, 128 + (next() >>> 26), 128 + (next() >>> 26)][next() >>> 30] ?? 0;
      const word = NOTABLE_WORDS[next() >>> 28] ?? 0;
      if (next() >>> 29 === 0) words[spot] = (next() & 1) === 0 ? word : next();
      const found = reader.peek();
      if (found < 0) continue;
      if (found < 520 || found + reader.length > memory.byteLength) {
        throw new Error(`a record of ${reader.length} bytes at ${found}`);
      }
      reader.release();
    }
    return reader.corruptions > 0 ? "corruption" : undefined;
  },
};

const CAPACITY = 64;
const flowOptions = {
  path: join(FUZZ_FOLDER, "flows"),
  capacity: CAPACITY,
  digest: new Uint8Array(32).fill(7),
  limits: { peers: 4, pairs: 8, tags: 3, rules: 5 },
  nowSeconds: 100,
};

function flowFileBytes(): Uint8Array {
  const { flows } = openFlowFile(flowOptions);
  for (let i = 0; i < 20; i++) {
    const hash = flows.hashOf(1, 2, i, 6, 0, 0, 0, 0, 0, 0);
    const at = flows.insert(hash, 1, 2, i, 6, 100) * flow.FLOW_WORDS;
    flows.words[at + flow.F_PEER] = (7 << 16) | 4;
    flows.words[at + flow.F_TAG_RULE] = (2 << 16) | 4;
    flows.words[at + flow.F_STATE] = flow.FLOW_ALLOWED;
  }
  return new Uint8Array(readFileSync(flowOptions.path));
}

let opened = 0;
const flowFile = (): DecoderTarget => {
  const seed = flowFileBytes();
  return {
    name: "flow file",
    share: 8,
    limitMs: LIMIT_MS,
    reasons: [
      ...["its magic number is wrong", "its version is N", "its capacity is N"],
      ...["its records have another size", "it is of another provisioning or boot"],
      ...["dropped", "FLOW_FILE"],
    ],
    make(prng) {
      if (prng.below(40) === 0) return undefined;
      if (prng.below(3) === 0) {
        const bytes = seed.slice();
        bytes.set(spoilt(prng, seed.subarray(0, 48)));
        return bytes;
      }
      const records = spoilt(prng, seed, 4096, prng.below(4));
      if (prng.below(30) === 0) records.copyWithin(4096 + 64 * prng.below(30), 4096, 4160);
      return records;
    },
    run(bytes: Uint8Array | undefined) {
      const { path } = flowOptions;
      if (bytes === undefined) {
        return refusalOf(() => openFlowFile({ ...flowOptions, path: FUZZ_FOLDER }));
      }
      writeFileSync(path, bytes);
      // Mapped memory is given back by the collector only, which does not see its size.
      if (++opened % 500 === 0) Bun.gc(true);
      const { flows, dropped, ignored } = openFlowFile(flowOptions);
      if (flows.count > CAPACITY) throw new Error(`${flows.count} flows`);
      for (let i = 0; i < flows.count; i++) {
        const state = flows.words[i * flow.FLOW_WORDS + flow.F_STATE] ?? 0;
        if ((state & 0xff) !== flow.FLOW_ALLOWED) throw new Error(`a flow of state ${state}`);
      }
      if (ignored !== "") return ignored.replace(/\d+/g, "N");
      return dropped > 0 ? "dropped" : undefined;
    },
  };
};

const RTM_NEWLINK = 16;
const RTM_NEWADDR = 20;
const RTM_NEWROUTE = 24;
const header = (type: number) => ({ type, flags: 2, sequence: 1 });
const datagram = concat(
  encodeMessage(
    header(RTM_NEWLINK),
    concat(
      new Uint8Array(16).fill(1),
      textAttribute(3, "eth0567"),
      attribute(1, new Uint8Array([2, 0xab, 5, 0])),
      nestedAttribute(18, textAttribute(1, "vet")),
    ),
  ),
  encodeMessage(
    header(RTM_NEWADDR),
    concat(
      new Uint8Array(8).fill(2),
      attribute(1, new Uint8Array(4)),
      textAttribute(3, "eth0:01"),
      attribute(6, new Uint8Array(16).fill(255)),
    ),
  ),
  encodeMessage(
    header(RTM_NEWROUTE),
    concat(
      new Uint8Array(12).fill(2),
      u32Attribute(4, 2),
      attribute(9, new Uint8Array(24).fill(8)),
      attribute(12, new Uint8Array(32).fill(1)),
    ),
  ),
);

const netlink: DecoderTarget = {
  name: "netlink",
  share: 3,
  limitMs: LIMIT_MS,
  reasons: ["NETLINK_MALFORMED"],
  make: (prng) => spoilt(prng, datagram, 0, prng.below(4)),
  run: (bytes: Uint8Array) =>
    refusalOf(() => {
      for (const message of decodeMessages(bytes)) {
        // A shorter payload than the kernel's fixed header is a broken invariant, not an input.
        if (message.payload.length < 16) continue;
        if (message.type === RTM_NEWLINK) decodeLink(message);
        if (message.type === RTM_NEWADDR) decodeAddress(message, "eth0");
        if (message.type === RTM_NEWROUTE) decodeRoute(message, 2, new Set());
      }
    }),
};

const frames = [
  [0x0800, 0x45],
  [0x86dd, 0x60],
  [0x8100, 0],
].map(([etherType = 0, first = 0]) => {
  const bytes = new Uint8Array(90).fill(1);
  const view = new DataView(bytes.buffer);
  view.setUint16(12, etherType);
  bytes[14] = first;
  if (etherType === 0x8100) view.setUint16(16, 0x0800);
  return bytes;
});

const ends: DecoderTarget = {
  name: "frame ends",
  share: 2,
  limitMs: LIMIT_MS,
  reasons: ["not-ip"],
  make(prng) {
    const frame = spoilt(prng, anyOf(prng, frames), 0, prng.below(3));
    return prng.below(3) === 0 ? frame.slice(0, prng.below(60)) : frame;
  },
  run(frame: Uint8Array) {
    const found = frameEnds(frame);
    if (found === undefined) return "not-ip";
    const route = { ...found, link: answerLink(found.link), protocol: 253, port: 6253 };
    outerFrame({ ...route, carrier: "udp" }, frame);
    return undefined;
  },
};

export function memoryTargets(): readonly DecoderTarget[] {
  return [snapshot, ring, flowFile(), netlink, ends];
}
