import { describe, expect, test } from "bun:test";
import { Prng, seedOfRun } from "../../test/fuzz/prng.ts";
import { DROP } from "./drop-reasons.ts";
import {
  FRAGMENT_HELD,
  FRAGMENT_LIFETIME_US,
  FRAGMENT_PASS,
  FragmentTable,
  HELD_PER_OWNER,
} from "./fragment-table.ts";
import { ParsedPacket } from "./parsed-packet.ts";

const SEED = 7;

interface Part {
  offset?: number;
  bytes?: number;
  more?: number;
  identification?: number;
  source?: number;
  version?: number;
  protocol?: number;
}

function fragment(part: Part): ParsedPacket {
  const packet = new ParsedPacket();
  packet.ipVersion = part.version ?? 4;
  packet.ipProtocol = part.protocol ?? 17;
  packet.source3 = part.source ?? 0x0a00_0001;
  packet.destination3 = 0x0a00_0002;
  packet.identification = part.identification ?? 1;
  packet.isFragment = 1;
  packet.fragmentOffsetBytes = part.offset ?? 0;
  packet.moreFragments = part.more ?? 1;
  packet.fragmentDataStart = 100;
  packet.ipEnd = 100 + (part.bytes ?? 800);
  return packet;
}

function newTable(capacity = 16, held = 256, owners = 4): FragmentTable {
  return new FragmentTable(capacity, held, owners, SEED);
}

function later(
  table: FragmentTable,
  part: Part,
  handle = 1,
  owner = 0,
  session = 0,
  now = 0,
): number {
  return table.later(
    fragment(part),
    owner,
    session,
    handle,
    handle + 1,
    handle + 2,
    handle + 3,
    now,
  );
}

function first(
  table: FragmentTable,
  verdict: number,
  part: Part = {},
  session = 0,
  now = 0,
): number {
  return table.first(fragment(part), 0, session, verdict, now);
}

function released(table: FragmentTable): number[][] {
  return Array.from({ length: table.releasedCount }, (_, i) => [
    table.releasedHandle[i],
    table.releasedReason[i],
  ]);
}

describe("verdicts", () => {
  test("later fragments follow the first, and a whole packet frees its entry", () => {
    const table = newTable();
    expect(first(table, 0xdead_beef)).toBe(FRAGMENT_PASS);
    expect(later(table, { offset: 800 })).toBe(FRAGMENT_PASS);
    expect(table.verdict).toBe(0xdead_beef);
    expect(table.entryCount).toBe(1);
    expect(later(table, { offset: 1600, bytes: 13, more: 0 })).toBe(FRAGMENT_PASS);
    expect(table.entryCount).toBe(0);
    // The identification may be used again at once.
    expect(first(table, 5)).toBe(FRAGMENT_PASS);
  });

  test("fragments before the first are held and come back in order with it", () => {
    const table = newTable();
    expect(later(table, { offset: 1600, bytes: 13, more: 0 }, 10)).toBe(FRAGMENT_HELD);
    expect(later(table, { offset: 800 }, 20)).toBe(FRAGMENT_HELD);
    expect(table.heldCount).toBe(2);
    expect(first(table, 3)).toBe(FRAGMENT_PASS);
    expect(released(table)).toEqual([
      [10, 0],
      [20, 0],
    ]);
    expect([table.releasedOffset[1], table.releasedLength[1], table.releasedContext[1]]).toEqual([
      21, 22, 23,
    ]);
    expect([table.heldCount, table.entryCount, table.verdict]).toEqual([0, 0, 3]);
  });

  test("addresses, identification, protocol and version tell packets apart", () => {
    const others: Part[] = [
      { identification: 2 },
      { source: 0x0a00_0003 },
      { protocol: 1 },
      { version: 6 },
    ];
    for (const other of others) {
      const table = newTable();
      first(table, 1);
      expect(later(table, { ...other, offset: 800 })).toBe(FRAGMENT_HELD);
    }
  });

  test("the next header does not tell IPv6 packets apart", () => {
    const table = newTable();
    first(table, 1, { version: 6, protocol: 17 });
    expect(later(table, { version: 6, protocol: 60, offset: 800 })).toBe(FRAGMENT_PASS);
  });
});

