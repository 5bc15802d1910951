import { expect, test } from "bun:test";
import { DROP, DROP_CODES, DROP_NAMES } from "./drop-reasons.ts";

test("every code has one name and lies in range", () => {
  const codes = Object.values(DROP);
  expect(new Set<number>(codes).size).toBe(codes.length);
  for (const code of codes) {
    expect(code).toBeGreaterThan(0);
    expect(code).toBeLessThan(DROP_CODES);
    expect(DROP_NAMES[code]).toMatch(/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/);
  }
  expect(new Set(DROP_NAMES.filter((name) => name !== "")).size).toBe(codes.length);
});

test("names are the keys in kebab-case", () => {
  expect(DROP_NAMES[DROP.ipv4TotalLength]).toBe("ipv4-total-length");
  expect(DROP_NAMES[DROP.mac1]).toBe("mac1");
  expect(DROP_NAMES[0]).toBe("");
  expect(DROP_NAMES.length).toBe(DROP_CODES);
});
