/** Time stamps: TAI64N, never twice, never back; docs/wire.md "Time stamps". */
import { describe, expect, test } from "bun:test";
import { toHex } from "../bytes.ts";
import type { PeerIndex, TagIndex, WallMillis } from "../units.ts";
import { isStampLater, ReceivedStamps, StampClock, stampAfter, stampOf } from "./stamps.ts";

const wall = (millis: number) => millis as WallMillis;
const NOON = 1_767_225_600_000;

test("TAI64N labels", () => {
  // TAI is 10 s ahead of UTC in 1970, which is label 2^62 + 10.
  expect(toHex(stampOf(wall(0)))).toBe("400000000000000a00000000");
  expect(toHex(stampOf(wall(1_500)))).toBe("400000000000000b1dcd6500");
  expect(toHex(stampOf(wall(2 ** 32 * 1000)))).toBe("400000010000000a00000000");
});

test("one nanosecond on, across seconds and words", () => {
  expect(toHex(stampAfter(stampOf(wall(0))))).toBe("400000000000000a00000001");
  const edges = [
    ["400000000000000a3b9ac9ff", "400000000000000b00000000"],
    ["40000000ffffffff3b9ac9ff", "400000010000000000000000"],
  ] as const;
  for (const [stamp, next] of edges) {
    expect(toHex(stampAfter(Uint8Array.fromHex(stamp)))).toBe(next);
  }
});

describe("StampClock", () => {
  test("goes up whatever the clock does", () => {
    const clock = new StampClock(undefined);
    let last = new Uint8Array(12);
    const walls = [NOON, NOON, NOON - 86_400_000, NOON + 5, NOON + 4, 0, NOON + 100_000];
    for (const millis of walls) {
      const { stamp } = clock.next(wall(millis));
      expect(isStampLater(stamp, last)).toBe(true);
      last = stamp.slice();
    }
  });

  test("goes on above what was saved, and what it sends is never above that", () => {
    let saved: Uint8Array | undefined;
    let last = new Uint8Array(12);
    let saves = 0;
    for (let start = 0; start < 5; start++) {
      const clock = new StampClock(saved);
      for (let i = 0; i < 200; i++) {
        // Each start finds the clock an hour further back.
        const { stamp, save } = clock.next(wall(NOON - start * 3_600_000 + i * 100));
        if (save !== undefined) {
          saved = save;
          saves++;
        }
        expect(saved !== undefined && !isStampLater(stamp, saved)).toBe(true);
        expect(isStampLater(stamp, last)).toBe(true);
        last = stamp.slice();
      }
    }
    expect(saves).toBeLessThanOrEqual(10);
  });
});

describe("ReceivedStamps", () => {
  const [peer, other] = [0 as PeerIndex, 1 as PeerIndex];
  const [tag, otherTag] = [1 as TagIndex, 2 as TagIndex];
  const at = (seconds: number) => stampOf(wall(seconds * 1000));

  test("each peer, role and tag has its own", () => {
    const stamps = new ReceivedStamps();
    expect(stamps.judge(peer, 0, tag, at(5))).toBe("first");
    stamps.accept(peer, 0, tag, at(5));
    expect(stamps.judge(peer, 0, tag, at(5))).toBe("old");
    expect(stamps.judge(peer, 0, tag, at(4))).toBe("old");
    expect(stamps.judge(peer, 0, tag, stampAfter(at(5)))).toBe("fresh");
    expect(stamps.judge(other, 0, tag, at(9))).toBe("first");
  });

  test("a peer that passed once needs no second cookie for what is later", () => {
    const stamps = new ReceivedStamps();
    stamps.accept(peer, 0, tag, at(5));
    expect(stamps.judge(peer, 0, otherTag, at(6))).toBe("fresh");
    expect(stamps.judge(peer, 1, tag, at(6))).toBe("fresh");
    // It may be a replay from before our start.
    expect(stamps.judge(peer, 0, otherTag, at(5))).toBe("first");
  });

  test("forgotten", () => {
    const stamps = new ReceivedStamps();
    stamps.accept(peer, 0, tag, at(5));
    stamps.accept(other, 0, tag, at(5));
    stamps.forget(peer);
    expect(stamps.judge(peer, 0, tag, at(1))).toBe("first");
    expect(stamps.judge(other, 0, tag, at(1))).toBe("old");
    stamps.forgetAll();
    expect(stamps.judge(other, 0, tag, at(1))).toBe("first");
  });
});
