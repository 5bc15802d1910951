/** Frames reach the ring whole, of any length; those that find it full are counted. */
import { expect, test } from "bun:test";
import { FRAME_BYTES, FRAME_SENT, FRAME_TIME, FrameTap } from "./frame-tap.ts";
import { newRing, RecordRing } from "./record-ring.ts";

const memory = new DataView(Uint8Array.from({ length: 512 }, (_, i) => i % 251).buffer);
const LENGTHS = [0, 1, 3, 4, 5, 60, 61, 62, 63, 200];
const offsets = Uint32Array.from(LENGTHS, (_, i) => 7 * i + 1);
const lengths = Uint32Array.from(LENGTHS);

test("a burst is copied byte for byte, with its time and direction", () => {
  const ring = new RecordRing(newRing(4096));
  new FrameTap(ring, memory).copy(FRAME_SENT, offsets, lengths, LENGTHS.length, 12_345.5);
  for (const [i, length] of LENGTHS.entries()) {
    const at = ring.peek();
    expect(ring.type).toBe(FRAME_SENT);
    expect(ring.memory.getFloat64(at + FRAME_TIME, true)).toBe(12_345.5);
    const from = offsets[i] ?? 0;
    const frame = ring.bytes.slice(at + FRAME_BYTES, at + ring.length);
    expect(frame).toEqual(new Uint8Array(memory.buffer, from, length));
    ring.release();
  }
  expect([ring.peek(), ring.lost]).toEqual([-1, 0]);
});

test("a full ring loses frames, counts them, and takes more when it was read", () => {
  const ring = new RecordRing(newRing(1024));
  const tap = new FrameTap(ring, memory);
  const long = new Uint32Array(8).fill(200);
  tap.copy(FRAME_SENT, offsets, long, 8, 0);
  let kept = 0;
  for (; ring.peek() >= 0; ring.release()) kept++;
  expect(kept).toBeGreaterThan(2);
  expect(ring.lost).toBe(8 - kept);
  tap.copy(FRAME_SENT, offsets, long, 1, 0);
  expect(ring.peek()).toBeGreaterThan(0);
});
