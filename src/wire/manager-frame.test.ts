import { expect, test } from "bun:test";
import {
  encodeManagerFrame,
  MANAGER_FLAG,
  MANAGER_FRAME_BODY_BYTES_MAX,
  MANAGER_FRAME_HEADER_BYTES,
  type ManagerFrame,
  ManagerFrameReader,
  managementTag,
} from "./manager-frame.ts";

const TAG = managementTag(new Uint8Array(33).fill(2));
const frames: ManagerFrame[] = [
  { flag: MANAGER_FLAG.enrolment, type: 1, body: new Uint8Array(0) },
  { flag: MANAGER_FLAG.update, type: 9, body: new Uint8Array([1, 2, 3]) },
  { flag: 77, type: 255, body: new Uint8Array(5000).fill(7) },
];
const stream = Buffer.concat(frames.map((frame) => encodeManagerFrame(frame, TAG)));

test("the bytes of a frame are those of docs/manager-channel.md", () => {
  const bytes = encodeManagerFrame({ flag: 3, type: 4, body: new Uint8Array([5, 6]) }, TAG);
  expect(bytes.toHex()).toBe(`000000020304${TAG.toHex()}0506`);
  // By sha256sum of the word, a zero byte and the key.
  expect(TAG.toHex()).toBe("d0334c082c970801439e2ced499ad448601522e6815e02475529644a5d700ee2");
});

test("frames cut anywhere come out whole, in order", () => {
  for (const sizeBytes of [1, 7, MANAGER_FRAME_HEADER_BYTES, 1000, stream.length]) {
    const reader = new ManagerFrameReader(TAG);
    const found: ManagerFrame[] = [];
    for (let at = 0; at < stream.length; at += sizeBytes) {
      found.push(...reader.take(stream.subarray(at, at + sizeBytes)));
    }
    expect(found).toEqual(frames);
    expect(reader.fault).toBeUndefined();
  }
});

const bad = [
  { name: "a length past the limit", at: 0, value: 0xff, fault: "length" },
  { name: "another tenant half", at: 6, value: TAG[0] ? 0 : 1, fault: "tag" },
  { name: "another application half", at: 37, value: (TAG[31] ?? 0) ^ 1, fault: "tag" },
] as const;

test.each(bad)("$name spoils the stream", ({ at, value, fault }) => {
  const bytes = new Uint8Array(stream);
  bytes[at] = value;
  const reader = new ManagerFrameReader(TAG);
  expect(reader.take(bytes)).toEqual([]);
  expect(reader.fault).toBe(fault);
  expect(reader.take(stream)).toEqual([]);
});

test("the limit is exact, and a reader may have a lower one", () => {
  const head = encodeManagerFrame({ flag: 1, type: 1, body: new Uint8Array(0) }, TAG);
  const memory = new DataView(head.buffer);
  for (const limit of [MANAGER_FRAME_BODY_BYTES_MAX, 10]) {
    memory.setUint32(0, limit, false);
    const inside = new ManagerFrameReader(TAG, limit);
    inside.take(head);
    memory.setUint32(0, limit + 1, false);
    const outside = new ManagerFrameReader(TAG, limit);
    outside.take(head);
    expect([inside.fault, outside.fault]).toEqual([undefined, "length"]);
  }
});

test("one byte too few is no frame yet", () => {
  const reader = new ManagerFrameReader(TAG);
  const one = encodeManagerFrame({ flag: 3, type: 1, body: new Uint8Array([1, 2, 3]) }, TAG);
  expect(reader.take(one.subarray(0, -1))).toEqual([]);
  expect(reader.take(one.subarray(-1))).toHaveLength(1);
});