describe("overlaps condemn the packet (RFC 5722)", () => {
  const cases: { name: string; before: Part[]; last: Part }[] = [
    { name: "the first again", before: [{}], last: {} },
    { name: "inside the first", before: [{}], last: { offset: 8, bytes: 8 } },
    { name: "the first's last bytes", before: [{}], last: { offset: 792, bytes: 16 } },
    { name: "exact repetition", before: [{}, { offset: 800 }], last: { offset: 800 } },
    {
      name: "over a later one",
      before: [{}, { offset: 1600 }],
      last: { offset: 1592, bytes: 16 },
    },
    {
      name: "over more than 32 units",
      before: [{}, { offset: 4000, bytes: 8 }],
      last: { offset: 1600, bytes: 4800 },
    },
    {
      name: "past the end",
      before: [{}, { offset: 1600, bytes: 8, more: 0 }],
      last: { offset: 1608, bytes: 8 },
    },
    {
      name: "an end before what was seen",
      before: [{}, { offset: 1600 }],
      last: { offset: 800, bytes: 8, more: 0 },
    },
    {
      name: "two ends",
      before: [{}, { offset: 1600, bytes: 8, more: 0 }],
      last: { offset: 808, bytes: 8, more: 0 },
    },
  ];
  const put = (table: FragmentTable, part: Part): number =>
    (part.offset ?? 0) === 0 ? first(table, 1, part) : later(table, part);
  test.each(cases)("$name", ({ before, last }) => {
    const table = newTable();
    for (const part of before) expect(put(table, part)).toBe(FRAGMENT_PASS);
    expect(put(table, last)).toBe(DROP.fragmentOverlap);
    // And for all that follow, while the entry lives.
    expect(later(table, { offset: 8_000 })).toBe(DROP.fragmentOverlap);
    expect(first(table, 1)).toBe(DROP.fragmentOverlap);
  });

  test("held fragments go with their packet", () => {
    const table = newTable();
    later(table, { offset: 800 }, 10);
    later(table, { offset: 1600 }, 20);
    expect(later(table, { offset: 1608 }, 30)).toBe(DROP.fragmentOverlap);
    expect(released(table)).toEqual([
      [10, DROP.fragmentOverlap],
      [20, DROP.fragmentOverlap],
    ]);
  });
});

describe("sessions", () => {
  test("a fragment under another session than its first is refused, also a held one", () => {
    const table = newTable();
    later(table, { offset: 800 }, 10, 0, 5);
    later(table, { offset: 1600 }, 20, 0, 6);
    expect(first(table, 1, {}, 5)).toBe(FRAGMENT_PASS);
    expect(released(table)).toEqual([
      [10, 0],
      [20, DROP.fragmentSession],
    ]);
    expect(later(table, { offset: 2400 }, 30, 0, 6)).toBe(DROP.fragmentSession);
    expect(later(table, { offset: 2400 }, 30, 0, 5)).toBe(FRAGMENT_PASS);
    expect(first(table, 1, {}, 6)).toBe(DROP.fragmentSession);
  });
});

describe("bounds", () => {
  test("64 held packets an owner; others still have room", () => {
    const table = newTable(16, 256);
    for (let i = 0; i < HELD_PER_OWNER; i++) {
      expect(later(table, { offset: 800 + 8 * i, bytes: 8 }, i)).toBe(FRAGMENT_HELD);
    }
    expect(later(table, { offset: 8_000, bytes: 8 })).toBe(DROP.fragmentHoldFull);
    expect(later(table, { offset: 8, source: 9 }, 1, 1)).toBe(FRAGMENT_HELD);
  });

  test("the hold is bounded in all", () => {
    const table = newTable(16, 3);
    for (let i = 0; i < 3; i++) {
      expect(later(table, { offset: 8, source: i }, i, i)).toBe(FRAGMENT_HELD);
    }
    expect(later(table, { offset: 8, source: 9 }, 1, 3)).toBe(DROP.fragmentHoldFull);
  });

  test("an owner gets a quarter of the entries; a full table evicts nothing alive", () => {
    const table = newTable(16);
    for (let i = 0; i < 4; i++) {
      expect(table.first(fragment({ identification: i }), 0, 0, 1, 0)).toBe(FRAGMENT_PASS);
    }
    expect(first(table, 1, { identification: 4 })).toBe(DROP.fragmentTableFull);
    for (let owner = 1; owner < 4; owner++) {
      for (let i = 0; i < 4; i++) {
        const packet = fragment({ identification: i, source: owner });
        expect(table.first(packet, owner, 0, 1, 0)).toBe(FRAGMENT_PASS);
      }
    }
    expect(table.entryCount).toBe(16);
    expect(later(table, { identification: 2, offset: 800 })).toBe(FRAGMENT_PASS);
  });

  test("an entry lives a second", () => {
    const table = newTable();
    later(table, { offset: 800 }, 10);
    table.expire(FRAGMENT_LIFETIME_US - 1);
    expect([table.releasedCount, table.entryCount]).toEqual([0, 1]);
    table.expire(FRAGMENT_LIFETIME_US);
    expect(released(table)).toEqual([[10, DROP.fragmentTimeout]]);
    expect([table.entryCount, table.heldCount]).toEqual([0, 0]);
  });

  test("an entry past its time is replaced even before expire", () => {
    const table = newTable();
    first(table, 1);
    expect(later(table, { offset: 800 }, 10, 0, 0, FRAGMENT_LIFETIME_US)).toBe(FRAGMENT_HELD);
    expect(first(table, 2, {}, 0, 2 * FRAGMENT_LIFETIME_US)).toBe(FRAGMENT_PASS);
    expect(released(table)).toEqual([[10, DROP.fragmentTimeout]]);
  });
});

