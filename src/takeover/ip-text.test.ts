/** RFC 5952 §4. */
import { expect, test } from "bun:test";
import { fromHex } from "../bytes.ts";
import { ipText } from "./ip-text.ts";

const cases = [
  { hex: "0a000001", text: "10.0.0.1" },
  { hex: "20010db8000000000000000000000001", text: "2001:db8::1" },
  { hex: "20010db8000000010001000100010001", text: "2001:db8:0:1:1:1:1:1" },
  { hex: "20010000000000010000000000000001", text: "2001:0:0:1::1" },
  { hex: "20010db8000000000001000000000001", text: "2001:db8::1:0:0:1" },
  { hex: "00000000000000000000000000000000", text: "::" },
  { hex: "00000000000000000000000000000001", text: "::1" },
  { hex: "fe800000000000000000000000000000", text: "fe80::" },
  { hex: "010203", text: "010203" },
];
test.each(cases)("ipText: $text", ({ hex, text }) => {
  expect(ipText(fromHex(hex) ?? new Uint8Array(0))).toBe(text);
});
