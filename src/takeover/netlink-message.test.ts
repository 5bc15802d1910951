/** Netlink framing: linux/netlink.h. */
import { describe, expect, test } from "bun:test";
import { concat, fromHex } from "../bytes.ts";
import {
  attribute,
  decodeAttributes,
  decodeMessages,
  encodeMessage,
  nestedAttribute,
  textAttribute,
  textOf,
  u8Attribute,
  u32Attribute,
  u32Of,
} from "./netlink-message.ts";

const hex = (text: string): Uint8Array => fromHex(text) ?? new Uint8Array(0);

test("encodeMessage: length, type, flags and sequence in little-endian, port 0", () => {
  const bytes = encodeMessage({ type: 0x12, flags: 0x301, sequence: 7 }, hex("aabb"));
  expect(bytes.toHex()).toBe("12000000120001030700000000000000aabb");
});

test("decodeMessages: several in a datagram, each padded to four bytes", () => {
  const first = encodeMessage({ type: 16, flags: 2, sequence: 1 }, hex("010203"));
  const second = encodeMessage({ type: 17, flags: 0, sequence: 2 }, hex("04"));
  const messages = decodeMessages(concat(first, new Uint8Array(1), second));
  expect(messages.map((m) => [m.type, m.flags, m.sequence, m.payload.toHex()])).toEqual([
    [16, 2, 1, "010203"],
    [17, 0, 2, "04"],
  ]);
});

test("decodeMessages: payloads stay valid when the buffer is used again", () => {
  const buffer = encodeMessage({ type: 16, flags: 0, sequence: 1 }, hex("0102"));
  const [message] = decodeMessages(buffer);
  buffer.fill(0xff);
  expect(message?.payload.toHex()).toBe("0102");
});

const malformed = [
  { name: "a length below the header's", bytes: "0f000000120000000000000000000000" },
  { name: "a length past the end", bytes: "11000000120000000000000000000000" },
];
test.each(malformed)("decodeMessages refuses $name", ({ bytes }) => {
  expect(() => decodeMessages(hex(bytes))).toThrow("malformed");
});

test("decodeMessages: a rest too short for a header is no message", () => {
  expect(decodeMessages(new Uint8Array(15))).toEqual([]);
});

describe("attributes", () => {
  test("have a length without padding, and padding", () => {
    expect(textAttribute(3, "eth0").toHex()).toBe("0900030065746830" + "00000000");
    expect(u8Attribute(33, 1).toHex()).toBe("0500210001000000");
    expect(u32Attribute(4, 1500).toHex()).toBe("08000400dc050000");
  });

  test("decode what was encoded, nested ones too", () => {
    const inner = concat(u32Attribute(1, 0xffff_ffff), textAttribute(2, "veth"));
    const outer = decodeAttributes(concat(hex("00000000"), nestedAttribute(18, inner)), 4);
    const nested = decodeAttributes(outer.get(18) ?? new Uint8Array(0));
    expect(u32Of(nested.get(1))).toBe(0xffff_ffff);
    expect(textOf(nested.get(2))).toBe("veth");
  });

  test.each([{ bytes: "03000100" }, { bytes: "0900010000000000" }])("refuse %p", ({ bytes }) => {
    expect(() => decodeAttributes(hex(bytes))).toThrow("malformed");
  });

  test("any bytes decode or are refused, and never read past the end", () => {
    const seed = Number(process.env["SEED"] ?? 1);
    let state = seed >>> 0;
    const next = (): number => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return state >>> 24;
    };
    for (let i = 0; i < 20_000; i++) {
      const bytes = Uint8Array.from({ length: next() & 31 }, () =>
        next() < 128 ? next() & 15 : 0,
      );
      try {
        for (const [, value] of decodeAttributes(bytes)) {
          expect(value.length).toBeLessThanOrEqual(bytes.length);
        }
      } catch (thrown) {
        expect(String(thrown)).toContain("malformed");
      }
    }
  });

  test("short values are no numbers", () => {
    expect(u32Of(undefined)).toBeUndefined();
    expect(u32Of(hex("010203"))).toBeUndefined();
    expect(attribute(1, new Uint8Array(0)).toHex()).toBe("04000100");
  });
});