/** One packet in reassembly, as a list of byte ranges. */
interface ModelEntry {
  bornUs: number;
  owner: number;
  ranges: [number, number][];
  total: number | undefined;
  verdict: number | undefined;
  condemned: boolean;
  held: number[];
}

/** The table once more, slow and obvious. */
class Model {
  readonly entries = new Map<string, ModelEntry>();
  gone: [number, number][] = [];

  put(
    key: string,
    owner: number,
    part: Required<Part>,
    verdict: number,
    handle: number,
    now: number,
  ): number {
    this.gone = [];
    const isFirst = part.offset === 0;
    let entry = this.entries.get(key);
    if (entry && now - entry.bornUs >= FRAGMENT_LIFETIME_US) {
      this.#end(key, entry, DROP.fragmentTimeout);
      entry = undefined;
    }
    if (!entry) {
      const mine = [...this.entries.values()].filter((each) => each.owner === owner).length;
      if (mine >= 4 || this.entries.size >= 16) return DROP.fragmentTableFull;
      entry = {
        bornUs: now,
        owner,
        ranges: [],
        total: undefined,
        verdict: undefined,
        condemned: false,
        held: [],
      };
      this.entries.set(key, entry);
    }
    if (entry.condemned) return DROP.fragmentOverlap;
    const waits = !isFirst && entry.verdict === undefined;
    if (waits) {
      const all = [...this.entries.values()];
      const mine = all.filter((each) => each.owner === owner).flatMap((each) => each.held);
      if (mine.length >= HELD_PER_OWNER) return DROP.fragmentHoldFull;
      if (all.flatMap((each) => each.held).length >= 80) return DROP.fragmentHoldFull;
    }
    const end = Math.ceil((part.offset + part.bytes) / 8) * 8;
    const seenEnd = Math.max(0, ...entry.ranges.map(([, to]) => to));
    const overlaps = entry.ranges.some(([from, to]) => part.offset < to && from < end);
    const last = part.more === 0;
    const wrongEnd = entry.total !== undefined ? last || end > entry.total : last && seenEnd > end;
    if (overlaps || wrongEnd) {
      entry.condemned = true;
      this.gone = entry.held.map((each) => [each, DROP.fragmentOverlap]);
      entry.held = [];
      return DROP.fragmentOverlap;
    }
    entry.ranges.push([part.offset, end]);
    if (last) entry.total = end;
    if (waits) {
      entry.held.push(handle);
      return FRAGMENT_HELD;
    }
    if (isFirst) {
      entry.verdict = verdict;
      this.gone.push(...entry.held.map((each): [number, number] => [each, 0]));
      entry.held = [];
    }
    const seen = entry.ranges.reduce((sum, [from, to]) => sum + to - from, 0);
    if (seen === entry.total) this.entries.delete(key);
    return FRAGMENT_PASS;
  }

  #end(key: string, entry: ModelEntry, reason: number): void {
    this.gone.push(...entry.held.map((each): [number, number] => [each, reason]));
    this.entries.delete(key);
  }

  expire(now: number): void {
    this.gone = [];
    for (const [key, entry] of this.entries) {
      if (now - entry.bornUs >= FRAGMENT_LIFETIME_US) this.#end(key, entry, DROP.fragmentTimeout);
    }
  }
}

const seed = seedOfRun();
test(`the table agrees with a model over 200,000 fragments (SEED=${seed})`, () => {
  const prng = new Prng(seed);
  const table = newTable(16, 80);
  const model = new Model();
  const answers = new Map<number, number>();
  let now = 0;
  for (let handle = 1; handle <= 200_000; handle++) {
    now += prng.below(40_000);
    if (prng.below(20) === 0) {
      model.expire(now);
      const gone: number[][] = [];
      for (;;) {
        table.expire(now);
        if (table.releasedCount === 0) break;
        gone.push(...released(table));
      }
      expect(gone.sort()).toEqual(model.gone.sort());
      continue;
    }
    const owner = prng.below(4);
    const part = {
      offset: prng.below(12) * 80,
      bytes: prng.below(40) === 0 ? 160 : 80,
      more: prng.below(8) === 0 ? 0 : 1,
      identification: prng.below(5),
      source: owner,
      version: 4,
      protocol: 17,
    };
    const verdict = prng.next();
    const wanted = model.put(`${owner}/${part.identification}`, owner, part, verdict, handle, now);
    const answer =
      part.offset === 0
        ? table.first(fragment(part), owner, 0, verdict, now)
        : table.later(fragment(part), owner, 0, handle, 0, 0, 0, now);
    expect(answer).toBe(wanted);
    expect(released(table)).toEqual(model.gone);
    expect(table.entryCount).toBe(model.entries.size);
    answers.set(answer, (answers.get(answer) ?? 0) + 1);
  }
  for (const answer of [
    FRAGMENT_PASS,
    FRAGMENT_HELD,
    DROP.fragmentOverlap,
    DROP.fragmentTableFull,
  ]) {
    expect(answers.get(answer)).toBeGreaterThan(1_000);
  }
});
