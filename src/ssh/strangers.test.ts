import { expect, test } from "bun:test";
import { placeOf, type Stranger, Strangers } from "./strangers.ts";

const places = [
  { address: "10.0.0.1", place: "10.0.0.1" },
  { address: "::ffff:10.0.0.1", place: "10.0.0.1" },
  { address: "fd00:1:2:3:4:5:6:7", place: "fd00:1:2:3::/64" },
  { address: "fd00:1:2:3::9", place: "fd00:1:2:3::/64" },
  { address: "fe80::1%eth0", place: "fe80:0:0:0::/64" },
  { address: "::1", place: "0:0:0:0::/64" },
];

test.each(places)("placeOf: $address", ({ address, place }) => {
  expect(placeOf(address)).toBe(place);
});

function strangerFrom(address: string, cuts: string[]): Stranger {
  return { address, cut: () => cuts.push(address) };
}

test("so many of one address, and of all the oldest leaves", () => {
  const cuts: string[] = [];
  const strangers = new Strangers({ strangersMax: 4, strangersPerAddressMax: 2 });
  const first = strangerFrom("a", cuts);
  expect(strangers.add(first)).toBe(true);
  expect(strangers.add(strangerFrom("a", cuts))).toBe(true);
  expect(strangers.add(strangerFrom("a", cuts))).toBe(false);
  strangers.remove(first);
  strangers.remove(first);
  expect(strangers.add(strangerFrom("a", cuts))).toBe(true);
  expect(strangers.add(strangerFrom("b", cuts))).toBe(true);
  expect(strangers.add(strangerFrom("c", cuts))).toBe(true);
  expect([strangers.size, cuts]).toEqual([4, []]);
  expect(strangers.add(strangerFrom("d", cuts))).toBe(true);
  expect([strangers.size, cuts]).toEqual([4, ["a"]]);
});
