/** RFC 4291 §2.2 (reading), RFC 5952 §4 (writing) and CIDR ranges. */
import { expect, test } from "bun:test";
import { Prng, seed } from "../../test/prng.ts";
import { RANGE_WORDS, rangeHolds } from "./address-range.ts";
import {
  type AddressWords,
  addressBytes,
  cidrRange,
  formatAddress,
  parseAddress,
  parseCidr,
  rangeContains,
} from "./ip-text.ts";

const ADDRESSES: readonly { text: string; words: AddressWords | undefined; written?: string }[] = [
  { text: "10.1.2.3", words: [0, 0, 0, 0x0a010203] },
  { text: "255.255.255.255", words: [0, 0, 0, 0xffffffff] },
  { text: "0.0.0.0", words: [0, 0, 0, 0] },
  { text: "10.1.2", words: undefined },
  { text: "10.1.2.3.4", words: undefined },
  { text: "10.1.2.256", words: undefined },
  { text: "10.01.2.3", words: undefined },
  { text: "10.1.2.3 ", words: undefined },
  { text: "", words: undefined },
  { text: "::", words: [0, 0, 0, 0] },
  { text: "::1", words: [0, 0, 0, 1] },
  { text: "2001:db8::1", words: [0x20010db8, 0, 0, 1] },
  { text: "2001:DB8:0:0:0:0:0:1", words: [0x20010db8, 0, 0, 1], written: "2001:db8::1" },
  { text: "2001:db8:0:1:1:1:1:1", words: [0x20010db8, 1, 0x10001, 0x10001] },
  { text: "::ffff:10.1.2.3", words: [0, 0, 0xffff, 0x0a010203], written: "::ffff:a01:203" },
  { text: "1:0:0:2:0:0:0:3", words: [0x10000, 2, 0, 3], written: "1:0:0:2::3" },
  { text: "1:2:3:4:5:6:7", words: undefined },
  { text: "1:2:3:4:5:6:7:8:9", words: undefined },
  { text: "1:2:3:4:5:6:7::8", words: undefined },
  { text: "1::2::3", words: undefined },
  { text: ":1:2:3:4:5:6:7", words: undefined },
  { text: "12345::", words: undefined },
  { text: "10.1.2.3::", words: undefined },
  { text: "fe80::1%eth0", words: undefined },
];

test.each([...ADDRESSES])("parseAddress: $text", ({ text, words, written }) => {
  const address = parseAddress(text);
  expect(address?.words).toEqual(words as AddressWords);
  if (address !== undefined) expect(formatAddress(address)).toBe(written ?? text);
});

const CIDRS: readonly { text: string; low?: string; high?: string }[] = [
  { text: "10.1.0.0/16", low: "10.1.0.0", high: "10.1.255.255" },
  { text: "10.1.2.3", low: "10.1.2.3", high: "10.1.2.3" },
  { text: "0.0.0.0/0", low: "0.0.0.0", high: "255.255.255.255" },
  { text: "2001:db8::/33", low: "2001:db8::", high: "2001:db8:7fff:ffff:ffff:ffff:ffff:ffff" },
  { text: "::/0", low: "::", high: "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
  { text: "10.1.0.0/33" },
  { text: "::/129" },
  { text: "10.1.0.0/" },
  { text: "10.1.0.0/08" },
  { text: "/8" },
];

test.each([...CIDRS])("cidrRange: $text", ({ text, low, high }) => {
  const cidr = parseCidr(text);
  if (low === undefined || high === undefined) {
    expect(cidr).toBeUndefined();
    return;
  }
  const range = cidr === undefined ? undefined : cidrRange(cidr);
  expect(range?.low).toEqual(parseAddress(low)?.words as AddressWords);
  expect(range?.high).toEqual(parseAddress(high)?.words as AddressWords);
});

test("addressBytes: as in a packet", () => {
  const bytes = (text: string) => {
    const address = parseAddress(text);
    return address === undefined ? [] : [...addressBytes(address)];
  };
  expect(bytes("10.1.2.3")).toEqual([10, 1, 2, 3]);
  expect(bytes("2001:db8::9")).toEqual([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
});

test(`rangeHolds agrees with rangeContains (SEED=${seed})`, () => {
  const prng = new Prng(seed);
  for (let i = 0; i < 5000; i++) {
    const version = prng.oneIn(2) ? 4 : 6;
    // Small words collide often; the high bit checks that comparison is unsigned.
    const word = () => (prng.below(3) + (prng.oneIn(4) ? 0x8000_0000 : 0)) >>> 0;
    const words = (): AddressWords =>
      version === 4 ? [0, 0, 0, word()] : [word(), word(), word(), word()];
    const range = { version, low: words(), high: words() } as const;
    const packed = new Uint32Array(RANGE_WORDS + 3);
    packed.set([version, ...range.low, ...range.high], 3);
    const address = { version: prng.oneIn(9) ? 4 : version, words: words() } as const;
    const fast = rangeHolds(packed, 3, address.version, ...address.words);
    expect(fast).toBe(rangeContains(range, address));
  }
});
